package interop_test

import (
	"context"
	"errors"
	"io"
	"testing"

	"storj.io/drpc"
	"storj.io/drpc/drpcerr"

	"braid/drpcmanager"
	"braid/drpcwire"
	"braid/internal/drpctest"
)

// lostOrClosed fails unless the error says that the connection has ended, in the
// way that braid says it: a class and a code of its own, and never io.EOF, which
// is the regular end of a stream.
func lostOrClosed(t *testing.T, err, cause error) {
	t.Helper()
	var lost *drpcmanager.LostError
	switch {
	case !errors.As(err, &lost), !drpc.ClosedError.Has(err), drpcerr.Code(err) != drpcwire.CodeUnavailable:
		t.Errorf("not a lost connection: %v", err)
	case errors.Is(err, io.EOF):
		t.Errorf("is io.EOF: %v", err)
	case cause != nil && !errors.Is(err, cause):
		t.Errorf("is not %v: %v", cause, err)
	}
}

// TestClosedConnectionRefusesCalls: with stock's "manager closed" and with
// braid's LostError. Closing it twice is the same as once.
func TestClosedConnectionRefusesCalls(t *testing.T) {
	forEachPair(t, func(t *testing.T, p pair) {
		c := p.connect(t, &drpctest.Service{}, options{})
		echo(t, c, "x")
		must(t, c.Close())
		must(t, c.Close())
		await(t, c.Closed(), "Closed")
		_, callErr := drpctest.Call(bg, c, "x")
		_, openErr := c.NewStream(bg, drpctest.Bidi, drpctest.Enc{})
		for _, err := range []error{callErr, openErr} {
			if p.client.name == "stock" {
				if err == nil {
					t.Error("a call succeeded")
				}
				continue
			}
			lostOrClosed(t, err, drpcmanager.ErrClosed)
		}
	})
}

// TestServerHangsUp during a call: stock's client says that the call was
// canceled, which it was not, and braid's that the connection is lost.
func TestServerHangsUp(t *testing.T) {
	forEachPair(t, func(t *testing.T, p pair) {
		nc, ns := drpctest.Pipe()
		ctx, cancel := context.WithCancel(bg)
		started := make(chan struct{})
		done := p.server.serveOne(t, ctx, ns, &drpctest.Service{BidiFn: func(stream drpc.Stream) error {
			_, _ = drpctest.Recv(stream)
			close(started)
			return endless(stream)
		}}, options{})
		c := p.client.open(t, nc, options{})
		stream := mustStream(t, bg, c, drpctest.Bidi)
		must(t, drpctest.Send(stream, "x"))
		await(t, started, "the handler")
		cancel()
		await(t, done, "ServeOne")
		_, err := drpctest.Recv(stream)
		_, later := drpctest.Call(bg, c, "x")
		if p.client.name == "stock" {
			if err == nil || later == nil {
				t.Errorf("got %v, later %v", err, later)
			}
			return
		}
		lostOrClosed(t, err, nil)
		lostOrClosed(t, later, nil)
		await(t, c.Closed(), "Closed")
	})
}

// TestHandlerMayReturnWhileTheClientSends: what it has not received is dropped,
// and the connection goes on. A stock server would wait for good for somebody to
// receive it.
func TestHandlerMayReturnWhileTheClientSends(t *testing.T) {
	for name, result := range map[string]error{"nil": nil, "error": errors.New("enough")} {
		for _, client := range stacks {
			t.Run(name+"/"+client.name+" client", func(t *testing.T) {
				service := &drpctest.Service{BidiFn: func(drpc.Stream) error { return result }}
				c := pair{client, braid}.connect(t, service, options{})
				for range 10 {
					stream := mustStream(t, bg, c, drpctest.Bidi)
					for range 5 {
						if err := drpctest.Send(stream, large); err != nil && !errors.Is(err, io.EOF) {
							t.Fatalf("send: %v", err)
						}
					}
					want := "EOF"
					if result != nil {
						want = outcome(result)
					}
					if got := recv(stream); got != want {
						t.Errorf("got %s want %s", got, want)
					}
					must(t, stream.Close())
					echo(t, c, "next")
				}
			})
		}
	}
}
