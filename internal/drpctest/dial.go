package drpctest

import (
	"context"
	"net"
	"testing"

	"storj.io/drpc"
)

// mux is what drpcmux.New returns, in braid and in stock.
type mux interface {
	drpc.Mux
	drpc.Handler
}

// Register adds the service to a mux, of braid or of stock, and returns it.
func Register[M mux](tb testing.TB, m M, service *Service) M {
	tb.Helper()
	if err := m.Register(service, Desc{}); err != nil {
		tb.Fatal(err)
	}
	return m
}

// Server is a drpcserver of braid or of stock.
type Server interface {
	Serve(ctx context.Context, lis net.Listener) error
}

// Serve serves on a loopback TCP port until the end of the test, and returns
// its address.
func Serve(tb testing.TB, server Server) string {
	tb.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, lis) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Errorf("Serve: %v", err)
		}
	})
	return lis.Addr().String()
}

// Dial connects to a loopback address. Whoever uses the connection closes it.
func Dial(tb testing.TB, addr string) net.Conn {
	tb.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	return nc
}

// Call makes one unary call with a text.
func Call(ctx context.Context, conn drpc.Conn, in string) (string, error) {
	var out Msg
	err := conn.Invoke(ctx, Unary, Enc{}, Text(in), &out)
	return out.String(), err
}

// Send sends one message as text.
func Send(stream drpc.Stream, text string) error { return stream.MsgSend(Text(text), Enc{}) }

// Recv receives one message as text.
func Recv(stream drpc.Stream) (string, error) {
	var m Msg
	err := stream.MsgRecv(&m, Enc{})
	return m.String(), err
}
