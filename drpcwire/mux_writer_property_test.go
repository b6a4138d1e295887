package drpcwire_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zeebo/assert"

	"braid/drpcwire"
)

const (
	mixedPending = 300_000
	mixedLane    = 64 << 10
	alone        = 1 << 40 // the stream of frames that go by WriteControl
)

// mix is streams of all kinds that use every way of writing there is, at the
// same time, over a transport that is now fast and now slow. It keeps books of
// its own, and compares them with what was written.
type mix struct {
	m   *drpcwire.MuxWriter
	got bytes.Buffer // what was written; owned by the drain

	opening sync.Mutex
	next    uint64 // the id of the next stream; guarded by opening

	mu       sync.Mutex
	accepted map[uint64][]drpcwire.Frame // by stream, in order; guarded by mu
	granted  map[uint64]uint64           // by stream; guarded by mu
	together map[drpcwire.ID]drpcwire.ID // heads and the tails that follow at once; guarded by mu
}

// nap lets some virtual time pass, often none.
func nap(rng *rand.Rand) {
	if rng.IntN(3) == 0 {
		time.Sleep(time.Duration(rng.IntN(1 << rng.IntN(30))))
	}
}

// newFrame returns a frame whose data can be told from that of others.
func newFrame(rng *rand.Rand, stream, id uint64) drpcwire.Frame {
	n := rng.IntN(100)
	switch rng.IntN(8) {
	case 0:
		n = drpcwire.MaxUrgent - 50 + rng.IntN(100)
	case 1:
		n = rng.IntN(mixedLane)
	case 2:
		n = mixedLane
	}
	fr := message(stream, id, n)
	for i := range fr.Data {
		fr.Data[i] = byte(stream)*31 + byte(id)*7 + byte(i)
	}
	return fr
}

func (x *mix) note(frames ...drpcwire.Frame) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, fr := range frames {
		x.accepted[fr.ID.Stream] = append(x.accepted[fr.ID.Stream], fr)
	}
}

// open opens a stream, in the one step in which its id is taken.
func (x *mix) open(t *testing.T, rng *rand.Rand, l *drpcwire.Lane) uint64 {
	head, tail := rng.IntN(2)+1, rng.IntN(3)
	for {
		x.opening.Lock()
		var frames []drpcwire.Frame
		for i := range head + tail {
			frames = append(frames, newFrame(rng, x.next, uint64(i)+1))
			if i < head && len(frames[i].Data) > 10_000 {
				frames[i].Data = frames[i].Data[:10_000]
			}
		}
		err := x.m.TryOpen(l, frames[:head], frames[head:])
		if err == nil {
			x.next++
			x.note(frames...)
			if tail > 0 && drpcwire.Size(frames...) <= drpcwire.MaxUrgent {
				x.mu.Lock()
				x.together[frames[head-1].ID] = frames[head].ID
				x.mu.Unlock()
			}
		}
		x.opening.Unlock()
		if err == nil {
			return frames[0].ID.Stream
		}
		x.wait(t, l, err, drpcwire.Size(frames...))
	}
}

func (x *mix) wait(t *testing.T, l *drpcwire.Lane, err error, n int) {
	if !errors.Is(err, drpcwire.ErrFull) {
		t.Error(err)
	}
	assert.NoError(t, x.m.Wait(l, n, nil))
}

// run is one stream after the other.
func (x *mix) run(t *testing.T, rng *rand.Rand) {
	for range 3 {
		var l drpcwire.Lane
		stream := x.open(t, rng, &l)
		id := uint64(len(x.soFar(stream))) + 1
		for range rng.IntN(40) {
			fr := newFrame(rng, stream, id)
			id++
			switch rng.IntN(12) {
			case 0:
				fr.Data = fr.Data[:min(len(fr.Data), 2000)]
				assert.NoError(t, x.m.WriteEnd(&l, fr))
				x.note(fr)
			case 1:
				nap(rng)
				fallthrough
			default:
				x.send(t, rng, &l, fr)
			}
			if rng.IntN(3) == 0 {
				x.grant(rng, &l, stream)
			}
		}
		end := message(stream, id, 0)
		assert.NoError(t, x.m.WriteEnd(&l, end))
		x.note(end)
	}
}

func (x *mix) soFar(stream uint64) []drpcwire.Frame {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.accepted[stream]
}

func (x *mix) send(t *testing.T, rng *rand.Rand, l *drpcwire.Lane, fr drpcwire.Frame) {
	for {
		var err error
		switch rng.IntN(3) {
		case 0:
			err = x.m.TryWrite(l, fr)
		case 1:
			err = x.m.TryWriteMessage(l, fr.ID, fr.Data)
		default:
			err = x.m.TryWriteEncoded(l, drpcwire.AppendFrame(nil, fr))
		}
		if err == nil {
			x.note(fr)
			return
		}
		x.wait(t, l, err, drpcwire.Size(fr))
	}
}

func (x *mix) grant(rng *rand.Rand, l *drpcwire.Lane, stream uint64) {
	n := rng.Uint64N(1 << rng.IntN(34))
	x.m.Grant(l, stream, n)
	x.mu.Lock()
	x.granted[stream] += n
	x.mu.Unlock()
}

// others calls what belongs to no stream, and watches the bounds.
func (x *mix) others(t *testing.T, rng *rand.Rand) {
	for id := uint64(1); id <= 200; id++ {
		nap(rng)
		fr := newFrame(rng, alone, id)
		fr.Data = fr.Data[:min(len(fr.Data), 500)]
		assert.NoError(t, x.m.WriteControl(fr))
		x.note(fr)
		x.m.Ping([8]byte{byte(id)})
		x.m.Pong([8]byte{byte(id)})
		if id%10 == 0 {
			assert.NoError(t, x.m.Flush(nil))
		}
		if n := x.m.UrgentBooks().Waited; n > mixedPending {
			t.Errorf("%d bytes wait", n)
		}
	}
}

// check compares what was written with what was accepted.
func (x *mix) check(t *testing.T) {
	t.Helper()
	credit := make(map[uint64]uint64)
	seen := make(map[uint64]int)
	opened := uint64(0)
	var last drpcwire.ID
	for rem := x.got.Bytes(); len(rem) > 0; {
		next, fr, ok, err := drpcwire.ParseFrame(rem)
		if !ok || err != nil {
			t.Fatalf("%d bytes are no frame: %v", len(rem), err)
		}
		rem = next
		if tail, ok := x.together[last]; ok && fr.ID != tail {
			t.Fatalf("%v came between a small head and its tail", fr)
		}
		last = fr.ID
		switch fr.Kind {
		case drpcwire.KindPing, drpcwire.KindPong:
			continue
		case drpcwire.KindWindowUpdate:
			_, n, ok, err := drpcwire.ReadVarint(fr.Data)
			assert.True(t, ok && err == nil && n > 0 && n <= drpcwire.MaxCredit)
			credit[fr.ID.Stream] += n
			continue
		}
		stream := fr.ID.Stream
		want := x.accepted[stream]
		if i := seen[stream]; i >= len(want) || want[i].ID != fr.ID || !bytes.Equal(want[i].Data, fr.Data) {
			t.Fatalf("%v is not the next of its stream, after %d", fr, i)
		}
		if seen[stream]++; fr.ID.Message == 1 && stream != alone {
			opened++
			assert.Equal(t, stream, opened)
		}
	}
	for stream, frames := range x.accepted {
		assert.Equal(t, seen[stream], len(frames))
	}
	assert.DeepEqual(t, credit, x.granted)
}

func TestEveryWayOfWritingKeepsOrderAndBounds(t *testing.T) {
	rng := random(t)
	for _, interleave := range []time.Duration{0, 5 * time.Second, 100 * time.Hour} {
		for range 4 {
			seed := rng.Uint64()
			synctest.Test(t, func(t *testing.T) { runMix(t, seed, interleave) })
		}
	}
}

func runMix(t *testing.T, seed uint64, interleave time.Duration) {
	x := &mix{
		next:     1,
		accepted: make(map[uint64][]drpcwire.Frame),
		granted:  make(map[uint64]uint64),
		together: make(map[drpcwire.ID]drpcwire.ID),
	}
	rng := seeded(seed)
	x.m = drpcwire.NewMuxWriter(writeFunc(func(p []byte) (int, error) {
		if rng.IntN(2) == 0 { // the drain's own from here on
			time.Sleep(time.Duration(rng.Int64N(1 << rng.IntN(32))))
		}
		return x.got.Write(p)
	}), drpcwire.MuxWriterOptions{
		MaximumPending: mixedPending, MaximumPendingPerStream: mixedLane, WriteTimeout: time.Hour,
		OnError: func(err error) { t.Error(err) },
	})
	time.AfterFunc(interleave, x.m.Interleave)
	var wg sync.WaitGroup
	for i := range uint64(16) {
		wg.Go(func() { x.run(t, seeded(seed+i+1)) })
	}
	wg.Go(func() { x.others(t, seeded(seed+100)) })
	wg.Wait()
	for !x.m.Empty() { // credit above the maximum leaves with the frames after
		assert.NoError(t, x.m.Flush(nil))
		time.Sleep(time.Second)
	}
	books := x.m.Books()
	books.Storage = 0
	assert.Equal(t, books, drpcwire.Books{})
	x.m.Stop(nil)
	<-x.m.Done()
	for stream, n := range x.granted {
		if n == 0 {
			delete(x.granted, stream)
		}
	}
	x.check(t)
}
