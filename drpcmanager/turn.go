package drpcmanager

import (
	"container/list"
	"context"
	"math"

	"braid/drpcsignal"
)

// turns lets a client have so many streams open at once and makes the callers of
// further ones wait, in the order in which they came: one stream at a time until
// the peer is known to take several, and then as many as it accepts. It is guarded
// by the manager's mu.
//
// A turn is held by a caller that is about to open a stream, and then by that
// stream until it ends.
type turns struct {
	limit   int // how many there are
	held    int
	over    bool          // nobody waits any more: no stream can be opened
	waiters list.List     // of chan struct{}, closed when the waiter has a turn
	free    chan struct{} // closed when one is free; made when asked for
}

// setLimit changes how many there are. Streams that hold one above the limit keep it.
func (t *turns) setLimit(n int) {
	t.limit = n
	t.serve()
}

// end lets all who wait go on: they will find that no stream can be opened.
func (t *turns) end() {
	t.over = true
	t.serve()
}

// release gives a turn to the next in line.
func (t *turns) release() {
	t.held--
	t.serve()
}

func (t *turns) available() bool { return t.over || t.held < t.limit }

func (t *turns) serve() {
	for w := t.waiters.Front(); w != nil && t.available(); w = t.waiters.Front() {
		t.held++
		close(t.waiters.Remove(w).(chan struct{}))
	}
	if t.free != nil && t.available() {
		close(t.free)
		t.free = nil
	}
}

// unlimited is the limit of turns where there is none.
const unlimited = math.MaxInt

// takeTurn waits until the caller may open a stream. A caller that then does
// not open one must call giveTurn.
func (m *Manager) takeTurn(ctx context.Context) error {
	m.mu.Lock()
	if err := m.refusalLocked(); err != nil {
		m.mu.Unlock()
		return err
	}
	t := &m.turns
	if t.available() {
		t.held++
		m.mu.Unlock()
		return nil
	}
	w := make(chan struct{})
	place := t.waiters.PushBack(w)
	m.mu.Unlock()

	select {
	case <-w:
		return nil // if it is because the connection has ended, opening tells
	case <-ctx.Done():
		m.mu.Lock()
		defer m.mu.Unlock()
		select {
		case <-w: // it has the turn meanwhile
			t.release()
			m.checkIdleLocked()
		default:
			t.waiters.Remove(place)
		}
		return ctx.Err()
	}
}

// giveTurn gives back a turn that no stream was opened with.
func (m *Manager) giveTurn() {
	m.mu.Lock()
	m.turns.release()
	m.checkIdleLocked()
	m.mu.Unlock()
}

// Unblocked returns a channel that is closed when a stream can be opened
// without waiting for another one to end. It is closed already where the peer
// accepts more streams than are open.
func (m *Manager) Unblocked() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := &m.turns
	if t.available() {
		return closed
	}
	if t.free == nil {
		t.free = make(chan struct{})
	}
	return t.free
}

// closed is a channel that is closed.
var closed = func() chan struct{} {
	var ch drpcsignal.Chan
	ch.Close()
	return ch.Get()
}()
