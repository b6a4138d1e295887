package drpcwire_test

import (
	"testing"
	"testing/synctest"

	"github.com/zeebo/assert"

	"braid/drpcwire"
)

func TestRoomIsGrantedInTheOrderOfWaiting(t *testing.T) {
	bubble(t, small, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		var lanes [5]drpcwire.Lane
		stuck(t, m, g)
		assert.NoError(t, m.TryWriteEncoded(&lanes[0], encoded(1, 500)))
		big := start(m, &lanes[1], encoded(3, 900))
		assert.Equal(t, big.state(), "parked")

		// There is room for these, but big was first.
		assert.Equal(t, m.TryWriteEncoded(&lanes[4], encoded(9, minFrame)), drpcwire.ErrFull)
		second := start(m, &lanes[2], encoded(5, 100))
		third := start(m, &lanes[3], encoded(7, 101))
		assert.Equal(t, second.state(), "parked")
		assert.Equal(t, m.Books().Starved, 3)

		g.let(nil) // 500 bytes are in flight, nothing is pending
		assert.Equal(t, big.state(), sent)
		assert.Equal(t, second.state(), sent)
		assert.Equal(t, third.state(), "parked")
		assert.Equal(t, m.TryWriteEncoded(&lanes[4], encoded(9, minFrame)), drpcwire.ErrFull)

		g.let(nil)
		assert.Equal(t, third.state(), sent)
		assert.NoError(t, m.TryWriteEncoded(&lanes[4], encoded(9, minFrame)))
		assert.Equal(t, m.Books(), drpcwire.Books{Pending: 105, Storage: m.Books().Storage})
	})
}

func TestNobodyIsOvertakenByOneThatNeedsLess(t *testing.T) {
	bubble(t, small, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		var lanes [4]drpcwire.Lane
		stuck(t, m, g)
		assert.NoError(t, m.TryWriteEncoded(&lanes[0], encoded(1, 1000)))
		first := start(m, &lanes[1], encoded(3, 600))
		second := start(m, &lanes[2], encoded(5, 600))
		third := start(m, &lanes[3], encoded(7, 100))
		g.let(nil)
		assert.Equal(t, first.state(), sent)
		assert.Equal(t, second.state(), "parked")
		assert.Equal(t, third.state(), "parked") // though there is room for it
		g.let(nil)
		assert.Equal(t, second.state(), sent)
		assert.Equal(t, third.state(), sent)
	})
}

func TestAStreamThatWaitsForItselfIsPassedOver(t *testing.T) {
	opts := drpcwire.MuxWriterOptions{MaximumPending: 1000, MaximumPendingPerStream: 300}
	bubble(t, opts, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		var bulk, filler, big, call drpcwire.Lane
		stuck(t, m, g)
		assert.NoError(t, m.TryWriteEncoded(&bulk, encoded(1, 300)))
		forItself := start(m, &bulk, encoded(1, 300))
		assert.NoError(t, m.TryWriteEncoded(&filler, encoded(3, 300)))
		first := start(m, &big, encoded(5, 900))
		second := start(m, &call, encoded(7, 100))
		assert.Equal(t, m.Books().Starved, 2)
		assert.Equal(t, m.Books().Queued, 3)

		// With the one in front of it gone there is room for the call, though not
		// yet for the bulk stream, which has waited longer.
		close(first.stop)
		synctest.Wait()
		assert.Equal(t, first.state(), "returned "+errGivenUp.Error())
		assert.Equal(t, second.state(), sent)
		assert.Equal(t, forItself.state(), "parked")

		// After the next take it waits for nothing but room for all.
		g.let(nil)
		assert.Equal(t, forItself.state(), sent)
	})
}

func TestAStreamKeepsItsPlaceWhenItsReasonToWaitChanges(t *testing.T) {
	opts := drpcwire.MuxWriterOptions{MaximumPending: 1000, MaximumPendingPerStream: 900}
	bubble(t, opts, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		var bulk, big, late drpcwire.Lane
		stuck(t, m, g)
		assert.NoError(t, m.TryWriteEncoded(&bulk, encoded(1, 800)))
		first := start(m, &big, encoded(3, 900))      // for all
		forItself := start(m, &bulk, encoded(1, 200)) // for itself
		assert.Equal(t, m.Books().Starved, 1)

		g.let(nil)
		assert.Equal(t, first.state(), sent)
		assert.Equal(t, forItself.state(), "parked")
		assert.Equal(t, m.Books().Starved, 1) // now for all
		assert.Equal(t, m.TryWriteEncoded(&late, encoded(5, minFrame)), drpcwire.ErrFull)
		g.let(nil)
		assert.Equal(t, forItself.state(), sent)
	})
}

// granted parks a lane for size bytes and lets the writer come to where it has
// granted them. Then nothing is pending, and the lane has not written.
func granted(t *testing.T, m *drpcwire.MuxWriter, g *gate, l *drpcwire.Lane, size int) {
	t.Helper()
	var filler drpcwire.Lane
	assert.NoError(t, m.TryWriteEncoded(&filler, encoded(97, 1000)))
	done := make(chan error, 1)
	go func() { done <- m.Wait(l, size, nil) }()
	synctest.Wait()
	assert.Equal(t, len(done), 0)
	g.let(nil)
	assert.NoError(t, <-done)
	assert.Equal(t, m.Books(), drpcwire.Books{Reserved: size, Storage: m.Books().Storage})
}

func TestWhatIsGrantedIsKeptForTheLane(t *testing.T) {
	bubble(t, small, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		var lane, other drpcwire.Lane
		stuck(t, m, g)
		granted(t, m, g, &lane, 600)
		assert.Equal(t, m.TryWriteEncoded(&other, encoded(3, 401)), drpcwire.ErrFull)
		assert.NoError(t, m.TryWriteEncoded(&other, encoded(3, 400)))
		assert.NoError(t, m.TryWriteEncoded(&lane, encoded(1, 600)))
		assert.Equal(t, m.Books(), drpcwire.Books{Pending: 1000, Storage: m.Books().Storage})
	})
}

func TestAGrantThatIsTurnedDownIsPassedOn(t *testing.T) {
	bubble(t, small, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		var lane, other, third drpcwire.Lane
		stuck(t, m, g)
		granted(t, m, g, &lane, 600)
		next := start(m, &other, encoded(3, 700))
		last := start(m, &third, encoded(5, 300))
		assert.Equal(t, next.state(), "parked")
		assert.Equal(t, last.state(), "parked")

		m.Forgo(&lane)
		synctest.Wait()
		assert.Equal(t, next.state(), sent)
		assert.Equal(t, last.state(), sent)
		m.Forgo(&lane) // a second time it has nothing to give back
		assert.Equal(t, m.Books(), drpcwire.Books{Pending: 1000, Storage: m.Books().Storage})
	})
}

func TestAGrantThatComesWithTheStopChannelIsNotLost(t *testing.T) {
	// Which of the two the sender sees is up to the scheduler; the room must go to
	// the next in line either way.
	for range 300 {
		bubble(t, small, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
			var filler, lane, other drpcwire.Lane
			stuck(t, m, g)
			assert.NoError(t, m.TryWriteEncoded(&filler, encoded(1, 1000)))
			first := start(m, &lane, encoded(3, 1000))
			next := start(m, &other, encoded(5, 1000))
			go close(first.stop)
			g.turn <- nil
			synctest.Wait()
			if first.state() == sent {
				g.let(nil)
			}
			assert.Equal(t, next.state(), sent)
			assert.Equal(t, m.Books(), drpcwire.Books{Pending: 1000, Storage: m.Books().Storage})
		})
	}
}

func TestAGrantThatIsNotUsedInFullIsNotLost(t *testing.T) {
	// What is reserved is an upper bound of what is written then.
	bubble(t, small, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		var lane, other drpcwire.Lane
		stuck(t, m, g)
		granted(t, m, g, &lane, 900)
		next := start(m, &other, encoded(3, 500))
		assert.Equal(t, next.state(), "parked")
		assert.NoError(t, m.TryWriteEncoded(&lane, encoded(1, 10)))
		g.let(nil)
		assert.Equal(t, next.state(), sent)
		assert.Equal(t, m.Books(), drpcwire.Books{Pending: 500, Storage: m.Books().Storage})
	})
}

func TestAWaitThatEndsEarlyReservesNothing(t *testing.T) {
	for name, end := range map[string]func(m *drpcwire.MuxWriter, stop chan struct{}) error{
		"stop channel": func(_ *drpcwire.MuxWriter, stop chan struct{}) error { close(stop); return nil },
		"Stop":         func(m *drpcwire.MuxWriter, _ chan struct{}) error { m.Stop(errCause); return errCause },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, small, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
				var filler, lane drpcwire.Lane
				stuck(t, m, g)
				assert.NoError(t, m.TryWriteEncoded(&filler, encoded(1, 1000)))
				stop, done := make(chan struct{}), make(chan error, 1)
				go func() { done <- m.Wait(&lane, 10, stop) }()
				synctest.Wait()
				assert.Equal(t, m.Books().Queued, 1)
				want := end(m, stop)
				assert.Equal(t, <-done, want)
				assert.Equal(t, m.Books().Queued+m.Books().Starved+m.Books().Reserved, 0)
			})
		})
	}
}

func TestWaitReturnsAtOnceWhereThereIsRoom(t *testing.T) {
	bubble(t, small, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		var lane drpcwire.Lane
		stuck(t, m, g)
		assert.NoError(t, m.Wait(&lane, 1000, nil))
		assert.NoError(t, m.Wait(&lane, 5000, nil)) // the first of all may have any size
		m.Forgo(&lane)
		assert.Equal(t, m.Books(), drpcwire.Books{Storage: m.Books().Storage})
	})
}
