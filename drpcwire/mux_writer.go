package drpcwire

import (
	"errors"
	"io"
	"runtime"
	"sync"
)

const (
	// DefaultMaximumPending bounds what all streams of a connection may have
	// queued for writing, in bytes. Senders over it park.
	DefaultMaximumPending = 1 << 20

	// DefaultMaximumPendingPerStream bounds what one stream may have queued, so
	// that a bulk sender puts no more than about a frame in front of a small call.
	DefaultMaximumPendingPerStream = 64 << 10

	// overflowFactor times the bound is the most that may be pending of frames
	// that do not wait for the bound. Their number is bounded by the live
	// streams, so only a peer that makes us answer and does not read gets there.
	overflowFactor = 8

	// smallBatch is the size below which the drain gives other goroutines a
	// chance to add to a batch, batchYields times at most, before it is written.
	smallBatch  = 16 << 10
	batchYields = 2

	// A buffer of more than keepBuffer bytes is given back after shrinkAfter
	// batches in a row that would have left three quarters of that empty.
	keepBuffer  = 64 << 10
	shrinkAfter = 16
)

// ErrFull is returned by MuxWriter.TryWrite when the frames do not fit now.
var ErrFull = errors.New("write queue is full")

// ErrOverflow ends a connection whose peer made the write queue exceed its cap.
var ErrOverflow = errors.New("write queue overflow: the peer does not read")

// MuxWriterOptions configures a MuxWriter. The zero value is ready to use.
type MuxWriterOptions struct {
	// MaximumPending is the most bytes, over all streams, that wait to be
	// written. Zero or negative means DefaultMaximumPending.
	MaximumPending int

	// MaximumPendingPerStream is the same for one stream. Zero or negative
	// means DefaultMaximumPendingPerStream. A single frame that is larger is
	// accepted when nothing else of its stream is waiting.
	MaximumPendingPerStream int

	// WrapError turns the error of a failed write, or ErrOverflow, into what
	// every later operation returns. It is called with a lock held and must do
	// no more than that. Nil means the error itself.
	WrapError func(error) error

	// OnError is called once, with the wrapped error, if the writer stops by
	// itself: from the drain goroutine when a write has failed, and from a
	// goroutine of its own when the queue has overflowed, because the drain is
	// then stuck in a write that only closing the transport can end. It must
	// not wait for Done. May be nil.
	OnError func(error)
}

// MuxWriter is the one writer of a connection. Streams append frames under a
// short lock and go on; one goroutine, the drain, takes all that is pending and
// gives it to the transport in a single Write. Frames leave in the order in
// which they were appended.
//
// All methods may be called concurrently. None of them writes to the transport,
// and only Wait and Flush block.
type MuxWriter struct {
	w         io.Writer
	max       int
	maxLane   int
	wrap      func(error) error
	onError   func(error)
	done      chan struct{} // closed when the drain has returned
	stopped   chan struct{} // closed when err is set
	drainCond sync.Cond     // the drain waits on it for buf or err; uses mu

	mu       sync.Mutex
	buf      []byte        // pending: appended, not taken by the drain
	control  int           // bytes in buf that did not wait for the bound
	epoch    uint64        // counts how often the drain has taken buf
	writing  bool          // the drain has taken a batch and not finished writing it
	reserved int           // bytes granted to lanes that were woken and did not write yet
	queue    laneQueue     // lanes parked in Wait, longest first
	starved  int           // lanes in queue that are there for lack of total room
	flushed  chan struct{} // closed after the next write; nil when nobody waits
	err      error         // why nothing more is accepted

	// Owned by the drain.
	spare []byte // the buffer not in use as buf
	idle  int    // small batches in a row
}

// Lane is a stream's account with a MuxWriter: what it has pending and whether
// it is parked. The zero value is ready; it belongs to one stream and one
// MuxWriter, and at most one goroutine may be parked on it.
type Lane struct {
	// Guarded by the writer's mu.
	epoch      uint64 // pending counts only while it equals the writer's
	pending    int
	want       int           // bytes asked for in Wait
	granted    bool          // want bytes are reserved
	queued     bool          // in the writer's queue
	starved    bool          // queued for lack of total room
	wake       chan struct{} // capacity 1
	next, prev *Lane
}

// NewMuxWriter returns a MuxWriter for w and starts its drain goroutine, which
// ends after Stop or a failed write; see Done.
func NewMuxWriter(w io.Writer, opts MuxWriterOptions) *MuxWriter {
	m := &MuxWriter{
		w:       w,
		max:     opts.MaximumPending,
		maxLane: opts.MaximumPendingPerStream,
		wrap:    opts.WrapError,
		onError: opts.OnError,
		done:    make(chan struct{}),
		stopped: make(chan struct{}),
	}
	if m.max <= 0 {
		m.max = DefaultMaximumPending
	}
	if m.maxLane <= 0 {
		m.maxLane = DefaultMaximumPendingPerStream
	}
	if m.onError == nil {
		m.onError = func(error) {}
	}
	if m.wrap == nil {
		m.wrap = func(err error) error { return err }
	}
	m.drainCond.L = &m.mu
	go m.drain()
	return m
}

// Size returns the number of bytes to pass to Wait for these frames.
func Size(frames ...Frame) (n int) {
	for _, fr := range frames {
		n += frameLen(fr)
	}
	return n
}

// TryWrite appends the frames, all of them or none, so that they leave in one
// write. It returns ErrFull when the bounds do not allow it now, and the cause
// of the end once the writer has stopped.
func (m *MuxWriter) TryWrite(l *Lane, frames ...Frame) error {
	n := Size(frames...)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.admitLocked(l, n); err != nil {
		return err
	}
	m.appendLocked(l, frames)
	return nil
}

// TryWriteEncoded is TryWrite for frames that are encoded already.
func (m *MuxWriter) TryWriteEncoded(l *Lane, buf []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.admitLocked(l, len(buf)); err != nil {
		return err
	}
	wake := len(m.buf) == 0
	m.buf = append(m.buf, buf...)
	m.accountLocked(l, len(buf), wake)
	return nil
}

// WriteControl appends frames that must not wait for the bounds: the ends of
// streams and the connection's own frames. When the queue exceeds its cap the
// writer stops with ErrOverflow.
func (m *MuxWriter) WriteControl(frames ...Frame) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.admitControlLocked(Size(frames...)); err != nil {
		return err
	}
	before := len(m.buf)
	m.appendLocked(nil, frames)
	m.control += len(m.buf) - before
	return nil
}

// admitControlLocked stops the writer when n more bytes exceed the queue's cap.
func (m *MuxWriter) admitControlLocked(n int) error {
	if m.err == nil && m.control+n > overflowFactor*m.max {
		m.stopLocked(m.wrap(ErrOverflow))
		go m.onError(m.err)
	}
	return m.err
}

// admitLocked says whether n more bytes of the lane fit, and uses up the
// reservation the lane may have.
func (m *MuxWriter) admitLocked(l *Lane, n int) error {
	if m.err != nil {
		return m.err
	}
	if l.granted {
		m.reserved -= l.want
		l.granted = false
		if n <= l.want {
			return nil
		}
		m.grantLocked() // it asked for less than it needs, and queues up again
	}
	if !m.laneFitsLocked(l, n) || m.starved > 0 || !m.totalFitsLocked(n) {
		return ErrFull
	}
	return nil
}

func (m *MuxWriter) laneFitsLocked(l *Lane, n int) bool {
	return l.epoch != m.epoch || l.pending == 0 || l.pending+n <= m.maxLane
}

func (m *MuxWriter) totalFitsLocked(n int) bool {
	used := len(m.buf) + m.reserved
	return used == 0 || used+n <= m.max
}

func (m *MuxWriter) appendLocked(l *Lane, frames []Frame) {
	before := len(m.buf)
	for _, fr := range frames {
		m.buf = AppendFrame(m.buf, fr)
	}
	m.accountLocked(l, len(m.buf)-before, before == 0)
}

// accountLocked books n appended bytes to the lane and wakes the drain if it
// may be asleep, which it is only while nothing is pending.
func (m *MuxWriter) accountLocked(l *Lane, n int, wake bool) {
	if l != nil {
		if l.epoch != m.epoch {
			l.epoch, l.pending = m.epoch, 0
		}
		l.pending += n
	}
	if wake {
		m.drainCond.Signal()
	}
}

// Wait parks until n bytes of the lane fit, and reserves them: the caller must
// then call TryWrite, or Forgo if it does not want to any more. Where they fit
// at once it reserves nothing, and the TryWrite that follows may have to wait
// again. Wait returns early, with nil and without a reservation, when stop is
// closed; and with the cause when the writer has stopped.
func (m *MuxWriter) Wait(l *Lane, n int, stop <-chan struct{}) error {
	m.mu.Lock()
	if m.err != nil {
		m.mu.Unlock()
		return m.err
	}
	l.want = n
	if m.laneFitsLocked(l, n) {
		if m.starved == 0 && m.totalFitsLocked(n) {
			m.mu.Unlock()
			return nil
		}
		l.starved = true
		m.starved++
	}
	if l.wake == nil {
		l.wake = make(chan struct{}, 1)
	}
	m.queue.push(l)
	m.mu.Unlock()

	select {
	case <-l.wake:
		return nil
	case <-stop:
		m.Forgo(l)
		return nil
	case <-m.stopped:
		m.Forgo(l)
		return m.err // set before stopped was closed, never again after
	}
}

// Forgo gives back what Wait has reserved for the lane, or takes the lane out
// of the queue, so that the next one in line is not kept waiting for it.
func (m *MuxWriter) Forgo(l *Lane) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case l.queued:
		m.dequeueLocked(l)
	case l.granted:
		l.granted = false
		m.reserved -= l.want
		select {
		case <-l.wake: // granted while the caller turned away
		default:
		}
	default:
		return
	}
	m.grantLocked()
}

// grantLocked wakes parked lanes in order, as many as there is room for. A lane
// whose own bound is the reason is passed over: the next take frees it.
func (m *MuxWriter) grantLocked() {
	for l := m.queue.front(); l != nil; {
		next := m.queue.after(l)
		switch {
		case !m.laneFitsLocked(l, l.want):
		case !m.totalFitsLocked(l.want):
			return
		default:
			m.dequeueLocked(l)
			l.granted = true
			m.reserved += l.want
			l.wake <- struct{}{}
		}
		l = next
	}
}

func (m *MuxWriter) dequeueLocked(l *Lane) {
	m.queue.remove(l)
	if l.starved {
		l.starved = false
		m.starved--
	}
}

// markStarvedLocked notes for every parked lane that it now waits for total
// room: after a take no lane has anything pending of its own.
func (m *MuxWriter) markStarvedLocked() {
	for l := m.queue.front(); l != nil; l = m.queue.after(l) {
		if !l.starved {
			l.starved = true
			m.starved++
		}
	}
}

// drain is the only goroutine that writes to the transport. It ends when the
// writer is stopped or a write fails.
func (m *MuxWriter) drain() {
	defer close(m.done)
	for {
		batch, ok := m.take()
		if !ok {
			return
		}
		n, err := m.w.Write(batch)
		if err == nil && n < len(batch) {
			err = io.ErrShortWrite
		}
		if err := m.wrote(batch, err); err != nil {
			m.onError(err)
			return
		}
	}
}

// take waits until something is pending and returns all of it; false means that
// the writer has stopped.
//
// A batch that is small is not taken at once: the goroutines that made the
// writer wake up are often about to add to it, and one write for many frames is
// what makes calls cheap. Yielding the processor costs a lone caller nothing.
func (m *MuxWriter) take() (batch []byte, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.buf) == 0 && m.err == nil {
		m.drainCond.Wait()
	}
	for i := 0; i < batchYields && len(m.buf) < smallBatch && m.err == nil; i++ {
		m.mu.Unlock()
		runtime.Gosched()
		m.mu.Lock()
	}
	if m.err != nil {
		return nil, false
	}
	batch = m.buf
	m.buf, m.spare = m.spare[:0], nil
	m.control = 0
	m.epoch++
	m.writing = true
	m.grantLocked()
	m.markStarvedLocked()
	return batch, true
}

// wrote takes back the storage of a batch, tells those who wait for it to be
// out, and stops the writer if the write failed: then it returns the wrapped
// error. A failure after the writer was stopped is nobody's news.
func (m *MuxWriter) wrote(batch []byte, err error) error {
	if len(batch) < keepBuffer/4 {
		m.idle++
	} else {
		m.idle = 0
	}
	if cap(batch) > keepBuffer && m.idle >= shrinkAfter {
		batch = nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.spare = batch
	m.writing = false
	if m.flushed != nil {
		close(m.flushed)
		m.flushed = nil
	}
	if err == nil || m.err != nil {
		return nil
	}
	m.stopLocked(m.wrap(err))
	return m.err
}

// Flush blocks until everything appended before the call has been given to the
// transport. It returns early, with nil, when stop is closed, and with the
// cause when the writer has stopped.
func (m *MuxWriter) Flush(stop <-chan struct{}) error {
	m.mu.Lock()
	target := m.epoch // the batch that is in flight
	if len(m.buf) > 0 {
		target++ // and the one that is pending
	}
	for m.err == nil && (m.epoch < target || m.epoch == target && m.writing) {
		if m.flushed == nil {
			m.flushed = make(chan struct{})
		}
		flushed := m.flushed
		m.mu.Unlock()
		select {
		case <-flushed:
		case <-m.stopped:
		case <-stop:
			return nil
		}
		m.mu.Lock()
	}
	defer m.mu.Unlock()
	return m.err
}

// Empty reports whether nothing is pending or being written.
func (m *MuxWriter) Empty() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.buf) == 0 && !m.writing
}

// Stop makes every later write, and every one that is parked, fail with err;
// what is pending is dropped. Only the first call has an effect. A Write that
// is in flight is not interrupted: close the transport for that. A nil err is
// replaced, so that no write can seem to succeed after Stop.
func (m *MuxWriter) Stop(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stopLocked(err)
}

func (m *MuxWriter) stopLocked(err error) {
	if m.err != nil {
		return
	}
	if err == nil {
		err = io.ErrClosedPipe
	}
	m.err = err
	m.buf = nil
	close(m.stopped)
	m.drainCond.Signal()
}

// Done is closed when the drain goroutine has returned: from then on the
// transport is not written to.
func (m *MuxWriter) Done() <-chan struct{} { return m.done }

// laneQueue is a list of lanes in the order in which they were parked.
type laneQueue struct{ head, tail *Lane }

func (q *laneQueue) front() *Lane        { return q.head }
func (q *laneQueue) after(l *Lane) *Lane { return l.next }

func (q *laneQueue) push(l *Lane) {
	l.queued = true
	l.prev, l.next = q.tail, nil
	if q.tail != nil {
		q.tail.next = l
	} else {
		q.head = l
	}
	q.tail = l
}

func (q *laneQueue) remove(l *Lane) {
	if l.prev != nil {
		l.prev.next = l.next
	} else {
		q.head = l.next
	}
	if l.next != nil {
		l.next.prev = l.prev
	} else {
		q.tail = l.prev
	}
	l.next, l.prev, l.queued = nil, nil, false
}
