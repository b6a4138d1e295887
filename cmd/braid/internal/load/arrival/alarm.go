package arrival

import (
	"sync"
	"time"
)

// Alarm wakes one goroutine at a time.
type Alarm interface {
	// Wait returns true after d, and false at once when Stop is or was called.
	Wait(d time.Duration) bool
	// Stop ends the waiting for good. It may be called at any time, more than once.
	Stop()
	// Close gives back what the alarm holds of the system. Nobody may wait.
	Close()
}

// timer is an Alarm as exact as time.Timer is, which may be a millisecond late.
type timer struct {
	stopped chan struct{}
	stop    func()
}

// NewTimer returns an Alarm that goes by the clock of package time, which tests can
// replace.
func NewTimer() Alarm {
	stopped := make(chan struct{})
	return &timer{stopped: stopped, stop: sync.OnceFunc(func() { close(stopped) })}
}

func (t *timer) Wait(d time.Duration) bool {
	wake := time.NewTimer(d)
	defer wake.Stop()
	select {
	case <-wake.C:
		return true
	case <-t.stopped:
		return false
	}
}

func (t *timer) Stop() { t.stop() }

func (t *timer) Close() { t.stop() }
