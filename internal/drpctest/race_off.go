//go:build !race

package drpctest

// Race says that the race detector is on.
const Race = false
