package drpcmanager

import (
	"context"
	"slices"

	"braid/drpcstream"
)

// handlers bounds, on a server, the handlers that run at once. One counts until it
// has returned, even if its stream has ended long before: a peer that opens streams
// and cancels them (CVE-2023-44487) or has them refused (CVE-2025-8671) gains
// nothing by it. Streams beyond the bound wait; as many can wait as can be open. It
// is guarded by the manager's mu.
type handlers struct {
	limit   int
	running int
	waiting []invoke // in the order in which they came

	// Those that have ended before their turn: taken out of the line, and to be
	// canceled once mu is released, see dropEnded.
	ended []*drpcstream.Stream
}

// add reports whether the handler of the stream may start. If not, the stream is
// put in line.
func (h *handlers) add(i invoke) bool {
	if h.running < h.limit {
		h.running++
		return true
	}
	if len(h.waiting) >= h.limit {
		// As many are not open at once: most of these have ended meanwhile.
		h.waiting = slices.DeleteFunc(h.waiting, h.hasEnded)
	}
	h.waiting = append(h.waiting, i)
	return false
}

// hasEnded reports whether the stream has ended, and takes note of it then.
func (h *handlers) hasEnded(i invoke) bool {
	ended := i.stream.IsTerminated()
	if ended {
		h.ended = append(h.ended, i.stream)
	}
	return ended
}

// returned gives the place of a handler to the first in line that still lives.
func (h *handlers) returned() (next invoke, ok bool) {
	for len(h.waiting) > 0 {
		next, h.waiting[0] = h.waiting[0], invoke{} // so that it is not kept
		h.waiting = h.waiting[1:]
		if !h.hasEnded(next) {
			return next, true
		}
	}
	h.waiting = nil
	h.running--
	return invoke{}, false
}

// leave takes a stream that has ended out of the line, and reports whether it was in
// it: then nobody will ever receive what has come on it.
func (h *handlers) leave(s *drpcstream.Stream) bool {
	before := len(h.waiting)
	if before == 0 {
		return false
	}
	h.waiting = slices.DeleteFunc(h.waiting, func(i invoke) bool { return i.stream == s })
	return len(h.waiting) < before
}

// startsPerTurn is how many handlers the reader starts before it lets others run. One
// read may have a thousand calls, and those of other connections would have to wait
// until the handlers of all of them had their turn.
const startsPerTurn = 32

// start starts the handler of a stream if it may, and else leaves it in line. It is called
// by the reader.
func (m *Manager) start(i invoke, now bool) {
	if now {
		m.starts++
		m.hooks.Handle(i.stream, i.rpc)
	} else if i.stream.IsTerminated() {
		m.leaveLine(i.stream)
	}
}

// leaveLine takes a stream that has ended out of the line of those that wait for a
// handler. What has come on it is dropped: nobody will ever receive it.
func (m *Manager) leaveLine(s *drpcstream.Stream) {
	m.mu.Lock()
	waited := m.handlers.leave(s)
	m.mu.Unlock()
	if waited {
		s.Cancel(context.Canceled)
	}
}

// takeEndedLocked returns the streams that have ended in line, for dropEnded.
func (m *Manager) takeEndedLocked() (ended []*drpcstream.Stream) {
	ended, m.handlers.ended = m.handlers.ended, nil
	return ended
}

// dropEnded drops what has come on streams that have ended in line.
func dropEnded(streams []*drpcstream.Stream) {
	for _, s := range streams {
		s.Cancel(context.Canceled)
	}
}

// Returned implements drpcstream.Owner.
func (m *Manager) Returned(*drpcstream.Stream) {
	m.mu.Lock()
	next, ok := m.handlers.returned()
	ended := m.takeEndedLocked()
	m.checkIdleLocked()
	m.mu.Unlock()
	dropEnded(ended)
	if ok {
		m.hooks.Handle(next.stream, next.rpc)
	}
}

// full reports whether the peer has as many streams open as it may, incomplete ones
// counted. A stream whose last frame is on its way to the peer does not count, even
// if it is still to be taken out: the peer may have opened the next one upon it.
func (m *Manager) full(incomplete int) bool {
	limit := m.opts.Limits.streams()
	if int(m.live.Load())+incomplete < limit {
		return false
	}
	m.mu.Lock()
	if len(m.streams)+incomplete < limit {
		m.mu.Unlock()
		return false
	}
	streams := m.liveLocked()
	m.mu.Unlock()
	defer release(streams)
	live := incomplete
	for _, s := range streams {
		if s.Live() {
			live++
		}
	}
	return live >= limit
}
