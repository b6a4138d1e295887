package drpcmanager

import (
	"net"

	"storj.io/drpc"
)

// boundSocket bounds what the kernel queues of a TCP connection, alone or under TLS.
// Small frames cannot overtake what is there; in the writer's queue they can. Where
// the transport is something else, or the system cannot, it does nothing.
func boundSocket(tr drpc.Transport) {
	if t, ok := tr.(interface{ NetConn() net.Conn }); ok { // *tls.Conn
		tr = t.NetConn()
	}
	tcp, ok := tr.(*net.TCPConn)
	if !ok {
		return
	}
	limitUnsent(tcp, maxUnsent)
	if onLoopback(tcp) {
		_ = tcp.SetReadBuffer(loopbackUnread) // it works without, too
	}
}

// onLoopback reports whether the peer is on the same machine. Elsewhere a receive
// buffer of a fixed size would bound the rate on a long link, as the kernel does not
// let it grow any more.
func onLoopback(tcp *net.TCPConn) bool {
	addr, ok := tcp.RemoteAddr().(*net.TCPAddr)
	return ok && addr.IP.IsLoopback()
}
