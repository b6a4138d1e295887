package drpcwire

// Lane is a stream's account with a MuxWriter: what it has pending and whether
// it is parked. The zero value is ready; it belongs to one stream and one
// MuxWriter, and at most one goroutine may be parked on it.
type Lane struct {
	// Guarded by the writer's mu.
	epoch   uint64 // pending counts only while it equals the writer's
	pending int
	end     uint64 // where its last bytes in buf end, see MuxWriter.endLocked
	urgent  urgentShare
	credit  laneCredit
	parking *parking // made for the first Wait

	writes  uint8 // pending in buf, that of TryOpen counted once; counts like pending; 2 are many
	bulk    bool  // there was more than one of them when the drain took buf last
	granted bool  // the bytes asked for in Wait are reserved
	queued  bool  // in the writer's queue
	starved bool  // queued for lack of total room
	few     bool  // and for few bytes, when it was queued
}

// parking is what a lane has in Wait.
type parking struct {
	want       int           // bytes asked for
	wake       chan struct{} // capacity 1
	next, prev *Lane         // in the writer's queue
}

// admitLocked says whether n more bytes of the lane fit, and uses up the
// reservation the lane may have.
func (m *MuxWriter) admitLocked(l *Lane, n int) error {
	if m.err != nil {
		return m.err
	}
	if l.granted {
		m.reserved -= l.parking.want
		l.granted = false
		if n <= l.parking.want {
			return nil
		}
		m.grantLocked() // it asked for less than it needs, and queues up again
	}
	if m.roomLocked(l, n) {
		return nil
	}
	return ErrFull
}

// roomLocked says whether n more bytes of the lane fit, without passing anyone in line.
// Few bytes stand in a line of their own: what is kept for them is not for the others.
func (m *MuxWriter) roomLocked(l *Lane, n int) bool {
	few, inLine := m.fewLocked(l, n), m.starved
	if few {
		inLine = m.starvedFew
	}
	return m.laneFitsLocked(l, n) && inLine == 0 && m.totalFitsLocked(n, few)
}

// fewLocked says whether n bytes of the lane are few and leave soon: ahead of what
// fills the writer or, where the room is only promised to others, before they use it.
func (m *MuxWriter) fewLocked(l *Lane, n int) bool {
	return m.urgent.on && n <= maxUrgent && (m.endLocked()-m.written < overtakeFrom || m.overtakesLocked(l, n))
}

func (m *MuxWriter) laneFitsLocked(l *Lane, n int) bool {
	pending := m.urgent.pending(l)
	if l.epoch == m.epoch {
		pending += l.pending
	}
	switch {
	case pending == 0 || pending+n <= m.maxLane:
		return true
	case m.widens && m.urgent.on && m.clock.fast():
		return pending+n <= min(wideLane, m.max/2)
	}
	return false
}

func (m *MuxWriter) totalFitsLocked(n int, few bool) bool {
	used, most := len(m.buf)+len(m.urgent.buf)+m.reserved, m.max
	if m.urgent.on && !few {
		most -= min(keptForFew, m.max/8)
	}
	return used == 0 || used+n <= most
}

// Wait parks until n bytes of the lane fit, and reserves them: the caller must
// then call TryWrite, or Forgo if it does not want to any more. Where they fit
// at once it reserves nothing, and the TryWrite that follows may have to wait
// again. Wait returns early, with nil and without a reservation, when stop is
// closed; and with the cause when the writer has stopped.
func (m *MuxWriter) Wait(l *Lane, n int, stop <-chan struct{}) error {
	m.mu.Lock()
	if m.err != nil {
		m.mu.Unlock()
		return m.err
	}
	if l.parking == nil {
		l.parking = &parking{wake: make(chan struct{}, 1)}
	}
	l.parking.want = n
	if m.roomLocked(l, n) {
		m.mu.Unlock()
		return nil
	}
	if m.laneFitsLocked(l, n) {
		m.starveLocked(l)
	}
	select {
	case <-l.parking.wake: // of a reservation that was used up before its wake-up was noticed
	default:
	}
	m.queue.push(l)
	m.mu.Unlock()

	select {
	case <-l.parking.wake:
		return nil
	case <-stop:
		m.Forgo(l)
		return nil
	case <-m.stopped:
		m.Forgo(l)
		return m.err // set before stopped was closed, never again after
	}
}

// Forgo gives back what Wait has reserved for the lane, or takes the lane out
// of the queue, so that the next one in line is not kept waiting for it.
func (m *MuxWriter) Forgo(l *Lane) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case l.queued:
		m.dequeueLocked(l)
	case l.granted:
		l.granted = false
		m.reserved -= l.parking.want
		select {
		case <-l.parking.wake: // granted while the caller turned away
		default:
		}
	default:
		return
	}
	m.grantLocked()
}

// grantLocked wakes parked lanes in order, as many as there is room for. A lane
// whose own bound is the reason is passed over: the next take frees it. One that waits
// for total room is passed over by those with few bytes only.
func (m *MuxWriter) grantLocked() {
	full := false
	for l := m.queue.front(); l != nil; {
		next, few := m.queue.after(l), m.fewLocked(l, l.parking.want)
		switch {
		case !m.laneFitsLocked(l, l.parking.want), full && !few:
		case !m.totalFitsLocked(l.parking.want, few):
			if full = true; few {
				return
			}
		default:
			m.dequeueLocked(l)
			l.granted = true
			m.reserved += l.parking.want
			l.parking.wake <- struct{}{}
		}
		l = next
	}
}

func (m *MuxWriter) dequeueLocked(l *Lane) {
	m.queue.remove(l)
	if l.starved {
		l.starved = false
		m.starved--
	}
	if l.few {
		l.few = false
		m.starvedFew--
	}
}

// starveLocked notes that the lane waits for total room.
func (m *MuxWriter) starveLocked(l *Lane) {
	l.starved = true
	m.starved++
	if l.few = m.fewLocked(l, l.parking.want); l.few {
		m.starvedFew++
	}
}

// markStarvedLocked notes which of the parked lanes wait for total room now:
// after a take, all that have nothing pending of their own any more.
func (m *MuxWriter) markStarvedLocked() {
	for l := m.queue.front(); l != nil; l = m.queue.after(l) {
		if !l.starved && m.laneFitsLocked(l, l.parking.want) {
			m.starveLocked(l)
		}
	}
}

// laneQueue is a list of lanes in the order in which they were parked.
type laneQueue struct{ head, tail *Lane }

func (q *laneQueue) front() *Lane        { return q.head }
func (q *laneQueue) after(l *Lane) *Lane { return l.parking.next }

func (q *laneQueue) push(l *Lane) {
	l.queued = true
	l.parking.prev, l.parking.next = q.tail, nil
	if q.tail != nil {
		q.tail.parking.next = l
	} else {
		q.head = l
	}
	q.tail = l
}

func (q *laneQueue) remove(l *Lane) {
	if l.parking.prev != nil {
		l.parking.prev.parking.next = l.parking.next
	} else {
		q.head = l.parking.next
	}
	if l.parking.next != nil {
		l.parking.next.parking.prev = l.parking.prev
	} else {
		q.tail = l.parking.prev
	}
	l.parking.next, l.parking.prev, l.queued = nil, nil, false
}
