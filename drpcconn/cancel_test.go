package drpcconn_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"storj.io/drpc"

	"braid/drpcconn"
	"braid/drpcmux"
	"braid/drpcserver"
	"braid/internal/drpctest"
)

// A unary call that is canceled at any moment returns the answer or the
// context's error, and nothing else, whoever wins the race (F12). The handler
// itself cancels its call, so that the two are on their way at the same time.
func TestACanceledCallReturnsTheAnswerOrTheContextsError(t *testing.T) {
	var cancels sync.Map // of context.CancelFunc, by request
	service := &drpctest.Service{UnaryFn: func(_ context.Context, in *drpctest.Msg) (*drpctest.Msg, error) {
		f, ok := cancels.LoadAndDelete(in.String())
		if !ok {
			return in, nil
		}
		var yields int
		if _, err := fmt.Sscanf(in.String(), "%d ", &yields); err != nil {
			return nil, err
		}
		go func() {
			for range yields {
				runtime.Gosched()
			}
			f.(context.CancelFunc)()
		}()
		return in, nil
	}}
	conn := connect(t, service)
	rounds := 100_000
	if testing.Short() {
		rounds = 5_000
	}
	var answered, canceled atomic.Int64
	var wg sync.WaitGroup
	const callers = 32
	for c := range callers {
		wg.Go(func() {
			for i := range rounds / callers {
				ctx, cancel := context.WithCancel(t.Context())
				in := fmt.Sprintf("%d %d %d", i%256, c, i)
				cancels.Store(in, cancel)
				if i%50 == 0 {
					cancel()
				}
				got, err := drpctest.Call(ctx, conn, in)
				switch {
				case err == nil && got == in:
					answered.Add(1)
				case err == context.Canceled:
					canceled.Add(1)
				default:
					t.Errorf("caller %d round %d: %q, %v", c, i, got, err)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	t.Logf("%d answered, %d canceled", answered.Load(), canceled.Load())
	if min(answered.Load(), canceled.Load()) < 50 {
		t.Errorf("%d answered and %d canceled: the race was not run", answered.Load(), canceled.Load())
	}
	if got, err := drpctest.Call(t.Context(), conn, "alive"); got != "alive" || err != nil {
		t.Errorf("the connection: %q, %v", got, err)
	}
}

// ending is one way for a stream to end, seen from the client.
type ending struct {
	name    string
	handler func(stream drpc.Stream) error
	client  func(cancel func(), stream drpc.Stream) error
}

var endings = []ending{
	{"EOF", (&drpctest.Service{}).Bidi, func(_ func(), s drpc.Stream) error {
		_ = drpctest.Send(s, "x")
		_, _ = drpctest.Recv(s)
		_ = s.CloseSend()
		if _, err := drpctest.Recv(s); err != io.EOF {
			return err
		}
		return nil
	}},
	{"error", func(drpc.Stream) error { return errors.New("handler") }, func(_ func(), s drpc.Stream) error {
		if _, err := drpctest.Recv(s); err == nil || err.Error() != "handler" {
			return err
		}
		return nil
	}},
	{"cancel", (&drpctest.Service{}).Bidi, func(cancel func(), s drpc.Stream) error {
		_ = drpctest.Send(s, "unread")
		cancel()
		if _, err := drpctest.Recv(s); err != nil && err != context.Canceled {
			return err
		}
		return nil
	}},
	{"deadline", (&drpctest.Service{}).Bidi, func(_ func(), s drpc.Stream) error {
		if _, err := drpctest.Recv(s); err != context.DeadlineExceeded {
			return err
		}
		return nil
	}},
	{"dropped", (&drpctest.Service{}).Bidi, func(cancel func(), s drpc.Stream) error {
		_ = drpctest.Send(s, "unread")
		cancel() // and nobody looks at the stream again
		return nil
	}},
	{"closed", (&drpctest.Service{}).Bidi, func(_ func(), s drpc.Stream) error {
		_ = drpctest.Send(s, "unread")
		return s.Close()
	}},
}

// After 10,000 streams of each ending, neither end knows of any of them (M18).
// TestMain sees to the goroutines.
func TestNothingIsLeftOfStreamsThatHaveEnded(t *testing.T) {
	n := 10_000
	if testing.Short() {
		n = 500
	}
	for _, e := range endings {
		t.Run(e.name, func(t *testing.T) {
			var running atomic.Int64
			service := &drpctest.Service{BidiFn: func(s drpc.Stream) error {
				running.Add(1)
				defer running.Add(-1)
				return e.handler(s)
			}}
			conn := connect(t, service)
			var wg sync.WaitGroup
			for range 50 {
				wg.Go(func() {
					for range n / 50 {
						if err := useOnce(t.Context(), conn, e); err != nil {
							t.Errorf("%v", err)
						}
					}
				})
			}
			wg.Wait()
			// The last frames are on their way: a call behind them has overtaken
			// none of them, and the handlers return in their own time.
			if _, err := drpctest.Call(t.Context(), conn, "behind"); err != nil {
				t.Error(err)
			}
			eventually(t, func() bool { return conn.Streams() == 0 && running.Load() == 0 })
		})
	}
}

// useOnce opens a stream and ends it.
func useOnce(ctx context.Context, conn drpc.Conn, e ending) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if e.name == "deadline" {
		ctx, cancel = context.WithTimeout(ctx, time.Millisecond)
		defer cancel()
	}
	stream, err := conn.NewStream(ctx, drpctest.Bidi, drpctest.Enc{})
	if e.name == "deadline" && err == context.DeadlineExceeded {
		return nil
	} else if err != nil {
		return err
	}
	return e.client(cancel, stream)
}

// eventually waits for something that other goroutines are about to bring about.
func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("it did not happen")
		}
	}
}

// A connection with nothing but a hung-up peer behind it, many times: both sides
// find out and leave nothing.
func TestConnectionsComeAndGo(t *testing.T) {
	server := drpcserver.New(drpctest.Register(t, drpcmux.New(), &drpctest.Service{}))
	addr := drpctest.Serve(t, server)
	for range 300 {
		conn := drpcconn.New(drpctest.Dial(t, addr))
		if got, err := drpctest.Call(t.Context(), conn, "x"); got != "x" || err != nil {
			t.Fatalf("%q, %v", got, err)
		}
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
