package drpcwire_test

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/zeebo/assert"

	"braid/drpcwire"
)

// operations are all that can be asked of a MuxWriter and can fail.
func operations(m *drpcwire.MuxWriter) map[string]func() error {
	var lane drpcwire.Lane
	fr := drpcwire.Frame{ID: drpcwire.ID{Stream: 1, Message: 1}, Kind: drpcwire.KindClose, Done: true}
	return map[string]func() error{
		"TryWrite":            func() error { return m.TryWrite(&lane, fr) },
		"TryWriteEncoded":     func() error { return m.TryWriteEncoded(&lane, encoded(1, minFrame)) },
		"WriteControl":        func() error { return m.WriteControl(fr) },
		"WriteControlEncoded": func() error { return m.WriteControlEncoded(encoded(1, minFrame)) },
		"Wait":                func() error { return m.Wait(&lane, minFrame, nil) },
		"Flush":               func() error { return m.Flush(nil) },
	}
}

func TestControlFramesDoNotWaitForTheBounds(t *testing.T) {
	bubble(t, small, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		var lane drpcwire.Lane
		stuck(t, m, g)
		assert.NoError(t, m.TryWriteEncoded(&lane, encoded(1, 1000)))
		waits := start(m, &lane, encoded(1, minFrame))
		for _, sentence := range []string{`s1 m2 Cancel ctl`, `s3 m0 WindowUpdate "\x05" ctl`} {
			assert.NoError(t, m.WriteControl(frame(t, sentence)))
		}
		assert.NoError(t, m.WriteControlEncoded(encoded(5, 500)))
		assert.Equal(t, waits.state(), "parked")
		g.let(nil)
		assert.Equal(t, waits.state(), sent)
		writes := g.sentences(t)
		assert.Equal(t, len(writes[1]), 4) // in one write with what was queued before
		assert.Equal(t, writes[1][1], `s1 m2 Cancel ctl`)
	})
}

func TestControlFramesTakeRoomFromTheRest(t *testing.T) {
	bubble(t, small, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		var lane drpcwire.Lane
		stuck(t, m, g)
		assert.NoError(t, m.WriteControlEncoded(encoded(1, 2000)))
		assert.Equal(t, start(m, &lane, encoded(3, minFrame)).state(), "parked")
	})
}

func TestAQueueOverItsCapStopsTheWriter(t *testing.T) {
	const queueCap = drpcwire.OverflowFactor * 1000
	for name, write := range map[string]func(m *drpcwire.MuxWriter) error{
		"frames": func(m *drpcwire.MuxWriter) error {
			return m.WriteControl(drpcwire.Frame{Data: make([]byte, 500)}, drpcwire.Frame{Data: make([]byte, 500)})
		},
		"bytes": func(m *drpcwire.MuxWriter) error { return m.WriteControlEncoded(encoded(1, minFrame)) },
	} {
		t.Run(name, func(t *testing.T) {
			opts := small
			opts.WrapError = func(err error) error { return fmt.Errorf("wrapped: %w", err) }
			var told []error
			opts.OnError = func(err error) { told = append(told, err) }
			bubble(t, opts, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
				stuck(t, m, g)
				assert.NoError(t, m.WriteControlEncoded(encoded(1, queueCap-100)))
				assert.NoError(t, m.WriteControlEncoded(encoded(1, 100)))
				err := write(m)
				assert.True(t, errors.Is(err, drpcwire.ErrOverflow))
				for name, op := range operations(m) {
					if got := op(); got == nil || got.Error() != "wrapped: "+drpcwire.ErrOverflow.Error() {
						t.Errorf("%s returned %v", name, got)
					}
				}
				g.letAll()
				<-m.Done()
				assert.DeepEqual(t, told, []error{err})
				assert.Equal(t, g.count(), 1) // nothing of the queue went out
			})
		})
	}
}

// TestAnOverflowIsToldWhileTheWriteIsStuck is about the peer that ErrOverflow is
// for: it does not read, so the Write returns only if somebody who was told
// closes the transport.
func TestAnOverflowIsToldWhileTheWriteIsStuck(t *testing.T) {
	opts := small
	told := make(chan error, 1)
	opts.OnError = func(err error) { told <- err }
	bubble(t, opts, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		stuck(t, m, g)
		assert.Error(t, m.WriteControlEncoded(encoded(1, drpcwire.OverflowFactor*1000+1)))
		synctest.Wait()
		if len(told) == 0 {
			t.Error("the writer has stopped and OnError was not called")
		}
	})
}

func TestStopTwiceKeepsTheFirstCause(t *testing.T) {
	opts := drpcwire.MuxWriterOptions{
		OnError:   func(err error) { t.Errorf("who has called Stop is told %v", err) },
		WrapError: func(err error) error { t.Errorf("%v is wrapped", err); return err },
	}
	bubble(t, opts, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		m.Stop(errCause)
		m.Stop(errors.New("another cause"))
		m.Stop(nil)
		<-m.Done()
		m.Stop(nil)
		for name, op := range operations(m) {
			if err := op(); !errors.Is(err, errCause) {
				t.Errorf("%s returned %v", name, err)
			}
		}
		assert.Equal(t, g.count(), 0)
	})
}

func TestAWriteThatFailsAfterStopIsNoNews(t *testing.T) {
	opts := drpcwire.MuxWriterOptions{OnError: func(err error) { t.Errorf("told %v", err) }}
	bubble(t, opts, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		stuck(t, m, g)
		m.Stop(errCause)
		g.let(errors.New("the transport was closed"))
		<-m.Done()
		assert.Equal(t, m.WriteControl(), errCause)
	})
}

func TestStopWithoutACauseIsNoSuccess(t *testing.T) {
	bubble(t, drpcwire.MuxWriterOptions{}, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		stuck(t, m, g)
		m.Stop(nil)
		for name, op := range operations(m) {
			if err := op(); err == nil {
				t.Errorf("%s seemed to succeed", name)
			}
		}
	})
}

func TestRacingStopsHaveOneCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 100 {
			m := drpcwire.NewMuxWriter(io.Discard, drpcwire.MuxWriterOptions{})
			var causes [16]error
			var wg sync.WaitGroup
			for i := range causes {
				wg.Go(func() {
					_ = m.WriteControl(drpcwire.Frame{})
					m.Stop(fmt.Errorf("stop %d", i))
					causes[i] = m.WriteControl(drpcwire.Frame{})
				})
			}
			wg.Wait()
			<-m.Done()
			for _, cause := range causes {
				assert.Equal(t, cause, m.Flush(nil))
				assert.Error(t, cause)
			}
		}
	})
}

func TestOnErrorMayStopTheWriterAndUseIt(t *testing.T) {
	// It runs when no lock is held, on the drain or beside it.
	for name, fail := range map[string]func(m *drpcwire.MuxWriter, g *gate){
		"a failed write": func(_ *drpcwire.MuxWriter, g *gate) { g.let(errCause) },
		"an overflow":    func(m *drpcwire.MuxWriter, _ *gate) { _ = m.WriteControlEncoded(encoded(1, 9000)) },
	} {
		t.Run(name, func(t *testing.T) {
			var m *drpcwire.MuxWriter
			var told, after []error
			opts := small
			opts.OnError = func(err error) {
				told = append(told, err)
				m.Stop(errors.New("from OnError"))
				after = append(after, m.WriteControl(), m.Flush(nil))
			}
			bubble(t, opts, func(t *testing.T, mw *drpcwire.MuxWriter, g *gate) {
				m = mw
				stuck(t, m, g)
				fail(m, g)
				synctest.Wait()
				assert.Equal(t, len(told), 1)
				assert.DeepEqual(t, after, []error{told[0], told[0]})
			})
		})
	}
}

func TestStopDropsWhatIsPending(t *testing.T) {
	bubble(t, small, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		stuck(t, m, g)
		assert.NoError(t, m.WriteControlEncoded(encoded(1, 500)))
		m.Stop(errCause)
		assert.Equal(t, m.Books().Pending, 0)
		g.letAll()
		<-m.Done()
		assert.Equal(t, g.count(), 1)
	})
}

func TestDoneIsClosedOnlyWhenNoWriteIsInFlight(t *testing.T) {
	bubble(t, small, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		stuck(t, m, g)
		m.Stop(errCause)
		synctest.Wait()
		select {
		case <-m.Done():
			t.Error("a Write is in flight")
		default:
		}
		g.let(nil)
		<-m.Done()
	})
}

func TestAFailedWriteIsWrappedAndToldOnce(t *testing.T) {
	opts := small
	var told []error
	opts.WrapError = func(err error) error { return fmt.Errorf("wrapped: %w", err) }
	opts.OnError = func(err error) { told = append(told, err) }
	bubble(t, opts, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		stuck(t, m, g)
		g.let(errCause)
		<-m.Done()
		for name, op := range operations(m) {
			if err := op(); !errors.Is(err, errCause) || err.Error() != "wrapped: the cause" {
				t.Errorf("%s returned %v", name, err)
			}
		}
		m.Stop(errors.New("later"))
		assert.Equal(t, len(told), 1)
		assert.Equal(t, told[0].Error(), "wrapped: the cause")
	})
}
