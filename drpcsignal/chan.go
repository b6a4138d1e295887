package drpcsignal

import (
	"sync"
	"sync/atomic"
)

// Chan is a chan struct{} that is allocated on first use, and not at all if it
// is closed first. Every method may be called from any number of goroutines at
// the same time, under the rules of Go's channels: Close at most once, no Send
// after Close.
type Chan struct {
	made atomic.Bool // true once ch holds its final value
	mu   sync.Mutex
	ch   chan struct{}
}

// init gives ch the value that create returns unless it already has one, and
// reports whether it did.
func (c *Chan) init(create func() chan struct{}) (did bool) {
	if c.made.Load() {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.made.Load() {
		return false
	}
	c.ch = create()
	c.made.Store(true)
	return true
}

func fresh() chan struct{}         { return make(chan struct{}) }
func alreadyClosed() chan struct{} { return closed }

// Make gives the channel a buffer of the given capacity. It has no effect
// after any other method was called.
func (c *Chan) Make(capacity uint) {
	c.init(func() chan struct{} { return make(chan struct{}, capacity) })
}

// Get returns the channel.
func (c *Chan) Get() chan struct{} {
	c.init(fresh)
	return c.ch
}

// Close closes the channel.
func (c *Chan) Close() {
	if !c.init(alreadyClosed) {
		close(c.ch)
	}
}

// Send sends one value, blocking as the channel does.
func (c *Chan) Send() { c.Get() <- struct{}{} }

// Recv receives one value, blocking as the channel does.
func (c *Chan) Recv() { <-c.Get() }

// Full reports whether a Send would have blocked at some moment during the
// call. The answer may be stale by the time it is returned.
func (c *Chan) Full() bool {
	ch := c.Get()
	select {
	case ch <- struct{}{}:
		<-ch
		return false
	default:
		return true
	}
}
