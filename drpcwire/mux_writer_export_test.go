package drpcwire

const (
	MaxUrgent    = maxUrgent
	OvertakeFrom = overtakeFrom
	MarkEvery    = markEvery
	SmallBatch   = smallBatch
	FirstPiece   = firstPiece
	MinPiece     = minPiece
	MaxPiece     = maxPiece
	FastLink     = fastLink
	SlowWrite    = slowWrite
	QuickWrite   = quickWrite
	BlockedWrite = blockedWrite
)

// UrgentBooks is what a MuxWriter has written down about what overtakes.
type UrgentBooks struct {
	Pending int  // bytes in the urgent queue
	Control int  // bytes, in either queue, that did not wait for the bound
	Waited  int  // bytes, in both queues together, that did wait for it
	Credits int  // lanes that have credit to send
	Storage int  // bytes of storage it holds for it; what is in flight is not counted
	Timer   bool // the timer of the write timeout is running
}

// UrgentBooks returns them as they are now.
func (m *MuxWriter) UrgentBooks() UrgentBooks {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := UrgentBooks{
		Pending: len(m.urgent.buf),
		Control: m.control + m.urgent.control,
		Storage: cap(m.urgent.buf) + cap(m.urgent.spare) + cap(m.out.scratch),
	}
	b.Waited = len(m.buf) + len(m.urgent.buf) - b.Control
	for l := m.answers.first; l != nil; l = l.credit.next {
		b.Credits++
	}
	if m.clock.timer != nil && m.clock.timer.Stop() {
		m.clock.timer.Reset(0)
		b.Timer = true
	}
	return b
}
