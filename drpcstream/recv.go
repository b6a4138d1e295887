package drpcstream

import (
	"context"
	"errors"
	"io"

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
	s.read.Lock()
	defer s.read.Unlock()
	data, err := s.acquire()
	if err != nil {
		return err
	}
	defer s.release() // also when the encoding panics
	return enc.Unmarshal(data, msg)
}

// RawRecv is MsgRecv without an encoding: it returns a copy of the message.
func (s *Stream) RawRecv() ([]byte, error) {
	s.read.Lock()
	defer s.read.Unlock()
	data, err := s.acquire()
	if err != nil {
		return nil, err
	}
	defer s.release()
	return append([]byte(nil), data...), nil
}

// acquire waits for the next message; read is held.
func (s *Stream) acquire() ([]byte, error) {
	if s.holding.Load() {
		s.flushForRecv()
	}
	data, err := s.recv.acquire(s.interrupt())
	switch {
	case err == nil:
		return data, nil
	case errors.Is(err, errInterrupted):
		err = s.parentErr()
		s.Cancel(err)
		return nil, err
	case err == io.EOF: //nolint:errorlint // a clean end is io.EOF itself
		return nil, err
	default:
		return nil, s.preferParent(err)
	}
}

// interrupt returns the channel that a receive has to watch itself: that of the
// parent context, where neither Watch nor the connection watches it.
func (s *Stream) interrupt() <-chan struct{} {
	if s.cfg.Server {
		return nil
	}
	parent := s.ctx.Context.Done()
	if parent == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watched {
		return nil
	}
	return parent
}

// release ends the use of the message that acquire returned.
func (s *Stream) release() {
	if !s.recv.release() {
		return
	}
	s.mu.Lock()
	closed := s.State() == Draining && s.setState(Closed)
	s.mu.Unlock()
	if closed {
		s.finish()
	}
}

// HandleFrame takes a frame of this stream from the wire. It is called by the
// connection's reader only, and blocks while the queue of the stream is full.
// more is the number of bytes that follow in the same frame (see
// drpcwire.Reader). An error means that the peer broke the protocol; everything
// else that may be wrong with a frame ends at most this stream.
func (s *Stream) HandleFrame(fr drpcwire.Frame, more uint64) error {
	if s.term.IsSet() {
		return nil
	}
	pkt, done, err := s.asm.Append(fr, more, s.cfg.Limit)
	switch {
	case err == drpcwire.ErrTooLarge: //nolint:errorlint // returned as it is
		s.asm = drpcwire.Assembler{} // frees what was gathered
		s.fail(drpcwire.Exhausted("received message exceeds the limit of %d bytes", s.cfg.Limit))
		return nil
	case err != nil:
		return err
	case !done:
		return nil
	}
	s.stats.AddRead(uint64(len(pkt.Data)))
	return s.handlePacket(pkt)
}

func (s *Stream) handlePacket(pkt drpcwire.Packet) error {
	switch pkt.Kind {
	case drpcwire.KindMessage:
		s.asm.Use(s.recv.push(pkt.Data))
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
		o.ctx = contextError(recv)
	case s.cfg.Server:
		o.ctx = context.Canceled
	}
	s.mu.Lock()
	ended := s.endLocked(o)
	s.mu.Unlock()
	if ended {
		s.afterEnd(o)
	}
}

// peerClosedSend takes note that the peer sends no more messages.
func (s *Stream) peerClosedSend() {
	s.mu.Lock()
	if s.recvClosed {
		s.mu.Unlock()
		return
	}
	s.recvClosed = true
	s.recv.close(io.EOF)
	o := outcome{send: s.sendErr, recv: io.EOF}
	ended := false
	switch {
	case s.sendErr != nil:
		ended = s.endLocked(o)
	case s.cfg.Server:
		s.setState(ClientClosed)
	default:
		s.setState(ServerClosed)
	}
	s.mu.Unlock()
	if ended {
		s.afterEnd(o)
	}
}
