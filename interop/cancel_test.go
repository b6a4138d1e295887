package interop_test

import (
	"context"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"

	"storj.io/drpc"

	"braid/drpcmanager"
	"braid/drpcwire"
	"braid/internal/drpctest"
)

// gate is a connection whose writes can be held up, as by a peer that does not
// read.
type gate struct {
	net.Conn

	mu   sync.Mutex
	open sync.Cond // on a change of shut; uses mu
	shut bool      // guarded by mu
}

func newGate(nc net.Conn) *gate {
	g := &gate{Conn: nc}
	g.open.L = &g.mu
	return g
}

// set shuts or opens the gate.
func (g *gate) set(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = shut
	g.open.Broadcast()
}

// Write implements net.Conn.
func (g *gate) Write(p []byte) (int, error) {
	g.mu.Lock()
	for g.shut {
		g.open.Wait()
	}
	g.mu.Unlock()
	return g.Conn.Write(p)
}

// canceler makes one call after the other, each of which it cancels.
type canceler struct {
	t       *testing.T
	conn    conn
	gate    *gate         // may be nil
	started chan struct{} // a handler that was told to runs
}

// service has handlers that last until they are canceled.
func (c *canceler) service() *drpctest.Service {
	return &drpctest.Service{
		UnaryFn: func(ctx context.Context, in *drpctest.Msg) (*drpctest.Msg, error) {
			if in.String() != "wait" {
				return in, nil
			}
			c.started <- struct{}{}
			<-ctx.Done()
			return nil, ctx.Err()
		},
		UpFn: func(stream drpc.Stream) error {
			_, err := drpctest.Recv(stream)
			for err == nil {
				c.started <- struct{}{}
				_, err = drpctest.Recv(stream)
			}
			return err
		},
		DownFn: func(_ *drpctest.Msg, stream drpc.Stream) error {
			flood := strings.Repeat("x", 64<<10)
			err := drpctest.Send(stream, "first")
			for err == nil {
				err = drpctest.Send(stream, flood)
			}
			return err
		},
		BidiFn: endless,
	}
}

// cancels are the moments at which a call is canceled.
var cancels = []struct {
	name string
	run  func(c *canceler)

	// braidOnly: at this moment stock may be busy sending, and then it hangs up
	// with SoftCancel too.
	braidOnly bool

	// endless: the server sends without end, which takes time. It has said
	// something before the call is canceled, which in the others it has not.
	endless bool
}{
	{name: "right after opening", run: func(c *canceler) {
		ctx, cancel := context.WithCancel(bg)
		stream := mustStream(c.t, ctx, c.conn, drpctest.Bidi)
		cancel()
		await(c.t, stream.Context().Done(), "the end of the stream")
		c.want(recv(stream))
	}},
	{name: "unary while the handler runs", run: func(c *canceler) {
		ctx, cancel := context.WithCancel(bg)
		result := later(func() string { return answer(drpctest.Call(ctx, c.conn, "wait")) })
		await(c.t, c.started, "the handler")
		cancel()
		c.want(await(c.t, result, "the call"))
	}, braidOnly: true}, // the handler may run before the client's CloseSend is out
	{name: "between two messages", run: func(c *canceler) {
		ctx, cancel := context.WithCancel(bg)
		stream := mustStream(c.t, ctx, c.conn, drpctest.Up)
		for range 2 {
			must(c.t, drpctest.Send(stream, "x"))
			await(c.t, c.started, "the handler")
		}
		cancel()
		await(c.t, stream.Context().Done(), "the end of the stream")
		c.want(recv(stream))
	}},
	{name: "while receiving", run: func(c *canceler) {
		ctx, cancel := context.WithCancel(bg)
		stream := mustStream(c.t, ctx, c.conn, drpctest.Up)
		must(c.t, drpctest.Send(stream, "x"))
		result := later(func() string { return recv(stream) })
		await(c.t, c.started, "the handler")
		cancel()
		c.want(await(c.t, result, "the receive"))
	}},
	{name: "while the server sends without end", run: func(c *canceler) {
		ctx, cancel := context.WithCancel(bg)
		stream := mustStream(c.t, ctx, c.conn, drpctest.Down)
		must(c.t, drpctest.Send(stream, "go"))
		if got := recv(stream); got != `"first"` {
			c.t.Fatalf("got %s", got)
		}
		cancel()
		await(c.t, stream.Context().Done(), "the end of the stream")
	}, endless: true},
	{name: "in the middle of a split message", run: func(c *canceler) {
		ctx, cancel := context.WithCancel(bg)
		stream := mustStream(c.t, ctx, c.conn, drpctest.Up)
		must(c.t, drpctest.Send(stream, "x"))
		await(c.t, c.started, "the handler")
		c.gate.set(true)
		result := later(func() string { return send(stream, large) })
		cancel()
		c.want(await(c.t, result, "the send"))
		c.gate.set(false)
	}, braidOnly: true},
	{name: "by closing in the middle of a split message", run: func(c *canceler) {
		stream := mustStream(c.t, bg, c.conn, drpctest.Up)
		must(c.t, drpctest.Send(stream, "x"))
		await(c.t, c.started, "the handler")
		c.gate.set(true)
		result := later(func() string { return send(stream, large) })
		must(c.t, stream.Close())
		const want = `"drpc: stream terminated by sending close" code 0`
		if got := await(c.t, result, "the send"); got != want {
			c.t.Fatalf("got %s", got)
		}
		c.gate.set(false)
	}, braidOnly: true},
}

func (c *canceler) want(got string) {
	c.t.Helper()
	if got != "canceled" {
		c.t.Fatalf("got %s", got)
	}
}

// TestCancelTowardsStockCostsTheStreamOnly: the next call on the same connection
// succeeds, whatever was being done. A stock server's reader waits for good on a
// Cancel without a whole Invoke before it (W10), and hangs up on a split message
// that is not given up by a higher id, so the next call shows that neither was
// sent.
func TestCancelTowardsStockCostsTheStreamOnly(t *testing.T) {
	for _, mode := range []drpcmanager.Multiplex{drpcmanager.MultiplexAuto, drpcmanager.MultiplexNever} {
		for _, moment := range cancels {
			t.Run(mode.String()+"/"+moment.name, func(t *testing.T) {
				c := &canceler{t: t, started: make(chan struct{}, 1)}
				addr := stock.serve(t, c.service(), options{})
				tap := new(tap)
				c.gate = newGate(tap.client(drpctest.Dial(t, addr)))
				c.conn = braid.open(t, c.gate, options{Multiplex: mode, SplitSize: 16 << 10})
				times := 200
				if moment.endless {
					times = 20
				}
				for range times {
					moment.run(c)
					if !echo(t, c.conn, "next") {
						t.FailNow()
					}
				}
				announcements := 2 // nothing has come back on the first stream
				switch {
				case mode == drpcmanager.MultiplexNever:
					announcements = 0
				case moment.endless:
					announcements = 1
				}
				writes := tap.clients[0].writes()
				checkClientBytes(t, writes, announcements)
				checkCanceled(t, parse(t, writes))
			})
		}
	}
}

// checkCanceled fails if anything follows a Cancel or Close on its stream.
func checkCanceled(t *testing.T, frames []sent) {
	t.Helper()
	canceled := make(map[uint64]bool)
	for _, fr := range frames {
		if canceled[fr.ID.Stream] {
			t.Errorf("after Cancel: %s", drpctest.Describe(fr.Frame))
		}
		if fr.Kind == drpcwire.KindCancel || fr.Kind == drpcwire.KindClose {
			canceled[fr.ID.Stream] = true
		}
	}
}

// TestSplitMessageIsGivenUpByAHigherID: the frames that did not leave never do
// (M17).
func TestSplitMessageIsGivenUpByAHigherID(t *testing.T) {
	clientBubble(t, braid, options{SplitSize: 4}, func(t *testing.T, c side) {
		ctx, cancel := context.WithCancel(bg)
		stream := c.open(ctx)
		c.expect(1, 1, invoke)
		c.expectSettings(1, 2)
		c.end.Limit(0)
		result := later(func() string { return send(stream, large) })
		cancel()
		if got := await(t, result, "the send"); got != "canceled" {
			t.Errorf("got %s", got)
		}
		c.end.Limit(-1)
		for fr := c.frame(); fr.Kind != drpcwire.KindCancel; fr = c.frame() {
			if fr.Kind != message || fr.ID.Message != 3 || fr.Done {
				t.Fatalf("got %s", drpctest.Describe(fr))
			}
		}
		c.open(bg)
		c.expect(3, 1, invoke)
	})
}

// TestCallsMayBeGivenUpWhileStockIsBusy with a handler that does not heed its
// context: stock reads no further than the next Invoke until that one returns.
func TestCallsMayBeGivenUpWhileStockIsBusy(t *testing.T) {
	started, release := make(chan struct{}), make(chan struct{})
	c := pair{braid, stock}.connect(t, &drpctest.Service{
		BidiFn: func(drpc.Stream) error {
			close(started)
			<-release
			return nil
		},
		UnaryFn: func(ctx context.Context, in *drpctest.Msg) (*drpctest.Msg, error) {
			if in.String() == "given up" {
				<-ctx.Done() // so that it does not cross the Cancel, see below
			}
			return in, nil
		},
	}, options{})
	ctx, cancel := context.WithCancel(bg)
	mustStream(t, ctx, c, drpctest.Bidi)
	await(t, started, "the handler")
	cancel()
	for range 20 {
		ctx, cancel := context.WithCancel(bg)
		result := later(func() string { return answer(drpctest.Call(ctx, c, "given up")) })
		runtime.Gosched()
		cancel()
		if got := await(t, result, "the call"); got != "canceled" {
			t.Fatalf("got %s", got)
		}
	}
	close(release)
	echo(t, c, "next")
}

// TestStockClientsSoftCancelCostsTheStreamOnly with a braid server, a hundred
// times in a row on one connection.
func TestStockClientsSoftCancelCostsTheStreamOnly(t *testing.T) {
	for _, moment := range cancels {
		if moment.braidOnly {
			continue
		}
		t.Run(moment.name, func(t *testing.T) {
			c := &canceler{t: t, started: make(chan struct{}, 1)}
			tap := new(tap)
			addr := drpctest.Serve(t, tap.server(braid.server(braid.handler(t, c.service()), options{})))
			c.conn = stock.dial(t, addr, options{SoftCancel: true})
			times := 100
			if moment.endless {
				times = 20
			}
			for range times {
				moment.run(c)
				if !echo(t, c.conn, "next") {
					t.FailNow()
				}
			}
			for _, r := range tap.servers {
				checkServerBytes(t, r)
			}
			if len(tap.servers) != 1 {
				t.Errorf("%d connections", len(tap.servers))
			}
		})
	}
}
