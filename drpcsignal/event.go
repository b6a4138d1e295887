package drpcsignal

import "sync/atomic"

// Event is something that happens once: a Signal without an error, which takes one word
// where nobody waits. Every method may be called from any number of goroutines at the
// same time.
type Event struct {
	ch atomic.Pointer[chan struct{}] // nil until somebody waits; &closed once it has happened
}

// Set makes it happen, and wakes everybody that waits. Only the first call has an effect;
// it alone returns true.
func (e *Event) Set() (ok bool) {
	ch := e.ch.Swap(&closed)
	if ch == &closed {
		return false
	}
	if ch != nil {
		close(*ch)
	}
	return true
}

// Signal returns a channel that is closed once it has happened.
func (e *Event) Signal() chan struct{} {
	if ch := e.ch.Load(); ch != nil {
		return *ch
	}
	ch := make(chan struct{})
	if e.ch.CompareAndSwap(nil, &ch) {
		return ch
	}
	return *e.ch.Load() // somebody else was first, and it is never nil again
}

// Wait blocks until it has happened.
func (e *Event) Wait() { <-e.Signal() }

// IsSet reports whether it has happened.
func (e *Event) IsSet() bool { return e.ch.Load() == &closed }
