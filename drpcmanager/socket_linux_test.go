package drpcmanager

import (
	"errors"
	"net"
	"syscall"
	"testing"
)

func TestWhatTheKernelQueuesIsBounded(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	conn, err := net.Dial("tcp", lis.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	man := NewClient(conn, Options{})
	defer man.Close()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var unsent, unread int
	if cerr := raw.Control(func(fd uintptr) {
		var errs [2]error
		unsent, errs[0] = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpNotSentLowat)
		unread, errs[1] = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF)
		err = errors.Join(errs[:]...)
	}); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
	if unsent != maxUnsent {
		t.Errorf("TCP_NOTSENT_LOWAT is %d, want %d", unsent, maxUnsent)
	}
	// Linux doubles what it is told, for its own needs, and has a bound of its own.
	if unread > 2*loopbackUnread || unread < 128<<10 {
		t.Errorf("SO_RCVBUF is %d, want %d", unread, 2*loopbackUnread)
	}
}
