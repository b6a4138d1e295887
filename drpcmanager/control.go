package drpcmanager

import (
	"sync/atomic"
	"time"

	"braid/drpcstream"
	"braid/drpcwire"
)

// handleControl takes a frame of braid's own kinds, and of kinds that nobody knows.
func (m *Manager) handleControl(fr drpcwire.Frame, more uint64, continued bool) error {
	switch {
	case fr.Kind == drpcwire.KindSettings:
		return m.handleSettings(fr, more)
	case continued:
		return nil // of a frame that is ignored
	case !m.known.Load() && fr.Kind == drpcwire.KindWindowUpdate:
		return nil // CockroachDB's fork grants what nobody waits for
	case !m.known.Load() || !fr.Done || more > 0:
		return m.idleFrame(fr)
	}
	switch fr.Kind {
	case drpcwire.KindWindowUpdate:
		return m.handleCredit(fr)
	case drpcwire.KindPing:
		return m.handlePing(fr)
	case drpcwire.KindPong:
		if data, ok := drpcwire.ParsePing(fr.Data); ok && m.pinger.pong(data) {
			return nil
		}
	case drpcwire.KindGoAway:
		return m.handleGoAway(fr)
	case drpcwire.KindTimeout:
		if m.server && fr.ID.Stream != 0 && m.addressed(fr.ID.Stream) == nil {
			return m.setupFrame(fr, more)
		}
	}
	return m.idleFrame(fr)
}

// handleCredit takes a grant.
func (m *Manager) handleCredit(fr drpcwire.Frame) error {
	n, ok := drpcwire.ParseCredit(fr.Data)
	if !ok || fr.ID.Stream == 0 {
		return m.idleFrame(fr)
	}
	s := m.addressed(fr.ID.Stream)
	if s == nil {
		return m.lateFrame(fr, 0)
	}
	if s.Credit(n) {
		return m.idleFrame(fr)
	}
	return nil
}

// idleFrame counts a frame that has achieved nothing. Too many of them end the
// connection.
func (m *Manager) idleFrame(fr drpcwire.Frame) error {
	if m.idleFrames.take(time.Now()) {
		return nil
	}
	return exhausted("more than %d frames that achieve nothing, the last one %v", m.opts.Limits.idleFrames(), fr)
}

// late is what may still come for streams that have ended, without anybody being to
// blame: data that is on its way, and the ends that both sides may have sent.
type late struct {
	credit atomic.Int64 // that the peer still had on these streams
	frames atomic.Int64 // other than messages
}

// lateFrames is how many frames other than messages may be on their way for a
// stream that ends: its ends, and grants for what it has sent.
const lateFrames = 16

// streamEnded makes allowance for a stream. window is what the peer may take for its
// credit where this end has counted none, because the peer was not known.
func (l *late) streamEnded(s *drpcstream.Stream, window int64) {
	l.frames.Add(lateFrames + s.MessageFrames()) // each of these may be granted for
	l.credit.Add(max(s.Outstanding(), window))
}

// refused makes allowance for a stream that was not opened: its sender may send until
// it knows.
func (l *late) refused(window int64) {
	l.frames.Add(lateFrames)
	l.credit.Add(window)
}

// take uses n of an allowance, if there are as many.
func take(allowance *atomic.Int64, n int64) bool {
	for {
		left := allowance.Load()
		if left < n {
			return false
		}
		if allowance.CompareAndSwap(left, left-n) {
			return true
		}
	}
}

// unsaidWindow is what a peer may send on a stream that was opened before it was
// known, as soon as it knows this end.
func (m *Manager) unsaidWindow() int64 {
	if m.known.Load() {
		return 0
	}
	return int64(m.opts.Window.initial())
}

// lateFrame takes a frame, with more bytes to come, of a stream that is not live:
// it is dropped. A peer without credit is not to blame for what it has sent.
func (m *Manager) lateFrame(fr drpcwire.Frame, more uint64) error {
	if fr.Kind != drpcwire.KindMessage {
		if !take(&m.late.frames, 1) {
			return m.idleFrame(fr)
		}
		return nil
	}
	cost := int64(len(fr.Data)) + int64(more) + drpcwire.FrameCost
	m.budget.Add(drpcstream.Totals{Late: cost})
	if m.strict && m.ownWindow.Load() > 0 && !take(&m.late.credit, cost) {
		return m.idleFrame(fr)
	}
	return nil
}

// watchFrame is called when the reader begins to wait for the rest of a frame. The
// timer runs only while there is something to watch for, and is not touched more
// often than once in FrameTimeout.
func (m *Manager) watchFrame() {
	if m.frameWatch.CompareAndSwap(false, true) {
		m.armFrameWatch(m.opts.Limits.frame())
	}
}

func (m *Manager) armFrameWatch(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return
	}
	if m.frameTimer == nil {
		m.frameTimer = time.AfterFunc(d, m.lookAtFrame)
	} else {
		m.frameTimer.Reset(d)
	}
}

func (m *Manager) lookAtFrame() {
	since := m.rd.Partial()
	if since.IsZero() {
		m.frameWatch.Store(false)
		if m.rd.Partial().IsZero() || !m.frameWatch.CompareAndSwap(false, true) {
			return
		}
		since = m.rd.Partial() // it has begun between the two looks
	}
	timeout := m.opts.Limits.frame()
	if !m.rd.Reading() { // what has come is still being handled: the peer is not to blame
		m.armFrameWatch(timeout)
		return
	}
	if left := timeout - time.Since(since); left > 0 {
		m.armFrameWatch(left)
		return
	}
	m.terminate(m.lost(exhausted("a frame has come in part for %v", timeout)))
}
