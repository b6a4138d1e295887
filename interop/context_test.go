package interop_test

import (
	"context"
	"fmt"
	"net"
	"testing"

	"storj.io/drpc"
	"storj.io/drpc/drpccache"
	"storj.io/drpc/drpcctx"

	"braid/internal/drpctest"
)

// TestTransportIsInTheContextOfBothSides (drpcctx).
func TestTransportIsInTheContextOfBothSides(t *testing.T) {
	forEachPair(t, func(t *testing.T, p pair) {
		ca, sa := drpctest.Pipe()
		seen := make(chan drpc.Transport, 2)
		look := func(ctx context.Context) {
			tr, _ := drpcctx.Transport(ctx)
			seen <- tr
		}
		p.server.serveOne(t, bg, sa, &drpctest.Service{
			UnaryFn: func(ctx context.Context, in *drpctest.Msg) (*drpctest.Msg, error) {
				look(ctx)
				return in, nil
			},
			BidiFn: func(stream drpc.Stream) error {
				look(stream.Context())
				return nil
			},
		}, options{})
		c := p.client.open(t, ca, options{})
		if c.Transport() != drpc.Transport(ca) {
			t.Error("Transport is not what the connection was made with")
		}
		echo(t, c, "x")
		stream := mustStream(t, bg, c, drpctest.Bidi)
		if tr, ok := drpcctx.Transport(stream.Context()); !ok || tr != drpc.Transport(ca) {
			t.Errorf("client: got %v, %v", tr, ok)
		}
		if got := recv(stream); got != "EOF" { // which is also when stock sends the Invoke
			t.Errorf("got %s", got)
		}
		for range 2 {
			if tr := await(t, seen, "the handler"); tr != drpc.Transport(sa) {
				t.Errorf("server: got %v", tr)
			}
		}
	})
}

// TestCacheBelongsToTheConnection (drpccache): calls of one connection share it,
// those of another have another, and its end clears it.
func TestCacheBelongsToTheConnection(t *testing.T) {
	forEachPair(t, func(t *testing.T, p pair) {
		caches := make(chan *drpccache.Cache, 1)
		var ends []<-chan error
		connect := func() conn {
			nc, ns := net.Pipe()
			ends = append(ends, p.server.serveOne(t, bg, ns, &drpctest.Service{
				UnaryFn: func(ctx context.Context, _ *drpctest.Msg) (*drpctest.Msg, error) {
					cache := drpccache.FromContext(ctx)
					n := cache.LoadOrCreate("calls", func() any { return 0 }).(int) + 1
					cache.Store("calls", n)
					caches <- cache
					return drpctest.Text(fmt.Sprint(n)), nil
				},
			}, options{}))
			return p.client.open(t, nc, options{})
		}
		var of [2]*drpccache.Cache
		for i := range of {
			c := connect()
			for call := 1; call <= 3; call++ {
				if got, err := drpctest.Call(bg, c, "x"); err != nil || got != fmt.Sprint(call) {
					t.Errorf("connection %d, call %d: got %s", i, call, answer(got, err))
				}
				of[i] = await(t, caches, "the handler")
			}
			must(t, c.Close())
			await(t, ends[i], "ServeOne")
			if left := of[i].Load("calls"); left != nil {
				t.Errorf("connection %d: %v is left in its cache", i, left)
			}
		}
		if of[0] == of[1] {
			t.Error("two connections share a cache")
		}
	})
}
