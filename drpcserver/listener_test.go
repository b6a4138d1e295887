package drpcserver_test

import (
	"context"
	"errors"
	"net"
	"testing"

	"storj.io/drpc"

	"braid/drpcserver"
)

// foreign is a context that those derived from it learn of by a goroutine.
type foreign struct {
	context.Context
	done chan struct{}
}

func (c *foreign) Done() <-chan struct{} { return c.done }

func (c *foreign) Err() error {
	select {
	case <-c.done:
		return context.Canceled
	default:
		return nil
	}
}

// closing is a listener that ends with the context of the server: before anybody else can
// learn of that.
type closing struct {
	net.Listener
	ctx *foreign
}

func (l *closing) Accept() (net.Conn, error) {
	close(l.ctx.done)
	return nil, errors.New("listener closed")
}

func (l *closing) Close() error { return nil }

type nothing struct{}

func (nothing) HandleRPC(drpc.Stream, string) error { return nil }

// A listener that watches the same context (drpcmigrate.ListenMux) may be closed before
// what Serve has derived from it is done.
func TestServeEndsWellThoughTheListenerIsFirst(t *testing.T) {
	for range 100 {
		ctx := &foreign{Context: t.Context(), done: make(chan struct{})}
		if err := drpcserver.New(nothing{}).Serve(ctx, &closing{ctx: ctx}); err != nil {
			t.Fatal(err)
		}
	}
}
