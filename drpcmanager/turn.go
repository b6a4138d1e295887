package drpcmanager

import (
	"context"

	"braid/drpcstream"
)

// turn makes the streams of a client take turns until the peer is known to
// take several at once. It is guarded by the manager's mu.
//
// The turn is free, or held by a caller that is about to open a stream, or by
// that stream until it ends. Waiters get it in the order in which they came.
type turn struct {
	over    bool // no more turns: streams are opened freely
	held    bool
	stream  *drpcstream.Stream // which holds the turn; nil while its opener does
	waiters []chan struct{}    // closed when the turn is handed over, or over
	free    chan struct{}      // closed when the turn is free or over; made when asked for
}

// open ends the taking of turns.
func (t *turn) open() {
	t.over = true
	for _, w := range t.waiters {
		close(w)
	}
	t.waiters = nil
	t.signalFree()
}

// release hands the turn to the next in line.
func (t *turn) release() {
	t.stream = nil
	if len(t.waiters) > 0 {
		close(t.waiters[0])
		t.waiters = t.waiters[1:]
		return
	}
	t.held = false
	t.signalFree()
}

// ended releases the turn if this stream has it.
func (t *turn) ended(s *drpcstream.Stream) {
	if t.stream == s && s != nil {
		t.release()
	}
}

func (t *turn) signalFree() {
	if t.free != nil {
		close(t.free)
		t.free = nil
	}
}

// forget takes a waiter out of the line; false means that it has been given the
// turn meanwhile.
func (t *turn) forget(w chan struct{}) bool {
	for i, other := range t.waiters {
		if other == w {
			t.waiters = append(t.waiters[:i:i], t.waiters[i+1:]...)
			return true
		}
	}
	return false
}

// takeTurn waits until the caller may open a stream. A caller that then does
// not open one must call giveTurn.
func (m *Manager) takeTurn(ctx context.Context) error {
	m.mu.Lock()
	if err := m.errLocked(); err != nil {
		m.mu.Unlock()
		return err
	}
	t := &m.turn
	if t.over || !t.held {
		t.held = true
		m.mu.Unlock()
		return nil
	}
	w := make(chan struct{})
	t.waiters = append(t.waiters, w)
	m.mu.Unlock()

	select {
	case <-w:
		return nil // if it is because the connection has ended, opening tells
	case <-ctx.Done():
		m.mu.Lock()
		if !t.forget(w) {
			t.release()
		}
		m.mu.Unlock()
		return ctx.Err()
	}
}

// giveTurn gives back a turn that no stream was opened with.
func (m *Manager) giveTurn() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.turn.stream == nil {
		m.turn.release()
	}
}

// Unblocked returns a channel that is closed when a stream can be opened
// without waiting for another one to end. It is closed already where streams
// are multiplexed.
func (m *Manager) Unblocked() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := &m.turn
	if t.over || !t.held {
		return closed
	}
	if t.free == nil {
		t.free = make(chan struct{})
	}
	return t.free
}

var closed = func() chan struct{} {
	ch := make(chan struct{})
	close(ch)
	return ch
}()
