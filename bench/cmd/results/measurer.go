package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"

	"braid/bench/internal/figures"
	"braid/bench/internal/measure"
	"braid/bench/internal/report"
	"braid/bench/internal/stack"
)

// measurer measures stacks, one at a time.
type measurer interface {
	// Stacks returns all that there is.
	Stacks() []report.Stack
	// Supports returns why a stack cannot do the work of a cell, or nil.
	Supports(stack string, cell report.Cell) error
	// Measure measures a stack once, and its latencies unless opts leave them out.
	// It returns soon after ctx is done.
	Measure(ctx context.Context, stack string, cell report.Cell, opts measure.Options) (report.Sample, error)
}

// stacks measures the stacks that there are.
type stacks struct{}

var _ measurer = stacks{}

// Stacks implements measurer.
func (stacks) Stacks() []report.Stack {
	var all []report.Stack
	for _, s := range stack.All() {
		known := report.Stack{Name: s.Name, Module: s.Module, Settings: s.Settings}
		if s.Module != "" {
			known.Version = figures.ModuleVersion(s.Module)
		}
		all = append(all, known)
	}
	return all
}

// Supports implements measurer.
func (stacks) Supports(name string, cell report.Cell) error {
	st, err := stack.Named(name)
	if err != nil {
		return err
	}
	return bare(measure.Supports(st, cellOf(cell)), "stack "+name+": ")
}

// latencyTimes is how much longer latencies are taken than times: the slowest
// calls are few, and beside bulk all of them are.
const latencyTimes = 3

// bare leaves out of an error what is said beside it anyway.
func bare(err error, prefix string) error {
	if err == nil {
		return nil
	}
	if text, ok := strings.CutPrefix(err.Error(), prefix); ok {
		return errors.New(text)
	}
	return err
}

// Measure implements measurer.
func (stacks) Measure(ctx context.Context, name string, cell report.Cell, opts measure.Options) (report.Sample, error) {
	st, err := stack.Named(name)
	if err != nil {
		return report.Sample{}, err
	}
	if cell.Procs > 0 {
		before := runtime.GOMAXPROCS(cell.Procs)
		defer runtime.GOMAXPROCS(before)
	}
	// To take latencies costs about as much as a tenth of a fast call, and would
	// bring fast and slow stacks nearer to each other. So times are of a
	// measurement without.
	untimed := opts
	untimed.NoLatency = true
	said := fmt.Sprintf("%v with stack %s: ", cellOf(cell), name)
	fig, err := measure.Measure(ctx, st, cellOf(cell), untimed)
	if err != nil {
		return report.Sample{}, bare(err, said)
	}
	sample := sampleOf(fig)
	sample.Note = strings.TrimPrefix(sample.Note, "stack "+name+": ")
	if !opts.NoLatency {
		opts.Time *= latencyTimes
		with, err := measure.Measure(ctx, st, cellOf(cell), opts)
		if err != nil {
			return report.Sample{}, fmt.Errorf("with latencies: %w", bare(err, said))
		}
		sample.Latency = with.Latency
	}
	return sample, nil
}

// cellOf says the same as a cell of a report.
func cellOf(c report.Cell) measure.Cell {
	return measure.Cell{Work: c.Work, Callers: c.Callers, Size: c.Size, Transport: c.Transport}
}

// sampleOf takes from figures what is reported.
func sampleOf(fig measure.Figures) report.Sample {
	sample := report.Sample{
		Ops: fig.Ops, Elapsed: fig.Elapsed,
		Bytes: fig.BytesPerOp, Allocs: fig.AllocsPerOp,
		Conns: fig.Conns, Note: fig.Note,
	}
	if fig.BulkBytes > 0 {
		sample.Extra = map[string]float64{report.UnitBulk: float64(fig.BulkBytes) / fig.Elapsed.Seconds() / 1e6}
	}
	if fig.Idle != nil {
		sample.Extra = map[string]float64{
			report.UnitIdleBytes:  fig.Idle.Bytes,
			report.UnitGoroutines: fig.Idle.Goroutines,
		}
	}
	return sample
}
