// Package latency gathers how long operations take.
package latency

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// The range of latencies. What is longer counts as longest.
const (
	shortest = 100 * time.Nanosecond
	longest  = time.Hour
	digits   = 3 // significant ones
)

// NewHistogram returns an empty histogram of nanoseconds.
func NewHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(int64(shortest), int64(longest), digits)
}

// Record adds a latency to a histogram.
func Record(hist *hdrhistogram.Histogram, d time.Duration) {
	_ = hist.RecordValue(int64(min(d, longest))) // within the range
}

// shards is how many histograms a Recorder has. A histogram takes some 200 KiB,
// too much for one per caller.
const shards = 16

// Recorder gathers the latencies of many callers. Its methods may be called
// concurrently.
type Recorder struct {
	shards [shards]shard
}

// shard is a part of the callers.
type shard struct {
	mu   sync.Mutex
	hist *hdrhistogram.Histogram // guarded by mu; nil until it is needed
	_    [48]byte                // a cache line for each
}

// Record adds a latency of a caller.
func (r *Recorder) Record(caller int, d time.Duration) {
	s := &r.shards[caller%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hist == nil {
		s.hist = NewHistogram()
	}
	Record(s.hist, d)
}

// Reset forgets everything.
func (r *Recorder) Reset() {
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		if s.hist != nil {
			s.hist.Reset()
		}
		s.mu.Unlock()
	}
}

// Histogram returns all that was recorded since the last reset.
func (r *Recorder) Histogram() *hdrhistogram.Histogram {
	all := NewHistogram()
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		if s.hist != nil {
			all.Merge(s.hist)
		}
		s.mu.Unlock()
	}
	return all
}
