package drpcwire

// laneCredit is what a lane has been granted and its WindowUpdate has not taken
// along yet. Guarded by the writer's mu.
type laneCredit struct {
	stream     uint64 // the stream it is for
	bytes      uint64 // 0: it is not in the writer's answers
	next, prev *Lane
}

// answers are the frames that are not queued as bytes, because a later one
// replaces or adds to the one that waits: so their number is bounded by the
// lanes, whatever the peer does. Guarded by the writer's mu.
type answers struct {
	first, last *Lane // lanes with credit, in the order in which they got it
	ping, pong  echo
	queued      uint64 // how often something was added
	sent        uint64 // the value of queued of which all is written
	after       uint64 // how much of the writer's buf must be written before, see WriteFirst
}

// echo is a ping or pong that waits.
type echo struct {
	due  bool
	data [8]byte
}

func (a *answers) empty() bool { return a.first == nil && !a.ping.due && !a.pong.due }

func (a *answers) push(l *Lane) {
	l.credit.prev, l.credit.next = a.last, nil
	if a.last != nil {
		a.last.credit.next = l
	} else {
		a.first = l
	}
	a.last = l
}

func (a *answers) remove(l *Lane) {
	c := &l.credit
	if c.prev != nil {
		c.prev.credit.next = c.next
	} else {
		a.first = c.next
	}
	if c.next != nil {
		c.next.credit.prev = c.prev
	} else {
		a.last = c.prev
	}
	*c = laneCredit{}
}

// clear drops all of it.
func (a *answers) clear() {
	for a.first != nil {
		a.remove(a.first)
	}
	a.ping.due, a.pong.due = false, false
}

// appendTo appends the frames to buf and forgets them. Credit above MaxCredit,
// which one frame cannot carry, stays for the next call.
func (a *answers) appendTo(buf []byte) []byte {
	buf = a.pong.appendTo(buf, KindPong)
	buf = a.ping.appendTo(buf, KindPing)
	var data [maxVarintLen]byte
	for l := a.first; l != nil; {
		next, c := l.credit.next, &l.credit
		n := min(c.bytes, MaxCredit)
		buf = AppendFrame(buf, Frame{
			Data: AppendVarint(data[:0], n), ID: ID{Stream: c.stream}, Kind: KindWindowUpdate,
			Done: true, Control: true,
		})
		if c.bytes -= n; c.bytes == 0 {
			a.remove(l)
		}
		l = next
	}
	return buf
}

func (e *echo) appendTo(buf []byte, kind Kind) []byte {
	if !e.due {
		return buf
	}
	e.due = false
	return AppendFrame(buf, Frame{Data: e.data[:], Kind: kind, Done: true, Control: true})
}

// Grant adds n bytes to the credit that the lane's next WindowUpdate gives the
// peer for the stream. All that is granted until that frame leaves is summed up
// in it; what exceeds MaxCredit leaves with the one after. Window updates leave
// ahead of what is pending and count against no bound: there is at most one for
// each lane. Grant does not block, and does nothing once the writer has stopped.
//
// Whoever grants for a stream must call Ungrant when the stream has ended.
func (m *MuxWriter) Grant(l *Lane, stream uint64, n uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil || n == 0 {
		return
	}
	if l.credit.bytes == 0 {
		m.answers.push(l)
	}
	l.credit.stream = stream
	if l.credit.bytes += n; l.credit.bytes < n {
		l.credit.bytes = 1<<64 - 1
	}
	m.answeredLocked()
}

// Ungrant drops what was granted to the lane and has not left yet.
func (m *MuxWriter) Ungrant(l *Lane) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if l.credit.bytes > 0 {
		m.answers.remove(l)
		m.tellFlushLocked()
	}
}

// Ping queues a KindPing frame with the data, ahead of what is pending. It
// replaces a ping that has not left yet. It does not block, and does nothing
// once the writer has stopped.
func (m *MuxWriter) Ping(data [8]byte) { m.echo(&m.answers.ping, data) }

// Pong is Ping for a KindPong frame, which answers the peer's ping.
func (m *MuxWriter) Pong(data [8]byte) { m.echo(&m.answers.pong, data) }

func (m *MuxWriter) echo(e *echo, data [8]byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err == nil {
		*e = echo{due: true, data: data}
		m.answeredLocked()
	}
}

func (m *MuxWriter) answeredLocked() {
	m.answers.queued++
	m.drainCond.Signal()
}
