package drpcmanager

import (
	"container/list"
	"context"

	"braid/drpcsignal"
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
	waiters list.List          // of chan struct{}, closed when the turn is handed over, or over
	free    chan struct{}      // closed when the turn is free or over; made when asked for
}

// open ends the taking of turns.
func (t *turn) open() {
	t.over = true
	for w := t.waiters.Front(); w != nil; w = t.waiters.Front() {
		close(t.waiters.Remove(w).(chan struct{}))
	}
	t.signalFree()
}

// release hands the turn to the next in line.
func (t *turn) release() {
	t.stream = nil
	if w := t.waiters.Front(); w != nil {
		close(t.waiters.Remove(w).(chan struct{}))
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
		default:
			t.waiters.Remove(place)
		}
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

// closed is a channel that is closed.
var closed = func() chan struct{} {
	var ch drpcsignal.Chan
	ch.Close()
	return ch.Get()
}()
