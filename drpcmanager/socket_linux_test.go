package drpcmanager

import (
	"net"
	"syscall"
	"testing"
)

func TestWhatTheKernelHoldsUnsentIsBounded(t *testing.T) {
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
	var got int
	if cerr := raw.Control(func(fd uintptr) {
		got, err = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpNotSentLowat)
	}); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
	if got != maxUnsent {
		t.Errorf("TCP_NOTSENT_LOWAT is %d, want %d", got, maxUnsent)
	}
}
