package drpcwire_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/zeebo/assert"

	"braid/drpcwire"
)

// crowd is many streams that send through one MuxWriter at the same time, each
// now and then turning away from a wait. It keeps books of its own.
type crowd struct {
	m     *drpcwire.MuxWriter
	lanes [64]drpcwire.Lane
	got   bytes.Buffer // what was written; owned by the drain

	accepted [64][]uint64 // message ids, by lane; owned by the lane's goroutine
	bytes    [64]int      // what they take; owned likewise
	errs     [64]error    // what ended the lane; owned likewise
}

// yield lets others run, n times at most.
func yield(rng *rand.Rand, n int) {
	for range rng.IntN(n + 1) {
		runtime.Gosched()
	}
}

// frameOf returns message id of the lane, of a size that is mostly small, often
// about a lane's bound and at times over every bound.
func frameOf(rng *rand.Rand, lane int, id uint64) drpcwire.Frame {
	n := rng.IntN(50)
	switch rng.IntN(10) {
	case 0, 1, 2:
		n = rng.IntN(1500)
	case 3:
		n = rng.IntN(6000)
	}
	return drpcwire.Frame{
		Data: make([]byte, n), ID: drpcwire.ID{Stream: uint64(lane), Message: id}, Kind: drpcwire.KindMessage,
		Done: true,
	}
}

// run sends frames on one lane until the writer stops.
func (c *crowd) run(rng *rand.Rand, lane, frames int) {
	l := &c.lanes[lane]
	var stoppers sync.WaitGroup
	defer stoppers.Wait()
	for id := uint64(1); id <= uint64(frames); id++ {
		fr := frameOf(rng, lane, id)
		if rng.IntN(20) == 0 {
			fr.Data, fr.Control = nil, true
			if c.errs[lane] = c.m.WriteControl(fr); c.errs[lane] != nil {
				return
			}
			c.note(lane, fr)
			continue
		}
		stop := make(chan struct{})
		if rng.IntN(3) == 0 {
			n := rng.IntN(50)
			stoppers.Go(func() {
				for range n {
					runtime.Gosched()
				}
				close(stop)
			})
		}
		switch err := c.send(rng, l, fr, stop); {
		case err == nil:
			c.note(lane, fr)
		case !errors.Is(err, errGivenUp):
			c.errs[lane] = err
			return
		}
	}
}

func (c *crowd) note(lane int, fr drpcwire.Frame) {
	c.accepted[lane] = append(c.accepted[lane], fr.ID.Message)
	c.bytes[lane] += len(drpcwire.AppendFrame(nil, fr))
}

// send is like the function of that name, with more ways to change one's mind.
func (c *crowd) send(rng *rand.Rand, l *drpcwire.Lane, fr drpcwire.Frame, stop <-chan struct{}) error {
	for {
		err := c.m.TryWrite(l, fr)
		if err == nil {
			return nil
		}
		if errors.Is(err, drpcwire.ErrFull) {
			err = c.m.Wait(l, drpcwire.Size(fr), stop)
			yield(rng, 2) // what was granted stays granted
		}
		if err == nil {
			select {
			case <-stop:
				err = errGivenUp
			default:
				if rng.IntN(30) == 0 {
					err = errGivenUp
				}
			}
		}
		if err != nil {
			c.m.Forgo(l)
			return err
		}
	}
}

// stress runs a crowd to its end, with interfere running beside it, and checks
// the books. A lane that is never woken ends the test by the bubble's deadlock.
func stress(t *testing.T, seed uint64, write func(p []byte) (int, error), interfere func(m *drpcwire.MuxWriter)) {
	const frames = 60
	synctest.Test(t, func(t *testing.T) {
		var c crowd
		rng := seeded(seed)
		c.m = drpcwire.NewMuxWriter(writeFunc(func(p []byte) (int, error) {
			yield(rng, 8) // the drain's own from here on
			n, err := write(p)
			c.got.Write(p[:n])
			return n, err
		}), drpcwire.MuxWriterOptions{MaximumPending: 8 << 10, MaximumPendingPerStream: 2 << 10})

		var wg sync.WaitGroup
		for lane := range c.lanes {
			wg.Go(func() { c.run(seeded(seed+uint64(lane)+1), lane, frames) })
		}
		wg.Go(func() { interfere(c.m) })
		wg.Wait()
		end := c.m.Flush(nil)
		books := c.m.Books()
		books.Storage = 0
		assert.Equal(t, books, drpcwire.Books{})
		c.m.Stop(nil)
		<-c.m.Done()
		c.check(t, end)
	})
}

// check compares what was written with what was accepted: all of it if the
// writer has not failed, and the front of it in any case.
func (c *crowd) check(t *testing.T, end error) {
	t.Helper()
	var total int
	for lane, err := range c.errs {
		if err != nil && err != end { //nolint:errorlint // the very error
			t.Fatalf("lane %d ended with %v, the writer with %v", lane, err, end)
		}
		total += c.bytes[lane]
	}
	if end == nil {
		assert.Equal(t, c.got.Len(), total)
	}
	var seen [64]int
	for rem := c.got.Bytes(); ; {
		next, fr, ok, err := drpcwire.ParseFrame(rem)
		assert.NoError(t, err)
		if !ok {
			assert.True(t, len(rem) == 0 || end != nil)
			break
		}
		lane := fr.ID.Stream
		if seen[lane] >= len(c.accepted[lane]) || c.accepted[lane][seen[lane]] != fr.ID.Message {
			t.Fatalf("%v was written, accepted were %d of %v", fr, seen[lane], c.accepted[lane])
		}
		seen[lane]++
		rem = next
	}
}

func TestACrowdIsServedToTheLast(t *testing.T) {
	for seed, i := random(t).Uint64(), 0; i < 5; i++ {
		stress(t, seed+uint64(1000*i),
			func(p []byte) (int, error) { return len(p), nil },
			func(*drpcwire.MuxWriter) {})
	}
}

func TestACrowdIsSentAwayByStop(t *testing.T) {
	for seed, i := random(t).Uint64(), 0; i < 10; i++ {
		rng := seeded(seed + uint64(i))
		stress(t, seed+uint64(1000*i),
			func(p []byte) (int, error) { return len(p), nil },
			func(m *drpcwire.MuxWriter) {
				yield(rng, 2000)
				m.Stop(fmt.Errorf("stop %d", i))
			})
	}
}

func TestACrowdIsSentAwayByAFailedWrite(t *testing.T) {
	for seed, i := random(t).Uint64(), 0; i < 10; i++ {
		left := seeded(seed + uint64(i)).IntN(200_000)
		stress(t, seed+uint64(1000*i), func(p []byte) (int, error) {
			if left -= len(p); left < 0 {
				return len(p) / 2, errCause
			}
			return len(p), nil
		}, func(*drpcwire.MuxWriter) {})
	}
}

func TestFlushInACrowdReturns(t *testing.T) {
	seed := random(t).Uint64()
	stress(t, seed,
		func(p []byte) (int, error) { return len(p), nil },
		func(m *drpcwire.MuxWriter) {
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					for range 50 {
						if err := m.Flush(nil); err != nil {
							t.Error(err)
						}
					}
				})
			}
			wg.Wait()
		})
}
