package drpcstream

import (
	"errors"
	"sync"

	"storj.io/drpc"
	"storj.io/drpc/drpcenc"

	"braid/drpcwire"
)

// encodeBuffers holds storage for encoded messages between sends, so that an
// idle stream has none.
var encodeBuffers = sync.Pool{New: func() any { return new([]byte) }}

// Encode returns the encoded message, in storage for PutBuffer, or the encoding's error.
func Encode(msg drpc.Message, enc drpc.Encoding) (*[]byte, error) {
	buf := encodeBuffers.Get().(*[]byte)
	data, err := drpcenc.MarshalAppend(msg, enc, (*buf)[:0])
	if err != nil {
		encodeBuffers.Put(buf)
		return nil, err
	}
	*buf = data
	return buf, nil
}

// PutBuffer gives storage back unless it has become too large to keep.
func PutBuffer(buf *[]byte, opts Options) {
	if opts.keep(cap(*buf)) {
		encodeBuffers.Put(buf)
	}
}

// MsgSend encodes the message and queues it. When it returns nil, the message
// leaves in order with everything else on the connection, unless the stream is
// canceled before it does; whether the peer received it is known only from the
// peer. Under ManualFlush it is kept until the stream is flushed.
//
// It waits while the connection or this stream has too much queued, and while the
// peer has given no credit, which it does as its application receives. After the
// peer has ended the stream it returns io.EOF, and MsgRecv tells why; after the
// stream's context has ended, that context's error; after the connection is
// lost, that error. A message larger than the peer accepts fails alone, where
// the peer has said what it accepts.
func (s *Stream) MsgSend(msg drpc.Message, enc drpc.Encoding) error {
	if s.manual.Load() {
		return s.gather(msg, enc)
	}
	buf, err := Encode(msg, enc)
	if err != nil {
		return err
	}
	if !s.sendAtOnce(*buf) {
		err = s.sendInTurn(*buf)
	}
	s.putBuffer(buf)
	return err
}

// gather is MsgSend under ManualFlush. A receive beside it waits for it, to send what is
// gathered.
func (s *Stream) gather(msg drpc.Message, enc drpc.Encoding) error {
	s.write.Lock()
	defer s.unlockWrite()
	buf, err := Encode(msg, enc)
	if err != nil {
		return err
	}
	defer s.putBuffer(buf)
	return s.send(drpcwire.KindMessage, *buf)
}

// sendInTurn is send for a message, after those of other goroutines.
func (s *Stream) sendInTurn(data []byte) error {
	s.write.Lock()
	defer s.unlockWrite()
	return s.send(drpcwire.KindMessage, data)
}

func (s *Stream) putBuffer(buf *[]byte) { PutBuffer(buf, s.cfg.Options) }

// EndWithReply lets Reply end the stream, on the server: nothing of the handler runs after
// that. It must be called before the handler is.
func (s *Stream) EndWithReply() { s.replies = true }

// Reply sends the answer of a unary call, the last message. It is MsgSend and, after
// EndWithReply, where the answer leaves at once and the client sends no more, Return(nil)
// in the same step. A Return must follow in any case.
func (s *Stream) Reply(msg drpc.Message, enc drpc.Encoding) error {
	s.write.Lock()
	defer s.unlockWrite()
	buf, err := Encode(msg, enc)
	if err != nil {
		return err
	}
	defer s.putBuffer(buf)
	if s.replyAtOnce(*buf) {
		return nil
	}
	return s.send(drpcwire.KindMessage, *buf)
}

// replyAtOnce queues the message and the end of the stream, and ends it. It reports
// false, and does nothing, if that is not possible; write is held.
func (s *Stream) replyAtOnce(data []byte) bool {
	o := outcome{send: errReturned, recv: errReturned, discard: true, ctx: ctxCanceled}
	s.mu.Lock()
	if !s.replies || !s.recvClosed || !s.leavesWholeLocked(data) {
		s.mu.Unlock()
		return false
	}
	before := s.lastMsg
	err := s.cfg.Writer.TryWrite(&s.lane,
		drpcwire.Frame{ID: s.nextIDLocked(), Kind: drpcwire.KindMessage, Done: true, Data: data},
		drpcwire.Frame{ID: s.nextIDLocked(), Kind: drpcwire.KindCloseSend, Done: true})
	if err != nil {
		s.lastMsg = before
		s.mu.Unlock()
		return false
	}
	s.out.spend(len(data))
	s.returned.Store(handlerReturned)
	s.endLocked(o)
	s.mu.Unlock()
	s.stats.AddWritten(uint64(len(data)))
	s.afterEnd()
	return true
}

// leavesWholeLocked reports whether a message may be sent in one frame now.
func (s *Stream) leavesWholeLocked(data []byte) bool {
	if s.sendErr != nil || s.manual.Load() || s.holding.Load() {
		return false
	}
	if limit := s.cfg.Owner.PeerLimit(); limit > 0 && len(data) > limit {
		return false
	}
	if _, rest := drpcwire.SplitData(data, s.cfg.Options.SplitSize); rest != nil {
		return false
	}
	n, ok := s.out.piece(len(data), len(data))
	return ok && n == len(data)
}

// RawWrite queues a packet with this data. It is MsgSend without an encoding,
// and for kinds other than KindMessage a tool for tests.
func (s *Stream) RawWrite(kind drpcwire.Kind, data []byte) error {
	if kind == drpcwire.KindMessage && s.sendAtOnce(data) {
		return nil
	}
	s.write.Lock()
	defer s.unlockWrite()
	return s.send(kind, data)
}

// RawFlush sends what was gathered under ManualFlush.
func (s *Stream) RawFlush() error {
	s.write.Lock()
	defer s.unlockWrite()
	return s.flush(s.newWait())
}

// flushForRecv sends what was gathered before the stream waits for an answer to
// it. It does not wait: for room the peer may have to receive first, and it may
// be waiting for us to do so. A send in progress does it when it is done.
func (s *Stream) flushForRecv() {
	s.flushSoon.Store(true)
	if !s.write.TryLock() {
		return // whoever holds the lock looks at flushSoon once it has let go
	}
	s.flushSoon.Store(false)
	s.mu.Lock()
	var err error
	if s.sendErr == nil { // else what was gathered went with the end of sending
		_, err = s.flushLocked()
	}
	s.mu.Unlock()
	if errors.Is(err, drpcwire.ErrFull) {
		go s.flushLater()
		return
	}
	s.unlockWrite()
}

// flushLater waits for room for what was gathered, on behalf of a receive; it has
// been given the write lock. It ends when that was sent or the stream has ended.
func (s *Stream) flushLater() {
	defer s.unlockWrite()
	_ = s.flush(s.waitForever()) // an error is the end of the stream, which the receive tells
}

// unlockWrite ends a send. If a receive has come meanwhile that waits for what is
// gathered to be sent, it sends that.
func (s *Stream) unlockWrite() {
	s.write.Unlock()
	if s.flushSoon.Load() {
		s.flushForRecv()
	}
}

// outgoing is a message that is being sent.
type outgoing struct {
	fr     drpcwire.Frame // the frame to be queued next
	rest   []byte         // what was not queued yet, that of fr included
	chosen bool           // fr has its data
	credit bool           // which there was credit for
}

// send splits the data into frames and queues them; write is held.
func (s *Stream) send(kind drpcwire.Kind, data []byte) error {
	if limit := s.cfg.Owner.PeerLimit(); limit > 0 && len(data) > limit {
		return drpcwire.Exhausted("message of %d bytes exceeds the peer's limit of %d", len(data), limit)
	}
	s.setSending(true)
	defer s.setSending(false)
	written := uint64(len(data))
	out := outgoing{fr: drpcwire.Frame{Kind: kind}, rest: data}
	wait := s.newWait()
	defer wait.stop()
	for {
		if err := s.untilRoom(&wait, func() (int, error) { return s.queueLocked(&out) }); err != nil {
			return err
		}
		if out.fr.Done {
			break
		}
	}
	s.stats.AddWritten(written)
	if s.holding.Load() && !s.manual.Load() {
		// The message is with what was gathered, and will be sent: it does not
		// fail any more but with the stream.
		return s.flush(s.waitForever())
	}
	return nil
}

// sendAtOnce is send for a message that leaves in one frame now. It reports false, and
// does nothing, if that is not possible.
func (s *Stream) sendAtOnce(data []byte) (sent bool) {
	s.mu.Lock()
	if !s.sending && s.leavesWholeLocked(data) {
		id := drpcwire.ID{Stream: s.id, Message: s.lastMsg + 1}
		if sent = s.cfg.Writer.TryWriteMessage(&s.lane, id, data) == nil; sent {
			s.lastMsg++
			s.out.spend(len(data))
			s.stats.AddWritten(uint64(len(data)))
		}
	}
	s.mu.Unlock()
	return sent
}

// setSending keeps other messages from being sent between the frames of one.
func (s *Stream) setSending(sending bool) {
	s.mu.Lock()
	s.sending = sending
	s.mu.Unlock()
}

// flush sends what was gathered, if anything; write is held.
func (s *Stream) flush(wait opWait) error {
	if !s.holding.Load() {
		return nil
	}
	defer wait.stop()
	return s.untilRoom(&wait, s.flushLocked)
}

// untilRoom calls try, with mu held, until it returns something other than
// drpcwire.ErrFull and errNoCredit. In between it waits for room for the number of
// bytes that try has asked for, or for credit. write is held, so that one goroutine
// waits on the lane.
func (s *Stream) untilRoom(wait *opWait, try func() (need int, err error)) error {
	for waited := false; ; waited = true {
		s.mu.Lock()
		need, err := 0, s.sendErr
		if err == nil {
			need, err = try()
		}
		s.mu.Unlock()
		switch {
		case errors.Is(err, drpcwire.ErrFull):
			err = wait.forRoom(need)
		case err == errNoCredit: //nolint:errorlint // from try itself
			err = wait.forCredit()
		default:
			if waited {
				s.cfg.Writer.Forgo(&s.lane) // what try had no use for after all
			}
			return s.sendError(err)
		}
		if err != nil {
			s.cfg.Writer.Forgo(&s.lane)
			return s.sendError(err)
		}
	}
}

// sendError makes the error of a failed send. A writer that has stopped tells
// of the transport; what the stream was told of its end comes before that, and
// the end of its own context before both.
func (s *Stream) sendError(err error) error {
	if err == nil {
		return nil
	}
	s.mu.Lock()
	if s.sendErr != nil {
		err = s.sendErr
	}
	s.mu.Unlock()
	s.awaitEnd()
	return s.preferParent(err)
}

// queueLocked gives the next frame of a message to the writer, or adds it to what
// is gathered. The first frame of a packet takes the next message id, and keeps it
// if it has to wait; so does a frame whose data was chosen.
func (s *Stream) queueLocked(out *outgoing) (need int, err error) {
	fr := &out.fr
	if (!out.chosen || s.out.on != out.credit) && !s.chooseLocked(out) {
		if need, err := s.flushLocked(); err != nil { // the peer cannot consume what it has not got
			return need, err
		}
		s.wantCredit = true
		if s.credited == nil {
			s.credited = make(chan struct{}, 1)
		}
		return 0, errNoCredit
	}
	if fr.ID.Message == 0 {
		fr.ID = s.nextIDLocked()
	}
	size := drpcwire.Size(*fr)
	if !s.manual.Load() && !s.holding.Load() {
		if err := s.cfg.Writer.TryWrite(&s.lane, *fr); err != nil {
			return size, err
		}
	} else {
		if held := len(s.heldLocked()); held > 0 && held+size > s.cfg.HoldSize {
			if need, err := s.flushLocked(); err != nil {
				return need, err
			}
		}
		if s.gathered == nil {
			s.gathered = new([]byte)
		}
		*s.gathered = drpcwire.AppendFrame(*s.gathered, *fr)
		s.holding.Store(true)
	}
	if fr.Kind == drpcwire.KindMessage {
		s.out.spend(len(fr.Data))
	}
	out.rest, out.chosen = out.rest[len(fr.Data):], false
	return 0, nil
}

// chooseLocked decides what the next frame of a message carries. It reports false
// if there is no credit for it.
func (s *Stream) chooseLocked(out *outgoing) bool {
	prefix, _ := drpcwire.SplitData(out.rest, s.cfg.Options.SplitSize)
	n := len(prefix)
	if out.fr.Kind == drpcwire.KindMessage {
		var ok bool
		if n, ok = s.out.piece(len(out.rest), n); !ok {
			return false
		}
	}
	out.fr.Data = out.rest[:n:n]
	out.fr.Done = n == len(out.rest)
	out.chosen, out.credit = true, s.out.on
	return true
}

// flushLocked gives what is gathered to the writer, to leave in one write.
func (s *Stream) flushLocked() (need int, err error) {
	held := s.heldLocked()
	if len(held) == 0 {
		return 0, nil
	}
	if err := s.cfg.Writer.TryWriteEncoded(&s.lane, held); err != nil {
		return len(held), err
	}
	s.dropHeldLocked()
	return 0, nil
}

// heldLocked returns what is gathered.
func (s *Stream) heldLocked() []byte {
	if s.gathered == nil {
		return nil
	}
	return *s.gathered
}

func (s *Stream) dropHeldLocked() {
	if s.gathered != nil {
		if s.cfg.Options.keep(cap(*s.gathered)) {
			*s.gathered = (*s.gathered)[:0]
		} else {
			s.gathered = nil
		}
	}
	s.holding.Store(false)
}

func (s *Stream) nextIDLocked() drpcwire.ID {
	s.lastMsg++
	return drpcwire.ID{Stream: s.id, Message: s.lastMsg}
}
