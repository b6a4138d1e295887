package drpcstream

import (
	"sync"
	"testing"
	"time"

	"braid/drpcwire"
)

// pieces passes the frames of a message to the stream, of 64 KiB each, the last one only
// if the message is to be complete.
func pieces(t *testing.T, s *Stream, id uint64, frames int, complete bool) {
	t.Helper()
	for i := range frames {
		fr := drpcwire.Frame{
			ID: drpcwire.ID{Stream: s.ID(), Message: id}, Kind: drpcwire.KindMessage,
			Done: complete && i == frames-1, Data: make([]byte, 64<<10),
		}
		if _, err := s.HandleFrame(Arrival{Frame: fr}); err != nil {
			t.Fatal(err)
		}
		if fr.Done {
			if _, err := s.RawRecv(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// storage is what the stream has for the message that is arriving.
func storage(s *Stream) int { return cap(s.asm.Storage()) }

// aheadRig is streams of a connection that has had two messages of 1 MiB.
func aheadRig(t *testing.T) (cfg *Config, streams [3]*Stream) {
	t.Helper()
	w := drpcwire.NewMuxWriter(discard{}, drpcwire.MuxWriterOptions{})
	t.Cleanup(func() {
		w.Stop(nil)
		<-w.Done()
	})
	cfg = &Config{Owner: alone{}, Writer: w, Server: true, Limit: 4 << 20, Budget: NewBudget(1<<30, 1<<30)}
	for i := range streams {
		streams[i] = New(t.Context(), cfg, nil)
		streams[i].Accept(uint64(2*i+1), drpcwire.Assembler{}, time.Time{})
	}
	pieces(t, streams[0], 1, 16, true)
	pieces(t, streams[0], 2, 1, false)
	if n := storage(streams[0]); n >= 1<<20 {
		t.Errorf("after one large message %d bytes are taken ahead", n)
	}
	pieces(t, streams[0], 3, 16, true) // in place of the one before
	pieces(t, streams[0], 4, 1, false)
	return cfg, streams
}

func TestALargeMessageHasItsStorageAhead(t *testing.T) {
	_, streams := aheadRig(t)
	if n := storage(streams[0]); n < 1<<20 {
		t.Errorf("after two messages of 1 MiB there are %d bytes for the third", n)
	}
	pieces(t, streams[1], 1, 1, false)
	if n := storage(streams[1]); n >= 1<<20 {
		t.Errorf("another stream has %d bytes at the same time", n)
	}
	pieces(t, streams[0], 4, 15, true)
	pieces(t, streams[1], 2, 1, false)
	if n := storage(streams[1]); n < 1<<20 {
		t.Errorf("another stream has %d bytes once the first one needs none", n)
	}
}

func TestASmallerMessageIsNotTakenForALargeOne(t *testing.T) {
	_, streams := aheadRig(t)
	pieces(t, streams[0], 4, 1, true) // 128 KiB
	pieces(t, streams[0], 5, 1, false)
	if n := storage(streams[0]); n > 256<<10 {
		t.Errorf("%d bytes are there ahead, and the last message had 128 KiB", n)
	}
}

// A stream does not keep what was ahead of a message that turned out to be small.
func TestStorageAheadDoesNotStay(t *testing.T) {
	for _, waits := range []bool{false, true} { // for the message
		_, streams := aheadRig(t)
		s := streams[1]
		pieces(t, streams[0], 4, 15, true)
		pieces(t, s, 1, 1, false)
		if n := storage(s); n < 1<<20 {
			t.Fatalf("%d bytes are there ahead", n)
		}
		if waits {
			s.recv.reading, s.recv.arrived = true, make(chan struct{}, 1)
		}
		last := drpcwire.Frame{ID: drpcwire.ID{Stream: s.ID(), Message: 1}, Kind: drpcwire.KindMessage, Done: true}
		if _, err := s.HandleFrame(Arrival{Frame: last}); err != nil {
			t.Fatal(err)
		}
		if n := storage(s); n > ringMaxSpare {
			t.Errorf("%d bytes stay for messages to come", n)
		}
		if n := cap(s.recv.slots[0].data); n > 128<<10 {
			t.Errorf("a message of 64 KiB is in storage of %d bytes", n)
		}
		if got, err := s.RawRecv(); err != nil || len(got) != 64<<10 {
			t.Errorf("got %d bytes, %v", len(got), err)
		}
	}
}

func TestStorageAheadIsGivenBackWhenItsMessage(t *testing.T) {
	for name, end := range map[string]func(s *Stream){
		"is complete":              func(s *Stream) { pieces(t, s, 4, 15, true) },
		"is abandoned":             func(s *Stream) { pieces(t, s, 5, 1, true) },
		"is over the limit":        func(s *Stream) { pieces(t, s, 4, 64, false) },
		"has lost its connection":  func(s *Stream) { s.Lost(ErrRefused) },
		"was canceled":             func(s *Stream) { s.Cancel(nil) },
		"is cut off by the client": func(s *Stream) { handle(t, s, drpcwire.KindCancel) },
	} {
		cfg, streams := aheadRig(t)
		if cfg.ahead.user.Load() != streams[0] {
			t.Fatal("there is no storage ahead")
		}
		end(streams[0])
		if cfg.ahead.user.Load() != nil {
			t.Errorf("%s: it was not given back", name)
		}
		pieces(t, streams[1], 1, 1, false)
		if n := storage(streams[1]); (n >= 1<<20) != (name == "is complete") {
			t.Errorf("%s: the next large message has %d bytes ahead", name, n)
		}
	}
}

// The reader may be making room for the rest of a message when the stream ends.
func TestStorageAheadIsGivenBackBesideReserve(t *testing.T) {
	for range 100 {
		cfg, streams := aheadRig(t)
		s := streams[0]
		pieces(t, s, 4, 15, false)
		var wg sync.WaitGroup
		wg.Go(func() { s.Reserve(64 << 10) })
		wg.Go(func() { s.Cancel(nil) })
		wg.Wait()
		if cfg.ahead.user.Load() != nil || storage(s) > 0 {
			t.Fatalf("%d bytes are kept of a stream that has ended", storage(s))
		}
	}
}
