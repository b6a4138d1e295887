package drpcwire

import "time"

const (
	// A batch is given to the transport in pieces, of firstPiece bytes in the
	// beginning. A piece that took less than quickWrite is followed by one of
	// twice the size, maxPiece at most, and one that took more than slowWrite by
	// one of a quarter, minPiece at least: each is progress, and tells a slow
	// transport from one that is stuck.
	firstPiece = 64 << 10
	minPiece   = 4 << 10
	maxPiece   = 1 << 20
	quickWrite = 10 * time.Millisecond
	slowWrite  = time.Second

	// blockedWrite is how long a Write takes at least that has waited for the
	// peer to take data.
	blockedWrite = 100 * time.Millisecond
)

const (
	// slowestLink is how many bytes a second are progress, whatever the timeout:
	// no Write has more than a link of that speed takes in three quarters of it,
	// unless minPiece is more. A buffer in front of a slow link takes data fast
	// until it is full, so how long Writes took is no help there.
	slowestLink = 4 << 10

	// fastLink is more than such buffers hold: a transport that has taken that
	// much in the present second is fast, and gets pieces of any size until the
	// second is over. They save about a fifth of what bulk data costs.
	fastLink = 16 << 20

	// A transport that takes wideLane bytes in a millisecond delays nobody by as many
	// of one stream, which then need not wait for each Write.
	wideLane = 512 << 10
	wideTime = time.Millisecond

	// Writes of paceFrom bytes or more tell how fast it is, the last paceOver or so.
	paceFrom = 16 << 10
	paceOver = 8
)

// maxPieceFor returns the most bytes to give to one Write that may take as long
// as timeout, 0 being any time, if the transport is not known to be fast.
func maxPieceFor(timeout time.Duration) int {
	if timeout <= 0 || timeout > time.Hour {
		return maxPiece
	}
	n := int(int64(timeout) * slowestLink * 3 / 4 / int64(time.Second))
	return min(max(n, minPiece), maxPiece)
}

// nextPiece returns the size of the piece after one of n bytes that took the
// time, where piece was the size allowed, and at most most.
func nextPiece(piece, n, most int, took time.Duration) int {
	switch {
	case took > slowWrite:
		piece = max(piece/4, minPiece)
	case took < quickWrite && n >= piece:
		piece *= 2
	}
	return min(piece, most)
}

// writeClock watches over the Writes on the transport. Guarded by the writer's
// mu.
type writeClock struct {
	began     time.Time // of the Write in progress; zero if none is
	unblocked time.Time // see LastUnblocked
	second    time.Time // when the present second began
	moved     int       // bytes written in it
	timer     *time.Timer
	armed     bool // the timer is running

	paceBytes int           // of recent large Writes, older ones counting for less
	paceTime  time.Duration // that these took
}

// fast reports whether the transport takes wideLane bytes in wideTime.
func (c *writeClock) fast() bool {
	return c.paceBytes > 0 && int64(c.paceBytes)*int64(wideTime) >= int64(c.paceTime)*wideLane
}

// beginLocked notes that a Write begins. The timer is not touched while it
// runs: it looks at the clock when it fires.
func (m *MuxWriter) beginLocked() {
	c := &m.clock
	c.began = time.Now()
	if c.began.Sub(c.second) >= time.Second { // what was fast then need not be now
		m.out.piece = min(m.out.piece, m.maxPiece)
	}
	if m.timeout > 0 && !c.armed {
		m.armLocked(m.timeout)
	}
}

func (m *MuxWriter) armLocked(d time.Duration) {
	c := &m.clock
	c.armed = true
	if c.timer == nil {
		c.timer = time.AfterFunc(d, m.watch)
	} else {
		c.timer.Reset(d)
	}
}

// endedLocked notes that the Write of n bytes has returned, and sets the size of
// the next piece.
func (m *MuxWriter) endedLocked(n int, err error) {
	c, now := &m.clock, time.Now()
	took := now.Sub(c.began)
	c.began = time.Time{}
	if err != nil {
		return
	}
	if took >= blockedWrite {
		c.unblocked = now
	}
	if now.Sub(c.second) >= time.Second {
		c.second, c.moved = now, 0
	}
	c.moved += n
	if n >= paceFrom {
		c.paceBytes += n - c.paceBytes/paceOver
		c.paceTime += took - c.paceTime/paceOver
	}
	most := m.maxPiece
	if c.moved >= fastLink {
		most = maxPiece
	}
	m.out.piece = nextPiece(m.out.piece, n, most, took)
}

// watch is called by the timer. It stops the writer if a Write has been in
// progress for too long.
func (m *MuxWriter) watch() {
	m.mu.Lock()
	c := &m.clock
	c.armed = false
	if m.err != nil || c.began.IsZero() {
		m.mu.Unlock()
		return
	}
	if left := m.timeout - time.Since(c.began); left > 0 {
		m.armLocked(left)
		m.mu.Unlock()
		return
	}
	m.stopLocked(m.wrap(ErrWriteTimeout))
	err := m.err
	m.mu.Unlock()
	m.onError(err)
}

// LastUnblocked returns when a Write on the transport last returned without an
// error after it had been blocked, that is, after 100 ms or more; zero if none
// has. On a dead link a Write either does not block or does not return, so this
// is proof that the peer's side took data at that time.
func (m *MuxWriter) LastUnblocked() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.clock.unblocked
}
