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
	"time"

	"storj.io/drpc"
	"storj.io/drpc/drpcerr"

	"braid/drpcconn"
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
