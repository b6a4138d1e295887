package drpcstream

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"storj.io/drpc/drpcctx"

	"braid/drpcwire"
)

// testStream returns an open stream of a server, whose call has this deadline.
func testStream(t *testing.T, deadline time.Time) *Stream {
	w := drpcwire.NewMuxWriter(discard{}, drpcwire.MuxWriterOptions{})
	t.Cleanup(func() { w.Stop(nil) })
	s := New(t.Context(), &Config{Owner: alone{}, Writer: w, Server: true, Limit: 1000, Budget: NewBudget(0, 0)}, nil)
	s.Accept(1, drpcwire.Assembler{}, deadline)
	return s
}

// Err is nil while Done is not closed, also for who has the channel from before.
func TestTheContextIsDoneOnceItHasAnError(t *testing.T) {
	if runtime.GOMAXPROCS(0) == 1 {
		t.Skip("it takes two processors to see the moment between")
	}
	for range 2000 {
		ctx := testStreamContext()
		done, ready := ctx.Done(), make(chan struct{})
		early := make(chan bool)
		go func() {
			close(ready)
			for ctx.Err() == nil {
			}
			select {
			case <-done:
				early <- false
			default:
				early <- true
			}
		}()
		<-ready
		ctx.close(ctxCanceled)
		if <-early {
			t.Fatal("it has an error and is not done")
		}
	}
}

func testStreamContext() *streamCtx { return &streamCtx{Context: context.Background()} }

// The context is the same one whenever it is used first: before the stream ends or after.
func TestTheContextOfAStreamIsMadeWhenItIsUsed(t *testing.T) {
	for _, early := range []bool{false, true} {
		s := testStream(t, time.Time{})
		ctx := s.Context()
		if s.ctx.Load() != nil {
			t.Error("it was made before it was used")
		}
		if early && ctx.Err() != nil {
			t.Errorf("before the end: %v", ctx.Err())
		}
		s.Cancel(context.DeadlineExceeded)
		if !errors.Is(ctx.Err(), context.DeadlineExceeded) || ctx != s.Context() {
			t.Errorf("used early %v: %v", early, ctx.Err())
		}
		select {
		case <-ctx.Done():
		default:
			t.Errorf("used early %v: it is not done", early)
		}
		if got, ok := FromContext(ctx); !ok || got != s {
			t.Errorf("it is of %v", got)
		}
		if _, ok := drpcctx.Transport(ctx); ok {
			t.Error("it has a transport that nobody has given")
		}
	}
}

func TestTheContextHasTheDeadlineOfTheCall(t *testing.T) {
	want := time.Now().Add(time.Hour)
	s := testStream(t, want)
	if got, ok := s.Context().Deadline(); !ok || !got.Equal(want) {
		t.Errorf("%v, %v, want %v", got, ok, want)
	}
	_ = s.Return(nil)
	s = testStream(t, time.Time{})
	if got, ok := s.Context().Deadline(); ok {
		t.Errorf("%v where there is none", got)
	}
}
