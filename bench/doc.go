// Package bench compares braid with other stacks on the same work.
//
// Client and server share the machine, and unless a benchmark says otherwise the
// process too: allocation counts cover both sides of a call then. The README tells
// how to run the benchmarks and how to read them.
package bench
