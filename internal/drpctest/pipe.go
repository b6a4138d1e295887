package drpctest

import (
	"errors"
	"io"
	"sync"
)

// Pipe returns the two ends of an in-memory connection. Unlike net.Pipe it has
// a buffer in each direction, as a network has, so that writing and reading are
// not in step.
func Pipe() (a, b *End) {
	ab, ba := newBuffer(), newBuffer()
	return &End{in: ba, out: ab}, &End{in: ab, out: ba}
}

// End is one end of a Pipe. It is an io.ReadWriteCloser whose Close unblocks its
// own Read and Write; the other end reads what was written, and then io.EOF.
type End struct {
	in, out *buffer
}

// Read implements io.Reader.
func (e *End) Read(p []byte) (int, error) { return e.in.read(p) }

// Write implements io.Writer.
func (e *End) Write(p []byte) (int, error) { return e.out.write(p) }

// Close implements io.Closer.
func (e *End) Close() error {
	e.out.end(io.EOF, io.ErrClosedPipe)
	e.in.end(io.ErrClosedPipe, errPeerClosed)
	return nil
}

// errPeerClosed is what writing gives once the other end is closed.
var errPeerClosed = errors.New("write on a pipe whose other end is closed")

// Limit makes Write block while n bytes or more are on their way: a peer that
// does not read. A negative n, as at the start, means no limit.
func (e *End) Limit(n int) { e.out.setLimit(n) }

// Fail makes Write on this end fail with err, now and later, and Read on the
// other end once it has read what is on its way.
func (e *End) Fail(err error) { e.out.end(err, err) }

// Writes returns a copy of what each Write on this end was given so far.
func (e *End) Writes() [][]byte {
	e.out.mu.Lock()
	defer e.out.mu.Unlock()
	return append([][]byte(nil), e.out.writes...)
}

// buffer is one direction.
type buffer struct {
	mu       sync.Mutex
	cond     sync.Cond // on any change
	data     []byte    // guarded by mu, like all below
	writes   [][]byte
	limit    int
	readErr  error // after data
	writeErr error
}

func newBuffer() *buffer {
	b := &buffer{limit: -1}
	b.cond.L = &b.mu
	return b
}

func (b *buffer) read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.data) == 0 && b.readErr == nil {
		b.cond.Wait()
	}
	if len(b.data) == 0 || errors.Is(b.readErr, io.ErrClosedPipe) {
		return 0, b.readErr
	}
	n := copy(p, b.data)
	b.data = b.data[n:]
	b.cond.Broadcast()
	return n, nil
}

func (b *buffer) write(p []byte) (n int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.writes = append(b.writes, append([]byte(nil), p...))
	for {
		if b.writeErr != nil {
			return n, b.writeErr
		}
		room := len(p) - n
		if b.limit >= 0 {
			room = min(room, max(b.limit-len(b.data), 0))
		}
		b.data = append(b.data, p[n:n+room]...)
		n += room
		if room > 0 {
			b.cond.Broadcast()
		}
		if n == len(p) {
			return n, nil
		}
		b.cond.Wait()
	}
}

func (b *buffer) setLimit(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.limit = n
	b.cond.Broadcast()
}

func (b *buffer) end(readErr, writeErr error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.readErr == nil || errors.Is(readErr, io.ErrClosedPipe) {
		b.readErr = readErr
	}
	if b.writeErr == nil {
		b.writeErr = writeErr
	}
	b.cond.Broadcast()
}
