package report

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"

	"golang.org/x/perf/benchfmt"
)

// Percentiles are the latencies that are reported, in percent.
var Percentiles = []float64{50, 90, 99, 99.9}

// WriteBenchmarks writes every sample in the Go benchmark format, which
// benchstat reads: a line per stack, cell and round.
func WriteBenchmarks(w io.Writer, res *Results) error {
	var config []benchfmt.Config
	add := func(key, value string) {
		config = append(config, benchfmt.Config{Key: key, Value: []byte(oneLine(value)), File: true})
	}
	for _, item := range res.Environment {
		if !item.Passing {
			add(item.Key, item.Value)
			continue
		}
		if _, err := fmt.Fprintf(w, "# %s: %s\n", item.Key, oneLine(item.Value)); err != nil {
			return err
		}
	}
	for _, s := range res.Stacks {
		add("stack-"+configKey(s.Name), cmp.Or(strings.TrimSpace(s.Module+" "+s.Version), "no module of its own"))
	}
	if res.Incomplete != "" {
		add("incomplete", res.Incomplete)
	}
	out := benchfmt.NewWriter(w)
	for _, row := range res.Rows {
		for _, side := range row.Sides {
			for _, sample := range side.Samples {
				result := &benchfmt.Result{
					Config: config,
					Name:   benchmarkName(row.Cell, side.Stack, res.Procs),
					Iters:  int(sample.Ops),
					Values: benchmarkValues(row.Cell, sample),
				}
				if err := out.Write(result); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// benchmarkName is the name of a line. GOMAXPROCS stands last in it where it is
// not 1, as go test has it.
func benchmarkName(c Cell, stack string, procs int) benchfmt.Name {
	procs = cmp.Or(c.Procs, procs)
	c.Procs = 0
	name := c.Name() + "/stack=" + wordOf(stack)
	if procs > 1 {
		name += fmt.Sprintf("-%d", procs)
	}
	return benchfmt.Name(name)
}

// wordOf replaces what divides the names of benchmarks.
func wordOf(s string) string {
	return strings.NewReplacer("/", "", " ", "-", "=", "-").Replace(s)
}

// configKey makes a configuration key of a name: lower case and no spaces.
func configKey(s string) string { return strings.ToLower(strings.ReplaceAll(wordOf(s), ":", "-")) }

// benchmarkValues are the figures of a line.
func benchmarkValues(c Cell, s Sample) []benchfmt.Value {
	var values []benchfmt.Value
	add := func(value float64, unit string) {
		if !math.IsNaN(value) && !math.IsInf(value, 0) {
			values = append(values, benchfmt.Value{Value: value, Unit: unit})
		}
	}
	add(rounded(s.Nanos()), "ns/op")
	if moves(c) {
		add(rounded(megabytes(c)(s)), "MB/s")
	}
	add(rounded(s.Bytes), "B/op")
	add(rounded(s.Allocs), "allocs/op")
	for _, p := range Percentiles {
		add(percentile(p)(s), fmt.Sprintf("p%v-ns", p))
	}
	if s.Conns > 0 {
		add(float64(s.Conns), "conns")
	}
	for _, unit := range slices.SortedFunc(maps.Keys(s.Extra), cmp.Compare[string]) {
		add(rounded(s.Extra[unit]), unit)
	}
	return values
}

// rounded keeps as many digits as mean anything.
func rounded(v float64) float64 {
	if math.Abs(v) >= 100 {
		return math.Round(v*10) / 10
	}
	return math.Round(v*1e4) / 1e4
}

// moves reports whether the work of a cell is to move messages, so that their
// bytes per second mean something.
func moves(c Cell) bool { return c.Size > 0 && c.Work != Idle && c.Work != Mixed }

// megabytes takes the payload per second, counted once and in one direction, in
// units of 1e6 bytes.
func megabytes(c Cell) figure {
	return func(s Sample) float64 { return float64(c.Size) / s.Nanos() * 1e3 }
}

// perSecond takes operations per second.
func perSecond(s Sample) float64 { return 1e9 / s.Nanos() }
