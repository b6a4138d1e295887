package drpcwire

// urgentQueue holds the frames that leave ahead of buf. Guarded by the writer's
// mu, but for spare.
type urgentQueue struct {
	on      bool   // Interleave was called
	buf     []byte // pending
	control int    // bytes in buf that did not wait for the bound
	epoch   uint64 // counts how often the drain has taken buf
	taken   uint64 // bytes ever taken
	written uint64 // bytes ever written

	// Where in the writer's buf these ended last, see MuxWriter.endLocked: the
	// next one may overtake only if that has been written.
	heads uint64 // the heads of TryOpen
	alone uint64 // the frames of WriteControl

	spare []byte // the buffer not in use as buf; owned by the drain
}

// urgentShare is what a lane has in the urgent queue. Guarded by the writer's mu.
type urgentShare struct {
	epoch   uint64 // pending counts only while it equals the queue's
	pending int
}

// pending returns how many bytes of the lane are in the queue.
func (u *urgentQueue) pending(l *Lane) int {
	if l.urgent.epoch != u.epoch {
		return 0
	}
	return l.urgent.pending
}

// Interleave lets small frames leave ahead of large ones of other streams, from
// now on and for good. The peer must take frames of its streams interleaved, and
// from here on every stream must be opened by TryOpen and ended by WriteEnd.
// What stays as it is: frames of one lane keep their order, and so do the heads
// of TryOpen among each other, and the frames of WriteControl among each other.
func (m *MuxWriter) Interleave() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.urgent.on = true
}

// overtakesLocked says whether n bytes of the lane are to leave ahead of buf:
// if they are few, if much is in front of them there, and if none of that is the
// lane's own.
func (m *MuxWriter) overtakesLocked(l *Lane, n int) bool {
	return m.urgent.on && m.mayOvertakeLocked() && m.endLocked()-m.written >= overtakeFrom &&
		m.urgent.pending(l)+n <= maxUrgent && l.end <= m.written
}

// appendUrgentLocked appends the frames to the urgent queue, and returns how
// many bytes they take. The lane may be nil.
func (m *MuxWriter) appendUrgentLocked(l *Lane, frames []Frame) int {
	before := len(m.urgent.buf)
	for i := range frames {
		fr := &frames[i]
		m.urgent.buf = appendFrame(m.urgent.buf, fr.control(), fr.ID, fr.Data)
	}
	n := len(m.urgent.buf) - before
	m.accountUrgentLocked(l, n, before == 0)
	return n
}

func (m *MuxWriter) accountUrgentLocked(l *Lane, n int, wake bool) {
	if l != nil {
		if l.urgent.epoch != m.urgent.epoch {
			l.urgent = urgentShare{epoch: m.urgent.epoch}
		}
		l.urgent.pending += n
	}
	if wake {
		m.wake = true
	}
}

// TryOpen is TryWrite for the frames that open a stream, head, and the first of
// what follows them, tail. Heads leave in the order of the calls, whatever their
// lanes; a head that is small may leave ahead of its tail. Nothing leaves
// between head and tail where they are small together.
func (m *MuxWriter) TryOpen(l *Lane, head, tail []Frame) error {
	h := Size(head...)
	n := h + Size(tail...)
	m.mu.Lock()
	defer m.unlock()
	if err := m.admitLocked(l, n); err != nil {
		return err
	}
	inOrder := m.urgent.heads <= m.written
	switch {
	case inOrder && m.overtakesLocked(l, n):
		m.appendUrgentLocked(l, head)
		m.appendUrgentLocked(l, tail)
	case inOrder && n > maxUrgent && m.overtakesLocked(l, h):
		// The streams that open after this one can overtake its tail.
		m.appendUrgentLocked(l, head)
		m.appendLocked(l, tail)
	default:
		m.markLocked()
		m.addLocked(l, head)
		m.urgent.heads = m.endLocked()
		m.addLocked(l, tail)
	}
	l.writes = 1
	return nil
}

// WriteEnd is WriteControl for frames that belong to a stream, such as its end:
// it does not wait for the bounds, and keeps the order with what the lane has
// pending.
func (m *MuxWriter) WriteEnd(l *Lane, frames ...Frame) error {
	n := Size(frames...)
	m.mu.Lock()
	defer m.unlock()
	if err := m.admitControlLocked(n); err != nil {
		return err
	}
	if m.overtakesLocked(l, n) {
		m.urgent.control += m.appendUrgentLocked(l, frames)
		return nil
	}
	m.control += m.appendLocked(nil, frames)
	l.end = m.endLocked()
	// The peer must not see a stream open before the end of the one that has made
	// room for it.
	m.urgent.heads = l.end
	return nil
}

// WriteControl appends frames that belong to no stream and must not wait for
// the bounds. When the queue exceeds its cap the writer stops with ErrOverflow.
func (m *MuxWriter) WriteControl(frames ...Frame) error {
	m.mu.Lock()
	defer m.unlock()
	if err := m.admitControlLocked(Size(frames...)); err != nil {
		return err
	}
	if m.urgent.on && m.mayOvertakeLocked() && m.urgent.alone <= m.written {
		m.urgent.control += m.appendUrgentLocked(nil, frames)
		return nil
	}
	m.control += m.appendLocked(nil, frames)
	m.urgent.alone = m.endLocked()
	return nil
}

// WriteFirst is WriteControl for frames that leave behind all that was appended
// before, and that nothing appended later overtakes.
func (m *MuxWriter) WriteFirst(frames ...Frame) error {
	m.mu.Lock()
	defer m.unlock()
	if err := m.admitControlLocked(Size(frames...)); err != nil {
		return err
	}
	m.control += m.appendLocked(nil, frames)
	m.answers.after = m.endLocked()
	return nil
}
