package main

import (
	"fmt"
	"slices"

	"braid/bench/internal/beside"
	"braid/bench/internal/figures"
)

// The keys of the figures of a round, with their units.
const (
	keyCalls = "calls_per_second"
	keyP50   = "p50_seconds"
	keyP90   = "p90_seconds"
	keyP99   = "p99_seconds"
	keyMax   = "max_seconds"
	keyBulk  = "bulk_bytes_per_second"
	keyTaken = "taken_bytes" // all that senders got rid of
	keyKept  = "kept"        // calls beside stalled streams, of those without
)

// quantiles are the latencies that are taken of a distribution, in percent.
var quantiles = map[string]float64{keyP50: 50, keyP90: 90, keyP99: 99}

// column is how a figure is shown.
type column struct {
	key    string
	title  string
	scale  float64 // what a figure is divided by
	format string
}

// columns returns what is shown of a mode.
func columns(mode beside.Mode) []column {
	cols := []column{
		{keyCalls, "calls/s", 1, "%.0f"},
		{keyP50, "p50 us", 1e-6, "%.0f"},
		{keyP90, "p90 us", 1e-6, "%.0f"},
		{keyP99, "p99 us", 1e-6, "%.0f"},
		{keyMax, "max us", 1e-6, "%.0f"},
	}
	if mode == beside.Stalled {
		return append(cols,
			column{keyKept, "calls kept", 1, "%.3f"},
			column{keyTaken, "taken MB", 1e6, "%.1f"},
			column{keyBulk, "still MB/s", 1e6, "%.1f"})
	}
	return append(cols, column{keyBulk, "bulk MB/s", 1e6, "%.1f"})
}

// spread is some values condensed.
type spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// spreadOf condenses values. There is none of no values.
func spreadOf(values []float64) (spread, bool) {
	if len(values) == 0 {
		return spread{}, false
	}
	return spread{figures.Median(values), slices.Min(values), slices.Max(values)}, true
}

// text writes the spread in the unit of a column, and one number if there is
// only one.
func (s spread) text(scale float64, format string) string {
	if s.Min == s.Max {
		return fmt.Sprintf(format, s.Median/scale)
	}
	return fmt.Sprintf(format+" ["+format+"-"+format+"]", s.Median/scale, s.Min/scale, s.Max/scale)
}

// values returns a figure of all rounds that can be used.
func (s side) values(key string) []float64 {
	var values []float64
	for _, r := range s.rounds {
		if value, ok := r.Figures[key]; ok && r.good() {
			values = append(values, value)
		}
	}
	return values
}

// ratios relates a figure of the first stack to that of the second, within the
// rounds in which both can be used.
func (c *cell) ratios(key string) []float64 {
	var values []float64
	for i := range c.sides[0].rounds {
		a, b := c.sides[0].rounds[i], c.sides[1].rounds[i]
		if x, y := a.Figures[key], b.Figures[key]; a.good() && b.good() && y > 0 {
			values = append(values, x/y)
		}
	}
	return values
}

// troubles returns how many rounds have stalled, failed, and hung.
func (s side) troubles() (stalled, failed, hung int) {
	for _, r := range s.rounds {
		if r.Stalled != "" {
			stalled++
		}
		if r.Failed != "" {
			failed++
		}
		if r.Hung {
			hung++
		}
	}
	return stalled, failed, hung
}
