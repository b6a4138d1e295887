package simnet

import (
	"math"
	"time"
)

// never is a time that does not come, and a wait that does not end by itself.
const never = time.Duration(math.MaxInt64)

// waiter is where one goroutine waits for a time or to be woken.
type waiter struct {
	woken chan struct{} // holds at most one token; sent to under link.mu
	timer *time.Timer   // owned by the goroutine that waits; nil before the first wait

	// guarded by link.mu
	waiting bool
	at      time.Duration // when it wakes by itself
}

func newWaiter() waiter { return waiter{woken: make(chan struct{}, 1)} }

// waitLocked lets go of the lock until w is woken or d is over.
func (l *link) waitLocked(w *waiter, d time.Duration) {
	w.waiting, w.at = true, never
	if d != never {
		w.at = time.Since(l.start) + d
	}
	l.mu.Unlock()
	w.wait(d)
	l.mu.Lock()
	w.waiting = false
	select { // a token that came after the timer
	case <-w.woken:
	default:
	}
}

func (w *waiter) wait(d time.Duration) {
	if d == never {
		<-w.woken
		return
	}
	if w.timer == nil {
		w.timer = time.NewTimer(d)
	} else {
		w.timer.Reset(d)
	}
	select {
	case <-w.woken:
		w.timer.Stop()
	case <-w.timer.C:
	}
}

// wakeLocked wakes w if what it waits for is there, or is now known to come
// before w would look by itself.
func (w *waiter) wakeLocked(ready bool, now, until time.Duration) {
	if !w.waiting || (!ready && (until == never || now+until >= w.at)) {
		return
	}
	select {
	case w.woken <- struct{}{}:
	default:
	}
}

// advanceLocked brings both flows up to the present and returns it.
func (l *link) advanceLocked() time.Duration {
	now := time.Since(l.start)
	l.ends[0].out.advanceLocked(now)
	l.ends[1].out.advanceLocked(now)
	return now
}

// settleLocked brings the link up to the present and wakes whom the last
// change concerns. Everything that changes the link ends with it.
func (l *link) settleLocked() {
	now := l.advanceLocked()
	for _, c := range l.ends {
		if c.reader.waiting {
			ready := c.in.arrived > 0 || c.readErrLocked() != nil
			c.reader.wakeLocked(ready, now, c.in.untilReadable())
		}
		if c.writer.waiting {
			ready := c.out.room() > 0 || c.writeErrLocked() != nil
			c.writer.wakeLocked(ready, now, c.untilWritableLocked())
		}
	}
}
