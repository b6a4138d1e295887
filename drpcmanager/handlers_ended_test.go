package drpcmanager

import (
	"testing"
	"time"

	"braid/drpcstream"
	"braid/drpcwire"
	"braid/internal/drpctest"
)

// between is the owner of a stream that has another handler return between the end of
// the stream and the moment when the manager takes it out.
type between struct{ *Manager }

func (b between) StreamEnded(s *drpcstream.Stream) {
	b.Returned(nil)
	b.Manager.StreamEnded(s)
}

// A stream that waits for its handler and ends is finished, whoever takes it out of the
// line: nobody will receive what has come on it.
func TestAStreamThatEndsInLineIsFinished(t *testing.T) {
	a, b := drpctest.Pipe()
	defer b.Close()
	m := NewServer(t.Context(), a, Options{}, Hooks{Handle: func(*drpcstream.Stream, string) { t.Error("it was handled") }})
	defer m.CloseNow(ErrClosed)
	config := &drpcstream.Config{Owner: between{m}, Writer: m.wr, Server: true, Limit: 1000, Budget: m.budget}
	s := drpcstream.New(t.Context(), config, nil)
	s.Accept(3, drpcwire.Assembler{}, time.Time{})
	m.mu.Lock()
	m.handlers.running = m.handlers.limit
	m.addLocked(s)
	if m.handlers.add(invoke{stream: s}) {
		t.Fatal("there is a place")
	}
	m.mu.Unlock()
	for i, kind := range []drpcwire.Kind{drpcwire.KindMessage, drpcwire.KindClose} {
		fr := drpcwire.Frame{ID: drpcwire.ID{Stream: 3, Message: uint64(i + 1)}, Kind: kind, Done: true}
		if _, err := s.HandleFrame(drpcstream.Arrival{Frame: fr}); err != nil {
			t.Fatal(err)
		}
	}
	if s.State() != drpcstream.Closed {
		t.Errorf("the stream is %v", s.State())
	}
	if got := m.budget.Totals(); got.Received != drpcwire.FrameCost || got.Dropped != got.Received {
		t.Errorf("%+v", got)
	}
}
