package drpcwire_test

import (
	"bytes"
	"fmt"
	"math"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/zeebo/assert"

	"braid/drpcwire"
)

// credit is the sentence of a WindowUpdate.
func credit(stream, n uint64) string {
	data := drpcwire.AppendVarint(nil, n)
	return fmt.Sprintf("s%d m0 WindowUpdate %q ctl", stream, data)
}

// same compares sentences by what they say, as they can be spelled in two ways.
func same(t *testing.T, got, want []string) {
	t.Helper()
	ok := len(got) == len(want)
	for i := 0; ok && i < len(got); i++ {
		ok = bytes.Equal(drpcwire.AppendFrame(nil, frame(t, got[i])), drpcwire.AppendFrame(nil, frame(t, want[i])))
	}
	if !ok {
		t.Fatalf("got  %q\nwant %q", got, want)
	}
}

func TestWhatIsGrantedLeavesInOneWindowUpdate(t *testing.T) {
	bubble(t, small, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		var one, other drpcwire.Lane
		stuck(t, m, g)
		assert.NoError(t, m.TryWrite(&one, frame(t, `s1 m2 Message "x"`)))
		m.Grant(&one, 1, 100)
		m.Grant(&other, 3, 1000)
		m.Grant(&one, 1, 0)
		m.Grant(&one, 1, 50)
		g.let(nil)
		same(t, g.sentences(t)[1], []string{credit(1, 150), credit(3, 1000), `s1 m2 Message "x"`})

		m.Grant(&one, 1, 7) // the Write in flight has taken what was there
		m.Grant(&other, 3, 0)
		g.let(nil)
		same(t, g.sentences(t)[2], []string{credit(1, 7)})
		g.let(nil)
		assert.True(t, m.Empty())
		assert.Equal(t, g.count(), 3)
	})
}

func TestAGrantWakesTheDrain(t *testing.T) {
	bubble(t, small, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		var lane drpcwire.Lane
		synctest.Wait()
		m.Grant(&lane, 5, 1)
		assert.False(t, m.Empty())
		g.letAll()
		same(t, g.sentences(t)[0], []string{credit(5, 1)})
	})
}

func TestCreditAboveTheMaximumLeavesWithTheNextFrames(t *testing.T) {
	const most = drpcwire.MaxCredit
	for name, tc := range map[string]struct{ grants, want []uint64 }{
		"the maximum":   {[]uint64{most - 1, 1}, []uint64{most}},
		"one more":      {[]uint64{most, 1}, []uint64{most, 1}},
		"twice as much": {[]uint64{2 * most}, []uint64{most, most}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, small, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
				var lane drpcwire.Lane
				stuck(t, m, g)
				for _, n := range tc.grants {
					m.Grant(&lane, 1, n)
				}
				g.letAll()
				writes := g.sentences(t)[1:]
				assert.Equal(t, len(writes), len(tc.want))
				for i, n := range tc.want {
					same(t, writes[i], []string{credit(1, n)})
				}
			})
		})
	}
}

func TestCreditDoesNotWrapAround(t *testing.T) {
	bubble(t, small, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		var lane drpcwire.Lane
		stuck(t, m, g)
		m.Grant(&lane, 1, math.MaxUint64)
		m.Grant(&lane, 1, 5)
		g.let(nil)
		g.let(nil)
		for _, write := range g.sentences(t)[1:] {
			same(t, write, []string{credit(1, drpcwire.MaxCredit)})
		}
		m.Ungrant(&lane)
	})
}

func TestUngrantDropsWhatHasNotLeft(t *testing.T) {
	bubble(t, small, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		var lanes [4]drpcwire.Lane
		stuck(t, m, g)
		for i := range lanes {
			m.Grant(&lanes[i], uint64(2*i+1), 10)
		}
		for _, i := range []int{0, 2, 3, 3} {
			m.Ungrant(&lanes[i])
		}
		assert.Equal(t, m.UrgentBooks().Credits, 1)
		g.let(nil)
		same(t, g.sentences(t)[1], []string{credit(3, 10)})
		m.Ungrant(&lanes[1]) // what has left has left

		// The lane starts from nothing afterwards.
		m.Grant(&lanes[3], 9, 1)
		g.letAll()
		same(t, g.sentences(t)[2], []string{credit(9, 1)})
		assert.Equal(t, g.count(), 3)
	})
}

func TestAGrantThatIsDroppedLeavesNothingToWrite(t *testing.T) {
	bubble(t, small, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		var lane drpcwire.Lane
		g.letAll()
		for range 100 { // the drain may or may not have woken up, or even taken it
			m.Grant(&lane, 1, 1)
			m.Ungrant(&lane)
			synctest.Wait()
			assert.True(t, m.Empty())
		}
		assert.NoError(t, m.Flush(nil))
		for _, write := range g.sentences(t) {
			same(t, write, []string{credit(1, 1)})
		}
	})
}

func TestAGrantIsDroppedWhileTheDrainWakesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := drpcwire.NewMuxWriter(writeFunc(func(p []byte) (int, error) {
			if len(p) == 0 {
				t.Error("nothing was written, by a Write")
			}
			return len(p), nil
		}), drpcwire.MuxWriterOptions{})
		var lane drpcwire.Lane
		var flushes sync.WaitGroup // one that hangs ends the test
		for i := range 5000 {
			m.Grant(&lane, 1, 1)
			flushes.Go(func() { assert.NoError(t, m.Flush(nil)) })
			for range i % 4 {
				runtime.Gosched()
			}
			m.Ungrant(&lane)
			flushes.Wait()
		}
		m.Stop(nil)
		<-m.Done()
	})
}

func TestFlushWaitsForWindowUpdates(t *testing.T) {
	bubble(t, small, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		var lane drpcwire.Lane
		stuck(t, m, g)
		m.Grant(&lane, 1, 1)
		sent1 := flush(m)
		g.let(nil)
		assert.Equal(t, sent1.state(), "parked")
		g.let(nil)
		assert.Equal(t, sent1.state(), sent)

		stuck := flush(m) // there is nothing to wait for
		assert.Equal(t, stuck.state(), sent)
		assert.NoError(t, m.TryWriteEncoded(&lane, encoded(1, minFrame)))
		synctest.Wait()
		m.Grant(&lane, 1, 1)
		dropped := flush(m)
		m.Ungrant(&lane)
		g.let(nil)
		assert.Equal(t, dropped.state(), sent)
	})
}

func TestPingAndPongAreReplacedByLaterOnes(t *testing.T) {
	bubble(t, small, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		var lane drpcwire.Lane
		stuck(t, m, g)
		assert.NoError(t, m.TryWrite(&lane, frame(t, `s1 m2 Message "x"`)))
		for i := range byte(10) {
			m.Ping([8]byte{'p', i})
			m.Pong([8]byte{'q', i})
		}
		g.let(nil)
		same(t, g.sentences(t)[1], []string{
			`s0 m0 Pong "q\t\x00\x00\x00\x00\x00\x00" ctl`, `s0 m0 Ping "p\t\x00\x00\x00\x00\x00\x00" ctl`,
			`s1 m2 Message "x"`,
		})
		m.Ping([8]byte{1})
		g.letAll()
		same(t, g.sentences(t)[2], []string{`s0 m0 Ping "\x01\x00\x00\x00\x00\x00\x00\x00" ctl`})
		assert.Equal(t, g.count(), 3)
	})
}

func TestAnswersGoAheadOfALargeBatchInAWriteOfTheirOwn(t *testing.T) {
	for name, size := range map[string]int{"as much as is copied": -1, "one byte more": 0} {
		t.Run(name, func(t *testing.T) {
			bubble(t, drpcwire.MuxWriterOptions{}, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
				var lane drpcwire.Lane
				stuck(t, m, g)
				answer := drpcwire.AppendFrame(nil, frame(t, credit(1, 100)))
				size += drpcwire.SmallBatch - len(answer) + 1
				assert.NoError(t, m.TryWriteEncoded(&lane, encoded(1, size)))
				m.Grant(&lane, 1, 100)
				g.letAll()
				want := 1
				if size+len(answer) > drpcwire.SmallBatch {
					want = 2
				}
				assert.Equal(t, g.count(), 1+want)
				same(t, g.sentences(t)[1][:1], []string{credit(1, 100)})
			})
		})
	}
}

func TestAnswersGetOutBetweenThePiecesOfALargeBatch(t *testing.T) {
	bubble(t, drpcwire.MuxWriterOptions{}, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		const size = drpcwire.DefaultMaximumPendingPerStream
		var lanes [drpcwire.DefaultMaximumPending / size]drpcwire.Lane
		stuck(t, m, g)
		for i := range lanes {
			assert.NoError(t, m.TryWriteEncoded(&lanes[i], encoded(uint64(i), size)))
		}
		assert.Equal(t, m.TryWriteEncoded(new(drpcwire.Lane), encoded(1, minFrame)), drpcwire.ErrFull)
		g.let(nil) // the first piece of the batch is in flight
		for i := range lanes {
			m.Grant(&lanes[i], uint64(i), 1)
			before := g.count()
			g.let(nil)
			// The very next Write is the update, and the one after that a frame: were
			// it in the middle of a frame, nothing could be parsed.
			same(t, g.sentences(t)[before], []string{credit(uint64(i), 1)})
			g.let(nil)
			if i == len(lanes)-1 {
				break
			}
			assert.Equal(t, len(g.sentences(t)[before+1]), 1)
		}
	})
}

func TestGrantsDoNotAddUpInMemory(t *testing.T) {
	bubble(t, small, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		const each = 100_000
		var lanes [10]drpcwire.Lane
		stuck(t, m, g)
		grant := func() {
			for i := range lanes {
				m.Grant(&lanes[i], uint64(i), 1)
			}
			m.Ping([8]byte{})
			m.Pong([8]byte{})
		}
		if allocs := testing.AllocsPerRun(each-1, grant); allocs > 0 {
			t.Errorf("%v allocations for ten grants", allocs)
		}
		assert.Equal(t, m.UrgentBooks().Credits, len(lanes))
		assert.Equal(t, m.Books().Pending, 0)
		g.letAll()
		var want []string
		for i := range lanes {
			want = append(want, credit(uint64(i), each))
		}
		same(t, g.sentences(t)[1][2:], want)
		if got := m.UrgentBooks().Storage; got > 1<<10 {
			t.Errorf("%d bytes are held", got)
		}
	})
}

func TestManyAnswersAndSmallFramesAllLeaveInOrder(t *testing.T) {
	// With the answers, 6 bytes each, the first frame of the stream does not fit
	// into what is put together for one Write; the second might, and might not.
	for _, n := range []int{2700, 3000} {
		bubble(t, drpcwire.MuxWriterOptions{}, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
			lanes := make([]drpcwire.Lane, n)
			var lane drpcwire.Lane
			clogged(t, m, g)
			g.let(nil)
			assert.NoError(t, m.TryWrite(&lane, message(3, 1, 4000)))
			assert.NoError(t, m.TryWrite(&lane, message(3, 2, 100)))
			assert.Equal(t, m.Books().Pending, len(drpcwire.AppendFrame(nil, message(3, 2, 100))))
			for i := range lanes {
				m.Grant(&lanes[i], 1000+uint64(i), 1)
			}
			g.letAll()
			got := g.brief(t, 2)
			assert.Equal(t, len(got), n+2)
			for i := range lanes {
				assert.Equal(t, got[i], fmt.Sprintf("s%dm0", 1000+i))
			}
			assert.DeepEqual(t, got[n:], []string{"s3m1", "s3m2"})
		})
	}
}

func TestTheStorageOfAnswersIsGivenBack(t *testing.T) {
	bubble(t, drpcwire.MuxWriterOptions{}, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		lanes := make([]drpcwire.Lane, 2*drpcwire.KeepBuffer/minFrame)
		stuck(t, m, g)
		for i := range lanes {
			m.Grant(&lanes[i], uint64(i), 1)
		}
		g.letUntil(m.Empty)
		assert.True(t, m.UrgentBooks().Storage > 2*drpcwire.KeepBuffer)
		for range 2 * drpcwire.ShrinkAfter {
			m.Grant(&lanes[0], 1, 1)
			synctest.Wait()
			g.let(nil)
		}
		assert.True(t, m.UrgentBooks().Storage <= drpcwire.KeepBuffer)
	})
}

func TestGrantsTakeNoRoomFromTheRest(t *testing.T) {
	bubble(t, small, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		var lanes [1000]drpcwire.Lane
		stuck(t, m, g)
		for i := range lanes {
			m.Grant(&lanes[i], uint64(i), 1)
		}
		assert.NoError(t, m.TryWriteEncoded(&lanes[0], encoded(1, 1000)))
		assert.NoError(t, m.WriteControlEncoded(encoded(1, drpcwire.OverflowFactor*1000)))
		g.letAll()
		assert.Equal(t, len(g.sentences(t)[1]), 1000+2)
	})
}

func TestNothingIsAnsweredAfterStop(t *testing.T) {
	bubble(t, small, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		var before, after drpcwire.Lane
		stuck(t, m, g)
		m.Grant(&before, 1, 1)
		m.Stop(errCause)
		assert.Equal(t, m.UrgentBooks().Credits, 0)
		m.Grant(&after, 3, 1)
		m.Ping([8]byte{})
		m.Pong([8]byte{})
		m.Ungrant(&before)
		m.Ungrant(&after)
		assert.Equal(t, m.UrgentBooks().Credits, 0)
		g.letAll()
		<-m.Done()
		assert.Equal(t, g.count(), 1)
		assert.True(t, m.Empty())
	})
}
