package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"braid/bench/internal/measure"
	"braid/bench/internal/report"
)

// grace is how long a measurement may take to end after it was told to. It is
// more than what package measure waits for a stack to end.
const grace = 15 * time.Second

// measureAll measures everything, until ctx is done. Rounds are outermost: a run
// that is cut short has fewer rounds of all cells rather than not all cells, and
// the rounds of a cell are spread over the whole time.
func measureAll(ctx context.Context, cfg config, m measurer, p *plan, show *progress) *report.Results {
	r := &runner{cfg: cfg, m: m, show: show, res: &report.Results{
		Environment: environment(cfg),
		Procs:       runtime.GOMAXPROCS(0),
		Stacks:      p.stacks,
		Sections:    p.sections,
		Plots:       p.plots,
	}}
	for _, t := range p.tasks {
		row := &report.Row{Cell: t.cell, Rounds: t.rounds}
		for _, name := range t.stacks {
			side := &report.Side{Stack: name}
			if err := m.Supports(name, t.cell); err != nil {
				side.Cannot = err.Error()
			}
			row.Sides = append(row.Sides, side)
		}
		r.res.Rows = append(r.res.Rows, row)
		r.res.Rounds = max(r.res.Rounds, t.rounds)
	}
	show.begin(r.res.Rows)
	r.rounds(ctx)
	show.end()
	return r.res
}

// runner is a run of all cells. One goroutine uses it.
type runner struct {
	cfg  config
	m    measurer
	show *progress
	res  *report.Results
}

// rounds measures all rounds.
func (r *runner) rounds(ctx context.Context) {
	for round := range r.res.Rounds {
		for _, row := range r.res.Rows {
			if round >= row.Rounds {
				continue
			}
			for _, place := range order(len(row.Sides), round) {
				r.measure(ctx, row, row.Sides[place], round)
				if ctx.Err() != nil {
					r.res.Incomplete = fmt.Sprintf("interrupted in round %d of %d, after %d of %d measurements",
						round+1, r.res.Rounds, r.show.done, r.show.all)
					return
				}
			}
		}
		r.show.round(round)
	}
}

// measure measures one side once, if it can and has not failed before.
func (r *runner) measure(ctx context.Context, row *report.Row, side *report.Side, round int) {
	if side.Cannot != "" || side.Failed != "" || ctx.Err() != nil {
		return
	}
	r.show.next(row.Cell, side.Stack, round)
	start := time.Now()
	sample, err := r.one(ctx, side.Stack, row.Cell)
	switch {
	case err != nil && ctx.Err() != nil:
		return // It failed because it was told to stop.
	case err != nil:
		side.Failed = fmt.Sprintf("round %d: %v", round+1, err)
		r.show.failed(row.Rounds - round)
		return
	}
	sample.Round = round
	side.Samples = append(side.Samples, sample)
	r.show.took(time.Since(start))
}

// errHangs says that a measurement did not end.
var errHangs = errors.New("did not end when it was told to")

// one measures a stack once, and gives it up if it takes too long.
func (r *runner) one(ctx context.Context, stack string, cell report.Cell) (report.Sample, error) {
	n := longer(cell)
	opts := measure.Options{Time: n * r.cfg.time, Warm: n * r.cfg.warm, NoLatency: !r.wantsLatency(cell)}
	limit := opts.Time + opts.Warm + r.cfg.timeout
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("took longer than %v", limit))
	defer cancel()
	type outcome struct {
		sample report.Sample
		err    error
	}
	done := make(chan outcome, 1)
	go func() {
		sample, err := r.m.Measure(ctx, stack, cell, opts)
		done <- outcome{sample, err}
	}()
	got := outcome{err: errHangs}
	select {
	case got = <-done:
	case <-ctx.Done():
		select {
		case got = <-done:
		case <-time.After(r.cfg.grace()):
			note := fmt.Sprintf("%s with %s %v, and may have worked on beside what came after it.", cell.Name(), stack, errHangs)
			if !slices.Contains(r.res.Notes, note) {
				r.res.Notes = append(r.res.Notes, note)
			}
		}
	}
	if cause := context.Cause(ctx); got.err != nil && cause != nil {
		got.err = fmt.Errorf("%w: %w", cause, got.err)
	}
	if got.err == nil && (got.sample.Ops <= 0 || got.sample.Elapsed <= 0) {
		got.err = fmt.Errorf("%d operations in %v are no measurement", got.sample.Ops, got.sample.Elapsed)
	}
	return got.sample, got.err
}

// longer returns how many times as long as others a cell is measured: with very many callers
// each would make a call or two, and what is measured would be how goroutines start.
func longer(cell report.Cell) time.Duration {
	if cell.Callers >= manyCallers {
		return 10
	}
	return 1
}

// wantsLatency reports whether the latencies in a cell are shown.
func (r *runner) wantsLatency(cell report.Cell) bool {
	return slices.ContainsFunc(r.res.Plots, func(p report.Plot) bool {
		return p.Axis == report.Latency && slices.Contains(p.Cells, cell)
	})
}

// grace is how long to wait for a measurement that was told to end.
func (cfg config) grace() time.Duration { return min(grace, cfg.timeout) }
