//go:build race

package drpctest

// Race says that the race detector is on, with which frames on the stack are larger, pools
// forget what they were given, and all takes longer.
const Race = true
