package faultproxy

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// readSize is how much is read from a sender at once.
const readSize = 64 << 10

var buffers = sync.Pool{New: func() any { return new([readSize]byte) }}

// flow is one direction of a link. Two goroutines belong to it: one reads from
// src into the queue, the other writes from there to dst, late and with faults.
type flow struct {
	faults Faults
	link   *link
	back   *flow // the other direction
	src    end
	dst    end
	queue  *queue

	passed atomic.Int64 // bytes written to dst
	sink   atomic.Bool  // what comes from src vanishes from here on

	// Owned by give.
	pos    int64     // bytes dealt with: passed on, or vanished
	events []event   // that have not happened yet
	free   time.Time // when a link of this rate is done with what was passed on
}

func newFlow(l *link, faults Faults, src, dst end) *flow {
	return &flow{
		faults: faults, link: l, src: src, dst: dst,
		queue: newQueue(faults.inFlight()), events: faults.events(),
	}
}

// take reads until the sender ends the direction or the link ends.
func (w *flow) take() {
	for {
		buf := buffers.Get().(*[readSize]byte)
		n, err := w.src.Read(buf[:])
		due := time.Now().Add(w.faults.Delay)
		data := buf[:n]
		if n < readSize/4 { // do not hold a large buffer for a few bytes
			data = append([]byte(nil), data...)
			buffers.Put(buf)
		}
		if n > 0 && !w.queue.put(item{data: data, due: due}, w.link.done) {
			return
		}
		if err != nil {
			w.queue.put(item{err: err, due: due}, w.link.done)
			return
		}
	}
}

// give passes on what take has read, until the end of the direction or of the
// link.
func (w *flow) give() {
	ok := w.happen()
	for ok {
		var it item
		if it, ok = w.queue.take(w.link.done); !ok || !w.link.sleepUntil(it.due) {
			return
		}
		if it.err != nil {
			w.over(it.err)
			return
		}
		ok = w.pass(it)
		if cap(it.data) == readSize {
			buffers.Put((*[readSize]byte)(it.data[:readSize]))
		}
	}
}

// pass deals with one item. It returns false if the link has ended.
func (w *flow) pass(it item) bool {
	for data := it.data; len(data) > 0; {
		n := w.piece(len(data))
		if !w.sink.Load() {
			if !w.pace(n, it.due) || !w.write(data[:n]) {
				return false
			}
		}
		data = data[n:]
		w.pos += int64(n)
		if !w.happen() {
			return false
		}
	}
	return true
}

// piece returns how many of n bytes are dealt with at once.
func (w *flow) piece(n int) int {
	if len(w.events) > 0 {
		n = int(min(int64(n), w.events[0].at-w.pos))
	}
	if w.sink.Load() {
		return n
	}
	if w.faults.Split > 0 {
		n = min(n, w.faults.Split)
	}
	if w.faults.Rate > 0 {
		n = int(min(int64(n), max(w.faults.Rate/500, 1))) // two milliseconds' worth
	}
	return n
}

// pace waits until a link of the given rate has carried n more bytes, that came
// to it at the time given. It returns false if the link ends first.
func (w *flow) pace(n int, came time.Time) bool {
	if w.faults.Rate == 0 {
		return true
	}
	if w.free.Before(came) {
		w.free = came
	}
	// A receiver that did not read has lost its time: what a link has not
	// carried then, it does not carry later on top of its rate.
	if late := time.Now().Add(-50 * time.Millisecond); w.free.Before(late) {
		w.free = late
	}
	w.free = w.free.Add(time.Duration(float64(n) / float64(w.faults.Rate) * float64(time.Second)))
	return w.link.sleepUntil(w.free)
}

// write returns false if the link has ended. If dst is gone, the sender is told
// as a network would, by a RST, unless a fault keeps the two from hearing of
// each other.
func (w *flow) write(data []byte) bool {
	n, err := w.dst.Write(data)
	w.passed.Add(int64(n))
	switch {
	case err == nil || w.sink.Load():
		return true
	case w.back.sink.Load():
		w.sink.Store(true)
		return true
	default:
		w.link.reset()
		return false
	}
}

// happen makes the faults happen whose place has been reached. It returns false
// if the link has ended.
func (w *flow) happen() bool {
	for len(w.events) > 0 && w.events[0].at <= w.pos {
		ev := w.events[0]
		w.events = w.events[1:]
		switch ev.kind {
		case stall:
			if w.faults.StallFor < 0 {
				<-w.link.done
				return false
			}
			if !w.link.sleepUntil(time.Now().Add(w.faults.StallFor)) {
				return false
			}
		case blackhole:
			w.sink.Store(true)
		case halfClose:
			w.close()
		case truncate:
			w.close()
			w.back.close()
		case reset:
			w.link.reset()
			return false
		}
	}
	return true
}

// close ends the direction for its receiver.
func (w *flow) close() {
	w.sink.Store(true)
	_ = w.dst.CloseWrite() // an error says that dst is gone
}

// over passes on that the sender has ended the direction, by FIN or RST.
func (w *flow) over(err error) {
	switch {
	case w.sink.Load():
	case errors.Is(err, io.EOF):
		_ = w.dst.CloseWrite() // an error says that dst is gone
	default:
		w.link.reset()
	}
}
