package main

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"braid/bench/internal/figures"
	"braid/bench/internal/job"
	"braid/bench/internal/rig"
)

// result is what was measured of a pair: nanoseconds per unit of each round.
type result struct {
	pair
	measured, against side
}

// side is one stack's part of a result.
type side struct {
	stack rig.Stack
	nanos []float64
	conns span
	notes map[string]bool
}

// span is the smallest and the largest of some whole numbers.
type span struct{ min, max int }

// add widens the span.
func (s *span) add(n int) {
	if s.max == 0 {
		s.min = n
	}
	s.min, s.max = min(s.min, n), max(s.max, n)
}

// String returns one number if there is only one.
func (s span) String() string {
	if s.min == s.max {
		return fmt.Sprint(s.min)
	}
	return fmt.Sprintf("%d-%d", s.min, s.max)
}

// ratios returns the ratio of every round.
func (r result) ratios() []float64 {
	ratios := make([]float64, len(r.measured.nanos))
	for i := range ratios {
		ratios[i] = r.measured.nanos[i] / r.against.nanos[i]
	}
	return ratios
}

// meets reports whether the pair has no bar or keeps it.
func (r result) meets() bool { return r.bar == 0 || figures.Median(r.ratios()) <= r.bar }

// missed reports whether any result misses its bar.
func missed(results []result) bool {
	for _, r := range results {
		if !r.meets() {
			return true
		}
	}
	return false
}

// measurePair runs both sides of a pair in turn.
func measurePair(cfg config, p pair) (result, error) {
	res := result{pair: p}
	res.measured.stack, res.against.stack = sides()
	sides := []*side{&res.measured, &res.against}
	for range cfg.rounds {
		for _, s := range sides {
			if err := s.round(cfg, p); err != nil {
				return result{}, fmt.Errorf("stack %s: %w", s.stack.Name, err)
			}
		}
	}
	return res, nil
}

// round measures one side once. Everything is set up anew, so that no side has
// to work next to the idle connections of the other.
func (s *side) round(cfg config, p pair) (err error) {
	r, err := rig.Start(s.stack, p.callers)
	if err != nil {
		return err
	}
	j, err := p.kind.New(r.Conn(), p.callers, p.size)
	if err != nil {
		return errors.Join(err, r.Close())
	}
	nanos, err := timeJob(cfg, j)
	s.conns.add(r.Conns())
	if note := r.Note(); note != "" {
		if s.notes == nil {
			s.notes = make(map[string]bool)
		}
		s.notes[note] = true
	}
	if errors.Is(err, errTimeout) {
		return err // Closing might wait for what hangs.
	}
	s.nanos = append(s.nanos, nanos)
	return errors.Join(err, j.Close(), r.Close())
}

// timeJob warms the job up, and then measures it.
func timeJob(cfg config, j job.Job) (nanos float64, err error) {
	warm, err := runFor(cfg, j, cfg.time/4, 1)
	if err != nil {
		return 0, err
	}
	// Collect what the warm-up and the side before have left behind.
	runtime.GC()
	measured, err := runFor(cfg, j, cfg.time, warm.fitting(cfg.time))
	return float64(measured.took.Nanoseconds()) / float64(measured.units), err
}

// work is an amount of work and the time it took.
type work struct {
	units int
	took  time.Duration
}

// fitting returns how many units will take about as long as given.
func (w work) fitting(long time.Duration) int {
	return max(1, int(float64(w.units)*float64(long)/float64(max(w.took, 1))))
}

// runFor runs the job, n units at first, until that has taken most of the time
// given. It goes on after runs that were too short, so that a moment in which
// the machine was busy elsewhere does not make for a tiny sample.
func runFor(cfg config, j job.Job, long time.Duration, n int) (work, error) {
	var sum work
	for {
		took, err := runJob(cfg, j, n)
		if err != nil {
			return work{units: 1}, err
		}
		sum.units += n
		sum.took += took
		if sum.took >= long*3/4 {
			return sum, nil
		}
		n = min(10*sum.units, sum.fitting(long-sum.took))
	}
}

// errTimeout says that the work did not end.
var errTimeout = errors.New("the work does not end")

// runJob does n units and says how long they took.
func runJob(cfg config, j job.Job, n int) (time.Duration, error) {
	start := time.Now()
	done := make(chan error, 1)
	go func() { done <- j.Run(n) }()
	timer := time.NewTimer(cfg.time + cfg.timeout)
	defer timer.Stop()
	select {
	case err := <-done:
		return time.Since(start), err
	case <-timer.C:
		return 0, fmt.Errorf("%w: %d units still running after %v", errTimeout, n, time.Since(start).Round(time.Second))
	}
}
