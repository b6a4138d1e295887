package run

import (
	"cmp"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Result is what came of a run.
type Result struct {
	// Measured is false for a run that ended during its warm-up, which the figures
	// are of then.
	Measured bool
	Begin    time.Time
	Elapsed  time.Duration // until the last operation was over, and at least the duration
	Ending   Ending
	Cause    error // why, unless the ending is Completed

	OK, Failed, Unfinished int64 // operations
	Sent, Received         int64 // bytes of messages in those that are ok
	Errors                 []ErrorCount

	// Latency is of the operations that are OK: in a closed loop from when each
	// began, in an open one from when it was due. Service is from when it began in
	// both; Late is from when it was due to when it began, nil in a closed loop.
	Latency, Service, Late *hdrhistogram.Histogram
	// Open is nil in a closed loop.
	Open *Open
}

// Open is what became of the operations of an open loop.
type Open struct {
	Due       int64         // in all
	NotSent   int64         // of them: were never begun
	GivenUp   int64         // of these, because too many were due already
	Behind    time.Duration // how long after it was due an operation was begun, at most, and how long one that never was had waited
	BehindEnd time.Duration // how long the oldest one that was never begun had been due at the end
}

// result puts together what was recorded. Nothing is under way any more.
func (p *phase) result(elapsed time.Duration) *Result {
	res := &Result{Begin: p.begin, Latency: newHistogram()}
	if p.schedule != nil {
		res.Service, res.Late = newHistogram(), newHistogram()
	}
	errs := make(map[errorKey]*ErrorCount)
	var last time.Duration
	for _, r := range p.recorders {
		r.mu.Lock() // for the race detector's peace: it has no other owner by now
		res.Latency.Merge(r.latency)
		if p.schedule != nil {
			res.Service.Merge(r.service)
			res.Late.Merge(r.late)
		}
		res.OK += r.tally.ok
		res.Failed += r.tally.failed
		res.Unfinished += r.tally.unfinished
		res.Sent += r.tally.sent
		res.Received += r.tally.received
		last = max(last, r.tally.last)
		for key, e := range r.errors {
			if errs[key] == nil {
				errs[key] = &ErrorCount{Kind: e.Kind, Code: e.Code, Text: e.Text}
			}
			errs[key].Count += e.Count
		}
		r.mu.Unlock()
	}
	if res.Service == nil {
		res.Service = res.Latency
	}
	for _, e := range errs {
		res.Errors = append(res.Errors, *e)
	}
	slices.SortFunc(res.Errors, func(a, b ErrorCount) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Code, b.Code))
	})
	p.mu.Lock()
	res.Ending, res.Cause = p.ending, p.cause
	p.mu.Unlock()
	res.Elapsed = max(last, min(p.duration, elapsed))
	if res.Ending == Completed {
		res.Elapsed = max(last, p.duration)
	}
	if p.schedule != nil {
		st := p.schedule.Stats()
		res.Open = &Open{
			Due: st.Due, NotSent: st.GivenUp + st.Queued, GivenUp: st.GivenUp,
			Behind: st.Behind, BehindEnd: st.BehindNow,
		}
	}
	return res
}
