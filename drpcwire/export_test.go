package drpcwire

// BufferSize returns the size of the buffer the reader holds.
func (r *Reader) BufferSize() int { return cap(r.buf) }

const (
	ReadBufferMin  = readBufferMin
	ReadBufferMax  = readBufferMax
	MaxFrameLength = maxFrameLength
	MaxEmptyReads  = maxEmptyReads
	MaxSettingsLen = maxSettingsLen
	OverflowFactor = overflowFactor
	KeepBuffer     = keepBuffer
	ShrinkAfter    = shrinkAfter
)

// Books is what a MuxWriter has written down about its lanes and buffers.
type Books struct {
	Pending  int // bytes appended and not taken
	Reserved int // bytes granted and not used
	Starved  int // parked lanes that wait for total room
	Few      int // those of them with few bytes
	Queued   int // parked lanes
	Storage  int // bytes of storage the writer holds; what is in flight is not counted
}

// Books returns them as they are now.
func (m *MuxWriter) Books() Books {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := Books{
		Pending:  len(m.buf),
		Reserved: m.reserved,
		Starved:  m.starved,
		Few:      m.starvedFew,
		Storage:  cap(m.buf) + cap(m.spare),
	}
	for l := m.queue.front(); l != nil; l = m.queue.after(l) {
		b.Queued++
	}
	return b
}

// WriteControlEncoded is WriteControl for a number of bytes that is exact, where
// WriteControl goes by an upper bound: what the bounds are tested with.
func (m *MuxWriter) WriteControlEncoded(buf []byte) error {
	m.mu.Lock()
	defer m.unlock()
	if err := m.admitControlLocked(len(buf)); err != nil {
		return err
	}
	wake := len(m.buf) == 0
	m.buf = append(m.buf, buf...)
	m.accountLocked(nil, len(buf), wake)
	m.control += len(buf)
	return nil
}
