package interop_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"storj.io/drpc"
	"storj.io/drpc/drpcpool"

	"braid/drpcconn"
	"braid/internal/drpctest"
)

// pooled is a pool of braid's connections to one server, and the number of them
// that were made.
type pooled struct {
	drpcpool.Conn
	dials atomic.Int64
}

func newPooled(t *testing.T, addr string) *pooled {
	pool := drpcpool.New[string, *drpcconn.Conn](drpcpool.Options{})
	t.Cleanup(func() { must(t, pool.Close()) })
	p := new(pooled)
	p.Conn = pool.Get(bg, addr, func(_ context.Context, addr string) (*drpcconn.Conn, error) {
		p.dials.Add(1)
		return drpcconn.New(drpctest.Dial(t, addr)), nil
	})
	return p
}

// want fails if the number of connections is another one.
func (p *pooled) want(t *testing.T, dials int64) {
	t.Helper()
	if got := p.dials.Load(); got != dials {
		t.Errorf("%d connections, want %d", got, dials)
	}
}

// forEachServer runs a test against a server of each stack.
func forEachServer(t *testing.T, service func() *drpctest.Service, test func(t *testing.T, addr string)) {
	for _, s := range stacks {
		t.Run(s.name, func(t *testing.T) { test(t, s.serve(t, service(), options{})) })
	}
}

func echoes() *drpctest.Service { return &drpctest.Service{} }

// TestPoolReusesAConnection for calls and streams that follow one another.
func TestPoolReusesAConnection(t *testing.T) {
	forEachServer(t, echoes, func(t *testing.T, addr string) {
		p := newPooled(t, addr)
		for i := range 20 {
			echo(t, p, "x")
			stream := mustStream(t, bg, p, drpctest.Bidi)
			if got := send(stream, "y") + recv(stream); got != `ok"y"` {
				t.Errorf("got %s", got)
			}
			if i%2 == 0 {
				must(t, stream.CloseSend())
				if got := recv(stream); got != "EOF" {
					t.Errorf("got %s", got)
				}
			} else {
				must(t, stream.Close())
			}
			// From then on the connection is back in the pool.
			await(t, stream.Context().Done(), "the end of the stream")
		}
		p.want(t, 1)
	})
}

// TestPoolGivesConcurrentCallsConnectionsOfTheirOwn, and keeps these.
func TestPoolGivesConcurrentCallsConnectionsOfTheirOwn(t *testing.T) {
	const n = 16
	forEachServer(t, func() *drpctest.Service { return meeting(n) }, func(t *testing.T, addr string) {
		p := newPooled(t, addr)
		var wg sync.WaitGroup
		for range n {
			wg.Go(func() { echo(t, p, "x") })
		}
		wg.Wait()
		p.want(t, n)
		for range n {
			wg.Go(func() { echo(t, p, "x") })
		}
		wg.Wait()
		p.want(t, n)
	})
}

// TestPoolKeepsAConnectionWhoseCallWasCanceled: stock's own would be gone.
func TestPoolKeepsAConnectionWhoseCallWasCanceled(t *testing.T) {
	started := make(chan struct{}, 1)
	service := func() *drpctest.Service {
		return &drpctest.Service{BidiFn: func(stream drpc.Stream) error {
			started <- struct{}{}
			return endless(stream)
		}}
	}
	forEachServer(t, service, func(t *testing.T, addr string) {
		p := newPooled(t, addr)
		for range 20 {
			ctx, cancel := context.WithCancel(bg)
			stream := mustStream(t, ctx, p, drpctest.Bidi)
			await(t, started, "the handler")
			cancel()
			await(t, stream.Context().Done(), "the end of the stream")
			echo(t, p, "x")
		}
		p.want(t, 1)
	})
}

// TestPoolPassesOverAConnectionThatIsBlocked by a stream that is still open:
// towards stock it is, towards braid it is not.
func TestPoolPassesOverAConnectionThatIsBlocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := drpctest.Pipe()
		c := side{t: t, end: a, conn: braid.open(t, a, options{}), peer: drpctest.NewPeer(t, b)}
		pool := drpcpool.New[string, conn](drpcpool.Options{})
		take := func() bool {
			taken, ok := pool.Take("key")
			if ok {
				pool.Put("key", taken)
			}
			return ok
		}
		pool.Put("key", c.conn)
		if !take() {
			t.Error("a new connection is blocked")
		}
		first := c.open(bg)
		if take() {
			t.Error("not blocked by a stream of a peer that is not known")
		}
		must(t, first.Close())
		if !take() {
			t.Error("blocked by a stream that has ended")
		}
		c.open(bg)
		if take() {
			t.Error("not blocked by the second stream")
		}
		c.peer.Send(settings("s3 m1"))
		synctest.Wait()
		if !take() {
			t.Error("blocked by a stream of a peer that is braid")
		}
		must(t, pool.Close())
		await(t, c.conn.Closed(), "the pool to close its connection")
	})
}
