package drpcwire

// Batch is a number of short messages of one stream, each whole in a frame of its own,
// which have come one right behind the other. It is handled at once where it would be
// the work for each frame that takes the time, and not its data.
type Batch struct {
	Frames []byte // as they came; valid until the next call of the Reader

	First, Last uint64 // message ids; they rise from one message to the next
	Messages    int
	Size        int // of all data, in bytes
}

// Cost returns what the messages cost in credit.
func (b Batch) Cost() int64 { return int64(b.Size) + int64(b.Messages)*FrameCost }

// minBatch is how many messages are worth the name.
const minBatch = 2

// PeekBatch returns the messages of a stream that come next, as far as they are
// buffered: whole and plain, with at most longest bytes each, and as many as cost no more
// than most in credit. ok is false if there are not at least two. Nothing is read from
// the transport, and all comes again unless Skip is called.
func (r *Reader) PeekBatch(stream uint64, longest int, most int64) (b Batch, ok bool) {
	if r.left > 0 {
		return Batch{}, false
	}
	// How each of them begins. A longer encoding of the stream's id is no error, and no
	// batch.
	var arr [1 + maxVarintLen]byte
	prefix := AppendVarint(append(arr[:0], plainMessage), stream)
	buf := r.buf[r.pos:r.end]
	n := 0
	for cost := int64(0); ; {
		id, data, size, ok := nextMessage(buf[n:], prefix)
		if cost += FrameCost + int64(len(data)); !ok || id <= b.Last || len(data) > longest || cost > most {
			break
		}
		if b.Messages == 0 {
			b.First = id
		}
		b.Last = id
		b.Messages++
		b.Size += len(data)
		n += size
	}
	b.Frames = buf[:n:n]
	return b, b.Messages >= minBatch
}

// Skip takes a batch that PeekBatch has returned for read.
func (r *Reader) Skip(b Batch) { r.pos += len(b.Frames) }

// nextMessage parses a frame that begins with prefix and is whole, of size bytes. ok is
// false for every other one.
func nextMessage(buf, prefix []byte) (id uint64, data []byte, size int, ok bool) {
	n := len(prefix)
	if len(buf) < n+2 || string(buf[:n]) != string(prefix) {
		return 0, nil, 0, false
	}
	rest := buf[n:]
	if b := rest[1]; rest[0] >= 0x80 && b < 0x80 { // the id of most messages of a long stream
		id, rest = uint64(rest[0]&0x7f)|uint64(b)<<7, rest[2:]
	} else if rest, id, ok, _ = ReadVarint(rest); !ok {
		return 0, nil, 0, false
	}
	var length uint64
	if len(rest) > 0 && rest[0] < 0x80 {
		length, rest = uint64(rest[0]), rest[1:]
	} else if rest, length, ok, _ = ReadVarint(rest); !ok {
		return 0, nil, 0, false
	}
	if length > uint64(len(rest)) {
		return 0, nil, 0, false
	}
	return id, rest[:length:length], len(buf) - len(rest) + int(length), true
}

// NextMessage returns the data of the first message of the frames of a Batch, and the
// frames that follow it.
func NextMessage(frames []byte) (data, rest []byte) {
	rest = frames[1:]
	for range 2 { // the ids were looked at before
		for rest[0] >= 0x80 {
			rest = rest[1:]
		}
		rest = rest[1:]
	}
	if n := rest[0]; n < 0x80 {
		return rest[1 : 1+n : 1+n], rest[1+n:]
	}
	rest, length, _, _ := ReadVarint(rest)
	return rest[:length:length], rest[length:]
}
