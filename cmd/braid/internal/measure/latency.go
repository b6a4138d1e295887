// Package measure takes the numbers that a run is judged by: latencies, and
// what the process itself needs.
package measure

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// The range of a Latency. What is longer counts as longest.
const (
	shortest = time.Microsecond
	longest  = time.Hour
	digits   = 3 // significant ones
)

// Latency collects durations, from any number of goroutines. It keeps their
// distribution and not the durations, so that its size is fixed.
type Latency struct {
	mu   sync.Mutex
	hist *hdrhistogram.Histogram // guarded by mu
}

// NewLatency returns an empty Latency.
func NewLatency() *Latency {
	return &Latency{hist: hdrhistogram.New(int64(shortest), int64(longest), digits)}
}

// Add takes a duration down.
func (l *Latency) Add(d time.Duration) {
	d = min(max(d, 0), longest)
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.hist.RecordValue(int64(d)) // within the range by now
}

// Distribution is what a Latency has collected.
type Distribution struct {
	Count                    int64
	P50, P90, P99, P999, Max time.Duration
}

// Distribution returns what has been collected so far.
func (l *Latency) Distribution() Distribution {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := func(q float64) time.Duration { return time.Duration(l.hist.ValueAtQuantile(q)) }
	return Distribution{
		Count: l.hist.TotalCount(),
		P50:   at(50),
		P90:   at(90),
		P99:   at(99),
		P999:  at(99.9),
		Max:   time.Duration(l.hist.Max()),
	}
}
