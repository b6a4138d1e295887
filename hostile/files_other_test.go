//go:build !unix

package hostile_test

// most is how many connections a process has here at most.
func most() int { return 500 }
