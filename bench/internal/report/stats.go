package report

import (
	"fmt"
	"math"
	"slices"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/perf/benchmath"
)

// alpha is the p below which two stacks count as different.
var alpha = benchmath.DefaultThresholds.CompareAlpha

// spread is some values condensed. The zero spread is of no values.
type spread struct {
	n                int
	median, min, max float64
}

// spreadOf condenses the values that are numbers.
func spreadOf(values []float64) spread {
	known := slices.DeleteFunc(slices.Clone(values), math.IsNaN)
	if len(known) == 0 {
		return spread{}
	}
	sample := benchmath.NewSample(known, &benchmath.DefaultThresholds)
	return spread{
		n:      len(known),
		median: benchmath.AssumeNothing.Summary(sample, 0.95).Center,
		min:    sample.Values[0],
		max:    sample.Values[len(sample.Values)-1],
	}
}

// figure takes one number of a sample, or NaN.
type figure func(Sample) float64

// The figures that most work has.
var (
	nanos  figure = Sample.Nanos
	memory figure = func(s Sample) float64 { return s.Bytes }
	allocs figure = func(s Sample) float64 { return s.Allocs }
)

// extra takes a figure that only some work has.
func extra(unit string) figure {
	return func(s Sample) float64 {
		if value, ok := s.Extra[unit]; ok {
			return value
		}
		return math.NaN()
	}
}

// percentile takes a latency in nanoseconds.
func percentile(p float64) figure {
	return func(s Sample) float64 { return valueAtPercentile(s.Latency, p) }
}

// valueAtPercentile returns NaN of so few values that none is beyond the
// percentile.
func valueAtPercentile(h *hdrhistogram.Histogram, p float64) float64 {
	if h == nil || float64(h.TotalCount())*(1-p/100) < 1 {
		return math.NaN()
	}
	return float64(h.ValueAtPercentile(p))
}

// latencies returns those of all rounds together, or nil.
func (s *Side) latencies() *hdrhistogram.Histogram {
	if !s.good() {
		return nil
	}
	var all *hdrhistogram.Histogram
	for _, sample := range s.Samples {
		switch {
		case sample.Latency == nil:
		case all == nil:
			all = sample.Latency.Clone()
		default:
			all.Merge(sample.Latency)
		}
	}
	return all
}

// spread condenses a figure of all samples.
func (s *Side) spread(fig figure) spread {
	if !s.good() {
		return spread{}
	}
	var values []float64
	for _, sample := range s.Samples {
		values = append(values, fig(sample))
	}
	return spreadOf(values)
}

// paired returns the ratios of a figure of one side to that of another, each
// within a round that both have.
func paired(a, b *Side, fig figure) []float64 {
	if !a.good() || !b.good() {
		return nil
	}
	other := make(map[int]float64)
	for _, sample := range b.Samples {
		other[sample.Round] = fig(sample)
	}
	var ratios []float64
	for _, sample := range a.Samples {
		if value, ok := other[sample.Round]; ok && value > 0 {
			ratios = append(ratios, fig(sample)/value)
		}
	}
	return ratios
}

// comparison is how one side relates to another.
type comparison struct {
	spread                       // of the ratios within rounds
	test   *benchmath.Comparison // of the figures themselves; nil if there is none
}

// compare relates a figure of one side to that of another. The test is that of
// benchstat, Mann-Whitney's U, over the figures of all rounds.
func compare(a, b *Side, fig figure) comparison {
	c := comparison{spread: spreadOf(paired(a, b, fig))}
	if c.n == 0 || a.Stack == b.Stack {
		return c
	}
	test := benchmath.AssumeNothing.Compare(sampleOf(a, fig), sampleOf(b, fig))
	c.test = &test
	return c
}

// sampleOf returns a figure as the tests want it, where it is known.
func sampleOf(s *Side, fig figure) *benchmath.Sample {
	var values []float64
	for _, sample := range s.Samples {
		if value := fig(sample); !math.IsNaN(value) {
			values = append(values, value)
		}
	}
	return benchmath.NewSample(values, &benchmath.DefaultThresholds)
}

// significant reports whether the test tells the two sides apart.
func (c comparison) significant() bool { return c.test != nil && c.test.P < c.test.Alpha }

// verdict writes what the test says: its p, with "~" if that does not tell the
// two sides apart.
func (c comparison) verdict() string {
	switch {
	case c.test == nil:
		return ""
	case c.significant():
		return fmt.Sprintf("p=%.3f", c.test.P)
	default:
		return fmt.Sprintf("~ (p=%.3f)", c.test.P)
	}
}
