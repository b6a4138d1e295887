package drpcwire_test

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/zeebo/assert"

	"braid/drpcwire"
)

// flush starts a Flush and waits until it has come as far as it can.
func flush(m *drpcwire.MuxWriter) *sender {
	s := &sender{stop: make(chan struct{}), done: make(chan error, 1)}
	go func() { s.done <- m.Flush(s.stop) }()
	synctest.Wait()
	return s
}

func TestFlushWaitsForWhatWasAppendedBefore(t *testing.T) {
	bubble(t, small, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		assert.Equal(t, flush(m).state(), sent) // nothing is there

		stuck(t, m, g)
		inFlight := flush(m)
		assert.Equal(t, inFlight.state(), "parked")

		assert.NoError(t, m.WriteControlEncoded(encoded(1, minFrame)))
		pending, again := flush(m), flush(m)
		assert.Equal(t, pending.state(), "parked")

		g.let(nil)
		assert.Equal(t, inFlight.state(), sent)
		assert.Equal(t, pending.state(), "parked") // its frame is in flight now

		assert.NoError(t, m.WriteControlEncoded(encoded(1, minFrame)))
		later := flush(m)
		g.let(nil)
		assert.Equal(t, pending.state(), sent)
		assert.Equal(t, again.state(), sent)
		assert.Equal(t, later.state(), "parked")

		g.let(nil)
		assert.Equal(t, later.state(), sent)
		assert.Equal(t, flush(m).state(), sent)
		assert.Equal(t, g.count(), 3)
	})
}

func TestFlushDoesNotWaitForWhatIsAppendedLater(t *testing.T) {
	bubble(t, small, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		stuck(t, m, g)
		s := flush(m)
		assert.NoError(t, m.WriteControlEncoded(encoded(1, minFrame)))
		g.let(nil)
		assert.Equal(t, s.state(), sent)
		assert.False(t, m.Empty())
	})
}

func TestFlushEndsEarly(t *testing.T) {
	for name, tc := range map[string]struct {
		end  func(m *drpcwire.MuxWriter, g *gate, s *sender)
		want string
	}{
		"with its stop channel": {
			func(_ *drpcwire.MuxWriter, _ *gate, s *sender) { close(s.stop) },
			sent,
		},
		"with Stop": {
			func(m *drpcwire.MuxWriter, _ *gate, _ *sender) { m.Stop(errCause) },
			"returned the cause",
		},
		"with a failed Write": {
			func(_ *drpcwire.MuxWriter, g *gate, _ *sender) { g.let(errCause) },
			"returned the cause",
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, small, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
				stuck(t, m, g)
				inFlight := flush(m)
				assert.NoError(t, m.WriteControlEncoded(encoded(1, minFrame)))
				pending := flush(m)
				assert.Equal(t, inFlight.state(), "parked")
				assert.Equal(t, pending.state(), "parked")
				for _, s := range []*sender{inFlight, pending} {
					if s == inFlight || s.state() == "parked" {
						tc.end(m, g, s)
						synctest.Wait()
					}
					assert.Equal(t, s.state(), tc.want)
				}
			})
		})
	}
}

func TestTheSecondOfTwoWritesFailsTheFlushThatNeedsIt(t *testing.T) {
	bubble(t, small, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		stuck(t, m, g)
		inFlight := flush(m)
		assert.NoError(t, m.WriteControlEncoded(encoded(1, minFrame)))
		pending := flush(m)
		g.let(nil)
		g.let(errors.New("the second Write"))
		assert.Equal(t, inFlight.state(), sent)
		assert.Equal(t, pending.state(), "returned the second Write")
	})
}
