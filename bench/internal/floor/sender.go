package floor

import (
	"net"
	"runtime"
	"sync"
)

// sender writes frames. A failed write closes the connection, so that the
// reading side reports it.
type sender interface {
	// Send sends a frame. It has no hold of the payload when it returns.
	Send(k kind, number uint32, payload []byte)
	Close()
}

// newSender returns a sender that gathers frames, or one that does not.
func newSender(conn net.Conn, yields int) sender {
	if yields == Direct {
		return &directSender{conn: conn}
	}
	s := &batchSender{conn: conn, yields: yields, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go s.write() // ends with Close, or when a write fails
	return s
}

// directSender writes every frame by itself.
type directSender struct {
	conn net.Conn

	mu  sync.Mutex
	buf []byte    // guarded by mu
	vec [2][]byte // guarded by mu
}

// Send implements sender.
func (s *directSender) Send(k kind, number uint32, payload []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buf = appendHeader(s.buf[:0], k, number, len(payload))
	var err error
	if len(payload) >= largeWrite {
		s.vec = [2][]byte{s.buf, payload}
		bufs := net.Buffers(s.vec[:])
		_, err = bufs.WriteTo(s.conn)
	} else {
		s.buf = append(s.buf, payload...)
		_, err = s.conn.Write(s.buf)
	}
	if err != nil {
		_ = s.conn.Close()
	}
}

// Close implements sender.
func (s *directSender) Close() {}

// batchSender gathers frames while its goroutine yields, and writes them
// together. Yielding lets everyone who is ready to send do so first: a system
// call for many frames costs little more than one for a single frame.
type batchSender struct {
	conn   net.Conn
	yields int
	wake   chan struct{}
	done   chan struct{}

	mu  sync.Mutex
	buf []byte // guarded by mu
}

// Send implements sender.
func (s *batchSender) Send(k kind, number uint32, payload []byte) {
	s.mu.Lock()
	first := len(s.buf) == 0
	s.buf = appendHeader(s.buf, k, number, len(payload))
	s.buf = append(s.buf, payload...)
	s.mu.Unlock()
	if first {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// Close implements sender.
func (s *batchSender) Close() { close(s.done) }

// write is the writer goroutine.
func (s *batchSender) write() {
	var spare []byte
	for {
		select {
		case <-s.wake:
		case <-s.done:
			return
		}
		for range s.yields {
			runtime.Gosched()
		}
		s.mu.Lock()
		batch := s.buf
		s.buf = spare[:0]
		s.mu.Unlock()
		if _, err := s.conn.Write(batch); err != nil {
			_ = s.conn.Close()
			return
		}
		spare = batch
	}
}
