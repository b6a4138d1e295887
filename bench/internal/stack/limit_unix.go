//go:build unix

package stack

import "syscall"

// reserved descriptors are left for everything that is not a benchmark
// connection.
const reserved = 64

// MaxConns returns how many loopback connections the process can hold: each
// takes a descriptor on either side.
func MaxConns() int {
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		return unknownLimit
	}
	const enough = 1 << 20
	return max(1, (int(min(uint64(lim.Cur), enough))-reserved)/2)
}
