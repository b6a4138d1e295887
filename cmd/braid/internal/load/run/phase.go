package run

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"storj.io/drpc"

	"braid/cmd/braid/internal/load/arrival"
)

// phase is the warm-up or the measuring.
type phase struct {
	opts     Options
	warmup   bool
	duration time.Duration // of this phase; 0: count says when it is over
	count    int64
	begin    time.Time

	recorders []*recorder
	schedule  *arrival.Schedule // nil in a closed loop

	tickets  atomic.Int64 // operations that were begun in a closed loop
	failed   atomic.Int64 // operations
	behind   atomic.Int64 // ns; of the last operation that was begun in an open loop
	stopping atomic.Bool  // no operation is begun any more

	mu      sync.Mutex
	ending  Ending        // guarded by mu
	cause   error         // guarded by mu; why, unless it is Completed
	stopped chan struct{} // closed, under mu, when stopping is set
}

// errCut is the cause of an operation's end that the run did not wait for.
var errCut = errors.New("it was still under way at the end")

// maxRecorders keeps the memory that is taken by histograms within bounds. More
// workers than that share them.
const maxRecorders = 64

func newPhase(opts Options, warmup bool) *phase {
	p := &phase{
		opts: opts, warmup: warmup, duration: opts.Duration, count: opts.Count,
		stopped: make(chan struct{}),
	}
	if warmup {
		p.duration, p.count = opts.Warmup, 0
	}
	for range min(opts.Workers, maxRecorders) {
		p.recorders = append(p.recorders, newRecorder(opts.Rate > 0, opts.Watch != nil))
	}
	return p
}

// now returns the time since the phase began.
func (p *phase) now() time.Duration { return time.Since(p.begin) }

func (p *phase) run(ctx context.Context) *Result {
	work, cut := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cut(nil)
	p.begin = time.Now()
	if p.opts.Rate > 0 {
		alarm := p.opts.NewAlarm()
		defer alarm.Close()
		p.schedule = arrival.New(arrival.Options{
			Rate: p.opts.Rate, Process: p.opts.Arrivals, Queue: p.opts.Queue,
			End: p.duration, Count: p.count, Alarm: alarm, Now: p.now,
		})
	}

	var workers, others sync.WaitGroup
	done := make(chan struct{}) // closed when all workers have returned
	others.Go(func() { p.control(ctx, done, cut) })
	for _, conn := range p.opts.Conns {
		if c, ok := conn.(draining); ok {
			others.Go(func() { p.watchDraining(c.Draining(), done) })
		}
	}
	if p.opts.Watch != nil {
		others.Go(func() { p.watch(done) })
	}
	for i := range p.opts.Workers {
		workers.Go(func() { p.work(work, i) })
	}
	workers.Wait()
	elapsed := p.now()
	close(done)
	others.Wait()
	return p.result(elapsed)
}

// control ends the phase in time, or early when ctx ends. Then it waits a while for
// what is under way, and cuts it.
func (p *phase) control(ctx context.Context, done <-chan struct{}, cut func(error)) {
	var end <-chan time.Time
	if p.duration > 0 {
		d := p.duration
		if p.schedule != nil {
			d += tail // the schedule itself has the end
		}
		timer := time.NewTimer(d)
		defer timer.Stop()
		end = timer.C
	}
	select {
	case <-done:
		return
	case <-end:
		p.stop(Completed, nil)
	case <-ctx.Done():
		p.stop(Interrupted, context.Cause(ctx))
	case <-p.stopped:
	}
	patience := grace
	if p.opts.Timeout > 0 {
		patience = p.opts.Timeout + grace/10 // they end by themselves
	}
	if p.endedAs() == Lost {
		patience = min(patience, hurry)
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	interrupted := ctx.Done()
	for {
		select {
		case <-done:
			return
		case <-timer.C:
			cut(errCut)
			return
		case <-interrupted: // before, or while it waits
			interrupted = nil
			timer.Reset(min(patience, hurry))
		}
	}
}

// stop makes workers begin nothing any more. The first reason is the one that counts.
func (p *phase) stop(ending Ending, cause error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopping.Load() {
		return
	}
	p.ending, p.cause = ending, cause
	p.stopping.Store(true)
	close(p.stopped)
	if p.schedule != nil {
		p.schedule.Stop()
	}
}

func (p *phase) endedAs() Ending {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ending
}

// watchDraining ends the phase when the server says that it is shutting down.
func (p *phase) watchDraining(ch <-chan struct{}, done <-chan struct{}) {
	select {
	case <-ch:
		p.stop(Draining, nil)
	case <-done:
	}
}

// watch shows samples until the phase is over.
func (p *phase) watch(done <-chan struct{}) {
	tick := time.NewTicker(p.opts.Every)
	defer tick.Stop()
	var last time.Duration
	for {
		select {
		case <-done:
			return
		case <-tick.C:
			now := p.now()
			p.opts.Watch(p.sample(now, now-last))
			last = now
		}
	}
}

// sample takes what was recorded since the last one.
func (p *phase) sample(now, interval time.Duration) Sample {
	s := Sample{
		Warmup: p.warmup, Elapsed: now, Total: p.duration, Count: p.count,
		Failed: p.failed.Load(), Interval: interval, Behind: time.Duration(p.behind.Load()),
	}
	all := newInterval()
	for _, r := range p.recorders {
		s.Done += r.takeInterval(all)
	}
	s.OK = all.TotalCount()
	s.P50 = time.Duration(all.ValueAtQuantile(50))
	s.P99 = time.Duration(all.ValueAtQuantile(99))
	return s
}

// conn returns the connection of a worker.
func (p *phase) conn(worker int) drpc.Conn { return p.opts.Conns[worker%len(p.opts.Conns)] }
