package drpcserver_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"storj.io/drpc"
	"storj.io/drpc/drpcerr"

	"braid/drpcconn"
	"braid/drpcmanager"
	"braid/drpcmux"
	"braid/drpcserver"
	"braid/drpcstream"
	"braid/drpcwire"
	"braid/internal/drpctest"
)

// others makes calls on a connection, enough of them to use any storage again.
func others(t *testing.T, conn *drpcconn.Conn) {
	t.Helper()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 100 {
				text := fmt.Sprint(i, "-", j)
				if got, err := drpctest.Call(t.Context(), conn, text); got != text || err != nil {
					t.Errorf("got %q, %v", got, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestTheContextOfAUnaryCallOutlivesItsStream(t *testing.T) {
	kept := make(chan context.Context, 1)
	service := &drpctest.Service{UnaryFn: func(ctx context.Context, in *drpctest.Msg) (*drpctest.Msg, error) {
		if in.String() == "keep" {
			kept <- ctx
		}
		return in, nil
	}}
	conn, _ := serveOne(t, t.Context(), drpcserver.New(drpctest.Register(t, drpcmux.New(), service)))
	if _, err := drpctest.Call(t.Context(), conn, "keep"); err != nil {
		t.Fatal(err)
	}
	ctx := <-kept
	derived, cancel := context.WithTimeout(ctx, time.Hour)
	defer cancel()
	others(t, conn)
	select {
	case <-ctx.Done():
	default:
		t.Error("the context of a call that is over is not done")
	}
	if ctx.Err() != context.Canceled || derived.Err() != context.Canceled {
		t.Errorf("got %v and %v", ctx.Err(), derived.Err())
	}
	if s, ok := drpcstream.FromContext(ctx); ok {
		t.Errorf("the call is over, and its context has %v", s)
	}
	_ = conn.Close()
}

func TestAStreamThatAHandlerHasTakenFromItsContextIsNotUsedAgain(t *testing.T) {
	kept := make(chan *drpcstream.Stream, 1)
	service := &drpctest.Service{UnaryFn: func(ctx context.Context, in *drpctest.Msg) (*drpctest.Msg, error) {
		if in.String() == "keep" {
			s, ok := drpcstream.FromContext(ctx)
			if !ok {
				return nil, errors.New("no stream")
			}
			kept <- s
		}
		return in, nil
	}}
	conn, _ := serveOne(t, t.Context(), drpcserver.New(drpctest.Register(t, drpcmux.New(), service)))
	if _, err := drpctest.Call(t.Context(), conn, "keep"); err != nil {
		t.Fatal(err)
	}
	s := <-kept
	id := s.ID()
	others(t, conn)
	if s.ID() != id || s.State() != drpcstream.Closed || s.Context().Err() != context.Canceled {
		t.Errorf("the stream is %v, its id was %d", s, id)
	}
	if err := s.MsgSend(drpctest.Text("late"), drpctest.Enc{}); !drpc.ClosedError.Has(err) {
		t.Errorf("a send on it returned %v", err)
	}
	others(t, conn)
	_ = conn.Close()
}

// keeper describes one unary rpc whose receiver uses and keeps what no generated
// code looks at.
type keeper struct{ kept chan drpc.Stream }

func (*keeper) unary(context.Context, *drpctest.Msg) (*drpctest.Msg, error) { panic("not called") }

func (*keeper) NumMethods() int { return 1 }

func (k *keeper) Method(int) (string, drpc.Encoding, drpc.Receiver, any, bool) {
	return "/keeper", drpctest.Enc{}, func(_ any, _ context.Context, in1, in2 any) (drpc.Message, error) {
		stream := in2.(drpc.Stream)
		k.kept <- stream
		if in1.(*drpctest.Msg).String() == "use" {
			var more drpctest.Msg
			if err := stream.MsgRecv(&more, drpctest.Enc{}); err != io.EOF {
				return nil, fmt.Errorf("the second receive: %w", err)
			}
		}
		return in1, nil
	}, (*keeper).unary, true
}

func TestAReceiverThatKeepsTheStreamOfAUnaryCallDisturbsNoOther(t *testing.T) {
	for _, what := range []string{"keep", "use"} {
		t.Run(what, func(t *testing.T) {
			k := &keeper{kept: make(chan drpc.Stream, 1)}
			mux := drpctest.Register(t, drpcmux.New(), &drpctest.Service{})
			if err := mux.Register(k, k); err != nil {
				t.Fatal(err)
			}
			conn, _ := serveOne(t, t.Context(), drpcserver.New(mux))
			var out drpctest.Msg
			if err := conn.Invoke(t.Context(), "/keeper", drpctest.Enc{}, drpctest.Text(what), &out); err != nil || out.String() != what {
				t.Fatalf("%q, %v", out.String(), err)
			}
			stream := <-k.kept
			stop := make(chan struct{})
			var wg sync.WaitGroup
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					if err := stream.MsgSend(drpctest.Text("intruder"), drpctest.Enc{}); !drpc.ClosedError.Has(err) {
						t.Errorf("a send after the return: %v", err)
						return
					}
					_ = stream.CloseSend()
					_ = stream.Close()
					if err := stream.MsgRecv(new(drpctest.Msg), drpctest.Enc{}); err == nil {
						t.Error("a receive after the return has got something")
						return
					}
				}
			})
			others(t, conn)
			close(stop)
			wg.Wait()
			if stream.Context().Err() != context.Canceled {
				t.Errorf("its context: %v", stream.Context().Err())
			}
			_ = conn.Close()
		})
	}
}

// Calls that end in every way there is, many at once, on one connection: each gets
// its own answer, or the error that it asked for.
func TestCallsThatEndInEveryWayDoNotMeet(t *testing.T) {
	service := &drpctest.Service{UnaryFn: func(ctx context.Context, in *drpctest.Msg) (*drpctest.Msg, error) {
		text := in.String()
		switch way, _, _ := strings.Cut(text, " "); way {
		case "error":
			return nil, drpcerr.WithCode(errors.New(text), 77)
		case "panic":
			panic(text)
		case "wait":
			<-ctx.Done()
			return nil, ctx.Err()
		case "share":
			if s, ok := drpcstream.FromContext(ctx); !ok || s.IsTerminated() {
				return nil, errors.New("no stream, or one that has ended")
			}
		}
		return in, nil
	}}
	conn, _ := serveOne(t, t.Context(), drpcserver.New(drpctest.Register(t, drpcmux.New(), service)))
	ways := []string{"echo", "echo", "echo", "large", "error", "panic", "wait", "share"}
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 1))
			for j := range 150 {
				way := ways[rng.IntN(len(ways))]
				text := fmt.Sprint(way, " ", i, "-", j)
				if way == "large" {
					text += strings.Repeat("x", rng.IntN(200_000))
				}
				ctx, cancel := context.WithCancel(t.Context())
				if way == "wait" {
					cancel()
					ctx, cancel = context.WithTimeout(t.Context(), time.Duration(rng.IntN(2000))*time.Microsecond)
				}
				got, err := drpctest.Call(ctx, conn, text)
				cancel()
				switch {
				case way == "wait" && errors.Is(err, context.DeadlineExceeded):
				case way == "error" && drpcerr.Code(err) == 77 && strings.Contains(err.Error(), text):
				case way == "panic" && drpcerr.Code(err) == drpcwire.CodeInternal:
				case err != nil || got != text:
					t.Errorf("%.40q: %.40q, %v", text, got, err)
				}
			}
		})
	}
	wg.Wait()
	_ = conn.Close()
}

// Calls that wait for the budget of their connection, and are canceled while others are
// about to give them what they wait for: whoever looks at one of them there holds it.
func TestCallsThatWaitForTheBudgetAndEndDoNotMeet(t *testing.T) {
	const size = 300_000 // more than a window, so that each needs some of the budget
	service := &drpctest.Service{UnaryFn: func(_ context.Context, in *drpctest.Msg) (*drpctest.Msg, error) {
		return in, nil
	}}
	opts := drpcmanager.Options{Window: drpcmanager.Window{Initial: 16 << 10, Budget: 400_000}}
	server := drpcserver.NewWithOptions(drpctest.Register(t, drpcmux.New(), service), drpcserver.Options{Manager: opts})
	conn := drpcconn.NewWithOptions(drpctest.Dial(t, drpctest.Serve(t, server)), drpcconn.Options{Manager: opts})
	if _, err := drpctest.Call(t.Context(), conn, "known"); err != nil {
		t.Fatal(err)
	}
	calls := 40
	if testing.Short() {
		calls = 10
	}
	var wg sync.WaitGroup
	for i := range 24 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 2))
			for j := range calls {
				text := fmt.Sprint(i, "-", j, strings.Repeat("x", rng.IntN(size)))
				ctx, cancel := context.WithCancel(t.Context())
				hurried := rng.IntN(2) == 0
				if hurried {
					cancel()
					ctx, cancel = context.WithTimeout(t.Context(), time.Duration(rng.IntN(3000))*time.Microsecond)
				}
				got, err := drpctest.Call(ctx, conn, text)
				cancel()
				if err == nil && got != text || err != nil && (!hurried || !errors.Is(err, context.DeadlineExceeded)) {
					t.Errorf("%.20q: %.20q, %v", text, got, err)
				}
			}
		})
	}
	wg.Wait()
	_ = conn.Close()
}

// audited is a handler that goes on after the Mux has handled a call.
type audited struct {
	drpc.Handler
	after func(ctx context.Context)
}

func (a audited) HandleRPC(stream drpc.Stream, rpc string) error {
	err := a.Handler.HandleRPC(stream, rpc)
	a.after(stream.Context())
	return err
}

// The end of the call leaves when all of its handler has returned, and not with the
// answer.
func TestAHandlerAroundTheMuxRunsBeforeTheCallEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mux := drpctest.Register(t, drpcmux.New(), &drpctest.Service{})
		release, seen := make(chan struct{}), make(chan error, 1)
		server := drpcserver.New(audited{mux, func(ctx context.Context) {
			<-release
			seen <- ctx.Err()
		}})
		a, b := drpctest.Pipe()
		done := make(chan error, 1)
		go func() { done <- server.ServeOne(t.Context(), a) }()
		peer := drpctest.NewPeer(t, b)
		peer.Send(`s1 m1 Invoke "/test.Service/Unary"`, `s1 m2 Message "x"`, `s1 m3 CloseSend`)
		peer.Expect(`s1 m1 Message "x"`)
		synctest.Wait()
		peer.ExpectNothing()
		close(release)
		if err := <-seen; err != nil {
			t.Errorf("the context before the handler has returned: %v", err)
		}
		peer.Expect(`s1 m2 CloseSend`)
		peer.Close()
		<-done
	})
}
