// Package measure measures one piece of work with one stack, from the start of
// a server to its end.
package measure

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"braid/bench/internal/job"
	"braid/bench/internal/latency"
	"braid/bench/internal/rig"
	"braid/bench/internal/stack"
)

// The transports.
const (
	TCP       = string(rig.TCP)       // loopback TCP, both ends in this process
	TLS       = string(rig.TLS)       // TLS over that
	Processes = string(rig.Processes) // loopback TCP, the server in a process of its own
)

// Cell is a piece of work.
type Cell struct {
	// Work is the name of the kind of work: Unary, Upload, Download, PingPong,
	// OpenClose, Mixed, Idle or Connections. See package job for what an operation of each is.
	Work string
	// Callers is how many callers or streams there are at once. Of Mixed it is
	// the callers, who have eight uploads beside them; of Idle it is the streams,
	// which have four callers beside them; of Connections the connections, which
	// a thousand callers share.
	Callers int
	// Size is the size of a message in bytes: of Mixed that of a call, whose
	// bulk messages have 64 KiB.
	Size int
	// Transport is one of TCP, TLS and Processes.
	Transport string
}

// String names the cell as benchmarks do.
func (c Cell) String() string {
	kind, err := job.Named(c.Work)
	if err != nil {
		kind = job.Kind{Who: "callers"}
	}
	name := c.Work + "/" + kind.Case(c.Callers, c.Size)
	if c.Transport != TCP && c.Transport != "" {
		name += "/transport=" + c.Transport
	}
	return name
}

// Options say how to measure.
type Options struct {
	// Time is about how long is measured.
	Time time.Duration
	// Warm is about how long the same work is done before that.
	Warm time.Duration
	// NoLatency leaves latencies out. Taking them costs two looks at the clock
	// and a lock per operation, 100 ns or so.
	NoLatency bool
}

// Figures is what was measured.
type Figures struct {
	// Ops is how many operations were done, and Elapsed the wall-clock time
	// they took all together.
	Ops     int64
	Elapsed time.Duration
	// BytesPerOp and AllocsPerOp are what both ends allocated, or NaN if the
	// server is another process. Of Mixed, what the uploads beside the calls
	// allocate is in them.
	BytesPerOp, AllocsPerOp float64
	// Latency has the nanoseconds of each operation, or is nil where an
	// operation is a message one way, and with NoLatency.
	Latency *hdrhistogram.Histogram
	// Conns is how many connections the server has accepted.
	Conns int
	// BulkBytes is the payload of the uploads of Mixed that arrived within
	// Elapsed, and 0 of other work.
	BulkBytes int64
	// Idle is what the streams of Idle take, and nil of other work.
	Idle *Idle
	// Note is what a reader has to know about the figures, or "".
	Note string
}

// Supports returns nil if the stack can do the work of the cell, and an error
// that says why not otherwise.
func Supports(st stack.Stack, cell Cell) error {
	kind, err := job.Named(cell.Work)
	if err != nil {
		return err
	}
	if err := rig.Transport(cell.Transport).Check(st); err != nil {
		return err
	}
	return kind.Check(st, cell.Callers, cell.Size)
}

// patience is how long a stack that has lost its connections has to end.
const patience = 10 * time.Second

// Measure starts a server, connects, warms up, measures for about the time
// given, and closes everything. It uses as many CPUs as GOMAXPROCS says, in
// either process. When ctx is done it takes the sockets away from both sides
// and returns an error; what does not end even then is left behind.
//
// A program that measures with the transport Processes has to call rig.Main
// before anything else.
func Measure(ctx context.Context, st stack.Stack, cell Cell, opts Options) (Figures, error) {
	if err := Supports(st, cell); err != nil {
		return Figures{}, err
	}
	if opts.Time <= 0 || opts.Warm < 0 {
		return Figures{}, errors.New("the time to measure has to be positive, and that to warm up not negative")
	}
	kind, err := job.Named(cell.Work)
	if err != nil {
		return Figures{}, err
	}
	type result struct {
		figures Figures
		err     error
	}
	done := make(chan result, 1)
	go func() { // ends by itself, or some time after ctx
		var r result
		m := measurement{ctx: ctx, stack: st, cell: cell, kind: kind, opts: opts}
		r.err = m.run()
		r.figures = m.figures
		done <- r
	}()
	var r result
	select {
	case r = <-done:
	case <-ctx.Done():
		select {
		case r = <-done:
		case <-time.After(patience):
			r.err = errors.New("it does not end without its connections either")
		}
	}
	if ctx.Err() != nil {
		r.err = errors.Join(context.Cause(ctx), r.err)
	}
	if r.err != nil {
		return Figures{}, fmt.Errorf("%v with stack %s: %w", cell, st.Name, r.err)
	}
	return r.figures, nil
}

// measurement is one call of Measure.
type measurement struct {
	ctx   context.Context
	stack stack.Stack
	cell  Cell
	kind  job.Kind
	opts  Options

	figures Figures
}

// run does it all.
func (m *measurement) run() (err error) {
	transport := rig.Transport(m.cell.Transport)
	var before Footprints
	if m.kind.Name == job.Idle.Name {
		if before, err = Reference(m.ctx, m.stack, transport, m.cell.Size); err != nil {
			return fmt.Errorf("without streams: %w", err)
		}
	}
	setup := m.kind.Setup(m.cell.Callers, m.cell.Size)
	return with(m.ctx, m.stack, transport, setup, func(r *rig.Rig) error {
		m.figures.Note = r.Note()
		load := job.Load{Client: r.Client(), Callers: m.cell.Callers, Size: m.cell.Size}
		if !m.kind.OneWay && !m.opts.NoLatency {
			load.Latencies = new(latency.Recorder)
		}
		j, err := m.kind.New(m.ctx, load)
		if err != nil {
			return err
		}
		if m.kind.Name == job.Idle.Name {
			after, err := FootprintsOf(r)
			if err != nil {
				return errors.Join(err, j.Close())
			}
			m.figures.Idle = after.Per(before, m.cell.Callers)
		}
		err = m.observe(r, j, load.Latencies)
		return errors.Join(err, j.Close())
	})
}

// with does something with a rig of its own, which loses its connections when
// the context is done.
func with(ctx context.Context, st stack.Stack, transport rig.Transport, setup stack.Setup, do func(*rig.Rig) error) error {
	r, err := rig.Start(ctx, st, rig.Config{Transport: transport, Setup: setup})
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, r.Kill)
	defer stop()
	return errors.Join(do(r), r.Close())
}

// observe warms the job up and measures it.
func (m *measurement) observe(r *rig.Rig, j job.Job, latencies *latency.Recorder) error {
	warm := Work{Units: 1, Took: m.opts.Time}
	if m.opts.Warm > 0 {
		var err error
		if warm, err = RunFor(m.ctx, j, m.opts.Warm, 1); err != nil {
			return err
		}
	}
	if latencies != nil {
		latencies.Reset()
	}
	// Collect what the warm-up, and whatever was before it, have left behind.
	runtime.GC()
	countsBefore, err := r.Counts()
	if err != nil {
		return err
	}
	var memBefore, memAfter runtime.MemStats
	runtime.ReadMemStats(&memBefore)
	work, err := RunFor(m.ctx, j, m.opts.Time, warm.fitting(m.opts.Time))
	runtime.ReadMemStats(&memAfter)
	if err != nil {
		return err
	}
	counts, err := r.Counts()
	if err != nil {
		return err
	}
	f := &m.figures
	f.Ops, f.Elapsed, f.Conns = int64(work.Units), work.Took, counts.Conns
	f.BytesPerOp, f.AllocsPerOp = math.NaN(), math.NaN()
	if !r.Separate() {
		f.BytesPerOp = float64(memAfter.TotalAlloc-memBefore.TotalAlloc) / float64(f.Ops)
		f.AllocsPerOp = float64(memAfter.Mallocs-memBefore.Mallocs) / float64(f.Ops)
	}
	if m.kind.Name == job.Mixed.Name {
		f.BulkBytes = counts.Received - countsBefore.Received
	}
	if latencies != nil {
		f.Latency = latencies.Histogram()
	}
	return nil
}
