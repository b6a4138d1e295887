package drpcsignal

import (
	"sync"
	"sync/atomic"
)

// closed is handed out wherever a channel was asked for after the fact: nothing
// ever sends on it, so one is enough for the whole process.
var closed = func() chan struct{} {
	ch := make(chan struct{})
	close(ch)
	return ch
}()

// Signal is an error that can be set once. Every method may be called from any
// number of goroutines at the same time.
//
// A Signal that nobody waits for costs no allocation: the channel is made on
// the first call to Signal or Wait that comes before Set.
type Signal struct {
	// set is the fast path: it becomes true after err is in place, and err
	// never changes again.
	set atomic.Bool
	err error

	mu sync.Mutex    // guards ch and the transition of set
	ch chan struct{} // nil until somebody waits
}

// Set stores err and wakes everybody that waits. Only the first call has an
// effect; it alone returns true. A nil error is a valid value.
func (s *Signal) Set(err error) (ok bool) {
	if s.set.Load() {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.set.Load() {
		return false
	}
	s.err = err
	s.set.Store(true)
	if s.ch != nil {
		close(s.ch)
	} else {
		s.ch = closed
	}
	return true
}

// Signal returns a channel that is closed once the signal is set.
func (s *Signal) Signal() chan struct{} {
	if s.set.Load() {
		return closed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

// Wait blocks until the signal is set.
func (s *Signal) Wait() { <-s.Signal() }

// IsSet reports whether Set has been called.
func (s *Signal) IsSet() bool { return s.set.Load() }

// Get returns the error the signal was set with, and whether it was set.
func (s *Signal) Get() (error, bool) { //nolint:revive // the order is storj.io/drpc's
	if s.set.Load() {
		return s.err, true
	}
	return nil, false
}

// Err returns the error the signal was set with, and nil while it is not set.
// As a signal may be set with nil, only a non-nil result is conclusive.
func (s *Signal) Err() error {
	if s.set.Load() {
		return s.err
	}
	return nil
}
