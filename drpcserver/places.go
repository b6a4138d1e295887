package drpcserver

import (
	"math"
	"sync/atomic"
	"time"

	"braid/drpcstream"
	"braid/drpcwire"
)

// placeWait is how long a call waits for a place, in its own goroutine, before it is
// refused: a client knows of the end of a call a little before its place is free.
const placeWait = time.Second

// places bounds the handlers that run at once on all connections of a server.
type places struct {
	taken   chan struct{} // has room for one element for each place; nil: no bound
	waiting atomic.Int64  // calls that wait for one; never more than there are places
}

func newPlaces(limit int) *places {
	if limit == math.MaxInt {
		return &places{}
	}
	return &places{taken: make(chan struct{}, limit)}
}

// take takes a place for the handler of a stream. It reports false, and has ended the
// stream, if there is none.
func (p *places) take(stream *drpcstream.Stream) bool {
	if p.taken == nil {
		return true
	}
	select {
	case p.taken <- struct{}{}:
		return true
	default:
	}
	if p.waiting.Add(1) <= int64(cap(p.taken)) && p.await(stream) {
		p.waiting.Add(-1)
		return true
	}
	p.waiting.Add(-1)
	_ = stream.Return(drpcwire.Exhausted( // an error means that the client is gone
		"too many calls: %d handlers are running on the server; the call was not started", cap(p.taken)))
	return false
}

// await waits for a place.
func (p *places) await(stream *drpcstream.Stream) bool {
	timer := time.NewTimer(placeWait)
	defer timer.Stop()
	select {
	case p.taken <- struct{}{}:
		return true
	case <-stream.Terminated():
	case <-timer.C:
	}
	return false
}

// giveBack gives a place back.
func (p *places) giveBack() {
	if p.taken != nil {
		<-p.taken
	}
}
