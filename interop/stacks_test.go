package interop_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"storj.io/drpc"
	stockconn "storj.io/drpc/drpcconn"
	stockmanager "storj.io/drpc/drpcmanager"
	stockmux "storj.io/drpc/drpcmux"
	stockserver "storj.io/drpc/drpcserver"
	"storj.io/drpc/drpcstats"
	stockstream "storj.io/drpc/drpcstream"
	stockwire "storj.io/drpc/drpcwire"

	"braid/drpcconn"
	"braid/drpcmanager"
	"braid/drpcmux"
	"braid/drpcserver"
	"braid/drpcstream"
	"braid/drpcwire"
	"braid/internal/drpctest"
)

// conn is what the connections of both stacks have in common.
type conn interface {
	drpc.Conn
	Transport() drpc.Transport
	Unblocked() <-chan struct{}
}

// server is what the servers of both stacks have in common.
type server interface {
	drpctest.Server
	ServeOne(ctx context.Context, tr drpc.Transport) error
	Stats() map[string]drpcstats.Stats
}

// mux is what the muxes of both stacks have in common.
type mux interface {
	drpc.Mux
	drpc.Handler
}

// options are the fields that both stacks have, by the names that they have in
// both. Multiplex is braid's alone.
type options struct {
	SplitSize         int
	ManualFlush       bool
	SoftCancel        bool
	InactivityTimeout time.Duration
	MaximumBufferSize int // of the reader
	CollectStats      bool
	Log               func(error)

	Multiplex drpcmanager.Multiplex
}

// stack is one implementation of both ends.
type stack struct {
	name   string
	conn   func(tr drpc.Transport, o options) conn
	server func(h drpc.Handler, o options) server
	mux    func() mux
}

// The two functions below differ in nothing but the packages that the names
// stand for, which is what changing import paths comes to.

func stockOptions(o options) stockmanager.Options {
	return stockmanager.Options{
		Reader:            stockwire.ReaderOptions{MaximumBufferSize: o.MaximumBufferSize},
		Stream:            stockstream.Options{SplitSize: o.SplitSize, ManualFlush: o.ManualFlush},
		SoftCancel:        o.SoftCancel,
		InactivityTimeout: o.InactivityTimeout,
	}
}

func braidOptions(o options) drpcmanager.Options {
	return drpcmanager.Options{
		Reader:            drpcwire.ReaderOptions{MaximumBufferSize: o.MaximumBufferSize},
		Stream:            drpcstream.Options{SplitSize: o.SplitSize, ManualFlush: o.ManualFlush},
		SoftCancel:        o.SoftCancel,
		InactivityTimeout: o.InactivityTimeout,
		Multiplex:         o.Multiplex,
	}
}

var (
	stock = stack{
		name: "stock",
		conn: func(tr drpc.Transport, o options) conn {
			return stockconn.NewWithOptions(tr, stockconn.Options{Manager: stockOptions(o)})
		},
		server: func(h drpc.Handler, o options) server {
			return stockserver.NewWithOptions(h, stockserver.Options{
				Manager: stockOptions(o), Log: o.Log, CollectStats: o.CollectStats,
			})
		},
		mux: func() mux { return stockmux.New() },
	}

	braid = stack{
		name: "braid",
		conn: func(tr drpc.Transport, o options) conn {
			return drpcconn.NewWithOptions(tr, drpcconn.Options{Manager: braidOptions(o)})
		},
		server: func(h drpc.Handler, o options) server {
			return drpcserver.NewWithOptions(h, drpcserver.Options{
				Manager: braidOptions(o), Log: o.Log, CollectStats: o.CollectStats,
			})
		},
		mux: func() mux { return drpcmux.New() },
	}

	stacks = []stack{stock, braid}
)

// pair is a client of one stack and a server of one stack.
type pair struct{ client, server stack }

func (p pair) String() string { return p.client.name + "-" + p.server.name }

// pairs are all combinations; the first is the reference.
var pairs = []pair{{stock, stock}, {stock, braid}, {braid, stock}, {braid, braid}}

// forEachPair runs a test for all combinations.
func forEachPair(t *testing.T, test func(t *testing.T, p pair)) {
	for _, p := range pairs {
		t.Run(p.String(), func(t *testing.T) { test(t, p) })
	}
}

// stage is a service whose behaviour can be changed between calls.
type stage struct {
	current atomic.Pointer[drpctest.Service]
}

func (s *stage) play(service drpctest.Service) { s.current.Store(&service) }

// The methods are those that drpctest.Desc describes.

func (s *stage) Unary(ctx context.Context, in *drpctest.Msg) (*drpctest.Msg, error) {
	return s.current.Load().Unary(ctx, in)
}
func (s *stage) Up(stream drpc.Stream) error { return s.current.Load().Up(stream) }
func (s *stage) Down(in *drpctest.Msg, stream drpc.Stream) error {
	return s.current.Load().Down(in, stream)
}
func (s *stage) Bidi(stream drpc.Stream) error { return s.current.Load().Bidi(stream) }

// handler returns a mux of the stack with the service.
func (s stack) handler(tb testing.TB, service *drpctest.Service) mux {
	return drpctest.Register(tb, s.mux(), service)
}

// serve serves the service on loopback TCP and returns the address.
func (s stack) serve(tb testing.TB, service *drpctest.Service, o options) string {
	tb.Helper()
	return drpctest.Serve(tb, s.server(s.handler(tb, service), o))
}

// serveOne serves one connection, until the end of the test if nothing ends it
// before. The result of ServeOne comes over the channel.
func (s stack) serveOne(tb testing.TB, ctx context.Context, tr drpc.Transport, service *drpctest.Service, o options) <-chan error {
	tb.Helper()
	ctx, cancel := context.WithCancel(ctx)
	srv := s.server(s.handler(tb, service), o)
	result, done := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(done)
		result <- srv.ServeOne(ctx, tr)
	}()
	tb.Cleanup(func() {
		cancel()
		<-done
	})
	return result
}

// dial connects to an address. The connection ends with the test.
func (s stack) dial(tb testing.TB, addr string, o options) conn {
	tb.Helper()
	return s.open(tb, drpctest.Dial(tb, addr), o)
}

// open makes a connection of a transport. It ends with the test.
func (s stack) open(tb testing.TB, tr drpc.Transport, o options) conn {
	c := s.conn(tr, o)
	tb.Cleanup(func() { _ = c.Close() })
	return c
}

// connect serves the service and connects to it.
func (p pair) connect(tb testing.TB, service *drpctest.Service, o options) conn {
	tb.Helper()
	return p.client.dial(tb, p.server.serve(tb, service, o), o)
}

// patience is how long a test waits for what must come. To run out of it is a
// failure; nothing is measured by it.
const patience = 30 * time.Second

// await receives from a channel.
func await[T any](tb testing.TB, ch <-chan T, what string) T {
	tb.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case v := <-ch:
		return v
	case <-timer.C:
		tb.Fatalf("still waiting for %s", what)
		panic("unreachable")
	}
}

// later runs f in a goroutine and returns where its result will be.
func later[T any](f func() T) <-chan T {
	ch := make(chan T, 1)
	go func() { ch <- f() }()
	return ch
}
