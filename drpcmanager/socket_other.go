//go:build !linux

package drpcmanager

import "net"

// limitUnsent does nothing: how the kernel is told differs from system to system.
func limitUnsent(*net.TCPConn, int) {}
