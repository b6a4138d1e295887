package drpcwire

import (
	"io"
	"runtime"
	"sync/atomic"
	"time"

	"storj.io/drpc"
)

// DefaultMaximumBufferSize is the largest packet a Reader accepts where nothing
// else was asked for.
const DefaultMaximumBufferSize = 4 << 20

const (
	// readBufferMin is what a connection begins with; readBufferMax is what a
	// busy one grows to, one doubling for each read that fills the buffer.
	readBufferMin = 4 << 10
	readBufferMax = 64 << 10

	// maxFrameLength is the largest length a frame may declare. Nothing is
	// allocated for a declared length, so it only tells a peer that is out of
	// step with us from one that sends something large.
	maxFrameLength = 1 << 30

	// yieldFrom is the size of a read, in bytes, after which the goroutines that it
	// has woken come before the next one. As long as there is more to read, reading
	// never parks by itself, and they would wait until the scheduler takes the
	// processor from the reader, up to 10 ms.
	yieldFrom = 4 << 10

	// maxEmptyReads is how often a transport may return neither data nor error.
	maxEmptyReads = 100
)

// ReaderOptions configures a Reader. The zero value is ready to use.
type ReaderOptions struct {
	// MaximumBufferSize is the largest packet, in bytes of data, that is
	// accepted. Zero means DefaultMaximumBufferSize; negative is treated as
	// zero, because a limit is what keeps a peer from filling the memory.
	MaximumBufferSize int
}

// Limit returns the largest packet accepted, with the default applied.
func (o ReaderOptions) Limit() int {
	if o.MaximumBufferSize <= 0 {
		return DefaultMaximumBufferSize
	}
	return o.MaximumBufferSize
}

// Reader parses frames out of an io.Reader. It is not safe for concurrent use.
//
// ReadFrame and ReadPacket are two views of the same stream of bytes; a program
// uses one of them.
type Reader struct {
	r    io.Reader
	opts ReaderOptions
	err  error // what the transport returned together with its last bytes

	// buf[pos:end] has been read and not been returned.
	buf      []byte
	pos, end int
	grow     bool // the last read filled buf
	got      int  // what the last read returned
	direct   bool // the last frame in pieces was read to where it belongs
	peeked   int  // where the frame ends that PeekCloseSend has found

	// A frame larger than buf is returned in pieces: head is what they have in
	// common, left the number of data bytes that were not returned yet.
	head Frame
	left uint64

	// For who watches the transport from another goroutine, in nanoseconds since
	// epoch, which a step of the clock does not touch; 0 means never.
	epoch        time.Time
	lastRead     atomic.Int64
	partialSince atomic.Int64 // while a frame has come in part
	reading      atomic.Bool  // the transport's Read is in progress
	onPartial    func()

	partial      bool   // partialSince is set
	partialBytes uint64 // data returned in pieces since then

	id ID // lowest id that ReadPacket accepts
}

// NewReader returns a Reader with default options.
func NewReader(r io.Reader) *Reader { return NewReaderWithOptions(r, ReaderOptions{}) }

// NewReaderWithOptions returns a Reader.
func NewReaderWithOptions(r io.Reader, opts ReaderOptions) *Reader {
	return &Reader{r: r, opts: opts, id: ID{Stream: 1, Message: 1}, epoch: time.Now()}
}

// Buffered returns the number of bytes that were read from the transport and
// not returned yet.
func (r *Reader) Buffered() int { return r.end - r.pos }

// Remaining returns the number of data bytes that are still to come of the
// frame that ReadFrame returned last: zero but for a frame in pieces.
func (r *Reader) Remaining() uint64 { return r.left }

// LastRead returns when bytes last came from the transport; the zero time if none
// have. It may be called from any goroutine, like Partial.
func (r *Reader) LastRead() time.Time { return r.timeOf(r.lastRead.Load()) }

// Reading reports whether the transport is being read from, and not what has come
// being handled. It may be called from any goroutine.
func (r *Reader) Reading() bool { return r.reading.Load() }

// Partial returns since when a frame is waited for that has come in part, and the
// zero time if none is. Each 64 KiB of a frame count as one of their own, so that
// a large frame on a slow link is told from one that never comes.
func (r *Reader) Partial() time.Time { return r.timeOf(r.partialSince.Load()) }

// OnPartial makes the reader call f, which must not block, when it begins to wait
// for the rest of a frame. It must be set before the first read.
func (r *Reader) OnPartial(f func()) { r.onPartial = f }

func (r *Reader) timeOf(nanoseconds int64) time.Time {
	if nanoseconds == 0 {
		return time.Time{}
	}
	return r.epoch.Add(time.Duration(nanoseconds))
}

// sinceEpoch is the time now; never 0.
func (r *Reader) sinceEpoch() int64 { return max(int64(time.Since(r.epoch)), 1) }

// waitPartial notes that the rest of a frame is waited for.
func (r *Reader) waitPartial() {
	if r.partial || r.onPartial == nil {
		return
	}
	r.partial, r.partialBytes = true, 0
	r.partialSince.Store(r.sinceEpoch())
	r.onPartial()
}

// wholeFrame notes that the frame has come, or enough of it.
func (r *Reader) wholeFrame() {
	if r.partial {
		r.partial = false
		r.partialSince.Store(0)
	}
}

// ReadFrame returns the next frame. Its data is valid until the next call.
//
// A frame too large for the read buffer is returned as the pieces that its
// sender could as well have sent: frames of the same kind and id of which only
// the last may be done. No memory is allocated for a length that was merely
// declared.
//
// The error is a drpc.ProtocolError when the bytes are not frames, io.EOF when
// the transport ended between two frames, io.ErrUnexpectedEOF when it ended
// within one, and else what the transport returned.
func (r *Reader) ReadFrame() (Frame, error) {
	if r.left > 0 {
		return r.readPiece()
	}
	for {
		rem, fr, length, ok, err := parseHeader(r.buf[r.pos:r.end])
		switch {
		case err != nil:
			return Frame{}, drpc.ProtocolError.Wrap(err)
		case !ok:
			err = r.fill(0)
		case length > maxFrameLength:
			return Frame{}, drpc.ProtocolError.New("frame declares %d bytes of data (%v)", length, fr)
		case length <= uint64(len(rem)):
			fr.Data = rem[:length:length]
			r.pos = r.end - len(rem) + int(length)
			r.wholeFrame()
			return fr, nil
		case r.end-r.pos-len(rem)+int(length) <= readBufferMax:
			err = r.fill(r.end - r.pos - len(rem) + int(length))
		default:
			r.head, r.left = fr, length
			r.pos = r.end - len(rem)
			return r.readPiece()
		}
		if err != nil {
			return Frame{}, err
		}
	}
}

// PeekCloseSend returns the id of the CloseSend that comes next on the stream of a message,
// if it is buffered and plain, and zero otherwise. It comes again unless SkipCloseSend is
// called next.
func (r *Reader) PeekCloseSend(of ID) (message uint64) {
	if r.end-r.pos < 4 || r.left > 0 || r.buf[r.pos] != plainCloseSend {
		return 0
	}
	rest, fr, length, ok, err := parseHeader(r.buf[r.pos:r.end])
	if !ok || err != nil || length > 0 || fr.ID.Stream != of.Stream || fr.ID.Message <= of.Message {
		return 0
	}
	r.peeked = r.end - len(rest)
	return fr.ID.Message
}

// SkipCloseSend takes the frame that PeekCloseSend has found for read.
func (r *Reader) SkipCloseSend() { r.pos = r.peeked }

// readPiece returns as much as there is of the frame that is being returned in
// pieces, and waits only if there is nothing.
func (r *Reader) readPiece() (Frame, error) {
	if r.pos == r.end {
		if err := r.fill(readBufferMax); err != nil {
			return Frame{}, err
		}
	}
	n := int(min(r.left, uint64(r.end-r.pos)))
	data := r.buf[r.pos : r.pos+n : r.pos+n]
	r.pos += n
	return r.piece(data), nil
}

// piece returns a piece of the frame that is being returned in pieces.
func (r *Reader) piece(data []byte) Frame {
	n := uint64(len(data))
	fr := r.head
	fr.Data = data
	r.left -= n
	fr.Done = fr.Done && r.left == 0
	if r.partialBytes += n; r.left == 0 || r.partialBytes >= readBufferMax {
		r.wholeFrame()
	}
	return fr
}

// ReadPiece is ReadFrame for a further piece of a frame in pieces, which it reads
// right into buf if nothing is buffered. Remaining must be more than zero, and buf
// not be empty.
func (r *Reader) ReadPiece(buf []byte) (Frame, error) {
	if r.pos < r.end {
		return r.readPiece()
	}
	r.waitPartial()
	n, err := r.read(buf[:min(uint64(len(buf)), r.left)])
	if err != nil {
		return Frame{}, err
	}
	r.direct = true
	return r.piece(buf[:n:n]), nil
}

// fill reads once from the transport, behind what is buffered. It makes the
// buffer at least need bytes large.
func (r *Reader) fill(need int) error {
	if r.end > r.pos || r.left > 0 {
		r.waitPartial()
	}
	r.makeRoom(need)
	buf := r.buf[r.end:]
	if r.direct && r.left == 0 {
		// What follows a large frame is often another one: its data, too, is to be
		// read to where it belongs.
		buf = buf[:min(len(buf), max(readBufferMin, need-(r.end-r.pos)))]
		r.direct = false
	}
	n, err := r.read(buf)
	r.end += n
	r.grow = r.end == len(r.buf)
	return err
}

// read reads once from the transport.
func (r *Reader) read(buf []byte) (int, error) {
	if r.got >= yieldFrom {
		runtime.Gosched()
	}
	for i := 0; i < maxEmptyReads; i++ {
		if r.err != nil {
			return 0, r.readError()
		}
		r.reading.Store(true)
		n, err := r.r.Read(buf)
		r.reading.Store(false)
		if n < 0 || n > len(buf) {
			return 0, drpc.InternalError.New("transport returned %d from a read of %d bytes", n, len(buf))
		}
		r.err = err // returned once the bytes that came with it are used up
		if n > 0 {
			r.lastRead.Store(r.sinceEpoch())
			r.got = n
			return n, nil
		}
	}
	return 0, drpc.InternalError.Wrap(io.ErrNoProgress)
}

// readError returns the transport's error, told apart by where it struck.
func (r *Reader) readError() error {
	if r.err == io.EOF && (r.end > r.pos || r.left > 0) { //nolint:errorlint // Read returns io.EOF itself
		return io.ErrUnexpectedEOF
	}
	return r.err
}

// makeRoom moves what is buffered to the front of the buffer and enlarges it
// where reads have filled it or need bytes must fit.
func (r *Reader) makeRoom(need int) {
	size := max(len(r.buf), readBufferMin)
	if r.grow {
		size *= 2
	}
	size = min(max(size, need), readBufferMax)
	if size > len(r.buf) {
		buf := make([]byte, size)
		r.end = copy(buf, r.buf[r.pos:r.end])
		r.buf, r.pos, r.grow = buf, 0, false
		return
	}
	// Moving is worth it only where the space behind has become small; an
	// incomplete frame is smaller than the buffer, so space is never zero.
	if r.pos > 0 && (r.pos == r.end || len(r.buf)-r.end < len(r.buf)/2 || r.pos+need > len(r.buf)) {
		r.end = copy(r.buf, r.buf[r.pos:r.end])
		r.pos = 0
	}
}

// ReadPacket is ReadPacketUsing(nil).
func (r *Reader) ReadPacket() (Packet, error) { return r.ReadPacketUsing(nil) }

// ReadPacketUsing returns the next packet of a connection that carries one
// stream at a time, under the rules of storj.io/drpc: ids never go down over
// the whole connection, and a higher id drops an unfinished packet. The data is
// appended to buf[:0]. A packet over ReaderOptions.MaximumBufferSize is a
// drpc.ProtocolError.
func (r *Reader) ReadPacketUsing(buf []byte) (pkt Packet, err error) {
	asm := Assembler{foreign: true}
	asm.Use(buf)
	limit := r.opts.Limit()
	for {
		fr, err := r.ReadFrame()
		if err != nil {
			return Packet{}, err
		}
		if fr.ID.Less(r.id) {
			return Packet{}, drpc.ProtocolError.New("id went back (fr:%v r:%v)", fr, r.id)
		}
		if fr.ID.Stream != r.id.Stream {
			// Message ids start over with the stream; the storage is kept.
			asm = Assembler{data: asm.data[:0], foreign: asm.foreign}
		}
		r.id = fr.ID
		pkt, done, err := asm.Append(fr, r.left, limit)
		switch {
		case err == ErrTooLarge: //nolint:errorlint // returned as it is
			return Packet{}, drpc.ProtocolError.New("data overflow (%v)", fr)
		case err != nil:
			return Packet{}, err
		case done:
			r.id.Message++
			return pkt, nil
		}
	}
}
