package interop_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"storj.io/drpc"

	"braid/drpcmanager"
	"braid/internal/drpctest"
)

// crowd makes n calls at once, of all shapes, and reports those that fail.
func crowd(t *testing.T, c drpc.Conn, n int) {
	t.Helper()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			s := shapes[i%len(shapes)]
			if err := s.call(bg, c, fmt.Sprintf("call-%d", i)); err != nil {
				t.Errorf("%s %d: %v", s.name, i, err)
			}
		})
	}
	wg.Wait()
}

// TestConcurrentCallsToStockAllSucceed: stock cancels a call when the next one
// begins, and hangs up on interleaved ids, so each must wait for its turn (M2,
// W1, W2).
func TestConcurrentCallsToStockAllSucceed(t *testing.T) {
	for mode, announcements := range map[drpcmanager.Multiplex]int{
		drpcmanager.MultiplexAuto:  1,
		drpcmanager.MultiplexNever: 0,
	} {
		for _, n := range []int{50, 500} {
			t.Run(fmt.Sprintf("%v/%d", mode, n), func(t *testing.T) {
				tap := new(tap)
				addr := stock.serve(t, &drpctest.Service{}, options{})
				c := braid.open(t, tap.client(drpctest.Dial(t, addr)), options{Multiplex: mode})
				crowd(t, c, n)
				checkClientBytes(t, tap.clients[0].writes(), announcements)
			})
		}
	}
}

// TestConcurrentCallsToBraidAllSucceed whatever the mode.
func TestConcurrentCallsToBraidAllSucceed(t *testing.T) {
	for _, mode := range []drpcmanager.Multiplex{
		drpcmanager.MultiplexAuto, drpcmanager.MultiplexAlways, drpcmanager.MultiplexNever,
	} {
		t.Run(mode.String(), func(t *testing.T) {
			crowd(t, pair{braid, braid}.connect(t, &drpctest.Service{}, options{Multiplex: mode}), 500)
		})
	}
}

// meeting is a handler that returns only when n of them are running.
func meeting(n int) *drpctest.Service {
	var present atomic.Int64
	all := make(chan struct{})
	return &drpctest.Service{UnaryFn: func(ctx context.Context, in *drpctest.Msg) (*drpctest.Msg, error) {
		if present.Add(1) == int64(n) {
			close(all)
		}
		select {
		case <-all:
			return in, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}}
}

// TestCallsToBraidRunAtTheSameTime, also when the client does not know its peer
// before the first of them.
func TestCallsToBraidRunAtTheSameTime(t *testing.T) {
	for _, mode := range []drpcmanager.Multiplex{drpcmanager.MultiplexAuto, drpcmanager.MultiplexAlways} {
		t.Run(mode.String(), func(t *testing.T) {
			const n = 50
			c := pair{braid, braid}.connect(t, meeting(n), options{Multiplex: mode})
			var wg sync.WaitGroup
			for range n {
				wg.Go(func() {
					ctx, cancel := context.WithTimeout(bg, patience)
					defer cancel()
					if got, err := drpctest.Call(ctx, c, "x"); err != nil {
						t.Errorf("got %s", answer(got, err))
					}
				})
			}
			wg.Wait()
		})
	}
}

// TestNeverTakesTurnsTowardsBraid too.
func TestNeverTakesTurnsTowardsBraid(t *testing.T) {
	var running, most atomic.Int64
	service := &drpctest.Service{UnaryFn: func(_ context.Context, in *drpctest.Msg) (*drpctest.Msg, error) {
		most.Store(max(most.Load(), running.Add(1)))
		defer running.Add(-1)
		return in, nil
	}}
	tap := new(tap)
	addr := braid.serve(t, service, options{})
	c := braid.open(t, tap.client(drpctest.Dial(t, addr)), options{Multiplex: drpcmanager.MultiplexNever})
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() { echo(t, c, "x") })
	}
	wg.Wait()
	if most.Load() != 1 {
		t.Errorf("%d calls at once", most.Load())
	}
	checkClientBytes(t, tap.clients[0].writes(), 0)
}

// TestWaiterGivesUpWithItsContext: it returns that context's error, has sent
// nothing, and those behind it go on.
func TestWaiterGivesUpWithItsContext(t *testing.T) {
	for _, with := range []error{context.Canceled, context.DeadlineExceeded} {
		for _, mode := range []drpcmanager.Multiplex{drpcmanager.MultiplexAuto, drpcmanager.MultiplexNever} {
			t.Run(fmt.Sprintf("%v/%v", with, mode), func(t *testing.T) {
				clientBubble(t, braid, options{Multiplex: mode}, func(t *testing.T, c side) {
					first := c.open(bg)
					c.expect(1, 1, invoke)
					if mode == drpcmanager.MultiplexAuto {
						c.expectSettings(1, 2)
					}
					ctx := newStubborn(with)
					unary := later(func() error {
						_, err := drpctest.Call(ctx, c.conn, "x")
						return err
					})
					stream := later(func() error {
						_, err := c.conn.NewStream(ctx, "rpc", drpctest.Enc{})
						return err
					})
					synctest.Wait()
					behind := later(func() error {
						_, err := c.conn.NewStream(bg, "behind", drpctest.Enc{})
						return err
					})
					c.expectNothing()

					ctx.expire()
					for _, waiter := range []<-chan error{unary, stream} {
						if err := await(t, waiter, "the waiter"); outcome(err) != outcome(with) {
							t.Errorf("got %v", err)
						}
					}
					c.expectNothing()

					c.peer.Send(`s1 m1 CloseSend`)
					if got := recv(first); got != "EOF" {
						t.Errorf("got %s", got)
					}
					must(t, first.CloseSend())
					fr := c.frame()
					if fr.Kind != closeSend {
						t.Errorf("got %s", drpctest.Describe(fr))
					}
					c.peer.Expect(`s3 m1 Invoke "behind"`)
					must(t, await(t, behind, "the one behind"))
					c.expectNothing()
				})
			})
		}
	}
}

// TestTurnsAreTakenInTheOrderOfAsking.
func TestTurnsAreTakenInTheOrderOfAsking(t *testing.T) {
	clientBubble(t, braid, options{Multiplex: drpcmanager.MultiplexNever}, func(t *testing.T, c side) {
		const n = 8
		for i := range n {
			go func() {
				rpc := fmt.Sprintf("/%d", i)
				var out drpctest.Msg
				if err := c.conn.Invoke(bg, rpc, drpctest.Enc{}, drpctest.Text("q"), &out); err != nil || out.String() != rpc {
					t.Errorf("%s: got %s", rpc, answer(out.String(), err))
				}
			}()
			synctest.Wait() // it stands in line before the next one comes
		}
		for i := range n {
			id := uint64(1 + 2*i)
			first, _ := c.peer.Next()
			if first == fmt.Sprintf(`s%d m4 Close`, id-2) { // the caller was done before the CloseSend had come
				first, _ = c.peer.Next()
			}
			if want := fmt.Sprintf(`s%d m1 Invoke "/%d"`, id, i); first != want {
				t.Errorf("got %s, want %s", first, want)
			}
			c.peer.Expect(
				fmt.Sprintf(`s%d m2 Message "q"`, id),
				fmt.Sprintf(`s%d m3 CloseSend`, id))
			c.expectNothing()
			c.peer.Send(fmt.Sprintf(`s%d m1 Message "/%d"`, id, i), fmt.Sprintf(`s%d m2 CloseSend`, id))
		}
		synctest.Wait()
	})
}

// TestWaitersAtStockRespectTheirContexts is the same over TCP, against stock:
// of those that wait for a call that lasts, every second gives up, and none of
// the others is harmed.
func TestWaitersAtStockRespectTheirContexts(t *testing.T) {
	release := make(chan struct{})
	started := make(chan struct{})
	c := pair{braid, stock}.connect(t, &drpctest.Service{BidiFn: func(stream drpc.Stream) error {
		close(started)
		<-release
		return nil
	}}, options{})
	long := mustStream(t, bg, c, drpctest.Bidi)
	await(t, started, "the long call")

	ctx, cancel := context.WithCancel(bg)
	var gone, served sync.WaitGroup
	for i := range 20 {
		if i%2 == 0 {
			gone.Go(func() {
				if got, err := drpctest.Call(ctx, c, "gone"); outcome(err) != "canceled" {
					t.Errorf("got %s", answer(got, err))
				}
			})
			continue
		}
		served.Go(func() { echo(t, c, fmt.Sprint(i)) })
	}
	cancel()
	gone.Wait() // while the long call still lasts
	close(release)
	must(t, long.CloseSend())
	if got := recv(long); got != "EOF" {
		t.Errorf("the long call: %s", got)
	}
	served.Wait()
}

// isClosed reports whether a channel is closed.
func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// TestUnblockedSaysWhetherACallWouldWait for another one to end.
func TestUnblockedSaysWhetherACallWouldWait(t *testing.T) {
	t.Run("towards stock, as with stock", func(t *testing.T) {
		for _, s := range stacks {
			clientBubble(t, s, options{SoftCancel: true}, func(t *testing.T, c side) {
				if !isClosed(c.conn.Unblocked()) {
					t.Errorf("%s: a new connection is blocked", s.name)
				}
				ctx, cancel := context.WithCancel(bg)
				c.open(ctx)
				during := c.conn.Unblocked()
				if isClosed(during) {
					t.Errorf("%s: not blocked while a stream is open", s.name)
				}
				cancel()
				await(t, during, "the stream before to end")
				if stream := c.open(bg); isClosed(c.conn.Unblocked()) {
					t.Errorf("%s: not blocked by %v", s.name, stream)
				}
			})
		}
	})
	t.Run("towards braid", func(t *testing.T) {
		clientBubble(t, braid, options{}, func(t *testing.T, c side) {
			c.open(bg)
			during := c.conn.Unblocked()
			c.peer.Send(settings("s1 m1"))
			synctest.Wait()
			if !isClosed(during) || !isClosed(c.conn.Unblocked()) {
				t.Error("blocked")
			}
		})
	})
}

// TestConnectionIsUnblockedWhenItsCallIsOver: as soon as Invoke has returned, and
// as soon as the context of a stream is done. It is what drpcpool goes by when it
// takes a connection or makes another.
func TestConnectionIsUnblockedWhenItsCallIsOver(t *testing.T) {
	ends := map[string]func(t *testing.T, c conn){
		"unary": func(t *testing.T, c conn) { echo(t, c, "x") },
		"stream": func(t *testing.T, c conn) {
			stream := mustStream(t, bg, c, drpctest.Bidi)
			if got := send(stream, "x") + recv(stream); got != `ok"x"` {
				t.Errorf("got %s", got)
			}
			must(t, stream.CloseSend())
			if got := recv(stream); got != "EOF" {
				t.Errorf("got %s", got)
			}
			await(t, stream.Context().Done(), "the end of the stream")
		},
	}
	for name, call := range ends {
		for _, s := range stacks {
			t.Run(name+"/"+s.name, func(t *testing.T) {
				c := pair{s, stock}.connect(t, &drpctest.Service{}, options{})
				const calls = 2000
				blocked := 0
				for range calls {
					call(t, c)
					if !isClosed(c.Unblocked()) {
						blocked++
					}
				}
				if blocked > 0 {
					t.Errorf("blocked after %d of %d calls", blocked, calls)
				}
			})
		}
	}
}
