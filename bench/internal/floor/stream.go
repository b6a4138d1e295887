package floor

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"

	"braid/bench/internal/blob"
)

// Sizes in bytes: what is gathered before it is written, and what is written
// without being copied into the buffer first.
const (
	writeBuffer = 64 << 10
	largeWrite  = 16 << 10
)

// Stream is one end of a stream. It owns the connection as long as it is open.
// Sending and receiving are for one goroutine together: what has been sent is
// written when there is enough of it, at the end, and before waiting for a
// message.
type Stream struct {
	rd      *bufio.Reader
	wr      gatherer
	ended   error  // what Recv returns after the last message
	closed  bool   // no more is sent
	release func() // gives the connection back; nil once it has, and on the server
}

func newStream(conn net.Conn, rd *bufio.Reader, release func()) *Stream {
	return &Stream{rd: rd, wr: gatherer{conn: conn}, release: release}
}

// Send sends a message.
func (s *Stream) Send(msg *blob.Blob) error { return s.wr.append(kindData, msg.Data) }

// Recv receives a message, reusing the memory that it has. It returns io.EOF
// after the last one, or what the handler has returned.
func (s *Stream) Recv(msg *blob.Blob) error {
	if s.ended != nil {
		return s.ended
	}
	if s.rd.Buffered() == 0 {
		if err := s.wr.flush(); err != nil {
			return err
		}
	}
	h, err := readHeader(s.rd)
	if err != nil {
		return s.end(err)
	}
	switch h.kind {
	case kindData:
		return readPayload(s.rd, h.size, msg)
	case kindEnd:
		var text blob.Blob
		if err := readPayload(s.rd, h.size, &text); err != nil {
			return s.end(err)
		}
		if h.size > 0 {
			return s.end(errors.New(string(text.Data)))
		}
		return s.end(io.EOF)
	default:
		return s.end(fmt.Errorf("floor: frame of kind %d in a stream", h.kind))
	}
}

// end keeps what Recv returns from now on.
func (s *Stream) end(err error) error {
	s.ended = err
	return err
}

// CloseSend says that no more is sent.
func (s *Stream) CloseSend() error { return s.finish(nil) }

// finish says that no more is sent, and why.
func (s *Stream) finish(failure error) error {
	if s.closed {
		return nil
	}
	s.closed = true
	var text []byte
	if failure != nil {
		text = []byte(failure.Error())
	}
	if err := s.wr.append(kindEnd, text); err != nil {
		return err
	}
	return s.wr.flush()
}

// gatherer writes frames, many small ones at once and large ones without
// copying them.
type gatherer struct {
	conn net.Conn
	buf  []byte
	vec  [2][]byte
}

// append adds a frame, and writes if there is enough to be written.
func (g *gatherer) append(k kind, payload []byte) error {
	g.buf = appendHeader(g.buf, k, 0, len(payload))
	if len(payload) >= largeWrite {
		g.vec = [2][]byte{g.buf, payload}
		bufs := net.Buffers(g.vec[:])
		_, err := bufs.WriteTo(g.conn)
		g.buf = g.buf[:0]
		return err
	}
	g.buf = append(g.buf, payload...)
	if len(g.buf) >= writeBuffer {
		return g.flush()
	}
	return nil
}

// flush writes what has been gathered.
func (g *gatherer) flush() error {
	if len(g.buf) == 0 {
		return nil
	}
	_, err := g.conn.Write(g.buf)
	g.buf = g.buf[:0]
	return err
}
