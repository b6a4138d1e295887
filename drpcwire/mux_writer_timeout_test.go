package drpcwire_test

import (
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zeebo/assert"

	"braid/drpcwire"
)

const timeout = 10 * time.Second

// timed are options with a timeout. When OnError is called is noted in told.
func timed(told *time.Time) drpcwire.MuxWriterOptions {
	return drpcwire.MuxWriterOptions{
		WriteTimeout: timeout,
		WrapError:    func(err error) error { return fmt.Errorf("wrapped: %w", err) },
		OnError: func(err error) {
			if err.Error() != "wrapped: "+drpcwire.ErrWriteTimeout.Error() {
				panic(err)
			}
			*told = time.Now()
		},
	}
}

func TestAWriteThatDoesNotReturnStopsTheWriter(t *testing.T) {
	var told time.Time
	bubble(t, timed(&told), func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		began := time.Now()
		stuck(t, m, g)
		var lane drpcwire.Lane
		assert.NoError(t, m.TryWriteEncoded(&lane, encoded(1, 60_000)))
		parked := start(m, &lane, encoded(1, 60_000))
		time.Sleep(timeout - time.Nanosecond)
		synctest.Wait()
		assert.Equal(t, parked.state(), "parked")
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		assert.Equal(t, told.Sub(began), timeout) // while the Write is stuck
		assert.Equal(t, parked.state(), "returned wrapped: "+drpcwire.ErrWriteTimeout.Error())
		for name, op := range operations(m) {
			if err := op(); !errors.Is(err, drpcwire.ErrWriteTimeout) {
				t.Errorf("%s returned %v", name, err)
			}
		}
		g.let(errors.New("the transport was closed")) // nobody is told of that
		<-m.Done()
		assert.Equal(t, g.count(), 1)
	})
}

func TestTheTimeoutCountsFromTheBeginningOfItsWrite(t *testing.T) {
	// However the Writes before lie: the timer was set for one of them, or has
	// found none in progress.
	for _, pause := range []time.Duration{0, time.Second, timeout - 1, timeout, timeout + 1, 3 * timeout} {
		for _, lasts := range []time.Duration{0, time.Second, timeout - 1} {
			t.Run(fmt.Sprint(pause, lasts), func(t *testing.T) {
				var told time.Time
				bubble(t, timed(&told), func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
					var lane drpcwire.Lane
					for range 7 {
						assert.NoError(t, m.TryWriteEncoded(&lane, encoded(1, 100)))
						synctest.Wait()
						time.Sleep(lasts)
						g.let(nil)
						time.Sleep(pause)
					}
					began := time.Now()
					assert.NoError(t, m.TryWriteEncoded(&lane, encoded(1, 100)))
					time.Sleep(2 * timeout)
					synctest.Wait()
					assert.Equal(t, told.Sub(began), timeout)
				})
			})
		}
	}
}

func TestALinkThatIsSlowIsNotKilled(t *testing.T) {
	for name, buffered := range map[string]int{
		"from the first byte":                 0,
		"once the transport's buffer is full": 2 << 20,
	} {
		t.Run(name, func(t *testing.T) {
			const rate, frames = 4 << 10, 64
			synctest.Test(t, func(t *testing.T) {
				var got int
				link := writeFunc(func(p []byte) (int, error) {
					got += len(p)
					late := min(max(got-buffered, 0), len(p))
					time.Sleep(time.Second * time.Duration(late) / rate)
					return len(p), nil
				})
				m := drpcwire.NewMuxWriter(link, drpcwire.MuxWriterOptions{
					WriteTimeout: timeout, OnError: func(err error) { t.Error(err) },
				})
				var lanes [frames]drpcwire.Lane
				for i := range lanes {
					assert.NoError(t, send(m, &lanes[i], encoded(uint64(i), 60_000), nil))
				}
				assert.NoError(t, m.Flush(nil))
				assert.True(t, got > buffered+1<<20)
				m.Stop(nil)
				<-m.Done()
			})
		})
	}
}

func TestNoTimeoutIsNone(t *testing.T) {
	for _, none := range []time.Duration{0, -1} {
		opts := drpcwire.MuxWriterOptions{WriteTimeout: none, OnError: func(err error) { t.Error(err) }}
		bubble(t, opts, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
			stuck(t, m, g)
			assert.False(t, m.UrgentBooks().Timer)
			time.Sleep(1000 * time.Hour)
			synctest.Wait()
			g.let(nil)
			assert.NoError(t, m.Flush(nil))
		})
	}
}

func TestStopDuringAStuckWriteIsWhatEndsIt(t *testing.T) {
	opts := drpcwire.MuxWriterOptions{WriteTimeout: timeout, OnError: func(err error) { t.Error(err) }}
	bubble(t, opts, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		stuck(t, m, g)
		time.Sleep(timeout / 2)
		assert.True(t, m.UrgentBooks().Timer)
		m.Stop(errCause)
		assert.False(t, m.UrgentBooks().Timer)
		time.Sleep(2 * timeout)
		synctest.Wait()
		assert.Equal(t, m.Flush(nil), errCause)
	})
}

func TestNoTimerOutlivesTheWriter(t *testing.T) {
	for name, end := range map[string]func(m *drpcwire.MuxWriter, g *gate){
		"Stop when nothing is written": func(m *drpcwire.MuxWriter, g *gate) { g.let(nil); m.Stop(nil) },
		"a failed Write":               func(_ *drpcwire.MuxWriter, g *gate) { g.let(errCause) },
		"an overflow": func(m *drpcwire.MuxWriter, g *gate) {
			_ = m.WriteControlEncoded(encoded(1, drpcwire.OverflowFactor*drpcwire.DefaultMaximumPending+1))
			g.let(nil)
		},
		"a timeout": func(_ *drpcwire.MuxWriter, g *gate) { time.Sleep(timeout); synctest.Wait(); g.let(nil) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, drpcwire.MuxWriterOptions{WriteTimeout: timeout}, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
				stuck(t, m, g)
				assert.True(t, m.UrgentBooks().Timer)
				end(m, g)
				<-m.Done()
				assert.False(t, m.UrgentBooks().Timer)
			})
		})
	}
}

func TestTheTimerRestsWhenNothingIsWritten(t *testing.T) {
	bubble(t, drpcwire.MuxWriterOptions{WriteTimeout: timeout}, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		stuck(t, m, g)
		g.let(nil)
		time.Sleep(timeout)
		synctest.Wait()
		assert.False(t, m.UrgentBooks().Timer)
	})
}

func TestPiecesFollowTheSpeedOfTheTransport(t *testing.T) {
	const first = drpcwire.FirstPiece
	opts := drpcwire.MuxWriterOptions{MaximumPending: 64 << 20, MaximumPendingPerStream: 64 << 20}
	bubble(t, opts, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		var lane drpcwire.Lane
		assert.NoError(t, m.TryWriteEncoded(&lane, encoded(1, 32<<20)))
		synctest.Wait()
		for i, step := range []struct {
			took time.Duration
			want int // the size of the piece that took that long
		}{
			{0, first},
			{drpcwire.QuickWrite - 1, 2 * first},
			{drpcwire.QuickWrite, 4 * first},
			{drpcwire.SlowWrite, 4 * first},
			{drpcwire.SlowWrite + 1, 4 * first},
			{0, first},
			{0, 2 * first},
			{0, 4 * first},
			{0, 8 * first},
			{0, drpcwire.MaxPiece},
			{0, drpcwire.MaxPiece},
			{time.Hour, drpcwire.MaxPiece},
			{time.Hour, 4 * first},
			{time.Hour, first},
			{time.Hour, first / 4},
			{time.Hour, drpcwire.MinPiece},
			{0, drpcwire.MinPiece},
			{drpcwire.SlowWrite, 2 * drpcwire.MinPiece},
		} {
			g.mu.Lock()
			got := len(g.writes[i])
			g.mu.Unlock()
			if got != step.want {
				t.Fatalf("piece %d has %d bytes, want %d", i, got, step.want)
			}
			time.Sleep(step.took)
			g.let(nil)
		}
	})
}

func TestOnlyATransportThatIsFastNowGetsPiecesTooLargeForTheTimeout(t *testing.T) {
	const usual = 30 << 10 // what 4 KiB a second take three quarters of the timeout for
	opts := drpcwire.MuxWriterOptions{
		MaximumPending: 64 << 20, MaximumPendingPerStream: 64 << 20, WriteTimeout: timeout,
	}
	bubble(t, opts, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		assert.NoError(t, m.TryWriteEncoded(new(drpcwire.Lane), encoded(1, 40<<20)))
		synctest.Wait()
		last := func() int {
			g.mu.Lock()
			defer g.mu.Unlock()
			return len(g.writes[len(g.writes)-1])
		}
		total := 0
		for ; total < drpcwire.FastLink; g.let(nil) {
			assert.Equal(t, last(), usual)
			total += last()
		}
		for range 10 {
			assert.True(t, last() > usual)
			g.let(nil)
		}
		assert.Equal(t, last(), drpcwire.MaxPiece)
		time.Sleep(time.Second)
		g.let(nil)
		assert.Equal(t, last(), usual)
	})
}

func TestPiecesAreNeverSmallerThanTheMinimum(t *testing.T) {
	opts := drpcwire.MuxWriterOptions{WriteTimeout: time.Millisecond}
	bubble(t, opts, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		assert.NoError(t, m.TryWriteEncoded(new(drpcwire.Lane), encoded(1, 60_000)))
		g.letAll()
		assert.Equal(t, len(g.writes[0]), drpcwire.MinPiece)
	})
}

func TestASmallWriteSaysNothingOfTheSizeOfPieces(t *testing.T) {
	bubble(t, drpcwire.MuxWriterOptions{MaximumPendingPerStream: 1 << 20}, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		var lane drpcwire.Lane
		for range 10 {
			assert.NoError(t, m.TryWriteEncoded(&lane, encoded(1, 100)))
			synctest.Wait()
			g.let(nil)
		}
		assert.NoError(t, m.TryWriteEncoded(&lane, encoded(1, 500_000)))
		synctest.Wait()
		g.mu.Lock()
		defer g.mu.Unlock()
		assert.Equal(t, len(g.writes[10]), drpcwire.FirstPiece)
	})
}

func TestStopKeepsTheRestOfABatchFromBeingWritten(t *testing.T) {
	bubble(t, drpcwire.MuxWriterOptions{MaximumPendingPerStream: 1 << 20}, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		assert.NoError(t, m.TryWriteEncoded(new(drpcwire.Lane), encoded(1, 500_000)))
		synctest.Wait()
		m.Stop(errCause)
		g.let(nil)
		<-m.Done()
		assert.Equal(t, g.count(), 1)
		assert.True(t, m.Empty())
	})
}

func TestAWriteThatWasBlockedIsProofOfThePeer(t *testing.T) {
	opts := drpcwire.MuxWriterOptions{WrapError: func(error) error { return io.ErrUnexpectedEOF }}
	bubble(t, opts, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		var lane drpcwire.Lane
		write := func(took time.Duration, err error) {
			assert.NoError(t, m.TryWriteEncoded(&lane, encoded(1, 100)))
			synctest.Wait()
			time.Sleep(took)
			g.let(err)
		}
		assert.True(t, m.LastUnblocked().IsZero())
		write(drpcwire.BlockedWrite-1, nil)
		assert.True(t, m.LastUnblocked().IsZero())
		write(drpcwire.BlockedWrite, nil)
		last := time.Now()
		assert.True(t, m.LastUnblocked().Equal(last))
		write(0, nil)
		time.Sleep(time.Hour)
		assert.True(t, m.LastUnblocked().Equal(last))
		write(time.Minute, errCause)
		assert.True(t, m.LastUnblocked().Equal(last))
	})
}
