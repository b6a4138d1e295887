package drpcstream

import (
	"context"
	"io"

	"braid/drpcwire"
)

// outcome is what the end of a stream leaves behind.
type outcome struct {
	send    error  // what sends return from now on
	recv    error  // what receives return, after what is queued
	discard bool   // what is queued is dropped
	ctx     ctxEnd // ends the context at once; ctxLives: when all was received
}

// endLocked ends the stream: nothing is sent any more, and nothing taken from
// the wire. It reports whether this call did it; if so, the caller must call
// afterEnd once it has released mu: until then nobody is told of the end, see
// awaitEnd. A frame that tells the peer must have been queued before.
func (s *Stream) endLocked(o outcome) bool {
	if s.term.IsSet() {
		return false
	}
	s.ctxEnd = o.ctx
	if s.sendErr == nil {
		s.sendErr = o.send
	}
	s.sendDone.Set()
	s.recvClosed = true
	s.dropHeldLocked()
	next := Closed
	if o.discard {
		s.recv.discard(o.recv)
	} else if !s.recv.close(o.recv) {
		next = Draining
	}
	s.setState(next)
	s.term.Set()
	s.cfg.Budget.passOn()
	return true
}

// afterEnd does what follows from the end of the stream outside of mu. The connection
// comes first: whoever watches the context may open the next stream once it is done, and
// must not find this one in its way.
func (s *Stream) afterEnd() {
	s.freeStorage()
	if s.recv.granted() {
		s.cfg.Writer.Ungrant(&s.lane)
	}
	s.cfg.Owner.StreamEnded(s)
	s.mu.Lock()
	if s.ctxEnd != ctxLives {
		s.endContextLocked()
	}
	s.mu.Unlock()
	s.left.Set()
	if s.State() == Closed {
		s.finish()
	}
}

// awaitEnd is called before an operation returns that the stream has ended. It waits, if
// somebody is still ending it, until the connection knows of that, and the context is done
// if the end ends it at once: whoever is told why finds both.
func (s *Stream) awaitEnd() {
	if s.term.IsSet() {
		s.left.Wait()
	}
}

// finish lets go of what a stream holds until it is Closed. It may be called
// more than once.
func (s *Stream) finish() {
	s.dropRest()
	s.mu.Lock()
	stop, timed := s.stopWatch, s.timed
	s.stopWatch, s.timed = nil, false
	s.endContextLocked()
	totals := s.recv.settle()
	totals.Sent, s.out.spent = s.out.spent, 0
	s.mu.Unlock()
	if stop != nil && stop() {
		s.Release()
	}
	if timed && s.timer.Stop() {
		s.Release()
	}
	s.cfg.Budget.Add(totals)
	s.fin.Set()
}

// abandonLocked drops what a stream that has ended still has to deliver. It
// reports whether the stream was Draining; the caller then calls finish.
func (s *Stream) abandonLocked(o outcome) bool {
	if s.State() != Draining {
		return false
	}
	if s.ctxEnd == ctxLives && o.ctx != ctxLives {
		s.ctxEnd = o.ctx
		s.endContextLocked()
	}
	s.recv.discard(o.recv)
	s.cfg.Budget.passOn()
	return s.setState(Closed)
}

// sendClosedLocked notes that this side sends no more messages.
func (s *Stream) sendClosedLocked() {
	s.sendErr = errSendClosed
	s.sendDone.Set()
	if s.cfg.Server {
		s.setState(ServerClosed)
	} else {
		s.setState(ClientClosed)
	}
}

// crowdedText is the most bytes of an error's text that are sent while many ends of
// streams are queued: when all handlers fail at once, with long texts, and the
// transport is stuck for a moment, the peer is not to blame.
const crowdedText = 1 << 10

// tellLocked queues a last frame for the peer. It does not wait for room: each
// stream has but a few of these. What was gathered goes before it if there is
// room for that, and is dropped if not, or if the stream is canceled. An error
// means that the writer has stopped, so that there is no peer to tell.
func (s *Stream) tellLocked(kind drpcwire.Kind, data []byte) error {
	if s.State() == Init {
		return nil
	}
	if kind != drpcwire.KindCancel {
		_, _ = s.flushLocked()
	} else if s.closeInsteadLocked() {
		kind, data = drpcwire.KindClose, nil
	}
	s.dropHeldLocked()
	if kind == drpcwire.KindError && s.cfg.Writer.Crowded() {
		data = drpcwire.ShortenError(data, crowdedText)
	}
	fr := drpcwire.Frame{ID: s.nextIDLocked(), Kind: kind, Done: true, Data: data}
	fr.Control = kind == drpcwire.KindCancel
	s.stats.AddWritten(uint64(len(data)))
	return s.cfg.Writer.WriteEnd(&s.lane, fr)
}

// closeInsteadLocked reports whether a client's Cancel is better sent as Close.
// storj.io/drpc hangs up if a Cancel reaches it while it writes its CloseSend,
// which a Close there does not make it do. Where a side has closed already, the
// two say the same: the handler's context ends, and its receives end with io.EOF
// in any case. While both are open they do not, as a canceled upload would look
// complete.
func (s *Stream) closeInsteadLocked() bool {
	return !s.cfg.Server && (s.sendErr != nil || s.recvClosed) && !s.cfg.Owner.PeerKnown()
}

// Announce queues the settings of this end under the stream's next message id.
// It reports false, and does nothing, on a stream that has ended.
func (s *Stream) Announce(settings []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.term.IsSet() {
		return false
	}
	// An error means that the writer has stopped; the connection ends by that.
	_ = s.cfg.Writer.WriteFirst(drpcwire.SettingsFrame(s.nextIDLocked(), settings))
	return true
}

// finishWith tells the peer and ends the stream. It does nothing on a stream
// that has ended, except that unread messages are dropped if o says so.
func (s *Stream) finishWith(kind drpcwire.Kind, data []byte, o outcome) error {
	s.mu.Lock()
	if s.term.IsSet() && !s.cfg.Server { // on a server the connection does this as it learns of the end
		s.mu.Unlock()
		s.awaitEnd()
		s.mu.Lock()
	}
	if s.term.IsSet() {
		abandoned := o.discard && s.abandonLocked(o)
		s.mu.Unlock()
		if abandoned {
			s.finish()
		}
		return nil
	}
	err := s.tellLocked(kind, data)
	s.endLocked(o)
	s.mu.Unlock()
	s.afterEnd()
	return err
}

// CloseSend tells the peer that this side sends no more messages. It waits for
// a send in progress, and for room for what was gathered under ManualFlush. It
// does nothing when sending is over already.
func (s *Stream) CloseSend() error {
	s.write.Lock()
	defer s.unlockWrite()
	if err := s.flush(s.newWait()); err != nil && s.Live() {
		return err
	}
	s.mu.Lock()
	if s.sendErr != nil {
		s.mu.Unlock()
		return nil
	}
	err := s.tellLocked(drpcwire.KindCloseSend, nil)
	o := outcome{send: errSendClosed, recv: io.EOF}
	ended := false
	if s.recvClosed {
		ended = s.endLocked(o)
	} else {
		s.sendClosedLocked()
	}
	s.mu.Unlock()
	if ended {
		s.afterEnd()
	}
	return s.preferParent(err)
}

// Close ends the stream and tells the peer so. What was not received is
// dropped. It does nothing else on a stream that has ended, and always returns
// nil: the connection's own fate shows elsewhere.
func (s *Stream) Close() error {
	// An error says that the peer cannot be told; the stream is closed anyhow.
	_ = s.finishWith(drpcwire.KindClose, nil, outcome{
		send: errSentClose, recv: errSentClose, discard: true, ctx: ctxCanceled,
	})
	// Somebody else may be about to tell the connection. When Close returns, the
	// next stream must not find this one in its way.
	s.left.Wait()
	return nil
}

// SendError ends the stream with an error for the peer, whose receives return
// its text and code (drpcerr.Code) after all that was sent before; what is still
// gathered under ManualFlush is dropped if there is no room for it at once. It
// does nothing on a stream that has ended.
func (s *Stream) SendError(serr error) error {
	return s.finishWith(drpcwire.KindError, drpcwire.MarshalError(serr), outcome{
		send: io.EOF, recv: errSentError, ctx: ctxCanceled,
	})
}

// SendCancel ends the stream as Cancel does. The first result is always false:
// a stream is never too busy to be canceled.
func (s *Stream) SendCancel(err error) (busy bool, _ error) {
	s.Cancel(err)
	return false, nil
}

// Cancel ends the stream on this side with err, for senders and receivers, and
// tells the peer. What was not received is dropped. A nil err means
// context.Canceled. It reports whether the stream was Closed already.
func (s *Stream) Cancel(err error) (finished bool) {
	if err == nil {
		err = context.Canceled
	}
	finished = s.State() == Closed
	_ = s.finishWith(drpcwire.KindCancel, drpcwire.AppendCancel(nil, cancelCode(err)), outcome{
		send: err, recv: err, discard: true, ctx: endBy(err),
	})
	return finished
}

// Lost ends the stream because its connection is gone. What had arrived is
// still delivered.
func (s *Stream) Lost(err error) {
	o := outcome{send: err, recv: err, ctx: ctxCanceled}
	s.mu.Lock()
	ended := s.endLocked(o)
	s.mu.Unlock()
	if ended {
		s.afterEnd()
	}
}

// Refused ends the stream because the peer has said that it did not take it.
func (s *Stream) Refused() {
	s.endByPeer(io.EOF, cancelError(drpcwire.CancelRefused), true)
}

// fail ends the stream because of what has arrived on it: messages before that
// are still delivered, then err. The peer is told by Error, or by Cancel if it
// is the one that serves.
func (s *Stream) fail(err error) {
	o := outcome{send: err, recv: err, ctx: ctxCanceled}
	if s.cfg.Server {
		_ = s.finishWith(drpcwire.KindError, drpcwire.MarshalError(err), o)
	} else {
		_ = s.finishWith(drpcwire.KindCancel, nil, o)
	}
}

// What has become of a stream's handler.
const (
	handlerRuns     = iota // or there is none
	handlerReturned        // which is still to be counted
	handlerCounted
)

// CountReturn reports whether the handler has returned and its return is still to be
// counted: to one caller.
func (s *Stream) CountReturn() bool {
	return s.returned.CompareAndSwap(handlerReturned, handlerCounted)
}

// Return ends the stream, on the server, with what its handler has returned.
// Whatever the handler has left running can neither send nor receive after it.
//
// A nil error ends the call by CloseSend where the client has closed its side.
// Where it has not, a client known to be braid gets Close, so that its sends
// end; storj.io/drpc expects CloseSend in this place.
func (s *Stream) Return(err error) error {
	s.returned.CompareAndSwap(handlerRuns, handlerReturned)
	defer func() {
		if s.CountReturn() {
			s.cfg.Owner.Returned(s)
		}
	}()
	// What the handler has gathered under ManualFlush is sent as a send would,
	// unless something that the handler has left running is sending.
	if s.holding.Load() && s.write.TryLock() {
		_ = s.flush(s.waitForever()) // an error is the end of the stream
		s.unlockWrite()
	}
	o := outcome{send: errReturned, recv: errReturned, discard: true, ctx: ctxCanceled}
	if err != nil {
		return s.finishWith(drpcwire.KindError, drpcwire.MarshalError(err), o)
	}
	s.mu.Lock()
	kind := drpcwire.KindCloseSend
	if !s.recvClosed && s.cfg.Owner.PeerKnown() {
		kind = drpcwire.KindClose
	}
	silent := kind == drpcwire.KindCloseSend && s.sendErr != nil // it was sent before
	if silent && s.endLocked(o) {
		s.mu.Unlock()
		s.afterEnd()
		return nil
	}
	s.mu.Unlock()
	return s.finishWith(kind, nil, o)
}
