// Package job holds the work that is measured. A job is made ready outside
// the measured time, run as often as needed, and closed.
package job

import (
	"fmt"
	"sync"
	"sync/atomic"

	"storj.io/drpc"
)

// Job does a unit of work again and again.
type Job interface {
	// Run does the unit n times and returns once all of it is done and
	// acknowledged by the other side.
	Run(n int) error
	// Close releases what the job holds. It does not close the connection.
	Close() error
}

// Kind is a sort of work.
type Kind struct {
	// Name is the name of the kind, as in BenchmarkName.
	Name string
	// Unit is what is counted.
	Unit string
	// Who names what there may be many of at once.
	Who string
	// New makes a job that works over conn from the given number of callers
	// at once, with payloads of size bytes.
	New func(conn drpc.Conn, callers, size int) (Job, error)
}

// The kinds of work.
var (
	Unary     = Kind{Name: "Unary", Unit: "call", Who: "callers", New: newUnary}
	Upload    = Kind{Name: "Upload", Unit: "message", Who: "streams", New: newUpload}
	Download  = Kind{Name: "Download", Unit: "message", Who: "streams", New: newDownload}
	PingPong  = Kind{Name: "PingPong", Unit: "round trip", Who: "streams", New: newPingPong}
	OpenClose = Kind{Name: "OpenClose", Unit: "stream", Who: "streams", New: newOpenClose}
)

// Case names the kind at a concurrency and a size, as in
// BenchmarkName/callers=1/size=16B without the first word.
func (k Kind) Case(callers, size int) string {
	return fmt.Sprintf("%s=%d/size=%s", k.Who, callers, SizeName(size))
}

// SizeName writes a size in the largest unit that divides it.
func SizeName(size int) string {
	switch {
	case size > 0 && size%(1<<20) == 0:
		return fmt.Sprintf("%dMiB", size>>20)
	case size > 0 && size%(1<<10) == 0:
		return fmt.Sprintf("%dKiB", size>>10)
	default:
		return fmt.Sprintf("%dB", size)
	}
}

// grain is how many units a caller takes at once where there are plenty. It
// keeps the shared counter out of the measurement, and is small enough for
// all callers to finish at nearly the same time.
const grain = 8

// Spread does n units, shared out among the callers as they ask for more, and
// returns the first error. A lone caller works on the calling goroutine.
func Spread(n, callers int, step func(caller int) error) error {
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
		wg.Add(1)
		go func() {
			defer wg.Done()
			s.work(caller, step)
		}()
	}
	wg.Wait()
	return s.err
}

// sharing is the state of one Spread.
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
