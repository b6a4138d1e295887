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
		Storage:  cap(m.buf) + cap(m.spare),
	}
	for l := m.queue.front(); l != nil; l = m.queue.after(l) {
		b.Queued++
	}
	return b
}
