package drpcstream

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"braid/drpcwire"
)

// slowOwner takes its time over the end of a stream.
type slowOwner struct {
	alone
	told chan struct{} // closed when it is told
	on   chan struct{} // it goes on when this is closed
}

func (o *slowOwner) StreamEnded(*Stream) {
	close(o.told)
	<-o.on
}

// The connection is told of an end before the context is done: who opens the next stream
// upon that finds the turn free. A receive or a send that fails by the end comes after
// both.
func TestTheConnectionLearnsOfAnEndBeforeTheContextAndThatBeforeOperationsFail(t *testing.T) {
	boom := errors.New("boom")
	for name, tc := range map[string]struct {
		end  func(*Stream)
		want error
	}{
		"Close":                 {func(s *Stream) { _ = s.Close() }, context.Canceled},
		"SendError":             {func(s *Stream) { _ = s.SendError(boom) }, context.Canceled},
		"Cancel":                {func(s *Stream) { s.Cancel(boom) }, context.Canceled},
		"deadline":              {func(s *Stream) { s.Cancel(context.DeadlineExceeded) }, context.DeadlineExceeded},
		"connection lost":       {func(s *Stream) { s.Lost(boom) }, context.Canceled},
		"the handler's return":  {func(s *Stream) { _ = s.Return(nil) }, context.Canceled},
		"the peer's Close":      {func(s *Stream) { handle(t, s, drpcwire.KindClose) }, context.Canceled},
		"the peer's Cancel":     {func(s *Stream) { handle(t, s, drpcwire.KindCancel) }, context.Canceled},
		"Close, what is queued": {func(s *Stream) { handle(t, s, drpcwire.KindMessage); _ = s.Close() }, context.Canceled},
	} {
		for _, early := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { endSlowly(t, early, tc.end, tc.want) })
			})
		}
	}
}

// endSlowly ends a stream while operations wait or begin, until its connection has taken
// note of the end. early says that they are there before.
func endSlowly(t *testing.T, early bool, end func(*Stream), want error) {
	w := drpcwire.NewMuxWriter(discard{}, drpcwire.MuxWriterOptions{})
	owner := &slowOwner{told: make(chan struct{}), on: make(chan struct{})}
	s := New(t.Context(), &Config{Owner: owner, Writer: w, Server: true, Limit: 1000, Budget: NewBudget(0, 0)}, nil)
	s.Accept(1, drpcwire.Assembler{}, time.Time{})
	var failed atomic.Int32
	var wg sync.WaitGroup
	begin := func(operation func() error) {
		wg.Go(func() {
			for operation() == nil {
			}
			failed.Add(1)
			if got := s.Context().Err(); got != want { //nolint:errorlint // the context's own
				t.Errorf("when an operation had failed, the context had ended by %v, want %v", got, want)
			}
		})
	}
	receive := func() error { _, err := s.RawRecv(); return err }
	if early {
		begin(receive)
		begin(func() error { <-s.Context().Done(); return s.Context().Err() })
		synctest.Wait()
	}
	go end(s)
	<-owner.told
	if !early {
		begin(receive)
		begin(func() error { return s.RawWrite(drpcwire.KindMessage, []byte("x")) })
	}
	synctest.Wait()
	if n := failed.Load(); n > 0 {
		t.Errorf("%d operations have ended before the connection knows", n)
	}
	close(owner.on)
	wg.Wait()
	w.Stop(nil)
	<-w.Done()
}

// Where a call of the application ends the context of a stream that has ended, the
// connection knows before that, too.
func TestTheConnectionLearnsOfAnEndBeforeTheApplicationEndsTheContext(t *testing.T) {
	for name, end := range map[string]func(*Stream){
		"the last receive": func(s *Stream) { _, _ = s.RawRecv() },
		"Close":            func(s *Stream) { _ = s.Close() },
		"Cancel":           func(s *Stream) { s.Cancel(nil) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { endDraining(t, end) })
		})
	}
}

// endDraining has the application do something while the connection learns of an end that
// leaves a message to be received.
func endDraining(t *testing.T, end func(*Stream)) {
	w := drpcwire.NewMuxWriter(discard{}, drpcwire.MuxWriterOptions{})
	owner := &slowOwner{told: make(chan struct{}), on: make(chan struct{})}
	s := New(t.Context(), &Config{Owner: owner, Writer: w, Limit: 1000, Budget: NewBudget(0, 0)}, nil)
	if err := s.Open(1, &Call{RPC: "/rpc", Unary: true}, new(Opening)); err != nil {
		t.Fatal(err)
	}
	handle(t, s, drpcwire.KindMessage)
	go handleAs(t, s, drpcwire.KindCloseSend, 101)
	<-owner.told
	if got := s.State(); got != Draining {
		t.Errorf("the stream is %v", got)
	}
	go end(s)
	synctest.Wait()
	if err := s.Context().Err(); err != nil {
		t.Errorf("the context has ended by %v before the connection knows", err)
	}
	close(owner.on)
	synctest.Wait()
	if err := s.Context().Err(); err != context.Canceled { //nolint:errorlint // the context's own
		t.Errorf("the context has ended by %v", err)
	}
	w.Stop(nil)
	<-w.Done()
}

// discard is a transport that takes everything.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// handle passes a frame without data to the stream.
func handle(t *testing.T, s *Stream, kind drpcwire.Kind) { handleAs(t, s, kind, 100) }

// handleAs does so with this message id.
func handleAs(t *testing.T, s *Stream, kind drpcwire.Kind, id uint64) {
	fr := drpcwire.Frame{ID: drpcwire.ID{Stream: s.ID(), Message: id}, Kind: kind, Done: true}
	if _, err := s.HandleFrame(Arrival{Frame: fr}); err != nil {
		t.Error(err)
	}
}
