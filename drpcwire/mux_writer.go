package drpcwire

import (
	"errors"
	"io"
	"sync"
	"time"
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
	// chance to add to a batch, batchYields times at most, before it is written,
	// and up to which it copies bytes to save a Write.
	smallBatch  = 16 << 10
	batchYields = 2

	// After aloneAfter batches that grew by nothing meanwhile, one in aloneAfter does it.
	aloneAfter = 16

	// While overtakeFrom bytes or more are not written, frames of up to maxUrgent
	// bytes of a lane leave ahead of them, if Interleave was called. Less is not
	// worth a Write of its own.
	overtakeFrom = 64 << 10
	maxUrgent    = 4 << 10

	// keptForFew bytes of the total bound, or an eighth of it where that is less, are
	// for such frames only: who sends little does not stand in line for room with
	// those who send much.
	keptForFew = 64 << 10

	// markEvery is about how far apart the places are at which frames can be put
	// in between those of a batch.
	markEvery = 64 << 10

	// A buffer of more than keepBuffer bytes is given back after shrinkAfter
	// batches in a row that would have left three quarters of that empty.
	keepBuffer  = 64 << 10
	shrinkAfter = 16
)

// ErrFull is returned by MuxWriter.TryWrite when the frames do not fit now.
var ErrFull = errors.New("write queue is full")

// ErrOverflow ends a connection whose peer made the write queue exceed its cap.
var ErrOverflow = errors.New("write queue overflow: the peer does not read")

// ErrWriteTimeout ends a connection on whose transport one Write took longer
// than MuxWriterOptions.WriteTimeout.
var ErrWriteTimeout = errors.New("write timeout: the transport takes no data")

// MuxWriterOptions configures a MuxWriter. The zero value is ready to use.
type MuxWriterOptions struct {
	// MaximumPending is the most bytes, over all streams, that wait to be
	// written. Zero or negative means DefaultMaximumPending. After Interleave a
	// part of it, 64 KiB or an eighth, is for frames of up to 4 KiB.
	MaximumPending int

	// MaximumPendingPerStream is the same for one stream. Zero or negative
	// means DefaultMaximumPendingPerStream and, after Interleave, up to 512 KiB
	// while the transport takes as much in a millisecond. A single frame that is
	// larger is accepted when nothing else of its stream is waiting.
	MaximumPendingPerStream int

	// WrapError turns the error of a failed write, or one of this package's, into what
	// every later operation returns. It is called with a lock held and must do
	// no more than that. Nil means the error itself.
	WrapError func(error) error

	// WriteTimeout is how long one Write on the transport may take before the
	// writer stops with ErrWriteTimeout. Much data is given to the transport in
	// pieces, each with a Write of its own, so that a transport that is slow has
	// progress to show. Zero or negative means no timeout.
	WriteTimeout time.Duration

	// OnError is called once, with the wrapped error, if the writer stops by
	// itself: from the drain goroutine when a write has failed, and from a
	// goroutine of its own when the queue has overflowed or a Write has timed
	// out, because the drain is then stuck in a Write that only closing the
	// transport can end. It must not wait for Done. May be nil.
	OnError func(error)
}

// MuxWriter is the one writer of a connection. Streams append frames under a
// short lock and go on; one goroutine, the drain, takes all that is pending and
// gives it to the transport, in a single Write unless there is much of it.
// Frames leave in the order in which they were appended; window updates, pings
// and pongs leave ahead of them, and after Interleave so do small frames beside
// much pending of other streams.
//
// All methods may be called concurrently. None of them writes to the transport,
// and only Wait and Flush block.
type MuxWriter struct {
	w         io.Writer
	max       int
	maxLane   int
	widens    bool          // maxLane is a default, and more where the transport is fast
	timeout   time.Duration // for one Write; 0: none
	maxPiece  int           // the most bytes for one Write, see maxPieceFor
	wrap      func(error) error
	onError   func(error)
	done      chan struct{} // closed when the drain has returned
	stopped   chan struct{} // closed when err is set
	drainCond sync.Cond     // the drain waits on it for work or err; uses mu

	mu         sync.Mutex
	buf        []byte        // pending: appended, not taken by the drain
	marks      []int         // where frames begin in buf, markEvery bytes apart or more
	control    int           // bytes in buf that did not wait for the bound
	epoch      uint64        // counts how often the drain has taken buf
	taken      uint64        // bytes of buf that were ever taken
	written    uint64        // bytes of buf that were ever written
	writing    bool          // the drain has taken something and not finished writing it
	reserved   int           // bytes granted to lanes that were woken and did not write yet
	queue      laneQueue     // lanes parked in Wait, longest first
	starved    int           // lanes in queue that are there for lack of total room
	starvedFew int           // those of them that want to write few bytes
	flushed    chan struct{} // closed after the next write; nil when nobody waits
	err        error         // why nothing more is accepted
	urgent     urgentQueue   // what overtakes buf
	answers    answers       // what is not queued as bytes: window updates, ping, pong
	clock      writeClock    // when Writes began and ended
	wake       bool          // unlock wakes the drain
	wakeBulk   bool          // for a bulk sender

	// Owned by the drain.
	out   outgoing // what was taken
	spare []byte   // the buffer not in use as buf
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
		m.maxLane, m.widens = DefaultMaximumPendingPerStream, true
	}
	if m.onError == nil {
		m.onError = func(error) {}
	}
	if m.wrap == nil {
		m.wrap = func(err error) error { return err }
	}
	m.timeout = max(opts.WriteTimeout, 0)
	m.maxPiece = maxPieceFor(m.timeout)
	m.out.piece = min(firstPiece, m.maxPiece)
	m.drainCond.L = &m.mu
	go m.drain()
	return m
}

// Size returns the number of bytes to pass to Wait for these frames.
func Size(frames ...Frame) (n int) {
	for i := range frames {
		n += frameLen(&frames[i])
	}
	return n
}

// TryWrite appends the frames, all of them or none, with nothing between them.
// It returns ErrFull when the bounds do not allow it now, and the cause of the
// end once the writer has stopped.
func (m *MuxWriter) TryWrite(l *Lane, frames ...Frame) error {
	n := Size(frames...)
	m.mu.Lock()
	defer m.unlock()
	if err := m.admitLocked(l, n); err != nil {
		return err
	}
	if m.overtakesLocked(l, n) {
		m.appendUrgentLocked(l, frames)
	} else {
		m.appendLocked(l, frames)
	}
	return nil
}

// TryWriteMessage is TryWrite for a message in one frame.
func (m *MuxWriter) TryWriteMessage(l *Lane, id ID, data []byte) error {
	n := maxHeaderLen + len(data)
	m.mu.Lock()
	err := m.admitLocked(l, n)
	switch {
	case err != nil:
	case m.overtakesLocked(l, n):
		before := len(m.urgent.buf)
		m.urgent.buf = appendFrame(m.urgent.buf, plainMessage, id, data)
		m.accountUrgentLocked(l, len(m.urgent.buf)-before, before == 0)
	default:
		before := len(m.buf)
		m.markLocked()
		m.buf = appendFrame(withRoom(m.buf, n), plainMessage, id, data)
		m.accountLocked(l, len(m.buf)-before, before == 0)
	}
	m.unlock()
	return err
}

// TryWriteEncoded is TryWrite for frames that are encoded already.
func (m *MuxWriter) TryWriteEncoded(l *Lane, buf []byte) error {
	m.mu.Lock()
	defer m.unlock()
	if err := m.admitLocked(l, len(buf)); err != nil {
		return err
	}
	if m.overtakesLocked(l, len(buf)) {
		wake := len(m.urgent.buf) == 0
		m.urgent.buf = append(m.urgent.buf, buf...)
		m.accountUrgentLocked(l, len(buf), wake)
		return nil
	}
	wake := len(m.buf) == 0
	m.markLocked()
	m.buf = append(m.buf, buf...)
	m.accountLocked(l, len(buf), wake)
	return nil
}

// admitControlLocked stops the writer when n more bytes exceed the queue's cap.
func (m *MuxWriter) admitControlLocked(n int) error {
	if m.err == nil && m.control+m.urgent.control+n > overflowFactor*m.max {
		m.stopLocked(m.wrap(ErrOverflow))
		go m.onError(m.err)
	}
	return m.err
}

// appendLocked appends the frames to buf, and returns how many bytes they take.
func (m *MuxWriter) appendLocked(l *Lane, frames []Frame) int {
	m.markLocked()
	return m.addLocked(l, frames)
}

// addLocked is appendLocked without a mark in front of the frames.
func (m *MuxWriter) addLocked(l *Lane, frames []Frame) int {
	before := len(m.buf)
	for i := range frames {
		fr := &frames[i]
		m.buf = appendFrame(withRoom(m.buf, frameLen(fr)), fr.control(), fr.ID, fr.Data)
	}
	n := len(m.buf) - before
	m.accountLocked(l, n, before == 0)
	return n
}

// withRoom returns a buffer with room for n bytes more: out of the shared storage, as long
// as it is no larger than what senders may have pending. What has to be larger grows by a
// quarter, and not to twice the size.
func withRoom(buf []byte, n int) []byte {
	if n += len(buf); n > DefaultMaximumPending {
		return buf
	}
	return Grow(buf, n)
}

// markLocked notes that a frame begins at the end of buf, where the last such
// note is far enough away: the drain may put other frames in there.
func (m *MuxWriter) markLocked() {
	last := 0
	if len(m.marks) > 0 {
		last = m.marks[len(m.marks)-1]
	}
	if len(m.buf)-last >= markEvery {
		m.marks = append(m.marks, len(m.buf))
	}
}

// endLocked is where buf ends, in bytes since the writer was made.
func (m *MuxWriter) endLocked() uint64 { return m.taken + uint64(len(m.buf)) }

// accountLocked books n bytes appended to buf to the lane. The drain is to be woken, by
// unlock, if it may be asleep, which it is only while nothing is pending.
func (m *MuxWriter) accountLocked(l *Lane, n int, wake bool) {
	bulk := false
	if l != nil {
		if l.epoch != m.epoch {
			l.bulk = l.writes > 1
			l.epoch, l.pending, l.writes = m.epoch, 0, 0
		}
		l.pending += n
		l.writes = min(l.writes+1, 2)
		l.end = m.endLocked()
		bulk = l.bulk
	}
	if wake {
		m.wake, m.wakeBulk = true, bulk
	}
}

// unlock releases mu, and then wakes the drain if what was appended is there for it: it
// would have to wait for mu first, and may wake up on another processor.
func (m *MuxWriter) unlock() {
	wake, bulk := m.wake, m.wakeBulk
	m.wake, m.wakeBulk = false, false
	m.mu.Unlock()
	if wake {
		m.drainCond.Signal()
		if bulk {
			go yieldNext()
		}
	}
}

// yieldNext does nothing. A goroutine that is made ready runs next on the processor of who
// did that, and other processors leave it alone for some 50 us even if they are idle, as
// most who make another one ready wait next. A sender of many messages does not, and on
// its processor the drain would wait for it. A goroutine that is started takes this place,
// and any processor may have the drain.
func yieldNext() {}

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
	m.buf, m.marks = nil, nil
	m.urgent.buf = nil
	m.answers.clear()
	if m.clock.timer != nil {
		m.clock.timer.Stop()
	}
	close(m.stopped)
	m.drainCond.Signal()
}

// Done is closed when the drain goroutine has returned: from then on the
// transport is not written to.
func (m *MuxWriter) Done() <-chan struct{} { return m.done }

// Crowded reports whether as much is pending of frames that do not wait for the bound
// as may be of those that do.
func (m *MuxWriter) Crowded() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.control+m.urgent.control > m.max
}

// Pending returns how many bytes were appended and are not yet given to the
// transport; 0 once the writer has stopped.
func (m *MuxWriter) Pending() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return 0
	}
	urgent := m.urgent.taken + uint64(len(m.urgent.buf)) - m.urgent.written
	return int(m.endLocked() - m.written + urgent)
}
