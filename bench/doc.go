// Package bench compares braid with the stock drpc stack on the same work.
//
// Everything runs in one process over loopback TCP: client and server share
// the machine, and allocation counts cover both sides of a call. The README
// tells how to run the benchmarks and how to read them.
package bench
