// Package report turns what was measured of many RPC stacks into tables, plots,
// and a file in the Go benchmark format. It measures nothing, and depends on
// nothing of what it reports about: the same results give the same bytes.
package report

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"braid/bench/internal/figures"
)

// The names of works that are told apart here. Others can be in a report too.
const (
	Unary     = "Unary"
	Upload    = "Upload"
	Download  = "Download"
	PingPong  = "PingPong"
	OpenClose = "OpenClose"
	Mixed     = "Mixed"
	Idle      = "Idle"

	Connections = "Connections"
)

// The units of figures that only some work has: see Sample.
const (
	UnitBulk       = "bulk-MB/s"         // payload beside the calls of Mixed
	UnitIdleBytes  = "B/stream"          // memory of an idle stream, both ends
	UnitGoroutines = "goroutines/stream" // of an idle stream, both ends
)

// Base is the name of the stack that the others are related to.
const Base = "braid"

// Cell is a piece of work that every stack is to do.
type Cell struct {
	Work      string
	Callers   int    // callers, streams or connections, at once
	Size      int    // of a message, in bytes
	Transport string // "tcp", "tls" or "processes"
	Procs     int    // GOMAXPROCS, or 0 for that of the whole run
}

// Name is what benchmarks call the cell, without the stack.
func (c Cell) Name() string {
	who := "streams"
	switch c.Work {
	case Unary, Mixed:
		who = "callers"
	case Connections:
		who = "connections"
	}
	name := fmt.Sprintf("%s/%s=%d/size=%s/transport=%s", c.Work, who, c.Callers, figures.SizeName(c.Size), c.Transport)
	if c.Procs > 0 {
		name += fmt.Sprintf("-%d", c.Procs)
	}
	return name
}

// Stack is what is known about a stack before it is measured.
type Stack struct {
	Name     string
	Module   string   // module path, or "" where it is part of something else
	Version  string   // of the module
	Settings []string // in what it was not treated like the others, in words
}

// Sample is one measurement of one stack.
type Sample struct {
	Round   int // counted from 0; samples of one round belong together
	Ops     int64
	Elapsed time.Duration
	Bytes   float64 // allocated per operation by both ends; NaN if unknown
	Allocs  float64 // per operation by both ends; NaN if unknown
	Conns   int
	// Latency is of single operations in nanoseconds, or nil.
	Latency *hdrhistogram.Histogram
	// Note is what a reader has to know about the figures, or "".
	Note string
	// Extra holds figures that only some work has, by their units.
	Extra map[string]float64
}

// Nanos is the wall-clock time per operation over all callers.
func (s Sample) Nanos() float64 {
	if s.Ops == 0 {
		return math.NaN()
	}
	return float64(s.Elapsed.Nanoseconds()) / float64(s.Ops)
}

// Side is what one stack did in a cell.
type Side struct {
	Stack   string
	Samples []Sample // in the order of rounds
	Cannot  string   // why the stack was not asked to, or ""
	Failed  string   // what went wrong, or ""
}

// good reports whether the side has figures that can be used.
func (s *Side) good() bool { return s != nil && s.Failed == "" && len(s.Samples) > 0 }

// Row is a cell with what all stacks did in it.
type Row struct {
	Cell   Cell
	Rounds int // that were asked for
	Sides  []*Side
}

// side returns the side of a stack, or nil.
func (r *Row) side(stack string) *Side {
	if r == nil {
		return nil
	}
	for _, s := range r.Sides {
		if s.Stack == stack {
			return s
		}
	}
	return nil
}

// Section is a heading with a table for each of its cells.
type Section struct {
	Title string
	Text  string // what is measured, and what is one operation
	Cells []Cell
}

// Axis says what a sweep goes through.
type Axis int

// The axes of sweeps.
const (
	Callers Axis = iota // the rate against the number of callers, or of connections
	Sizes               // payload a second against the size of a message
	Procs               // the speed against GOMAXPROCS, relative to GOMAXPROCS=1
	Latency             // no sweep: the latencies of one cell, by percentile
)

// Plot is what one drawing shows. Its cells need not be of any section.
type Plot struct {
	File  string // name of the file, without folder
	Title string
	Axis  Axis
	Cells []Cell
}

// Item is a line about what was measured on.
type Item struct {
	Key   string // as the benchmark format wants it: lower case, no spaces
	Value string
	// Passing says that it differs between runs that are to be compared, as a
	// date does. In the benchmark format it is a comment then, as benchstat puts
	// runs of different configurations into different tables.
	Passing bool
}

// Results is all that is reported.
type Results struct {
	Environment []Item
	Procs       int // GOMAXPROCS of the run
	Rounds      int // the most rounds that were asked for of a cell
	Stacks      []Stack
	Sections    []Section
	Plots       []Plot
	Rows        []*Row
	// Incomplete says why there is less than was asked for, or is "".
	Incomplete string
	// Notes are remarks about the run as a whole.
	Notes []string
}

// row returns the row of a cell, or nil.
func (r *Results) row(c Cell) *Row {
	for _, row := range r.Rows {
		if row.Cell == c {
			return row
		}
	}
	return nil
}

// Failed reports whether anything went wrong that is not of the kind that a
// stack cannot do.
func (r *Results) Failed() bool {
	for _, row := range r.Rows {
		for _, s := range row.Sides {
			if s.Failed != "" {
				return true
			}
		}
	}
	return false
}

// oneLine makes a text fit into a line of a table or of a list.
func oneLine(s string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(s), " "), "|", "/")
}
