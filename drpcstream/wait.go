package drpcstream

import (
	"errors"
	"os"
	"time"

	"braid/drpcwire"
)

// ErrTimeout is returned by a send or a receive that has taken longer than
// SetSendTimeout or SetRecvTimeout allow. The stream lives: a message that was not
// sent whole is not received, and one that arrives later is received next.
//
// It matches os.ErrDeadlineExceeded, has a Timeout method that returns true, and
// the code drpcwire.CodeDeadlineExceeded. It does not match
// context.DeadlineExceeded, which is the end of the stream.
var ErrTimeout error = timeoutError{}

type timeoutError struct{}

func (timeoutError) Error() string        { return "operation on the stream timed out" }
func (timeoutError) Timeout() bool        { return true }
func (timeoutError) Temporary() bool      { return true }
func (timeoutError) Code() uint64         { return drpcwire.CodeDeadlineExceeded }
func (timeoutError) Is(target error) bool { return target == os.ErrDeadlineExceeded }

// errNoCredit is returned within the package by a try that has to wait for credit.
var errNoCredit = errors.New("no credit")

// SetSendTimeout limits how long each operation that sends (MsgSend, RawWrite,
// RawFlush, CloseSend) waits for room and for credit, from the moment when it has
// to wait first. Then it fails with ErrTimeout, and the stream lives. A message of
// which a part was sent already is abandoned: the peer drops that part. Zero or
// negative, as at the start, means no limit but the stream's context. It holds for
// operations that begin afterwards.
func (s *Stream) SetSendTimeout(d time.Duration) { s.sendTimeout.Store(int64(d)) }

// SetRecvTimeout limits how long each MsgRecv and RawRecv waits for a message. Then
// it fails with ErrTimeout, and the stream lives: a message that arrives later is
// received by the next call. Zero or negative, as at the start, means no limit but
// the stream's context. It holds for operations that begin afterwards.
func (s *Stream) SetRecvTimeout(d time.Duration) { s.recvTimeout.Store(int64(d)) }

// opWait is the waiting of one operation that sends.
type opWait struct {
	s       *Stream
	timeout time.Duration
	timer   *time.Timer   // runs from the first wait on; nil without a timeout
	over    chan struct{} // closed when the timer has fired, or the operation is done
}

func (s *Stream) newWait() opWait {
	return opWait{s: s, timeout: time.Duration(s.sendTimeout.Load())}
}

// waitForever is newWait without the timeout.
func (s *Stream) waitForever() opWait { return opWait{s: s} }

// stop ends the timer.
func (w *opWait) stop() {
	if w.timer != nil {
		w.timer.Stop()
	}
}

// expired returns a channel that is closed at the end of the timeout; nil if there
// is none.
func (w *opWait) expired() <-chan struct{} {
	if w.timeout <= 0 {
		return nil
	}
	if w.timer == nil {
		over := make(chan struct{})
		w.over, w.timer = over, time.AfterFunc(w.timeout, func() { close(over) })
	}
	return w.over
}

// forCredit waits until the peer has given credit or the stream has ended.
func (w *opWait) forCredit() (err error) {
	s := w.s
	select {
	case <-s.credited:
		return nil
	case <-s.sendDone.Signal():
	case <-w.expired():
		err = ErrTimeout
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.wantCredit { // the token was sent meanwhile: take it back
		<-s.credited
	}
	s.wantCredit = false
	return err
}

// forRoom waits until n bytes have room in the writer or the stream has ended.
func (w *opWait) forRoom(n int) error {
	s := w.s
	expired := w.expired()
	if expired == nil {
		return s.cfg.Writer.Wait(&s.lane, n, s.sendDone.Signal())
	}
	// The writer knows of one channel: a goroutine joins the two, for as long as
	// the wait takes.
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stop)
		select {
		case <-expired:
		case <-s.sendDone.Signal():
		case <-done:
		}
	}()
	err := s.cfg.Writer.Wait(&s.lane, n, stop)
	close(done)
	<-stop
	if err == nil {
		select {
		case <-expired:
			return ErrTimeout
		default:
		}
	}
	return err
}

// Credit takes a grant of the peer. It reports whether the peer sends more of them
// than are any use. It is called by the connection's reader.
func (s *Stream) Credit(n uint64) (useless bool) {
	s.mu.Lock()
	overflow, useless := s.out.grant(n)
	if s.sendErr != nil {
		s.mu.Unlock()
		return useless // late: there is nothing to be sent
	}
	if s.wantCredit {
		s.wantCredit = false
		s.credited <- struct{}{}
	}
	s.mu.Unlock()
	if overflow {
		s.fail(errBadCredit(n))
	}
	return useless
}

// StartSending and StartReceiving put credit in force on a stream that was opened
// before both ends knew of each other: peer is the window that the other end has
// announced, own that of this end. What tells the peer that this end keeps to its
// credit is sent in between. They are called by the connection's reader.
func (s *Stream) StartSending(peer int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if peer > 0 && !s.out.on {
		if s.out.spent > peer {
			s.flushPastBoundsLocked()
		}
		s.out.start(peer)
	}
}

// flushPastBoundsLocked sends what is gathered, whether there is room for it or not.
// What was gathered without credit has to leave before the peer is told that this
// end keeps to it.
func (s *Stream) flushPastBoundsLocked() {
	if _, err := s.flushLocked(); !errors.Is(err, drpcwire.ErrFull) {
		return // an error means that the writer has stopped
	}
	var frames []drpcwire.Frame
	for rest := s.heldLocked(); len(rest) > 0; {
		var fr drpcwire.Frame
		var ok bool
		if rest, fr, ok, _ = drpcwire.ParseFrame(rest); !ok {
			break // never: they were encoded here
		}
		frames = append(frames, fr)
	}
	_ = s.cfg.Writer.WriteEnd(&s.lane, frames...) // as above
	s.dropHeldLocked()
}

// StartReceiving is the other half of StartSending.
func (s *Stream) StartReceiving(own int64) {
	if own > 0 {
		s.recv.startFlow(own)
		s.cfg.Budget.passOn() // what was charged before may be more than is now
	}
}

// startFlowLocked puts credit in force on a stream that is being opened.
func (s *Stream) startFlowLocked(own, peer int64) {
	if own > 0 && peer > 0 {
		s.out.start(peer)
		s.recv.startFlow(own)
	}
}

// Window returns what the peer may have outstanding on this stream now, and the
// credit that this end has left, both in bytes; zeros where credit is not in force.
func (s *Stream) Window() (own, credit int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recv.mu.Lock()
	defer s.recv.mu.Unlock()
	if s.out.on {
		credit = s.out.credit
	}
	return s.recv.flow.window() + s.recv.flow.extra, credit
}

// Outstanding returns the credit that the peer has and has not used.
func (s *Stream) Outstanding() int64 {
	return max(s.recv.limit.Load()-s.recv.received.Load(), 0)
}

// MessageFrames returns how many frames of messages this end has sent.
func (s *Stream) MessageFrames() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.frames
}

// grant implements flowOwner.
func (s *Stream) grant(n int64) { s.cfg.Writer.Grant(&s.lane, s.id, uint64(n)) }

// extendWindow implements flowOwner.
func (s *Stream) extendWindow() bool { return s.recv.extend() }

// knownPatience bounds the patience with a peer that has credit, and has sent more than
// that before it knew: it expects its pings to be answered, and to be able to write.
const knownPatience = 3 * time.Second

// patience implements flowOwner.
func (s *Stream) patience() time.Duration {
	patience := s.cfg.QueueTimeout
	if own, _ := s.cfg.Owner.Windows(); own > 0 && (patience <= 0 || patience > knownPatience) {
		return knownPatience
	}
	return patience
}

// someMoment is what times are since that are kept for every stream: a time.Time takes
// three words.
var someMoment = time.Now()

// now implements flowOwner.
func (s *Stream) now() (now, roundTrip time.Duration) {
	return time.Since(someMoment), s.cfg.Owner.RoundTrip()
}
