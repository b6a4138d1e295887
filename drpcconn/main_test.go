package drpcconn_test

import (
	"testing"

	"storj.io/drpc"

	"braid/drpcconn"
	"braid/drpcmux"
	"braid/drpcserver"
	"braid/internal/drpctest"
)

func TestMain(m *testing.M) { drpctest.Main(m) }

// connect serves the service over loopback TCP and returns a connection to it
// that knows its peer already.
func connect(t *testing.T, service *drpctest.Service) *drpcconn.Conn {
	t.Helper()
	server := drpcserver.NewWithOptions(drpctest.Register(t, drpcmux.New(), service), drpcserver.Options{
		Log: func(err error) { t.Logf("server: %v", err) },
	})
	conn := drpcconn.New(drpctest.Dial(t, drpctest.Serve(t, server)))
	t.Cleanup(func() { _ = conn.Close() })
	if service.UnaryFn == nil {
		if got, err := drpctest.Call(t.Context(), conn, "hello"); got != "hello" || err != nil {
			t.Fatalf("first call: %q, %v", got, err)
		}
	}
	return conn
}

// openStream opens a stream whose handler is known to run: it has echoed.
func openStream(t *testing.T, conn drpc.Conn, rpc string) drpc.Stream {
	t.Helper()
	stream, err := conn.NewStream(t.Context(), rpc, drpctest.Enc{})
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

func echo(t *testing.T, stream drpc.Stream, text string) {
	t.Helper()
	if err := drpctest.Send(stream, text); err != nil {
		t.Errorf("Send: %v", err)
	}
	if got, err := drpctest.Recv(stream); got != text || err != nil {
		t.Errorf("Recv: %q, %v, want %q", got, err, text)
	}
}
