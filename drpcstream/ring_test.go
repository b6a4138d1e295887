package drpcstream

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"testing/synctest"
)

func newRing() *ring { return new(ring) }

// push appends a message that came in one frame.
func push(r *ring, msg []byte) (storage []byte) {
	storage, _ = r.push(msg, arrival{cost: frameCost(len(msg)), newPacket: true})
	return storage
}

func acquire(r *ring, done <-chan struct{}) ([]byte, error) {
	if done == nil {
		return r.acquire()
	}
	return r.acquireBefore(done, 0)
}

// queued returns the number of messages that wait.
func (r *ring) queued() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lenLocked()
}

func take(t *testing.T, r *ring) string {
	t.Helper()
	data, err := acquire(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := string(data)
	r.release()
	return s
}

func TestRingKeepsOrderWhileItGrows(t *testing.T) {
	r := newRing()
	next, want := 0, 0
	rng := rand.New(rand.NewPCG(1, 2))
	for want < 10_000 {
		for range rng.IntN(40) {
			push(r, fmt.Append(nil, next))
			next++
		}
		for range rng.IntN(40) {
			if r.queued() == 0 {
				break
			}
			if got := take(t, r); got != fmt.Sprint(want) {
				t.Fatalf("got %s want %d", got, want)
			}
			want++
		}
	}
	if n := len(r.slots); n&(n-1) != 0 {
		t.Errorf("%d slots is no power of two", n)
	}
}

func TestRingStartsSmallAndCirculatesItsStorage(t *testing.T) {
	r := newRing()
	if r.slots != nil {
		t.Error("an unused ring has slots")
	}
	storage := push(r, []byte("first"))
	if storage != nil || len(r.slots) != ringMinSlots {
		t.Errorf("after one message: %d slots, storage %v", len(r.slots), storage)
	}
	take(t, r)
	if storage = push(r, []byte("second")); string(storage) != "first" {
		t.Errorf("the storage of the first message did not come back: %q", storage)
	}
}

func TestRingLendsAMessageWithoutCopying(t *testing.T) {
	r := newRing()
	msg := []byte("message")
	push(r, msg)
	got, err := acquire(r, nil)
	if err != nil || &got[0] != &msg[0] {
		t.Fatalf("got another storage (%v)", err)
	}
	// What is lent is not touched by the producer, however much it adds.
	for range 100 {
		push(r, []byte("other"))
	}
	if string(got) != "message" {
		t.Errorf("the lent message became %q", got)
	}
	r.release()
}

func TestRingKeepsLittleStorage(t *testing.T) {
	r := newRing()
	// Many small messages make many slots; then each slot has a large one.
	for range ringMaxSlots {
		push(r, []byte{1})
	}
	for range ringMaxSlots {
		take(t, r)
	}
	for range 2 * ringMaxSlots {
		push(r, make([]byte, 60<<10))
		take(t, r)
	}
	kept := cap(r.spare)
	for _, storage := range r.spares.list {
		kept += cap(storage)
	}
	for _, slot := range r.slots {
		kept += cap(slot.data)
	}
	if accounted := cap(r.spare) + r.spares.bytes; kept > ringMaxSpare || kept != accounted {
		t.Errorf("%d bytes are kept, %d accounted for, want at most %d", kept, accounted, ringMaxSpare)
	}
	r.keep = 10
	r.spare, r.spares = nil, nil
	push(r, make([]byte, 11))
	take(t, r)
	push(r, make([]byte, 10))
	take(t, r)
	if r.spares != nil || cap(r.spare) != 10 {
		t.Errorf("kept %d bytes, and %v", cap(r.spare), r.spares)
	}
}

func TestAFullRingBlocksItsProducerUntilAMessageIsReleased(t *testing.T) {
	for name, fill := range map[string]func(*ring) int{
		"messages": func(r *ring) int {
			for range ringMaxSlots {
				push(r, []byte{1})
			}
			return ringMaxSlots
		},
		"bytes": func(r *ring) int {
			for range 4 {
				push(r, make([]byte, ringMaxBytes/4))
			}
			return 4
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRing()
				n := fill(r)
				pushed := false
				go func() { push(r, []byte{2}); pushed = true }()
				synctest.Wait()
				if pushed {
					t.Fatalf("%d messages and one more fit", n)
				}
				take(t, r)
				synctest.Wait()
				if !pushed {
					t.Fatal("a released message made no room")
				}
				if r.queued() != n {
					t.Errorf("%d messages are queued, want %d", r.queued(), n)
				}
			})
		})
	}
}

func TestAMessageLargerThanTheRingIsTakenWhenItIsEmpty(t *testing.T) {
	r := newRing()
	push(r, make([]byte, 3*ringMaxBytes)) // must not block (M38)
	if got := take(t, r); len(got) != 3*ringMaxBytes {
		t.Errorf("got %d bytes", len(got))
	}
	if r.bytes != 0 {
		t.Errorf("%d bytes are accounted for in an empty ring", r.bytes)
	}
}

func TestClosingTheRingWakesBothSides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRing()
		var got error
		go func() { _, got = acquire(r, nil) }()
		synctest.Wait()
		if !r.close(io.EOF) {
			t.Error("an empty ring is not drained")
		}
		synctest.Wait()
		if got != io.EOF {
			t.Errorf("the consumer got %v", got)
		}

		r = newRing()
		for range ringMaxSlots {
			push(r, []byte{1})
		}
		var back []byte
		go func() { back = push(r, []byte("late")) }()
		synctest.Wait()
		if r.close(io.EOF) {
			t.Error("a full ring is drained")
		}
		synctest.Wait()
		if string(back) != "late" {
			t.Errorf("the producer got %q back", back)
		}
		if r.queued() != ringMaxSlots {
			t.Errorf("%d messages are left", r.queued())
		}
	})
}

func TestWhatIsQueuedComesBeforeTheEnd(t *testing.T) {
	r := newRing()
	push(r, []byte("a"))
	push(r, []byte("b"))
	if r.close(io.EOF) {
		t.Error("drained with two messages")
	}
	r.close(errors.New("second")) // the first reason stays
	if a, b := take(t, r), ""; a != "a" {
		t.Errorf("got %q", a)
	} else if data, _ := acquire(r, nil); string(data) != "b" {
		t.Errorf("got %q", b)
	}
	if !r.release() {
		t.Error("the last release does not report the end")
	}
	if _, err := acquire(r, nil); err != io.EOF {
		t.Errorf("got %v", err)
	}
}

func TestDiscardDropsAllButWhatIsLent(t *testing.T) {
	r := newRing()
	push(r, []byte("lent"))
	push(r, []byte("dropped"))
	data, _ := acquire(r, nil)
	r.discard(io.ErrClosedPipe)
	if string(data) != "lent" || r.queued() != 1 {
		t.Errorf("%q is lent, %d queued", data, r.queued())
	}
	r.release()
	if _, err := acquire(r, nil); err != io.ErrClosedPipe || r.bytes != 0 {
		t.Errorf("got %v, %d bytes accounted for", err, r.bytes)
	}
}

// The token that wakes the consumer may be on its way when the consumer turns
// away: it must neither be lost for the next wait nor wake it for nothing.
func TestAnInterruptedReceiveLeavesTheRingUsable(t *testing.T) {
	for range 20_000 {
		r := newRing()
		done := make(chan struct{})
		go close(done)
		pushed := make(chan struct{})
		go func() { push(r, []byte("m")); close(pushed) }()
		if _, err := acquire(r, done); err == nil {
			r.release()
		} else if err != errInterrupted {
			t.Fatal(err)
		} else {
			<-pushed
			take(t, r)
		}
		<-pushed
		r.close(io.EOF)
		if _, err := acquire(r, nil); err != io.EOF {
			t.Fatal(err)
		}
	}
}

func BenchmarkRing(b *testing.B) {
	r := newRing()
	buf := make([]byte, 0, 16)
	for b.Loop() {
		buf = append(push(r, append(buf[:0], 1)), 0)
		if _, err := acquire(r, nil); err != nil {
			b.Fatal(err)
		}
		r.release()
	}
}
