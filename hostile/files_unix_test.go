//go:build unix

package hostile_test

import "syscall"

// most is how many connections a process may have here, up to 9,000.
func most() int {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return 500
	}
	return int(min(limit.Cur/2, 9000))
}
