package drpcmanager

import (
	"net"
	"syscall"

	"storj.io/drpc"
)

// tcpNotSentLowat is TCP_NOTSENT_LOWAT of linux/tcp.h.
const tcpNotSentLowat = 25

// limitUnsent bounds what the kernel holds of a TCP connection without having sent
// it. Small frames cannot overtake what is there; in the writer's queue they can.
// Where the transport is not TCP, alone or under TLS, it does nothing.
func limitUnsent(tr drpc.Transport, bytes int) {
	if t, ok := tr.(interface{ NetConn() net.Conn }); ok { // *tls.Conn
		tr = t.NetConn()
	}
	tcp, ok := tr.(*net.TCPConn)
	if !ok {
		return
	}
	if raw, err := tcp.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpNotSentLowat, bytes)
		})
	}
}
