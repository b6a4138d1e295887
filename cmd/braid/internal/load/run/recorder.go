package run

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// The range of the histograms. What is longer counts as longest.
const (
	shortest = time.Nanosecond
	longest  = time.Hour
	digits   = 3 // significant ones
)

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(int64(shortest), int64(longest), digits)
}

// newInterval makes a histogram that is merged again and again, and is coarser
// therefore.
func newInterval() *hdrhistogram.Histogram {
	return hdrhistogram.New(int64(shortest), int64(longest), 2)
}

// recorder takes down what one worker does, or a few. Who looks meanwhile holds mu for
// no longer than it takes to exchange two pointers.
type recorder struct {
	mu sync.Mutex

	// Guarded by mu.
	latency  *hdrhistogram.Histogram
	service  *hdrhistogram.Histogram // nil in a closed loop: it would be the same
	late     *hdrhistogram.Histogram // from when it was due to when it began; nil likewise
	interval *hdrhistogram.Histogram // nil unless somebody looks
	tally    counts
	errors   map[errorKey]*ErrorCount

	spare *hdrhistogram.Histogram // owned by who looks
}

// counts is what is counted of operations.
type counts struct {
	ok, failed, unfinished int64
	sent, received         int64         // bytes of messages, of those that are ok
	last                   time.Duration // when the last one was over
}

func newRecorder(open, watched bool) *recorder {
	r := &recorder{latency: newHistogram(), errors: make(map[errorKey]*ErrorCount)}
	if open {
		r.service, r.late = newHistogram(), newHistogram()
	}
	if watched {
		r.interval, r.spare = newInterval(), newInterval()
	}
	return r
}

// ok takes down an operation: when it was due, began and was over, and the bytes that
// it sent and received.
func (r *recorder) ok(due, begin, end time.Duration, sent, received int) {
	r.mu.Lock()
	record(r.latency, end-due)
	if r.service != nil {
		record(r.service, end-begin)
		record(r.late, begin-due)
	}
	if r.interval != nil {
		record(r.interval, end-due)
	}
	r.tally.ok++
	r.tally.sent += int64(sent)
	r.tally.received += int64(received)
	r.tally.last = max(r.tally.last, end)
	r.mu.Unlock()
}

// record adds a duration to a histogram.
func record(h *hdrhistogram.Histogram, d time.Duration) {
	_ = h.RecordValue(int64(min(max(d, 0), longest))) // within the range by now
}

// err takes down an operation that failed.
func (r *recorder) err(end time.Duration, kind Kind, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if kind == Unfinished {
		r.tally.unfinished++
	} else {
		r.tally.failed++
		r.tally.last = max(r.tally.last, end)
	}
	key := errorKey{kind, codeOf(kind, err)}
	e := r.errors[key]
	if e == nil {
		e = &ErrorCount{Kind: key.kind, Code: key.code, Text: text(err)}
		r.errors[key] = e
	}
	e.Count++
}

// arrived notes that what was sent has arrived by now.
func (r *recorder) arrived(now time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tally.last = max(r.tally.last, now)
}

// takeInterval adds the latencies since the last time to a histogram, and returns how
// many operations are over in all. It is called by one goroutine at a time.
func (r *recorder) takeInterval(all *hdrhistogram.Histogram) (done int64) {
	r.mu.Lock()
	r.interval, r.spare = r.spare, r.interval
	done = r.tally.ok + r.tally.failed + r.tally.unfinished
	r.mu.Unlock()
	all.Merge(r.spare)
	r.spare.Reset()
	return done
}
