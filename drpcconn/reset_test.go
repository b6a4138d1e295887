package drpcconn_test

import (
	"errors"
	"net"
	"testing"

	"storj.io/drpc"
	"storj.io/drpc/drpcerr"

	"braid/drpcconn"
	"braid/drpcmanager"
	"braid/drpcmux"
	"braid/drpcserver"
	"braid/drpcwire"
	"braid/internal/drpctest"
)

// A connection that is reset, by either side, in the middle of streams: the other
// side's streams end as lost, and nothing hangs (F3).
func TestAResetIsALostConnection(t *testing.T) {
	lost := func(t *testing.T, err error) {
		t.Helper()
		var lost *drpcmanager.LostError
		if !errors.As(err, &lost) || !drpc.ClosedError.Has(err) || drpcerr.Code(err) != drpcwire.CodeUnavailable {
			t.Errorf("got %v", err)
		}
	}
	reset := func(tr drpc.Transport) {
		_ = tr.(*net.TCPConn).SetLinger(0) // closing sends RST, not FIN
		_ = tr.Close()
	}
	handlers := make(chan error, 10)
	service := &drpctest.Service{BidiFn: func(stream drpc.Stream) error {
		_ = drpctest.Send(stream, "open")
		_, err := drpctest.Recv(stream)
		handlers <- err
		return err
	}}
	for range 50 {
		server := drpcserver.New(drpctest.Register(t, drpcmux.New(), service))
		conn := drpcconn.New(drpctest.Dial(t, drpctest.Serve(t, server)))
		for range 3 {
			if got, err := drpctest.Recv(openStream(t, conn, drpctest.Bidi)); got != "open" || err != nil {
				t.Fatalf("%q, %v", got, err)
			}
		}
		reset(conn.Transport())
		for range 3 {
			lost(t, <-handlers)
		}
		_ = conn.Close()
	}

	for range 50 {
		lis, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		conn := drpcconn.New(drpctest.Dial(t, lis.Addr().String()))
		peer, err := lis.Accept()
		if err != nil {
			t.Fatal(err)
		}
		stream := openStream(t, conn, drpctest.Bidi)
		reset(peer)
		_, err = drpctest.Recv(stream)
		lost(t, err)
		for err = nil; err == nil; {
			err = drpctest.Send(stream, "late")
		}
		lost(t, err)
		_ = conn.Close()
		_ = lis.Close()
	}
}
