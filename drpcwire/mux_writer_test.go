package drpcwire_test

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/zeebo/assert"

	"braid/drpcwire"
	"braid/internal/drpctest"
)

// gate is a transport on which each Write waits until the test lets it return.
// It is for use in a bubble of synctest.
type gate struct {
	turn chan error // a value is what one Write returns; closed: all succeed
	open sync.Once

	mu     sync.Mutex
	writes [][]byte // guarded by mu
}

func newGate() *gate { return &gate{turn: make(chan error)} }

func (g *gate) Write(p []byte) (int, error) {
	g.mu.Lock()
	g.writes = append(g.writes, bytes.Clone(p))
	g.mu.Unlock()
	if err := <-g.turn; err != nil {
		return 0, err
	}
	return len(p), nil
}

// let lets one Write return, and waits until all that follows from it is done.
func (g *gate) let(err error) {
	g.turn <- err
	synctest.Wait()
}

// letUntil lets Writes return, one after the other, until cond holds.
func (g *gate) letUntil(cond func() bool) {
	for !cond() {
		g.let(nil)
	}
}

// letAll lets every Write succeed, now and later.
func (g *gate) letAll() {
	g.open.Do(func() { close(g.turn) })
	synctest.Wait()
}

// count returns how often Write was called.
func (g *gate) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.writes)
}

// sentences returns the frames of each Write.
func (g *gate) sentences(tb testing.TB) (writes [][]string) {
	tb.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, rem := range g.writes {
		var write []string
		for len(rem) > 0 {
			next, fr, ok, err := drpcwire.ParseFrame(rem)
			if !ok || err != nil {
				tb.Fatalf("not a frame: %x, %v", rem, err)
			}
			write = append(write, drpctest.Describe(fr))
			rem = next
		}
		writes = append(writes, write)
	}
	return writes
}

// bubble runs a test in a bubble of synctest with a MuxWriter whose transport is
// a gate. A goroutine that waits for good is an error there.
func bubble(t *testing.T, opts drpcwire.MuxWriterOptions, test func(t *testing.T, m *drpcwire.MuxWriter, g *gate)) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		m := drpcwire.NewMuxWriter(g, opts)
		defer func() {
			m.Stop(nil)
			g.letAll()
			<-m.Done()
		}()
		test(t, m, g)
	})
}

// stuck brings the writer to where a Write of one frame, of stream 99, does not
// return.
func stuck(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
	t.Helper()
	assert.NoError(t, m.TryWriteEncoded(new(drpcwire.Lane), encoded(99, minFrame)))
	synctest.Wait()
	assert.Equal(t, g.count(), 1)
	assert.False(t, m.Empty())
}

// minFrame is the size of the smallest frame.
const minFrame = 4

// encoded returns a frame of the stream that is size bytes in all.
func encoded(stream uint64, size int) []byte {
	for n := size - minFrame; n >= 0; n-- {
		buf := drpcwire.AppendFrame(nil, drpcwire.Frame{
			Data: make([]byte, n), ID: drpcwire.ID{Stream: stream, Message: 1}, Kind: drpcwire.KindMessage, Done: true,
		})
		if len(buf) == size {
			return buf
		}
	}
	panic(fmt.Sprintf("no frame has %d bytes", size))
}

var errGivenUp = errors.New("the sender was told to stop")

// send does what a stream does to send encoded frames: it tries, waits while
// there is no room, and gives up when stop is closed.
func send(m *drpcwire.MuxWriter, l *drpcwire.Lane, buf []byte, stop <-chan struct{}) error {
	for {
		err := m.TryWriteEncoded(l, buf)
		if errors.Is(err, drpcwire.ErrFull) {
			if err = m.Wait(l, len(buf), stop); err == nil {
				select {
				case <-stop:
					err = errGivenUp
				default:
					continue
				}
			}
		}
		if err != nil {
			m.Forgo(l)
		}
		return err
	}
}

// sender is a send in a goroutine of its own.
type sender struct {
	stop chan struct{}
	done chan error
}

// start starts a send and waits until it has come as far as it can.
func start(m *drpcwire.MuxWriter, l *drpcwire.Lane, buf []byte) *sender {
	s := &sender{stop: make(chan struct{}), done: make(chan error, 1)}
	go func() { s.done <- send(m, l, buf, s.stop) }()
	synctest.Wait()
	return s
}

// state says how far the send has come.
func (s *sender) state() string {
	select {
	case err := <-s.done:
		s.done <- err
		return fmt.Sprint("returned ", err)
	default:
		return "parked"
	}
}

const sent = "returned <nil>"

func TestFramesQueuedDuringAWriteLeaveInOneWrite(t *testing.T) {
	bubble(t, drpcwire.MuxWriterOptions{}, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		var lanes [3]drpcwire.Lane
		first := `s1 m1 Invoke "/first"`
		assert.NoError(t, m.TryWrite(&lanes[0], frame(t, first)))
		synctest.Wait()
		want := [][]string{{first}, nil}
		assert.DeepEqual(t, g.sentences(t), want[:1])

		for i := range 15 {
			sentence := fmt.Sprintf("s%d m%d Message \"%d\"", 2*(i%3)+1, i/3+2, i)
			want[1] = append(want[1], sentence)
			switch fr := frame(t, sentence); i % 4 {
			case 0:
				assert.NoError(t, m.WriteControl(fr))
			case 1:
				assert.NoError(t, m.WriteControlEncoded(drpcwire.AppendFrame(nil, fr)))
			case 2:
				assert.NoError(t, m.TryWriteEncoded(&lanes[i%3], drpcwire.AppendFrame(nil, fr)))
			default:
				assert.NoError(t, m.TryWrite(&lanes[i%3], fr))
			}
			synctest.Wait()
		}
		assert.DeepEqual(t, g.sentences(t), want[:1])
		g.let(nil)
		assert.DeepEqual(t, g.sentences(t), want)
		g.let(nil)
		assert.DeepEqual(t, g.sentences(t), want)
		assert.True(t, m.Empty())
	})
}

func TestFramesAppendedTogetherLeaveInOneWrite(t *testing.T) {
	burst := []string{`s1 m1 InvokeMetadata "x"`, `s1 m2 Invoke "/method"`, `s1 m3 Message "hello"`, `s1 m4 CloseSend`}
	var frames []drpcwire.Frame
	var buf []byte
	for _, sentence := range burst {
		frames = append(frames, frame(t, sentence))
		buf = drpcwire.AppendFrame(buf, frame(t, sentence))
	}
	for name, write := range map[string]func(m *drpcwire.MuxWriter) error{
		"TryWrite":            func(m *drpcwire.MuxWriter) error { return m.TryWrite(new(drpcwire.Lane), frames...) },
		"TryWriteEncoded":     func(m *drpcwire.MuxWriter) error { return m.TryWriteEncoded(new(drpcwire.Lane), buf) },
		"WriteControl":        func(m *drpcwire.MuxWriter) error { return m.WriteControl(frames...) },
		"WriteControlEncoded": func(m *drpcwire.MuxWriter) error { return m.WriteControlEncoded(buf) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, drpcwire.MuxWriterOptions{}, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
				assert.NoError(t, write(m))
				g.letAll()
				assert.DeepEqual(t, g.sentences(t), [][]string{burst})
			})
		})
	}
}

func TestEveryFrameIsWrittenWhetherTheDrainSleepsOrNot(t *testing.T) {
	// The wake-up of the drain is easily lost where the queue becomes empty, so
	// it is made to, over and over. The bubble ends the test if one is.
	synctest.Test(t, func(t *testing.T) {
		const frames = 3000
		written := make(chan struct{}, frames)
		m := drpcwire.NewMuxWriter(writeFunc(func(p []byte) (int, error) {
			for range len(p) / minFrame {
				written <- struct{}{}
			}
			return len(p), nil
		}), drpcwire.MuxWriterOptions{})
		var lane drpcwire.Lane
		seen := 0
		for i := range frames {
			assert.NoError(t, m.TryWriteEncoded(&lane, encoded(1, minFrame)))
			for i%3 == 0 && seen <= i {
				<-written
				seen++
			}
		}
		assert.NoError(t, m.Flush(nil))
		assert.Equal(t, seen+len(written), frames)
		m.Stop(nil)
		<-m.Done()
	})
}

func TestEmptyMeansNeitherPendingNorInFlight(t *testing.T) {
	bubble(t, drpcwire.MuxWriterOptions{}, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		assert.True(t, m.Empty())
		stuck(t, m, g)
		assert.NoError(t, m.WriteControl(frame(t, `s1 m1 Close`)))
		assert.False(t, m.Empty())
		g.let(nil)
		assert.False(t, m.Empty())
		g.let(nil)
		assert.True(t, m.Empty())
	})
}

func TestTheBuffersAreGivenBackAfterABurst(t *testing.T) {
	const burst = 8 * drpcwire.KeepBuffer
	for name, bursts := range map[string]int{"in one of them": 1, "in both": 2} {
		t.Run(name, func(t *testing.T) {
			opts := drpcwire.MuxWriterOptions{MaximumPendingPerStream: burst}
			bubble(t, opts, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
				var lane drpcwire.Lane
				stuck(t, m, g)
				for range bursts {
					assert.NoError(t, m.TryWriteEncoded(&lane, encoded(1, burst)))
					g.letUntil(func() bool { return m.Books().Pending == 0 })
				}
				g.letUntil(m.Empty)
				assert.True(t, m.Books().Storage >= bursts*burst)

				for range 3 * drpcwire.ShrinkAfter {
					assert.NoError(t, m.TryWriteEncoded(&lane, encoded(1, 20)))
					synctest.Wait()
					g.let(nil)
				}
				if got := m.Books().Storage; got > 2*drpcwire.KeepBuffer {
					t.Errorf("%d bytes are held for batches of 20", got)
				}
			})
		})
	}
}

func TestABufferThatIsUsedIsKept(t *testing.T) {
	const size = 2 * drpcwire.KeepBuffer
	opts := drpcwire.MuxWriterOptions{MaximumPendingPerStream: size}
	bubble(t, opts, func(t *testing.T, m *drpcwire.MuxWriter, g *gate) {
		var lane drpcwire.Lane
		for range 3 * drpcwire.ShrinkAfter {
			assert.NoError(t, m.TryWriteEncoded(&lane, encoded(1, size)))
			synctest.Wait()
			g.letUntil(m.Empty)
		}
		held := m.Books().Storage
		assert.True(t, held >= 2*size)
		assert.NoError(t, m.TryWriteEncoded(&lane, encoded(1, 20)))
		synctest.Wait()
		g.let(nil)
		assert.Equal(t, m.Books().Storage, held)
	})
}
