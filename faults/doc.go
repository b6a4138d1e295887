// Package faults holds the tests that run braid over connections on which things
// go wrong: real TCP, and TLS, through a proxy that delays, stalls, swallows,
// cuts and resets after exactly so many bytes.
//
// There is nothing here to import. A history is one connection with its calls and
// its faults, all of it derived from one seed, which is printed with everything
// that is wrong:
//
//	go test ./faults -run TestX -faults.seed=N     runs that history alone
//	go test ./faults -faults.n=10000               runs many, with new seeds
package faults
