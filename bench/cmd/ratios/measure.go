package main

import (
	"context"
	"errors"
	"fmt"

	"braid/bench/internal/figures"
	"braid/bench/internal/measure"
	"braid/bench/internal/stack"
)

// result is what was measured of a pair: nanoseconds per unit of each round.
type result struct {
	pair
	measured, against side
}

// side is one stack's part of a result.
type side struct {
	stack stack.Stack
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
func measurePair(cfg config, p pair) (res result, err error) {
	res.pair = p
	res.measured.stack, res.against.stack, err = cfg.sides(p.callers)
	if err != nil {
		return result{}, err
	}
	for range cfg.rounds {
		for _, s := range []*side{&res.measured, &res.against} {
			if err := s.round(cfg, p); err != nil {
				return result{}, err
			}
		}
	}
	return res, nil
}

// errTimeout says that the work did not end.
var errTimeout = errors.New("the work does not end")

// round measures one side once. Everything is set up anew, so that no side has
// to work next to the idle connections of the other.
func (s *side) round(cfg config, p pair) error {
	ctx, cancel := context.WithTimeoutCause(context.Background(), cfg.time+cfg.timeout, errTimeout)
	defer cancel()
	f, err := measure.Measure(ctx, s.stack, p.cell(cfg),
		measure.Options{Time: cfg.time, Warm: cfg.time / 4, NoLatency: true})
	if err != nil {
		return err
	}
	s.nanos = append(s.nanos, float64(f.Elapsed.Nanoseconds())/float64(f.Ops))
	s.conns.add(f.Conns)
	if f.Note != "" {
		if s.notes == nil {
			s.notes = make(map[string]bool)
		}
		s.notes[f.Note] = true
	}
	return nil
}
