package drpcwire

import (
	"io"
	"sync"
)

// defaultWriterSize is how much a Writer gathers where nothing else was asked for.
const defaultWriterSize = 4 << 10

// Writer gathers frames and writes them to an io.Writer from the goroutine that
// fills or flushes it. It serves programs written for storj.io/drpc/drpcwire;
// braid's own connections use a MuxWriter. All methods may be called
// concurrently.
type Writer struct {
	w    io.Writer
	size int

	mu  sync.Mutex
	buf []byte // guarded by mu
}

// NewWriter returns a Writer that flushes by itself when it has gathered size
// bytes. Zero means 4 KiB.
func NewWriter(w io.Writer, size int) *Writer {
	if size <= 0 {
		size = defaultWriterSize
	}
	return &Writer{w: w, size: size}
}

// WritePacket writes the packet as one frame, whatever its size.
func (b *Writer) WritePacket(pkt Packet) error {
	return b.WriteFrame(Frame{Data: pkt.Data, ID: pkt.ID, Kind: pkt.Kind, Control: pkt.Control, Done: true})
}

// WriteFrame adds a frame, and flushes when enough has been gathered.
func (b *Writer) WriteFrame(fr Frame) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.buf = AppendFrame(b.buf, fr)
	if len(b.buf) < b.size {
		return nil
	}
	return b.flushLocked()
}

// Flush writes what was gathered. It does nothing when that is nothing.
func (b *Writer) Flush() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.buf) == 0 {
		return nil
	}
	return b.flushLocked()
}

func (b *Writer) flushLocked() error {
	n, err := b.w.Write(b.buf)
	if err == nil && n < len(b.buf) {
		err = io.ErrShortWrite
	}
	b.buf = b.buf[:0]
	return err
}

// Empty reports whether nothing is gathered.
func (b *Writer) Empty() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.buf) == 0
}

// Reset drops what was gathered and returns the Writer.
func (b *Writer) Reset() *Writer {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.buf = b.buf[:0]
	return b
}
