package drpcstream

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"braid/drpcwire"
	"braid/internal/drpctest"
)

// alone is the owner of streams without a connection.
type alone struct{}

func (alone) StreamEnded(*Stream)        {}
func (alone) Returned(*Stream)           {}
func (alone) PeerKnown() bool            { return true }
func (alone) PeerLimit() int             { return 0 }
func (alone) Windows() (own, peer int64) { return 0, 0 }
func (alone) RoundTrip() time.Duration   { return 0 }
func (alone) Draining() <-chan struct{}  { return nil }

// onWriter returns open streams of a writer with a total bound, to a transport
// that is stuck from the start.
func onWriter(t *testing.T, bound, hold, n int) (*drpcwire.MuxWriter, *drpctest.End, []*Stream) {
	a, b := drpctest.Pipe()
	a.Limit(0)
	w := drpcwire.NewMuxWriter(a, drpcwire.MuxWriterOptions{MaximumPending: bound})
	t.Cleanup(func() {
		w.Stop(context.Canceled)
		_, _ = a.Close(), b.Close()
		<-w.Done()
	})
	if err := w.WriteControl(drpcwire.Frame{Kind: drpcwire.KindPing, Control: true, Done: true}); err != nil {
		t.Fatal(err)
	}
	synctest.Wait() // the drain is stuck in writing that
	streams := make([]*Stream, n)
	for i := range streams {
		streams[i] = New(t.Context(), &Config{Owner: alone{}, Writer: w, HoldSize: hold, Budget: NewBudget(0, 0)}, nil)
		streams[i].Accept(uint64(i+1), drpcwire.Assembler{}, time.Time{})
	}
	return w, a, streams
}

// What was gathered does not fit, while the frame that is to be added would: the
// sender waits for the room it needs, and does not spin.
func TestASenderWaitsForTheRoomOfWhatItHasGathered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, own, s := onWriter(t, 1000, 300, 2)
		if err := s[0].RawWrite(drpcwire.KindMessage, make([]byte, 800)); err != nil {
			t.Fatal(err)
		}
		s[1].SetManualFlush(true)
		if err := s[1].RawWrite(drpcwire.KindMessage, make([]byte, 250)); err != nil {
			t.Fatal(err)
		}
		done := false
		go func() {
			if err := s[1].RawWrite(drpcwire.KindMessage, make([]byte, 20)); err != nil {
				t.Error(err)
			}
			done = true
		}()
		synctest.Wait() // would not return while a sender spins
		if done {
			t.Error("what does not fit was queued")
		}
		own.Limit(-1)
		synctest.Wait()
		if !done {
			t.Error("the sender still waits")
		}
	})
}

// A grant that is not used, because the frame was gathered instead, goes back.
func TestAGrantIsGivenBackWhenTheFrameIsGathered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, own, s := onWriter(t, 1000, 100_000, 3)
		for range 20 {
			if err := s[0].RawWrite(drpcwire.KindMessage, make([]byte, 900)); err != nil {
				t.Fatal(err)
			}
			sent := make(chan error, 1)
			s[1].SetManualFlush(false)
			go func() { sent <- s[1].RawWrite(drpcwire.KindMessage, make([]byte, 500)) }()
			synctest.Wait()
			s[1].SetManualFlush(true)
			own.Limit(-1)
			if err := <-sent; err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			own.Limit(0)
			// Had the grant been kept, this would not fit at some time.
			if err := s[2].RawWrite(drpcwire.KindMessage, make([]byte, 900)); err != nil {
				t.Fatal(err)
			}
			own.Limit(-1)
			synctest.Wait()
			own.Limit(0)
		}
	})
}

func TestABurstOverTheHoldSizeIsSentInPieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, own, s := onWriter(t, 1<<20, 1000, 1)
		own.Limit(-1)
		synctest.Wait()
		before := len(own.Writes())
		s[0].SetManualFlush(true)
		for range 30 {
			if err := s[0].RawWrite(drpcwire.KindMessage, make([]byte, 90)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		if n := len(own.Writes()) - before; n != 2 { // ten frames of 94 bytes each
			t.Errorf("%d writes, want 2", n)
		}
		if err := s[0].RawFlush(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := len(own.Writes()) - before; n != 3 || !w.Empty() {
			t.Errorf("%d writes after the flush, want 3", n)
		}
	})
}

// A short message does not leave between the frames of one that waits for credit.
func TestAShortMessageWaitsForTheOneThatIsBeingSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := drpcwire.NewMuxWriter(discard{}, drpcwire.MuxWriterOptions{})
		opts := Options{SplitSize: 10 << 10}
		s := New(t.Context(), &Config{Owner: credited{}, Writer: w, Budget: NewBudget(0, 0), Options: opts}, nil)
		s.Accept(1, drpcwire.Assembler{}, time.Time{})
		go func() { _ = s.RawWrite(drpcwire.KindMessage, make([]byte, 100<<10)) }()
		synctest.Wait() // it has no credit for all of it
		s.mu.Lock()
		s.out.credit += 1000 // for a short one, if it were its turn
		s.mu.Unlock()
		if s.sendAtOnce(make([]byte, 10)) {
			t.Error("a message has left between the frames of another one")
		}
		s.Credit(1 << 20)
		synctest.Wait()
		if !s.sendAtOnce(make([]byte, 10)) {
			t.Error("a message does not leave once the one before it has")
		}
		w.Stop(nil)
		<-w.Done()
	})
}
