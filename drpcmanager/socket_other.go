//go:build !linux

package drpcmanager

import "storj.io/drpc"

// limitUnsent does nothing: how the kernel is told differs from system to system.
func limitUnsent(drpc.Transport, int) {}
