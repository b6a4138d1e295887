// Package arrival says when calls are due, whether anybody is free to make them or
// not. Latency that is counted from there has no blind spot: a server that stalls
// delays calls, and does not keep them from being counted (which is known as
// coordinated omission).
package arrival

import (
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Process says how the times are spread.
type Process int

const (
	// Constant is one call after the other at equal distances.
	Constant Process = iota
	// Poisson is calls that know nothing of each other: the distances between them
	// are distributed exponentially. It makes the same times in each run.
	Poisson
)

// Options say what is due.
type Options struct {
	Rate    float64       // calls per second, above 0
	Process Process       // how they are spread
	End     time.Duration // nothing is due at this time or later; 0: there is no end
	Count   int64         // how many are due in all; 0: there is no limit
	Queue   int           // how many may be due and not taken; what is due above that is given up
	Alarm   Alarm         // whose owner closes it
	// Now is the time since the start.
	Now func() time.Duration
}

// Schedule hands out the times at which calls are due. All methods may be called
// concurrently.
type Schedule struct {
	opts    Options
	stopped chan struct{} // closed by stop, the first time
	stop    func()
	end     atomic.Int64 // ns; when stop was called, and nothing is due any more

	mu sync.Mutex

	// All guarded by mu.

	// Of those who find nothing due, one waits for the alarm, and the others in idle
	// until they are woken: to wait for the alarm in its place when it leaves with a
	// call, to take one if there are more, or because it is over. Who is not waiting
	// takes what is due without regard to them, so that catching up does not wait for
	// anybody to wake.
	sleeping bool            // somebody waits for the alarm
	idle     []chan struct{} // the latest is woken first; each has room for one
	spare    []chan struct{} // to be used again

	random  *rand.Rand
	next    float64         // in seconds; the first that is not due yet
	made    int64           // calls that were due so far, those given up included
	queue   []time.Duration // due and not taken, from head on
	head    int
	givenUp int64 // due when the queue was full
	taken   int64
	behind  time.Duration // most
}

// New returns a schedule that starts at time 0.
func New(opts Options) *Schedule {
	s := &Schedule{
		opts:    opts,
		stopped: make(chan struct{}),
		random:  rand.New(rand.NewPCG(1, 2)), //nolint:gosec // to be the same each time
	}
	s.end.Store(math.MaxInt64)
	s.stop = sync.OnceFunc(func() {
		s.end.Store(int64(opts.Now()))
		close(s.stopped)
	})
	return s
}

// Take waits until a call is due, and returns the time at which it was. It is not ok
// when there will be no other, or after Stop.
func (s *Schedule) Take() (due time.Duration, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.isStopped() {
		now := s.now()
		s.admit(now)
		switch {
		case s.head < len(s.queue):
			due := s.pop(now)
			if s.head < len(s.queue) || !s.sleeping {
				s.wakeOne()
			}
			return due, true
		case s.over():
			for len(s.idle) > 0 {
				s.wakeOne()
			}
			return 0, false
		case !s.sleeping:
			if !s.sleep(seconds(s.next) - now) {
				return 0, false
			}
		default:
			s.waitIdle()
		}
	}
	return 0, false
}

// sleep waits for the alarm. The caller holds mu, which is released meanwhile.
func (s *Schedule) sleep(d time.Duration) bool {
	s.sleeping = true
	s.mu.Unlock()
	ok := s.opts.Alarm.Wait(d)
	s.mu.Lock()
	s.sleeping = false
	return ok
}

// waitIdle waits until it is woken or the schedule is stopped. The caller holds mu,
// which is released meanwhile.
func (s *Schedule) waitIdle() {
	var wake chan struct{}
	if n := len(s.spare); n > 0 {
		wake, s.spare = s.spare[n-1], s.spare[:n-1]
	} else {
		wake = make(chan struct{}, 1)
	}
	s.idle = append(s.idle, wake)
	s.mu.Unlock()
	select {
	case <-wake:
	case <-s.stopped:
	}
	s.mu.Lock()
	if !s.isStopped() {
		s.spare = append(s.spare, wake) // it has been emptied, and is not in idle
	}
}

// wakeOne wakes the latest in idle, if there is one. The caller holds mu.
func (s *Schedule) wakeOne() {
	if n := len(s.idle); n > 0 {
		s.idle[n-1] <- struct{}{}
		s.idle = s.idle[:n-1]
	}
}

func (s *Schedule) isStopped() bool {
	select {
	case <-s.stopped:
		return true
	default:
		return false
	}
}

// now returns the time, which stops with the schedule.
func (s *Schedule) now() time.Duration {
	return min(s.opts.Now(), time.Duration(s.end.Load()))
}

// pop takes the oldest call out of the queue. The caller holds mu.
func (s *Schedule) pop(now time.Duration) time.Duration {
	due := s.queue[s.head]
	s.head++
	s.taken++
	s.behind = max(s.behind, now-due)
	switch {
	case s.head == len(s.queue):
		s.queue, s.head = s.queue[:0], 0
	case s.head >= 1024 && s.head >= len(s.queue)/2:
		// Half of it is not used any more: each entry is moved once at most.
		s.queue, s.head = s.queue[:copy(s.queue, s.queue[s.head:])], 0
	}
	return due
}

// admit puts what is due by now into the queue. The caller holds mu.
func (s *Schedule) admit(now time.Duration) {
	for !s.over() {
		due := seconds(s.next)
		if due > now {
			return
		}
		s.made++
		if len(s.queue)-s.head < s.opts.Queue {
			s.queue = append(s.queue, due)
		} else {
			s.givenUp++
		}
		if s.opts.Process == Poisson {
			s.next += s.random.ExpFloat64() / s.opts.Rate
		} else {
			s.next = float64(s.made) / s.opts.Rate // rather than a sum of rounded parts
		}
	}
}

// over reports whether no other call will be due. The caller holds mu.
func (s *Schedule) over() bool {
	return s.opts.Count > 0 && s.made >= s.opts.Count ||
		s.opts.End > 0 && seconds(s.next) >= s.opts.End
}

// Stop makes Take return, now and in future.
func (s *Schedule) Stop() {
	s.stop()
	s.opts.Alarm.Stop()
}

// Stats is what has become of the calls that were due.
type Stats struct {
	Due     int64         // so far
	Taken   int64         // of them
	GivenUp int64         // of them, because the queue was full
	Queued  int64         // of them, which nobody has taken
	Behind  time.Duration // how long after it was due a call was taken, at most
	// BehindNow is how long the oldest one in the queue has been due.
	BehindNow time.Duration
}

// Stats returns the figures up to now, or up to Stop.
func (s *Schedule) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	s.admit(now)
	st := Stats{
		Due: s.made, Taken: s.taken, GivenUp: s.givenUp,
		Queued: int64(len(s.queue) - s.head), Behind: s.behind,
	}
	if st.Queued > 0 {
		st.BehindNow = now - s.queue[s.head]
		st.Behind = max(st.Behind, st.BehindNow)
	}
	return st
}

// seconds makes a duration, the longest one of what is longer.
func seconds(s float64) time.Duration {
	if ns := math.Round(s * float64(time.Second)); ns < math.MaxInt64 {
		return time.Duration(ns)
	}
	return math.MaxInt64
}
