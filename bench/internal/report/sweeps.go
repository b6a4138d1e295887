package report

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"braid/bench/internal/figures"
)

// series is a line of a plot: one stack along an axis.
type series struct {
	stack string
	x, y  []float64 // of the same length
}

// unitOf names the values of a plot.
func unitOf(p Plot) string {
	switch p.Axis {
	case Callers:
		return "calls/s"
	case Sizes:
		return "MB/s"
	case Procs:
		return "speed, relative to GOMAXPROCS=1"
	default:
		return "latency, us"
	}
}

// lines returns what a plot shows: a series for each stack that has a value.
func lines(res *Results, p Plot) []series {
	var all []series
	for _, stack := range res.Stacks {
		line := series{stack: stack.Name}
		add := func(x, y float64) {
			if !math.IsNaN(y) && y > 0 {
				line.x, line.y = append(line.x, x), append(line.y, y)
			}
		}
		if p.Axis == Latency {
			for _, pc := range Percentiles {
				add(pc, valueAtPercentile(res.row(p.Cells[0]).side(stack.Name).latencies(), pc)/1e3)
			}
		} else {
			for _, cell := range p.Cells {
				add(positionOf(p.Axis, cell), sweepValue(res, p, stack.Name, cell))
			}
		}
		if len(line.x) > 0 {
			all = append(all, line)
		}
	}
	return all
}

// positionOf is where a cell stands on the axis.
func positionOf(axis Axis, c Cell) float64 {
	switch axis {
	case Callers:
		return float64(c.Callers)
	case Sizes:
		return float64(c.Size)
	default:
		return float64(c.Procs)
	}
}

// sweepValue is what a stack has at one place of a sweep, or NaN.
func sweepValue(res *Results, p Plot, stack string, c Cell) float64 {
	switch p.Axis {
	case Callers:
		return valueAt(res, stack, c, perSecond)
	case Sizes:
		return valueAt(res, stack, c, megabytes(c))
	default:
		first, here := res.row(p.Cells[0]).side(stack), res.row(c).side(stack)
		// The time of the first over the time here is the speed here over the
		// speed of the first.
		s := spreadOf(paired(first, here, nanos))
		if s.n == 0 {
			return math.NaN()
		}
		return s.median
	}
}

// valueAt is the median of a figure, or NaN.
func valueAt(res *Results, stack string, c Cell, fig figure) float64 {
	s := res.row(c).side(stack).spread(fig)
	if s.n == 0 {
		return math.NaN()
	}
	return s.median
}

// writeSweeps writes the values of all plots along an axis.
func writeSweeps(w io.Writer, res *Results) {
	first := true
	for _, p := range res.Plots {
		if p.Axis == Latency {
			continue
		}
		tab := sweepTable(res, p)
		if len(tab.lines) == 0 {
			continue
		}
		if first {
			heading(w, "Sweeps", `One thing changes from column to column, and all else stays. A cost that is linear shows as a rate
that stays the same. Figures are medians; speeds against GOMAXPROCS are related within rounds.`)
			first = false
		}
		fmt.Fprintf(w, "**%s** (%s, %s)\n\n", p.Title, unitOf(p), roundsText(res, p))
		tab.write(w)
	}
}

// roundsText says how many rounds there are of the cells of a plot.
func roundsText(res *Results, p Plot) string {
	var counts []int
	for _, cell := range p.Cells {
		if row := res.row(cell); row != nil {
			counts = append(counts, roundsOf(row))
		}
	}
	if low, high := slices.Min(counts), slices.Max(counts); low != high {
		return fmt.Sprintf("%d to %d rounds", low, high)
	}
	return counted(counts[0])
}

// sweepTable has a line for each stack that has anything to show, and a column
// for each cell.
func sweepTable(res *Results, p Plot) table {
	tab := table{head: []string{"stack"}, left: 1}
	for _, cell := range p.Cells {
		tab.head = append(tab.head, labelOf(p.Axis, cell))
		row := res.row(cell)
		tab.note = tab.note || row != nil && hasRemarks(row)
	}
	if tab.note {
		tab.head = append(tab.head, "note")
	}
	for _, stack := range res.Stacks {
		line, shown := []string{stack.Name}, false
		var notes []string
		for _, cell := range p.Cells {
			text := number(sweepValue(res, p, stack.Name, cell))
			if side := res.row(cell).side(stack.Name); side != nil {
				shown = shown || side.good() || side.remark() != ""
				if side.Failed != "" {
					text = "failed"
				}
				if note := side.remark(); note != "" && !slices.Contains(notes, note) {
					notes = append(notes, note)
				}
			}
			line = append(line, text)
		}
		if tab.note {
			line = append(line, shortened(strings.Join(notes, "; ")))
		}
		if shown {
			tab.add(line...)
		}
	}
	return tab
}

// labelOf names a place on an axis.
func labelOf(axis Axis, c Cell) string {
	switch axis {
	case Sizes:
		return figures.SizeName(c.Size)
	default:
		return grouped(fmt.Sprintf("%.0f", positionOf(axis, c)))
	}
}

// writeLatencies writes the percentiles of the cells that have a plot of them.
func writeLatencies(w io.Writer, res *Results) {
	first := true
	for _, p := range res.Plots {
		if p.Axis != Latency || res.row(p.Cells[0]) == nil {
			continue
		}
		tab := table{head: []string{"stack"}, left: 1}
		for _, pc := range Percentiles {
			tab.head = append(tab.head, fmt.Sprintf("p%v us", pc))
		}
		for _, side := range res.row(p.Cells[0]).Sides {
			all := side.latencies()
			if all == nil {
				continue
			}
			line := []string{side.Stack}
			for _, pc := range Percentiles {
				line = append(line, inMicros(valueAtPercentile(all, pc), side.spread(percentile(pc))))
			}
			tab.add(line...)
		}
		if len(tab.lines) == 0 {
			continue
		}
		if first {
			heading(w, "Latencies", `What one call takes from begin to end, as its caller sees it, in microseconds, over all rounds
together. In brackets is the range of the rounds, of those that have enough calls for some to be beyond the
percentile. Latencies are taken apart from the times above, as taking them takes time, too.`)
			first = false
		}
		fmt.Fprintf(w, "**%s**\n\n", p.Cells[0].Name())
		tab.write(w)
	}
}

// inMicros writes nanoseconds as microseconds, with their range.
func inMicros(all float64, rounds spread) string {
	if rounds.n == 0 {
		return number(all / 1e3)
	}
	return fmt.Sprintf("%s [%s-%s]", number(all/1e3), number(rounds.min/1e3), number(rounds.max/1e3))
}
