package drpcstream

import (
	"errors"
	"io"
	"time"

	"storj.io/drpc"

	"braid/drpcwire"
)

// MsgRecv receives the next message and decodes it into msg. The encoding gets
// storage that is used again once it returns, and must not keep it.
//
// After the last message it returns io.EOF where the peer has finished
// normally, and otherwise why the stream has ended; docs/streams.md has the
// table. It waits for a message, the end of the stream or of its context.
func (s *Stream) MsgRecv(msg drpc.Message, enc drpc.Encoding) error {
	data, err := s.acquire()
	if err != nil {
		return err
	}
	defer s.release() // also when the encoding panics
	return enc.Unmarshal(data, msg)
}

// RawRecv is MsgRecv without an encoding: it returns a copy of the message.
func (s *Stream) RawRecv() ([]byte, error) {
	data, err := s.acquire()
	if err != nil {
		return nil, err
	}
	defer s.release()
	return append([]byte(nil), data...), nil
}

// unlockRead ends a receive. What was left to it to be dropped, as the stream has been
// ended meanwhile, is dropped.
func (s *Stream) unlockRead() {
	s.read.Unlock()
	s.dropRest()
}

// dropRest drops what a batch still has that a receive has begun, once the stream was
// ended. Where a receive is going on, that does it.
func (s *Stream) dropRest() {
	for s.recv.abandoned.Load() && s.read.TryLock() {
		s.recv.dropRest()
		s.read.Unlock()
	}
}

// acquire begins a receive: it waits for the next message, and for other receives to end.
// Where it returns a message, release must follow.
func (s *Stream) acquire() ([]byte, error) {
	s.read.Lock()
	if s.holding.Load() {
		s.flushForRecv()
	}
	if data, ok := s.recv.next(); ok {
		return data, nil
	}
	done, timeout := s.interrupt(), time.Duration(s.recvTimeout.Load())
	var data []byte
	var err error
	if done != nil || timeout > 0 {
		data, err = s.recv.acquireBefore(done, timeout)
	} else {
		data, err = s.recv.acquire()
	}
	if err != nil {
		err = s.recvError(err)
		s.unlockRead()
	}
	return data, err
}

// recvError makes the error of a failed receive; read is held.
func (s *Stream) recvError(err error) error {
	switch {
	case err == ErrTimeout: //nolint:errorlint // returned as it is
		s.cfg.Budget.passOn() // it may have been in front in the budget's line
		return err
	case errors.Is(err, errInterrupted):
		err = s.parentErr()
		s.Cancel(err)
	case err != io.EOF: //nolint:errorlint // a clean end is io.EOF itself
		err = s.preferParent(err)
	}
	s.awaitEnd()
	return err
}

// interrupt returns the channel that a receive has to watch itself: that of the
// parent context, where neither Watch nor the connection watches it.
func (s *Stream) interrupt() <-chan struct{} {
	if s.cfg.Server {
		return nil
	}
	parent := s.parent.Done()
	if parent == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopWatch != nil {
		return nil
	}
	return parent
}

// release ends the use of the message that acquire has returned, and the receive.
func (s *Stream) release() {
	defer s.unlockRead()
	s.free()
}

// free ends the use of a message.
func (s *Stream) free() {
	drained := s.recv.release()
	s.cfg.Budget.passOn()
	if !drained {
		return
	}
	s.mu.Lock()
	closed := s.State() == Draining && s.setState(Closed)
	s.mu.Unlock()
	if closed {
		s.awaitEnd() // the context is done after the connection knows, also where this ends it
		s.finish()
	}
}

// Arrival is a frame that has come for a stream.
type Arrival struct {
	drpcwire.Frame

	// More is the number of bytes that follow in the same frame, and Continued
	// says that it is not the first piece of its frame (see drpcwire.Reader).
	More      uint64
	Continued bool

	// Strict says that the peer knows of its credit, and must keep to it.
	Strict bool

	// CloseSend is the message id of the CloseSend that follows right behind a message,
	// if it is there already; else zero.
	CloseSend uint64
}

// cost returns what the frame costs in credit.
func (a Arrival) cost() int64 {
	if a.Kind != drpcwire.KindMessage || a.Continued {
		return 0
	}
	return frameCost(len(a.Data)) + int64(a.More)
}

const (
	// maxErrorData is what is kept of an Error: its code and 64 KiB of text. The
	// rest is dropped as it comes. What is sent is cut to a quarter of it.
	maxErrorData = 8 + 64<<10

	// maxEndData is the most data that is accepted of a packet that only ends a
	// stream: it has none, or a number.
	maxEndData = 1 << 10
)

// sizeLimit returns the largest packet of a kind that is accepted.
func (s *Stream) sizeLimit(kind drpcwire.Kind) int {
	switch kind {
	case drpcwire.KindError:
		return maxErrorData
	case drpcwire.KindCancel, drpcwire.KindClose, drpcwire.KindCloseSend:
		return maxEndData
	default:
		return s.cfg.Limit
	}
}

// HandleFrame takes a frame of this stream from the wire. It is called by the
// connection's reader only. Where credit is not in force it blocks while the queue
// of the stream is full, for Config.QueueTimeout at most. An error means that the peer
// broke the protocol; everything else that may be wrong with a frame ends at most this
// stream. closed says that in.CloseSend was handled with it, which otherwise has to come as
// a frame of its own.
func (s *Stream) HandleFrame(in Arrival) (closed bool, err error) {
	s.taking.Lock()
	if in.CloseSend > 0 && s.takeLast(in) {
		closed = true
	} else {
		err = s.take(in)
	}
	s.taking.Unlock()
	s.freeStorage()
	return closed, err
}

// takeLast takes a message in one frame and the CloseSend behind it, in one step. It
// reports false, and does nothing, if that is to be done one by one: where there is no
// credit for it, or anything is wrong with it. taking is held.
func (s *Stream) takeLast(in Arrival) bool {
	cost := in.cost()
	if in.More > 0 || in.Continued || len(in.Data) > s.cfg.Limit || !s.mayTake(cost) {
		return false
	}
	s.mu.Lock()
	if s.recvClosed || !s.asm.SkipTo(in.ID.Message, in.CloseSend) {
		s.mu.Unlock()
		return false
	}
	s.stats.AddRead(uint64(len(in.Data)))
	s.asm.Use(s.recv.pushLast(append(drpcwire.Grow(s.asm.Storage(), len(in.Data)), in.Data...), cost))
	ended := s.peerClosedLocked()
	s.mu.Unlock()
	if ended {
		s.afterEnd()
	}
	s.cfg.Budget.passOn()
	return true
}

// mayTake reports whether what costs so much may be taken in one step: it is of a live
// stream, and there is credit for it. taking is held.
func (s *Stream) mayTake(cost int64) bool {
	return !s.term.IsSet() && !s.peerDone && s.recv.limit.Load() > 0 && s.recv.covers(cost)
}

// TakeBatch is HandleFrame for many messages at once. It reports false, and does nothing,
// if they are to be handled one by one: where there is no credit for them, or anything is
// wrong with them.
func (s *Stream) TakeBatch(b drpcwire.Batch) bool {
	s.taking.Lock()
	ok := s.mayTake(b.Cost()) && s.asm.SkipTo(b.First, b.Last)
	if ok {
		s.stats.AddRead(uint64(b.Size))
		s.recv.pushBatch(b)
		s.cfg.Budget.passOn()
	}
	s.taking.Unlock()
	s.freeStorage()
	return ok
}

// Reserve returns room for a further piece of a frame that is being taken, to read it
// right to where it belongs; nil if it need not be kept. It is called by the
// connection's reader, which passes the piece to HandleFrame next.
func (s *Stream) Reserve(n int) []byte {
	defer s.freeStorage() // its end may come meanwhile
	s.taking.Lock()
	defer s.taking.Unlock()
	if s.term.IsSet() || s.asm.Buffered() == 0 || s.peerDone {
		return nil
	}
	return s.asm.Reserve(n)
}

// freeStorage lets go of what has come of an incomplete packet once the stream has
// ended: its handler may run for long. Whoever takes a frame meanwhile does it then.
func (s *Stream) freeStorage() {
	if s.term.IsSet() && s.taking.TryLock() {
		s.asm = drpcwire.Assembler{}
		s.cfg.ahead.leave(s)
		s.taking.Unlock()
	}
}

// take is HandleFrame; taking is held.
func (s *Stream) take(in Arrival) error {
	cost := in.cost()
	if s.term.IsSet() {
		s.cfg.Budget.Add(Totals{Late: cost})
		return nil
	}
	if cost > 0 && !s.recv.covers(cost) {
		if in.Strict && s.recv.limit.Load() > 0 {
			return drpc.ProtocolError.New("more sent than there is credit for (%v)", in.Frame)
		}
		if !s.recv.owe(cost) {
			s.failFull(cost)
			return nil
		}
	}
	abandons := s.asm.Abandons(in.Frame)
	if in.Kind == drpcwire.KindError {
		room := maxErrorData
		if !abandons {
			room -= s.asm.Buffered()
		}
		in.Data, in.More = in.Data[:min(len(in.Data), room)], 0
	}
	if s.comesToNothing(in.Kind) {
		in.Data, in.More = nil, 0
	}
	pkt, done, err := s.asm.Append(in.Frame, in.More, s.sizeLimit(in.Kind))
	if abandons {
		s.recv.abandon()
		s.cfg.ahead.leave(s)
	}
	switch {
	case err == drpcwire.ErrTooLarge: //nolint:errorlint // returned as it is
		s.failLarge(in.Kind, cost)
		return nil
	case err != nil:
		return err
	}
	if in.Kind == drpcwire.KindMessage {
		s.cfg.ahead.arrived(s, len(pkt.Data), done)
	}
	a := arrival{cost: cost, newPacket: s.asm.First()}
	switch {
	case done && pkt.Kind == drpcwire.KindMessage:
		s.stats.AddRead(uint64(len(pkt.Data)))
		storage, ok := s.recv.push(pkt.Data, a)
		s.asm.Use(storage)
		if !ok {
			s.failFull(cost)
		}
	case done:
		s.stats.AddRead(uint64(len(pkt.Data)))
		err = s.handlePacket(pkt)
	case cost > 0:
		s.recv.part(a)
	}
	s.cfg.Budget.passOn()
	return err
}

// failFull ends the stream because of a frame that there is no room for, and that no
// credit has held back.
func (s *Stream) failFull(cost int64) {
	s.cfg.Budget.Add(Totals{Late: cost})
	s.fail(drpcwire.Exhausted("too much has come without flow control and is not received"))
}

// failLarge ends the stream because of a packet that is larger than is accepted.
func (s *Stream) failLarge(kind drpcwire.Kind, cost int64) {
	s.asm = drpcwire.Assembler{} // frees what was gathered
	s.cfg.ahead.leave(s)
	s.cfg.Budget.Add(Totals{Late: cost})
	what := "message"
	if kind != drpcwire.KindMessage {
		what = kind.String()
	}
	s.fail(drpcwire.Exhausted("received %s exceeds the limit of %d bytes", what, s.sizeLimit(kind)))
}

// comesToNothing reports whether a packet of this kind is not kept while it comes: a
// message behind the CloseSend is dropped, and on a live stream an Invoke breaks the
// rules once it is complete.
func (s *Stream) comesToNothing(kind drpcwire.Kind) bool {
	switch kind {
	case drpcwire.KindInvoke, drpcwire.KindInvokeMetadata:
		return true
	case drpcwire.KindMessage:
		return s.peerDone
	}
	return false
}

func (s *Stream) handlePacket(pkt drpcwire.Packet) error {
	switch pkt.Kind {
	case drpcwire.KindError:
		s.endByPeer(io.EOF, drpcwire.UnmarshalError(pkt.Data), false)
	case drpcwire.KindCancel:
		s.endByPeer(io.EOF, cancelError(drpcwire.ParseCancel(pkt.Data)), true)
	case drpcwire.KindClose:
		s.endByPeer(errRemoteClosed, io.EOF, false)
	case drpcwire.KindCloseSend:
		s.peerClosedSend()
	case drpcwire.KindInvoke, drpcwire.KindInvokeMetadata:
		return drpc.ProtocolError.New("%v on a live stream (%v)", pkt.Kind, pkt)
	default:
		return drpc.ProtocolError.New("%v is not a packet of a stream (%v)", pkt.Kind, pkt)
	}
	return nil
}

// endByPeer ends the stream as the peer has asked. cancel says that the
// context ends at once; on the server it always does, because the handler has
// nobody left to work for.
func (s *Stream) endByPeer(send, recv error, cancel bool) {
	o := outcome{send: send, recv: recv}
	switch {
	case cancel:
		o.ctx = endBy(recv)
	case s.cfg.Server:
		o.ctx = ctxCanceled
	}
	s.mu.Lock()
	ended := s.endLocked(o)
	s.mu.Unlock()
	if ended {
		s.afterEnd()
	}
}

// peerClosedSend takes note that the peer sends no more messages.
func (s *Stream) peerClosedSend() {
	s.mu.Lock()
	ended := !s.recvClosed && s.peerClosedLocked()
	s.mu.Unlock()
	if ended {
		s.afterEnd()
	}
}

// peerClosedLocked is peerClosedSend, once; it reports whether that has ended the stream.
func (s *Stream) peerClosedLocked() (ended bool) {
	s.recvClosed, s.peerDone = true, true
	s.recv.close(io.EOF)
	switch {
	case s.sendErr != nil:
		return s.endLocked(outcome{send: s.sendErr, recv: io.EOF})
	case s.cfg.Server:
		s.setState(ClientClosed)
	default:
		s.setState(ServerClosed)
	}
	return false
}
