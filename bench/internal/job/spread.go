package job

import (
	"sync"
	"sync/atomic"
)

// grain is how many units a caller takes at once where there are plenty. It
// keeps the shared counter out of the measurement, and is small enough for
// all callers to finish at nearly the same time.
const grain = 8

// spread does n units, shared out among the callers as they ask for more, and
// returns the first error. A lone caller works on the calling goroutine.
func spread(n, callers int, step func(caller int) error) error {
	if callers == 1 {
		for range n {
			if err := step(0); err != nil {
				return err
			}
		}
		return nil
	}
	s := sharing{total: int64(n), grain: max(1, min(grain, int64(n/callers/grain)))}
	var wg sync.WaitGroup
	for caller := range min(callers, n) {
		wg.Go(func() { s.work(caller, step) })
	}
	wg.Wait()
	return s.err
}

// sharing is the state of one spread.
type sharing struct {
	total, grain int64
	taken        atomic.Int64
	once         sync.Once
	err          error
}

// work takes units and does them until there are none left or one fails.
func (s *sharing) work(caller int, step func(int) error) {
	for {
		end := s.taken.Add(s.grain)
		for range min(end, s.total) - (end - s.grain) {
			if err := step(caller); err != nil {
				s.once.Do(func() { s.err = err })
				s.taken.Store(s.total)
				return
			}
		}
		if end >= s.total {
			return
		}
	}
}

// divide does n units in as many parts of nearly the same size as there are
// streams, at once, and returns the first error. Parts of nothing are left out.
func divide(n, streams int, part func(stream, units int) error) error {
	if streams == 1 {
		return part(0, n)
	}
	var wg sync.WaitGroup
	var once sync.Once
	var first error
	for i := range min(streams, n) {
		units := n / streams
		if i < n%streams {
			units++
		}
		wg.Go(func() {
			if err := part(i, units); err != nil {
				once.Do(func() { first = err })
			}
		})
	}
	wg.Wait()
	return first
}
