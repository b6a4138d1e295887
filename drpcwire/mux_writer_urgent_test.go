package drpcwire_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zeebo/assert"

	"braid/drpcwire"
)

const (
	bulkSize = drpcwire.OvertakeFrom
	roomy    = 8 << 20
)

// clogged brings the writer to where a Write does not return and a frame of
// stream 1, of the lane returned, is pending, so large that others overtake it.
func clogged(t *testing.T, m *drpcwire.MuxWriter, g *gate) *drpcwire.Lane {
	t.Helper()
	m.Interleave()
	var bulk drpcwire.Lane
	stuck(t, m, g)
	assert.NoError(t, m.TryWriteEncoded(&bulk, encoded(1, bulkSize)))
	return &bulk
}

// brief returns stream and message of all frames after the first n Writes.
func (g *gate) brief(t *testing.T, n int) (frames []string) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	var rem []byte
	for _, write := range g.writes[n:] {
		rem = append(rem, write...)
	}
	for len(rem) > 0 {
		next, fr, ok, err := drpcwire.ParseFrame(rem)
		if !ok || err != nil {
			t.Fatalf("%d bytes are not a frame: %v", len(rem), err)
		}
		frames = append(frames, fmt.Sprintf("s%dm%d", fr.ID.Stream, fr.ID.Message))
		rem = next
	}
	return frames
}

// message returns a frame with n bytes of data.
func message(stream, message uint64, n int) drpcwire.Frame {
	return drpcwire.Frame{
		Data: make([]byte, n), ID: drpcwire.ID{Stream: stream, Message: message}, Kind: drpcwire.KindMessage,
		Done: true,
	}
}

func TestBeforeInterleaveNothingOvertakes(t *testing.T) {
	bubble(t, drpcwire.MuxWriterOptions{}, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		var bulk, call, open drpcwire.Lane
		stuck(t, m, g)
		assert.NoError(t, m.TryWriteEncoded(&bulk, encoded(1, bulkSize)))
		assert.NoError(t, m.TryWrite(&call, message(3, 1, 10)))
		assert.NoError(t, m.TryWriteEncoded(&call, encoded(3, 10)))
		assert.NoError(t, m.TryWriteMessage(&call, drpcwire.ID{Stream: 3, Message: 1}, nil))
		assert.NoError(t, m.TryOpen(&open, []drpcwire.Frame{message(5, 1, 10)}, []drpcwire.Frame{message(5, 2, 10)}))
		assert.NoError(t, m.WriteEnd(&call, message(3, 2, 10)))
		assert.NoError(t, m.WriteControl(message(7, 1, 10)))
		g.letAll()
		assert.DeepEqual(t, g.brief(t, 1), []string{"s1m1", "s3m1", "s3m1", "s3m1", "s5m1", "s5m2", "s3m2", "s7m1"})
	})
}

func TestSmallFramesOvertakeLargeOnesOfOtherStreams(t *testing.T) {
	for name, write := range map[string]func(m *drpcwire.MuxWriter, l *drpcwire.Lane) error{
		"TryWrite": func(m *drpcwire.MuxWriter, l *drpcwire.Lane) error { return m.TryWrite(l, message(3, 1, 10)) },
		"TryWriteMessage": func(m *drpcwire.MuxWriter, l *drpcwire.Lane) error {
			return m.TryWriteMessage(l, drpcwire.ID{Stream: 3, Message: 1}, make([]byte, 10))
		},
		"TryWriteEncoded": func(m *drpcwire.MuxWriter, l *drpcwire.Lane) error { return m.TryWriteEncoded(l, encoded(3, 10)) },
		"TryOpen": func(m *drpcwire.MuxWriter, l *drpcwire.Lane) error {
			return m.TryOpen(l, []drpcwire.Frame{message(3, 1, 10)}, nil)
		},
		"WriteEnd":     func(m *drpcwire.MuxWriter, l *drpcwire.Lane) error { return m.WriteEnd(l, message(3, 1, 10)) },
		"WriteControl": func(m *drpcwire.MuxWriter, _ *drpcwire.Lane) error { return m.WriteControl(message(3, 1, 10)) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, drpcwire.MuxWriterOptions{}, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
				clogged(t, m, g)
				assert.NoError(t, write(m, new(drpcwire.Lane)))
				g.letAll()
				assert.DeepEqual(t, g.brief(t, 1), []string{"s3m1", "s1m1"})
			})
		})
	}
}

func TestWhatDoesNotOvertake(t *testing.T) {
	const most = drpcwire.MaxUrgent
	for name, tc := range map[string]struct {
		pending int   // bytes of the bulk stream
		before  []int // frames of the lane before
		size    int
		want    bool
	}{
		"a frame as large as may be":              {bulkSize, nil, most, true},
		"a frame that is too large":               {bulkSize, nil, most + 1, false},
		"the most of a stream":                    {bulkSize, []int{most - 10}, 10, true},
		"more than the most of a stream":          {bulkSize, []int{most - 10}, 11, false},
		"a stream after a large frame of its own": {bulkSize, []int{most + 1}, 10, false},
		"a frame with too little in front":        {bulkSize - 1, nil, 10, false},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, drpcwire.MuxWriterOptions{}, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
				var bulk, lane drpcwire.Lane
				m.Interleave()
				stuck(t, m, g)
				g.let(nil) // what is in flight counts
				assert.NoError(t, m.TryWriteEncoded(&bulk, encoded(1, tc.pending)))
				synctest.Wait()
				for _, n := range tc.before {
					assert.NoError(t, m.TryWriteEncoded(&lane, encoded(3, n)))
				}
				before := m.UrgentBooks().Pending
				assert.NoError(t, m.TryWriteEncoded(&lane, encoded(3, tc.size)))
				assert.Equal(t, m.UrgentBooks().Pending-before, map[bool]int{true: tc.size}[tc.want])
			})
		})
	}
}

func TestFramesOfOneStreamNeverOvertakeEachOther(t *testing.T) {
	opts := drpcwire.MuxWriterOptions{MaximumPending: roomy, MaximumPendingPerStream: roomy}
	bubble(t, opts, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		var lane drpcwire.Lane
		clogged(t, m, g)
		var want []string
		for id := uint64(1); id <= 10; id++ {
			n := 10
			if id%4 == 0 {
				n = 5000
			}
			want = append(want, fmt.Sprintf("s3m%d", id))
			assert.NoError(t, m.TryWrite(&lane, message(3, id, n)))
		}
		assert.NoError(t, m.WriteEnd(&lane, message(3, 11, 0)))
		g.letAll()
		got := g.brief(t, 1)
		assert.DeepEqual(t, got[:4], []string{"s3m1", "s3m2", "s3m3", "s1m1"})
		assert.DeepEqual(t, append(got[:3:3], got[4:]...), append(want, "s3m11"))
	})
}

func TestAStreamOvertakesAgainWhenItsLargeFramesAreWritten(t *testing.T) {
	opts := drpcwire.MuxWriterOptions{MaximumPending: roomy, MaximumPendingPerStream: roomy}
	bubble(t, opts, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		var lane, bulk drpcwire.Lane
		m.Interleave()
		stuck(t, m, g)
		assert.NoError(t, m.TryWrite(&lane, message(3, 1, bulkSize)))
		for id := uint64(1); id <= 6; id++ {
			assert.NoError(t, m.TryWrite(&bulk, message(1, id, bulkSize)))
		}
		urgent := func(id uint64) bool {
			assert.NoError(t, m.TryWrite(&lane, message(3, id, 10)))
			return m.UrgentBooks().Pending > 0
		}
		assert.False(t, urgent(2))
		g.let(nil) // the first piece is in flight, with all of message 1, or most
		assert.False(t, urgent(3))
		g.letUntil(func() bool { return m.Books().Pending == 0 }) // the second batch is in flight
		assert.False(t, urgent(4))
		g.letUntil(m.Empty)
		assert.NoError(t, m.TryWrite(&bulk, message(1, 7, bulkSize)))
		synctest.Wait()
		assert.True(t, urgent(5))
		g.letAll()
		got := g.brief(t, 1)
		assert.DeepEqual(t, got[len(got)-4:], []string{"s3m3", "s3m4", "s1m7", "s3m5"})
	})
}

func TestStreamsAreOpenedInOrder(t *testing.T) {
	opts := drpcwire.MuxWriterOptions{MaximumPending: roomy}
	open := func(t *testing.T, m *drpcwire.MuxWriter, stream uint64, head, tail int) {
		t.Helper()
		assert.NoError(t, m.TryOpen(new(drpcwire.Lane),
			[]drpcwire.Frame{message(stream, 1, head)}, []drpcwire.Frame{message(stream, 2, tail)}))
	}
	t.Run("small ones overtake", func(t *testing.T) {
		bubble(t, opts, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
			clogged(t, m, g)
			open(t, m, 3, 10, 10)
			open(t, m, 5, 10, 10)
			g.letAll()
			assert.DeepEqual(t, g.brief(t, 1), []string{"s3m1", "s3m2", "s5m1", "s5m2", "s1m1"})
		})
	})
	t.Run("a head leaves a large tail behind", func(t *testing.T) {
		bubble(t, opts, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
			clogged(t, m, g)
			open(t, m, 3, 10, 5000)
			open(t, m, 5, 10, 10)
			g.letAll()
			assert.DeepEqual(t, g.brief(t, 1), []string{"s3m1", "s5m1", "s5m2", "s1m1", "s3m2"})
		})
	})
	t.Run("none overtakes a head that is large", func(t *testing.T) {
		bubble(t, opts, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
			clogged(t, m, g)
			open(t, m, 3, 5000, 10)
			open(t, m, 5, 10, 10)
			assert.NoError(t, m.TryWrite(new(drpcwire.Lane), message(2, 1, 10)))
			g.letAll()
			assert.DeepEqual(t, g.brief(t, 1), []string{"s2m1", "s1m1", "s3m1", "s3m2", "s5m1", "s5m2"})
		})
	})
	t.Run("none overtakes one from before Interleave", func(t *testing.T) {
		bubble(t, opts, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
			stuck(t, m, g)
			open(t, m, 3, 10, 10)
			clog := message(1, 1, bulkSize)
			assert.NoError(t, m.TryWrite(new(drpcwire.Lane), clog))
			m.Interleave()
			open(t, m, 5, 10, 10)
			g.letUntil(m.Empty)
			assert.DeepEqual(t, g.brief(t, 1), []string{"s3m1", "s3m2", "s1m1", "s5m1", "s5m2"})
			before := g.count()
			assert.NoError(t, m.TryWrite(new(drpcwire.Lane), clog))
			synctest.Wait() // it is in flight
			assert.NoError(t, m.TryWrite(new(drpcwire.Lane), clog))
			open(t, m, 7, 10, 10)
			g.letAll()
			assert.DeepEqual(t, g.brief(t, before), []string{"s1m1", "s7m1", "s7m2", "s1m1"})
		})
	})
}

func TestHeadAndTailAreAppendedTogetherOrNotAtAll(t *testing.T) {
	for _, interleave := range []bool{false, true} {
		opts := drpcwire.MuxWriterOptions{MaximumPending: 100_000}
		bubble(t, opts, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
			var lane drpcwire.Lane
			if interleave {
				m.Interleave()
			}
			stuck(t, m, g)
			assert.NoError(t, m.TryWriteEncoded(new(drpcwire.Lane), encoded(1, 90_000)))
			books, urgent := m.Books(), m.UrgentBooks()
			head, tail := []drpcwire.Frame{message(3, 1, 10)}, []drpcwire.Frame{message(3, 2, 10_000)}
			assert.Equal(t, m.TryOpen(&lane, head, tail), drpcwire.ErrFull)
			assert.Equal(t, m.Books(), books)
			assert.Equal(t, m.UrgentBooks(), urgent)
			assert.NoError(t, m.TryOpen(&lane, head, head))
			m.Stop(errCause)
			assert.Equal(t, m.TryOpen(&lane, head, nil), errCause)
			assert.Equal(t, m.WriteEnd(&lane, tail...), errCause)
		})
	}
}

func TestASmallHeadAndTailAreNotTornApart(t *testing.T) {
	bubble(t, drpcwire.MuxWriterOptions{}, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		var lane drpcwire.Lane
		clogged(t, m, g)
		assert.NoError(t, m.TryWrite(&lane, message(3, 1, 3500))) // with this, only the head would fit
		head, tail := []drpcwire.Frame{message(3, 2, 10)}, []drpcwire.Frame{message(3, 3, 1000)}
		assert.NoError(t, m.TryOpen(&lane, head, tail))
		g.letAll()
		assert.DeepEqual(t, g.brief(t, 1), []string{"s3m1", "s1m1", "s3m2", "s3m3"})
	})
}

func TestFramesWithoutAStreamKeepTheirOrder(t *testing.T) {
	bubble(t, drpcwire.MuxWriterOptions{}, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		stuck(t, m, g)
		assert.NoError(t, m.WriteControl(message(0, 1, 10)))
		m.Interleave()
		assert.NoError(t, m.WriteControl(message(0, 2, 10)))
		g.letUntil(m.Empty)
		clog := message(1, 1, bulkSize)
		assert.NoError(t, m.TryWrite(new(drpcwire.Lane), clog))
		synctest.Wait()
		assert.NoError(t, m.TryWrite(new(drpcwire.Lane), clog))
		assert.NoError(t, m.WriteControl(message(0, 3, 10)))
		assert.NoError(t, m.WriteControl(message(0, 4, 5000)))
		assert.NoError(t, m.WriteControl(message(0, 5, 10)))
		g.letAll()
		assert.DeepEqual(t, g.brief(t, 1), []string{"s0m1", "s0m2", "s1m1", "s0m3", "s0m4", "s0m5", "s1m1"})
	})
}

func TestWhatIsWrittenFirstIsNotOvertaken(t *testing.T) {
	bubble(t, drpcwire.MuxWriterOptions{}, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		var lane drpcwire.Lane
		clogged(t, m, g)
		assert.NoError(t, m.TryWrite(new(drpcwire.Lane), message(3, 1, 10)))
		assert.NoError(t, m.WriteFirst(message(5, 1, 10)))
		m.Grant(&lane, 7, 1)
		assert.NoError(t, m.TryWrite(new(drpcwire.Lane), message(9, 1, 10)))
		assert.NoError(t, m.WriteControl(message(11, 1, 10)))
		flushed := flush(m)
		g.letUntil(m.Empty)
		assert.Equal(t, flushed.state(), sent)
		assert.DeepEqual(t, g.brief(t, 1), []string{"s3m1", "s1m1", "s5m1", "s9m1", "s11m1", "s7m0"})
		m.Grant(&lane, 7, 1)
		assert.Equal(t, flush(m).state(), "parked")
		g.letAll()
	})
}

func TestASmallCallBesideBulkWaitsForOnePiece(t *testing.T) {
	opts := drpcwire.MuxWriterOptions{MaximumPending: roomy}
	bubble(t, opts, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		const lanes = 64
		var bulk [lanes]drpcwire.Lane
		m.Interleave()
		for i := range bulk {
			assert.NoError(t, m.TryWriteEncoded(&bulk[i], encoded(1, bulkSize)))
		}
		synctest.Wait()
		calls, last := 0, 0
		for !m.Empty() {
			assert.NoError(t, m.TryWrite(new(drpcwire.Lane), message(3, 1, 10)))
			before := g.count()
			g.let(nil) // what was in flight when the call was made
			calls++
			g.mu.Lock()
			in, next := len(g.writes[before-1]), len(g.writes[before])
			g.mu.Unlock()
			if in > 2*drpcwire.MarkEvery {
				t.Errorf("a Write of %d bytes with calls waiting", in)
			}
			assert.Equal(t, next, len(drpcwire.AppendFrame(nil, message(3, 1, 10))))
			g.let(nil)
			if last++; last == lanes+1 {
				break
			}
		}
		g.letAll()
		// One frame of the bulk streams for each call: neither waits for the other.
		assert.True(t, calls >= lanes/2 && calls <= lanes+1)
	})
}

func TestTheBoundsHoldOverBothQueues(t *testing.T) {
	const bound, perLane = bulkSize + 6000, bulkSize
	opts := drpcwire.MuxWriterOptions{MaximumPending: bound, MaximumPendingPerStream: perLane}
	bubble(t, opts, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		var one, other, third drpcwire.Lane
		clogged(t, m, g)
		assert.NoError(t, m.TryWriteEncoded(&one, encoded(3, 4000)))
		assert.NoError(t, m.TryWriteEncoded(&other, encoded(5, 1990)))
		assert.Equal(t, m.UrgentBooks().Pending, 5990)
		assert.Equal(t, m.TryWriteEncoded(&third, encoded(7, 11)), drpcwire.ErrFull)
		parked := start(m, &third, encoded(7, 11))
		assert.Equal(t, parked.state(), "parked")
		assert.Equal(t, m.TryWriteEncoded(&other, encoded(5, minFrame)), drpcwire.ErrFull) // after its turn
		g.let(nil)
		assert.Equal(t, parked.state(), sent)
		g.letAll()
		assert.DeepEqual(t, g.brief(t, 1), []string{"s3m1", "s5m1", "s1m1", "s7m1"})
	})
}

// Bulk leaves room for those who send little, and these do not stand in its line.
func TestFewBytesDoNotWaitForRoomWithBulk(t *testing.T) {
	const bound, kept, bulk = 512 << 10, 64 << 10, 32 << 10
	bubble(t, drpcwire.MuxWriterOptions{MaximumPending: bound}, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		m.Interleave()
		stuck(t, m, g)
		for range (bound - kept) / bulk {
			assert.NoError(t, m.TryWriteEncoded(new(drpcwire.Lane), encoded(1, bulk)))
		}
		large := start(m, new(drpcwire.Lane), encoded(3, bulk))
		assert.Equal(t, large.state(), "parked")
		for range kept / 1024 {
			assert.NoError(t, m.Wait(new(drpcwire.Lane), 1024, nil)) // there is room
			assert.NoError(t, m.TryWriteEncoded(new(drpcwire.Lane), encoded(5, 1024)))
		}
		assert.Equal(t, m.UrgentBooks().Waited, bound)

		// Over the bound they park, too, and then in a line of their own.
		assert.Equal(t, m.TryWriteEncoded(new(drpcwire.Lane), encoded(7, minFrame)), drpcwire.ErrFull)
		small := start(m, new(drpcwire.Lane), encoded(7, 1024))
		assert.Equal(t, small.state(), "parked")
		assert.Equal(t, m.TryOpen(new(drpcwire.Lane), nil, []drpcwire.Frame{message(9, 1, 0)}), drpcwire.ErrFull)
		assert.Equal(t, m.Books().Starved, 2)
		assert.Equal(t, m.Books().Few, 1)
		g.let(nil)
		assert.Equal(t, large.state(), sent)
		assert.Equal(t, small.state(), sent)
		g.letAll()
		assert.Equal(t, m.Books().Few, 0)
	})
}

// Room that is promised to bulk, which has not used it yet, keeps nobody with few bytes
// waiting: whoever has it may not run for a while.
func TestFewBytesDoNotWaitForBulkThatHasNotComeYet(t *testing.T) {
	const bound, bulk = 512 << 10, 56 << 10
	bubble(t, drpcwire.MuxWriterOptions{MaximumPending: bound}, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		m.Interleave()
		stuck(t, m, g)
		for range 8 {
			assert.NoError(t, m.TryWriteEncoded(new(drpcwire.Lane), encoded(1, bulk)))
		}
		var lanes [9]drpcwire.Lane
		for i := range lanes {
			go func() { assert.NoError(t, m.Wait(&lanes[i], bulk, nil)) }()
		}
		synctest.Wait()
		assert.Equal(t, m.Books().Starved, 9)
		var small drpcwire.Lane
		g.let(nil) // the first batch is taken: eight have their room, and do not use it
		assert.Equal(t, m.Books().Reserved, 8*bulk)
		assert.Equal(t, m.Books().Pending, 0)
		assert.Equal(t, m.TryWriteEncoded(new(drpcwire.Lane), encoded(3, bulk)), drpcwire.ErrFull)
		assert.NoError(t, m.TryWriteEncoded(&small, encoded(5, 4000)))
		for i := range lanes {
			m.Forgo(&lanes[i])
		}
		g.letAll()
	})
}

func TestTheBoundOfAStreamHoldsOverBothQueues(t *testing.T) {
	opts := drpcwire.MuxWriterOptions{MaximumPending: roomy, MaximumPendingPerStream: 10_000}
	bubble(t, opts, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		var lane drpcwire.Lane
		m.Interleave()
		stuck(t, m, g)
		for range 20 {
			assert.NoError(t, m.TryWriteEncoded(new(drpcwire.Lane), encoded(1, 10_000)))
		}
		g.let(nil) // a batch of 200,000 bytes is in flight, its first piece
		assert.NoError(t, m.TryWriteEncoded(&lane, encoded(3, 4000)))
		assert.NoError(t, m.TryWriteEncoded(&lane, encoded(3, 4000)))
		assert.Equal(t, m.UrgentBooks().Pending, 4000)
		assert.Equal(t, m.Books().Pending, 4000)
		parked := start(m, &lane, encoded(3, 4000))
		assert.Equal(t, parked.state(), "parked")
		assert.Equal(t, m.Books().Starved, 0)
		g.letUntil(func() bool { return m.UrgentBooks().Pending == 0 })
		assert.Equal(t, parked.state(), sent) // what was urgent has made room
		assert.Equal(t, m.Books().Pending, 8000)
		g.letAll()
		assert.Equal(t, m.Books().Pending, 0)
	})
}

func TestAStreamThatWaitsForItselfHoldsNobodyUpAfterAnUrgentFrame(t *testing.T) {
	opts := drpcwire.MuxWriterOptions{MaximumPending: roomy, MaximumPendingPerStream: 10_000}
	bubble(t, opts, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		var lane drpcwire.Lane
		m.Interleave()
		stuck(t, m, g)
		for range 20 {
			assert.NoError(t, m.TryWriteEncoded(new(drpcwire.Lane), encoded(1, 10_000)))
		}
		g.let(nil) // a batch is in flight, its first piece
		assert.NoError(t, m.TryWriteEncoded(&lane, encoded(3, 10_000)))
		parked := start(m, &lane, encoded(3, 10_000))
		assert.NoError(t, m.TryWriteEncoded(new(drpcwire.Lane), encoded(5, 10)))
		g.letUntil(func() bool { return m.UrgentBooks().Pending == 0 })
		assert.Equal(t, parked.state(), "parked")
		assert.Equal(t, m.Books().Starved, 0)
		assert.NoError(t, m.TryWriteEncoded(new(drpcwire.Lane), encoded(7, 10_000)))
		g.letAll()
		assert.Equal(t, parked.state(), sent)
	})
}

func TestTheCapHoldsOverBothQueues(t *testing.T) {
	for name, over := range map[string]bool{"at the cap": false, "over it": true} {
		t.Run(name, func(t *testing.T) {
			opts := drpcwire.MuxWriterOptions{MaximumPending: bulkSize}
			bubble(t, opts, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
				const queueCap = drpcwire.OverflowFactor * bulkSize
				bulk := clogged(t, m, g)
				assert.NoError(t, m.WriteEnd(bulk, message(1, 2, 10))) // behind what it has pending
				assert.NoError(t, m.WriteEnd(new(drpcwire.Lane), message(3, 1, 10)))
				assert.NoError(t, m.WriteControl(message(5, 1, 10)))
				books := m.UrgentBooks()
				small := len(drpcwire.AppendFrame(nil, message(3, 1, 10)))
				assert.Equal(t, books.Control, 3*small)
				assert.Equal(t, books.Pending, 2*small)
				n := queueCap - books.Control
				if over {
					n++
				}
				err := m.WriteControlEncoded(encoded(7, n))
				assert.Equal(t, errors.Is(err, drpcwire.ErrOverflow), over)
				if !over {
					assert.True(t, errors.Is(m.WriteEnd(bulk), drpcwire.ErrOverflow) == false)
					assert.True(t, errors.Is(m.WriteEnd(bulk, message(1, 3, 0)), drpcwire.ErrOverflow))
				}
			})
		})
	}
}

func TestWhatIsTakenOfTheUrgentQueueFreesTheCap(t *testing.T) {
	opts := drpcwire.MuxWriterOptions{MaximumPending: bulkSize}
	bubble(t, opts, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		clogged(t, m, g)
		for range 3 * drpcwire.OverflowFactor {
			assert.NoError(t, m.WriteControl(message(0, 1, bulkSize/2)))
			g.let(nil)
		}
	})
}

func TestFlushWaitsForBothQueues(t *testing.T) {
	bubble(t, drpcwire.MuxWriterOptions{}, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		clogged(t, m, g)
		g.let(nil) // the bulk frame is in flight
		assert.NoError(t, m.TryWrite(new(drpcwire.Lane), message(3, 1, 10)))
		assert.Equal(t, m.Books().Pending, 0)
		s := flush(m)
		g.let(nil)
		assert.Equal(t, s.state(), "parked")
		assert.False(t, m.Empty())
		g.let(nil)
		assert.Equal(t, s.state(), sent)
		assert.True(t, m.Empty())
	})
}

func TestStopDropsBothQueues(t *testing.T) {
	bubble(t, drpcwire.MuxWriterOptions{}, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		clogged(t, m, g)
		assert.NoError(t, m.TryWrite(new(drpcwire.Lane), message(3, 1, 10)))
		m.Stop(errCause)
		assert.Equal(t, m.Books().Pending+m.UrgentBooks().Pending, 0)
		g.letAll()
		<-m.Done()
		assert.Equal(t, g.count(), 1)
	})
}

func TestTheStorageOfTheUrgentQueueIsGivenBack(t *testing.T) {
	opts := drpcwire.MuxWriterOptions{MaximumPending: roomy}
	bubble(t, opts, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		clogged(t, m, g)
		for range 2 { // both of its buffers
			for range 100 {
				assert.NoError(t, m.TryWrite(new(drpcwire.Lane), message(3, 1, 4000)))
			}
			assert.NoError(t, m.TryWriteEncoded(new(drpcwire.Lane), encoded(1, bulkSize)))
			g.let(nil)
		}
		g.letUntil(m.Empty)
		assert.True(t, m.UrgentBooks().Storage > 4*drpcwire.KeepBuffer)
		for range 3 * drpcwire.ShrinkAfter { // it need not be used for that
			assert.NoError(t, m.TryWrite(new(drpcwire.Lane), message(3, 1, 10)))
			synctest.Wait()
			g.let(nil)
		}
		if got := m.UrgentBooks().Storage; got > 2*drpcwire.KeepBuffer {
			t.Errorf("%d bytes are held", got)
		}
	})
}

// A stream may have more queued where that takes no time to write: not before others
// can overtake it, not where the transport is slow, and not beyond a bound that was
// asked for.
func TestTheBoundOfAStreamIsWiderOnAFastTransport(t *testing.T) {
	for name, c := range map[string]struct {
		interleave bool
		took       time.Duration // by each Write
		perLane    int
		want       int
	}{
		"fast":               {interleave: true, want: 512 << 10},
		"a gigabyte/s":       {interleave: true, took: 32 * time.Microsecond, want: 512 << 10},
		"100 megabytes/s":    {interleave: true, took: 320 * time.Microsecond, want: 64 << 10},
		"nothing overtakes":  {want: 64 << 10},
		"asked for 64 KiB":   {interleave: true, perLane: 64 << 10, want: 64 << 10},
		"asked for a little": {interleave: true, perLane: 10_000, want: 10_000},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hold := make(chan struct{})
				m := drpcwire.NewMuxWriter(writeFunc(func(p []byte) (int, error) {
					if len(p) < 1000 {
						<-hold
					}
					time.Sleep(c.took * time.Duration(len(p)) / (32 << 10))
					return len(p), nil
				}), drpcwire.MuxWriterOptions{MaximumPendingPerStream: c.perLane})
				if c.interleave {
					m.Interleave()
				}
				var lane drpcwire.Lane
				for range 20 {
					assert.NoError(t, send(m, &lane, encoded(1, 10_000), nil))
					assert.NoError(t, send(m, new(drpcwire.Lane), encoded(3, 32<<10), nil))
				}
				assert.NoError(t, m.Flush(nil))
				assert.NoError(t, m.TryWriteEncoded(new(drpcwire.Lane), encoded(5, 100))) // is held up
				synctest.Wait()
				queued := 0
				for m.TryWriteEncoded(&lane, encoded(1, 10_000)) == nil {
					queued += 10_000
				}
				if queued > c.want || queued < c.want-10_000 {
					t.Errorf("%d bytes could be queued, want up to %d", queued, c.want)
				}
				close(hold)
				m.Stop(nil)
				<-m.Done()
			})
		})
	}
}
