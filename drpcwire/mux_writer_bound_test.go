package drpcwire_test

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"testing"
	"testing/synctest"

	"github.com/zeebo/assert"

	"braid/drpcwire"
)

// small is a writer with bounds that are easily reached.
var small = drpcwire.MuxWriterOptions{MaximumPending: 1000, MaximumPendingPerStream: 1000}

func TestAllStreamsTogetherAreBounded(t *testing.T) {
	for _, used := range []int{996, 997, 1000} {
		t.Run(fmt.Sprint(used), func(t *testing.T) {
			bubble(t, small, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
				var lanes [3]drpcwire.Lane
				stuck(t, m, g) // what is in flight does not count
				assert.NoError(t, m.TryWriteEncoded(&lanes[0], encoded(1, 400)))
				assert.NoError(t, m.TryWriteEncoded(&lanes[1], encoded(3, used-400)))
				before := m.Books()

				last := start(m, &lanes[2], encoded(5, minFrame))
				if used+minFrame <= 1000 {
					assert.Equal(t, last.state(), sent)
					return
				}
				assert.Equal(t, m.TryWriteEncoded(&lanes[2], encoded(5, minFrame)), drpcwire.ErrFull)
				assert.Equal(t, last.state(), "parked")
				before.Starved, before.Queued = 1, 1
				assert.Equal(t, m.Books(), before) // of what did not fit, nothing was appended

				g.let(nil)
				assert.Equal(t, last.state(), sent)
				g.letAll()
				assert.Equal(t, g.sentences(t)[2][0][:2], "s5")
			})
		})
	}
}

func TestEachStreamIsBoundedByItself(t *testing.T) {
	opts := drpcwire.MuxWriterOptions{MaximumPending: 1000, MaximumPendingPerStream: 100}
	bubble(t, opts, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		var bulk, call drpcwire.Lane
		stuck(t, m, g)
		assert.NoError(t, m.TryWriteEncoded(&bulk, encoded(1, 60)))
		assert.Equal(t, m.TryWriteEncoded(&bulk, encoded(1, 41)), drpcwire.ErrFull)
		assert.NoError(t, m.TryWriteEncoded(&bulk, encoded(1, 40)))
		more := start(m, &bulk, encoded(1, minFrame))
		assert.Equal(t, more.state(), "parked")
		assert.Equal(t, m.Books().Starved, 0)

		// A stream that waits for itself is in nobody's way.
		assert.NoError(t, m.TryWriteEncoded(&call, encoded(3, 100)))
		assert.Equal(t, start(m, new(drpcwire.Lane), encoded(5, 100)).state(), sent)

		g.let(nil)
		assert.Equal(t, more.state(), sent)

		// What was taken does not count any more.
		assert.NoError(t, m.TryWriteEncoded(&bulk, encoded(1, 100-minFrame)))
		assert.Equal(t, m.TryWriteEncoded(&bulk, encoded(1, minFrame)), drpcwire.ErrFull)
	})
}

func TestAFrameLargerThanABoundGoesAlone(t *testing.T) {
	opts := drpcwire.MuxWriterOptions{MaximumPending: 1000, MaximumPendingPerStream: 100}
	t.Run("the stream's", func(t *testing.T) {
		bubble(t, opts, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
			var lane drpcwire.Lane
			stuck(t, m, g)
			assert.NoError(t, m.TryWriteEncoded(&lane, encoded(1, 600)))
			assert.Equal(t, m.TryWriteEncoded(&lane, encoded(1, minFrame)), drpcwire.ErrFull)
			assert.Equal(t, m.TryWriteEncoded(&lane, encoded(1, 600)), drpcwire.ErrFull)
			g.let(nil)
			assert.NoError(t, m.TryWriteEncoded(&lane, encoded(1, 600)))
		})
	})
	t.Run("the stream's, first of all frames", func(t *testing.T) {
		bubble(t, opts, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
			assert.NoError(t, m.TryWriteEncoded(new(drpcwire.Lane), encoded(1, 600)))
		})
	})
	t.Run("everybody's", func(t *testing.T) {
		bubble(t, opts, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
			var lane, other, third drpcwire.Lane
			stuck(t, m, g)
			assert.NoError(t, m.TryWriteEncoded(&other, encoded(3, minFrame)))
			big := start(m, &lane, encoded(1, 5000))
			assert.Equal(t, big.state(), "parked")
			g.let(nil)
			assert.Equal(t, big.state(), sent)
			assert.Equal(t, m.TryWriteEncoded(&third, encoded(5, minFrame)), drpcwire.ErrFull)
			g.let(nil)
			assert.NoError(t, m.TryWriteEncoded(&third, encoded(5, minFrame)))
		})
	})
}

func TestTheBoundsHaveDefaults(t *testing.T) {
	for _, opts := range []drpcwire.MuxWriterOptions{{}, {MaximumPending: -1, MaximumPendingPerStream: -1}} {
		bubble(t, opts, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
			const each = drpcwire.DefaultMaximumPendingPerStream
			stuck(t, m, g)
			for range drpcwire.DefaultMaximumPending / each {
				var lane drpcwire.Lane
				assert.NoError(t, m.TryWriteEncoded(&lane, encoded(1, each-minFrame)))
				assert.Equal(t, m.TryWriteEncoded(&lane, encoded(1, minFrame+1)), drpcwire.ErrFull)
				assert.NoError(t, m.TryWriteEncoded(&lane, encoded(1, minFrame)))
			}
			assert.Equal(t, m.Books().Pending, drpcwire.DefaultMaximumPending)
			assert.Equal(t, m.TryWriteEncoded(new(drpcwire.Lane), encoded(1, minFrame)), drpcwire.ErrFull)
		})
	}
}

func TestAllFramesOfAWriteFitOrNone(t *testing.T) {
	bubble(t, small, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		var lane drpcwire.Lane
		stuck(t, m, g)
		fr := drpcwire.Frame{ID: drpcwire.ID{Stream: 1, Message: 1}, Data: make([]byte, 600)}
		assert.NoError(t, m.TryWrite(&lane, fr))
		before := m.Books()
		fr.Data = fr.Data[:100]
		assert.Equal(t, m.TryWrite(&lane, fr, fr, fr, fr), drpcwire.ErrFull)
		assert.Equal(t, m.Books(), before)
		assert.NoError(t, m.TryWrite(&lane, fr, fr))
	})
}

var errCause = errors.New("the cause")

func TestAParkedSenderIsWoken(t *testing.T) {
	for name, tc := range map[string]struct {
		wake func(m *drpcwire.MuxWriter, g *gate, senders ...*sender)
		want string
	}{
		"by room": {
			func(_ *drpcwire.MuxWriter, g *gate, _ ...*sender) { g.let(nil) },
			sent,
		},
		"by its stop channel, the Write stuck": {
			func(_ *drpcwire.MuxWriter, _ *gate, senders ...*sender) {
				for _, s := range senders {
					close(s.stop)
				}
			},
			"returned " + errGivenUp.Error(),
		},
		"by Stop, the Write stuck": {
			func(m *drpcwire.MuxWriter, _ *gate, _ ...*sender) { m.Stop(errCause) },
			"returned the cause",
		},
		"by an overflow, the Write stuck": {
			func(m *drpcwire.MuxWriter, _ *gate, _ ...*sender) { _ = m.WriteControlEncoded(encoded(1, 9000)) },
			"returned wrapped: " + drpcwire.ErrOverflow.Error(),
		},
		"by a failed Write": {
			func(_ *drpcwire.MuxWriter, g *gate, _ ...*sender) { g.let(errCause) },
			"returned wrapped: the cause",
		},
	} {
		t.Run(name, func(t *testing.T) {
			opts := small
			opts.WrapError = func(err error) error { return fmt.Errorf("wrapped: %w", err) }
			bubble(t, opts, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
				var one, other, third drpcwire.Lane
				stuck(t, m, g)
				assert.NoError(t, m.TryWriteEncoded(&one, encoded(1, 500)))
				assert.NoError(t, m.TryWriteEncoded(&other, encoded(3, 500)))
				forItself := start(m, &one, encoded(1, 600))
				forTotal := start(m, &third, encoded(5, 100))
				assert.Equal(t, forItself.state(), "parked")
				assert.Equal(t, forTotal.state(), "parked")
				books := m.Books()
				assert.Equal(t, books.Queued, 2)
				assert.Equal(t, books.Starved, 1)

				tc.wake(m, g, forItself, forTotal)
				synctest.Wait()
				assert.Equal(t, forItself.state(), tc.want)
				assert.Equal(t, forTotal.state(), tc.want)
				books = m.Books()
				assert.Equal(t, books.Reserved+books.Starved+books.Queued, 0)
			})
		})
	}
}

func TestAShortWriteFailsTheWriter(t *testing.T) {
	for name, n := range map[string]int{"one byte less": -1, "nothing": -1 << 20} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var told []error
				m := drpcwire.NewMuxWriter(
					writeFunc(func(p []byte) (int, error) { return max(len(p)+n, 0), nil }),
					drpcwire.MuxWriterOptions{OnError: func(err error) { told = append(told, err) }},
				)
				assert.NoError(t, m.WriteControl(frame(t, `s1 m1 Close`)))
				<-m.Done()
				assert.Equal(t, m.WriteControl(frame(t, `s1 m1 Close`)), io.ErrShortWrite)
				assert.DeepEqual(t, told, []error{io.ErrShortWrite})
			})
		})
	}
}

func TestMemoryStaysBoundedHoweverManySendersPark(t *testing.T) {
	const (
		lanes   = 1000
		bound   = drpcwire.DefaultMaximumPending
		waiting = 1 << 10 // bytes that a goroutine takes to wait, at most
	)
	bubble(t, drpcwire.MuxWriterOptions{}, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		g.writes = make([][]byte, 0, 8)
		buf := encoded(1, 16<<10)
		var senders []*sender
		var accounts [lanes]drpcwire.Lane
		begin := func(i int) {
			s := &sender{stop: make(chan struct{}), done: make(chan error, 1)}
			senders = append(senders, s)
			go func() {
				var err error
				for err == nil { // for as long as it is let
					err = send(m, &accounts[i], buf, s.stop)
				}
				s.done <- err
			}()
		}
		// Goroutines and channels are there before memory is measured.
		for i := range lanes {
			begin(i)
			if i == 0 {
				synctest.Wait() // one batch is in flight, with one frame
			}
		}
		synctest.Wait()
		for range 3 { // and now batches as large as they get, both of them
			g.let(nil)
			g.mu.Lock()
			clear(g.writes) // the copies are the test's
			g.mu.Unlock()
		}
		books := m.Books()
		assert.True(t, books.Pending <= bound)
		assert.Equal(t, books.Queued, lanes)
		assert.Equal(t, books.Starved, lanes)

		full := heap()
		m.Stop(errCause)
		g.letAll()
		<-m.Done()
		for _, s := range senders {
			assert.Equal(t, s.state(), "returned the cause")
		}
		// What stopping has freed is what the writer held: pending and in flight,
		// and what append has put on top.
		books = m.Books()
		assert.Equal(t, books.Queued+books.Starved+books.Reserved, 0)
		held := full - heap() + books.Storage
		if limit := 2*bound + bound/2 + lanes*waiting; held > limit {
			t.Errorf("the writer held %d bytes", held)
		}
		if held < bound {
			t.Errorf("only %d bytes were seen: this is not measuring what it should", held)
		}
	})
}

// heap returns the bytes of live objects.
func heap() int {
	runtime.GC()
	runtime.GC() // what the first has unlinked
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int(stats.HeapAlloc)
}
