package report

import (
	"math"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// The stacks of the fake figures, and how much slower than braid each is.
var fakeStacks = []struct {
	name   string
	factor float64
}{
	{"braid", 1}, {"stock", 5}, {"grpc", 10}, {"ttrpc", 6}, {"arpc", 1.01}, {"floor", 0.5},
}

// fakeRounds is how many rounds the fake figures have.
const fakeRounds = 6

// fakeSample makes up a measurement. The machine of the fake figures is slower
// in later rounds, for all stacks alike.
func fakeSample(c Cell, round int, nanos float64) Sample {
	drift := 1 + float64(round)/10
	sample := Sample{
		Round: round, Ops: 10_000, Elapsed: time.Duration(nanos*drift) * 10_000,
		Bytes: 512, Allocs: 3.5, Conns: 1,
	}
	if c.Transport == "processes" {
		sample.Bytes, sample.Allocs = math.NaN(), math.NaN()
	}
	if c.Work == Unary {
		sample.Latency = hdrhistogram.New(1, int64(time.Minute), 3)
		for i := range int64(2000) {
			_ = sample.Latency.RecordValue(int64(nanos*drift) * (1000 + i) / 1000)
		}
	}
	if c.Work == Idle {
		sample.Extra = map[string]float64{UnitIdleBytes: 3 * nanos * drift, UnitGoroutines: 1}
	}
	if c.Work == Mixed {
		sample.Extra = map[string]float64{UnitBulk: 1e6 / nanos}
	}
	return sample
}

// fakeRow makes up what all stacks did in a cell.
func fakeRow(c Cell) *Row {
	row := &Row{Cell: c, Rounds: fakeRounds}
	base := 1000 + float64(c.Size)/4 + 20000/float64(c.Callers)
	if c.Procs > 0 {
		base /= math.Sqrt(float64(c.Procs))
	}
	for i, s := range fakeStacks {
		side := &Side{Stack: s.name}
		for round := range fakeRounds {
			// Some noise that is the same in every run, and that no two stacks share.
			noise := 1 + float64((round*(2*i+3))%7)/200
			side.Samples = append(side.Samples, fakeSample(c, round, base*s.factor*noise))
		}
		row.Sides = append(row.Sides, side)
	}
	return row
}

func cell(work string, callers, size int) Cell {
	return Cell{Work: work, Callers: callers, Size: size, Transport: "tcp"}
}

// fakeResults makes up a report that has something of everything.
func fakeResults() *Results {
	res := &Results{
		Environment: []Item{
			{Key: "goos", Value: "linux"}, {Key: "cpu", Value: "Imagined CPU"}, {Key: "go", Value: "go1.99"},
			{Key: "date", Value: "2001-02-03", Passing: true},
		},
		Rounds: fakeRounds,
		Sections: []Section{
			{Title: "Unary calls", Text: "One operation is a call that has returned.",
				Cells: []Cell{cell(Unary, 1, 16), cell(Unary, 64, 16), cell(Unary, 1000, 16)}},
			{Title: "Uploads", Text: "One operation is a message that has arrived.",
				Cells: []Cell{cell(Upload, 1, 16), cell(Upload, 1, 1<<20)}},
			{Title: "Beside bulk", Text: "One operation is a call.", Cells: []Cell{cell(Mixed, 4, 16)}},
			{Title: "Idle streams", Text: "What a stream takes.", Cells: []Cell{cell(Idle, IdleCount, 16)}},
			{Title: "Two processes", Text: "The same.",
				Cells: []Cell{{Work: Unary, Callers: 64, Size: 16, Transport: "processes"}}},
		},
		Plots: []Plot{
			{File: "callers.svg", Title: "Calls of 16 B", Axis: Callers,
				Cells: []Cell{cell(Unary, 1, 16), cell(Unary, 64, 16), cell(Unary, 1000, 16)}},
			{File: "sizes.svg", Title: "Uploads", Axis: Sizes,
				Cells: []Cell{cell(Upload, 1, 16), cell(Upload, 1, 64<<10), cell(Upload, 1, 1<<20), cell(Upload, 1, 64<<20)}},
			{File: "procs.svg", Title: "Processors", Axis: Procs},
			{File: "latency.svg", Title: "Latency, 64 callers", Axis: Latency, Cells: []Cell{cell(Unary, 64, 16)}},
		},
	}
	for _, s := range fakeStacks {
		res.Stacks = append(res.Stacks, Stack{Name: s.name, Module: "example.org/" + s.name, Version: "v1.2.3"})
	}
	res.Stacks[2].Settings = []string{"windows of 64 KiB", "a message limit of 64 MiB"}
	for _, procs := range []int{1, 2, 4} {
		res.Plots[2].Cells = append(res.Plots[2].Cells, Cell{Work: Unary, Callers: 64, Size: 16, Transport: "tcp", Procs: procs})
	}
	seen := make(map[Cell]bool)
	add := func(cells []Cell) {
		for _, c := range cells {
			if !seen[c] {
				seen[c] = true
				res.Rows = append(res.Rows, fakeRow(c))
			}
		}
	}
	for _, s := range res.Sections {
		add(s.Cells)
	}
	for _, p := range res.Plots {
		add(p.Cells)
	}
	stock := res.row(cell(Upload, 1, 1<<20)).side("stock")
	for i := range stock.Samples {
		stock.Samples[i].Note = "limited to 7 connections"
	}
	upload := res.row(cell(Upload, 1, 16))
	*upload.side("arpc") = Side{Stack: "arpc", Cannot: "no streams"}
	*upload.side("ttrpc") = Side{Stack: "ttrpc", Failed: "connection reset |\nby peer"}
	return res
}
