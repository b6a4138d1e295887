package drpcstream

import (
	"context"
	"errors"
	"testing"
	"time"

	"braid/drpcwire"
)

// witness is the owner of a stream that looks at its context when it has ended.
type witness struct {
	alone
	ended bool
	ctx   error
}

func (w *witness) StreamEnded(s *Stream) { w.ended, w.ctx = true, s.Context().Err() }

// A receive that returns why the stream was ended must not find its context alive: the
// context ends first, before anybody is woken.
func TestTheContextEndsBeforeAnybodyIsTold(t *testing.T) {
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
		t.Run(name, func(t *testing.T) {
			for _, asked := range []bool{false, true} { // for the context, before
				w := drpcwire.NewMuxWriter(discard{}, drpcwire.MuxWriterOptions{})
				owner := &witness{}
				s := New(t.Context(), &Config{Owner: owner, Writer: w, Server: true, Limit: 1000, Budget: NewBudget(0, 0)}, nil)
				s.Accept(1, drpcwire.Assembler{}, time.Time{})
				if asked && s.Context().Err() != nil {
					t.Fatal("the context is done before the stream is")
				}
				tc.end(s)
				if !owner.ended || owner.ctx != tc.want {
					t.Errorf("when the connection was told (%v), the context had ended by %v, want %v",
						owner.ended, owner.ctx, tc.want)
				}
				w.Stop(nil)
				<-w.Done()
			}
		})
	}
}

// discard is a transport that takes everything.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// handle passes a frame without data to the stream.
func handle(t *testing.T, s *Stream, kind drpcwire.Kind) {
	fr := drpcwire.Frame{ID: drpcwire.ID{Stream: s.ID(), Message: 100}, Kind: kind, Done: true}
	if _, err := s.HandleFrame(Arrival{Frame: fr}); err != nil {
		t.Fatal(err)
	}
}
