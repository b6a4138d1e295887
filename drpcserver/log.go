package drpcserver

import (
	"fmt"
	"runtime/debug"
	"time"

	"github.com/zeebo/errs"
)

// panicBurst is how many handlers that panic are logged one right after another. A
// stack takes some 100 µs to capture and kilobytes to write down, a call that panics
// some 10 µs to make: without a bound its caller takes the processor and the disk from
// all others.
const panicBurst = 32

// throttle lets one event pass each second, and some more that come after a while
// without; and it counts those that each stands for.
type throttle struct {
	extra int       // how many more pass at once
	used  time.Time // up to which the seconds are used up
	n     int
}

// add counts one more, and returns how many there are to be told of now, or zero.
func (t *throttle) add(now time.Time) (n int) {
	t.n++
	if full := now.Add(-time.Duration(t.extra+1) * time.Second); t.used.Before(full) {
		t.used = full
	}
	if now.Sub(t.used) < time.Second {
		return 0
	}
	t.used = t.used.Add(time.Second)
	n, t.n = t.n, 0
	return n
}

func (s *Server) log(err error) {
	if s.opts.Log != nil {
		s.opts.Log(err)
	}
}

// logTurnedAway logs a connection above the limit, or some.
func (s *Server) logTurnedAway(err error) {
	s.mu.Lock()
	n := s.turnedAway.add(time.Now())
	s.mu.Unlock()
	if n > 0 {
		s.log(errs.New("%d connections turned away: %w", n, err))
	}
}

// logPanic logs a handler that has not returned, with the stack of its goroutine,
// which is the caller's.
func (s *Server) logPanic(rpc string, value any) {
	s.mu.Lock()
	n := s.panicked.add(time.Now())
	s.mu.Unlock()
	if n == 0 {
		return
	}
	var others string
	if n > 1 {
		others = fmt.Sprintf(" (and %d before it, not logged)", n-1)
	}
	s.log(errs.New("handler of %q did not return%s: panic: %v\n%s", rpc, others, value, debug.Stack()))
}
