package report

import (
	"fmt"
	"io"
	"math"
	"strconv"
)

// The stacks that aims are about.
const (
	floorStack = "floor"
	grpcStack  = "grpc"
	ttrpcStack = "ttrpc"
	arpcStack  = "arpc"
	stockStack = "stock"
)

// aim is something asked of braid, on figures of one run.
type aim struct {
	cell Cell
	what string
	// least says that the value has to be at least the bound, and not at most.
	least bool
	bound float64
	value func(*Row) measured
	show  func(float64) string
}

// measured is a value for an aim. The value is NaN where something was not
// measured.
type measured struct {
	value float64
	about string // what it is about, where that is not plain
}

// ratioOf returns the time of one stack over that of another, of medians.
func ratioOf(above, below string) func(*Row) measured {
	return func(row *Row) measured {
		a, b := row.side(above).spread(nanos), row.side(below).spread(nanos)
		if a.n == 0 || b.n == 0 {
			return measured{value: math.NaN()}
		}
		return measured{value: a.median / b.median}
	}
}

// nearest returns the time of the fastest peer over braid's. The floor is no
// peer: it does not do what they do.
func nearest(row *Row) measured {
	best := measured{value: math.NaN()}
	if row == nil {
		return best
	}
	for _, side := range row.Sides {
		if side.Stack == Base || side.Stack == floorStack {
			continue
		}
		m := ratioOf(side.Stack, Base)(row)
		if !(m.value >= best.value) && !math.IsNaN(m.value) {
			best = measured{value: m.value, about: side.Stack}
		}
	}
	return best
}

// own returns a figure of braid alone.
func own(fig figure) func(*Row) measured {
	return func(row *Row) measured {
		s := row.side(Base).spread(fig)
		if s.n == 0 {
			return measured{value: math.NaN()}
		}
		return measured{value: s.median}
	}
}

// IdleCount is how many idle streams the aim for one of them is measured with.
const IdleCount = 1000

// aims returns all that is asked.
func aims() []aim {
	const kib, mib = 1 << 10, 1 << 20
	tcp := func(work string, callers, size int) Cell {
		return Cell{Work: work, Callers: callers, Size: size, Transport: "tcp"}
	}
	var all []aim
	for _, callers := range []int{64, 1000} {
		cell := tcp(Unary, callers, 16)
		all = append(all, floorTimes(cell, 2.5), peerTimes(cell, grpcStack, 9),
			peerTimes(cell, ttrpcStack, 6.5), peerTimes(cell, arpcStack, 4))
	}
	one := tcp(Unary, 1, 16)
	all = append(all, floorTimes(one, 1.15), aheadOfAll(one),
		atMost(tcp(Unary, 64, 16), "allocations a call, both ends", 4, allocs),
		atMost(tcp(Unary, 64, 16), "bytes a call, both ends", 600, memory))
	for _, work := range []string{Upload, Download} {
		small, large := tcp(work, 1, 16), tcp(work, 1, mib)
		all = append(all, floorTimes(small, 3), peerTimes(small, grpcStack, 3),
			floorTimes(tcp(work, 1, kib), 1.5), floorTimes(large, 1.15), aheadOfAll(large))
	}
	idle := tcp(Idle, IdleCount, 16)
	return append(all, aheadOf(tcp(PingPong, 1, 16), stockStack), peerTimes(tcp(PingPong, 64, 16), grpcStack, 2.5),
		atMost(idle, "bytes an idle stream, both ends", 4096, extra(UnitIdleBytes)),
		atMost(idle, "goroutine an idle stream, both ends", 1, extra(UnitGoroutines)))
}

// floorTimes asks for no more than so many times the floor's time.
func floorTimes(cell Cell, bound float64) aim {
	return aim{cell: cell, what: "at most " + bare(bound) + "x the floor's time", bound: bound,
		value: ratioOf(Base, floorStack), show: times}
}

// peerTimes asks that a peer takes at least so many times braid's time.
func peerTimes(cell Cell, peer string, bound float64) aim {
	return aim{cell: cell, what: peer + " takes at least " + bare(bound) + "x", least: true, bound: bound,
		value: ratioOf(peer, Base), show: times}
}

// aheadOf asks that braid is faster than a peer.
func aheadOf(cell Cell, peer string) aim {
	return aim{cell: cell, what: "ahead of " + peer, least: true, bound: 1, value: ratioOf(peer, Base), show: times}
}

// aheadOfAll asks that braid is faster than every peer that was measured.
func aheadOfAll(cell Cell) aim {
	return aim{cell: cell, what: "ahead of every peer", least: true, bound: 1, value: nearest, show: times}
}

// atMost asks for no more than so much of a figure.
func atMost(cell Cell, what string, bound float64, fig figure) aim {
	return aim{cell: cell, what: "at most " + bare(bound) + " " + what, bound: bound, value: own(fig), show: number}
}

// bare writes a bound with no more digits than it has.
func bare(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// verdict returns what was measured, and whether the aim was met, in words.
func (a aim) verdict(row *Row) (value, result string) {
	m := a.value(row)
	if math.IsNaN(m.value) {
		return none, "not measured"
	}
	value = a.show(m.value)
	if m.about != "" {
		value += " (" + m.about + ")"
	}
	word := "missed"
	if a.met(m.value) {
		word = "met"
	}
	return value, fmt.Sprintf("%s by %.0f %%", word, 100*math.Abs(m.value-a.bound)/a.bound)
}

// met reports whether a value is what was asked for. Being ahead takes more
// than being equal.
func (a aim) met(value float64) bool {
	switch {
	case !a.least:
		return value <= a.bound
	case a.bound == 1:
		return value > 1
	default:
		return value >= a.bound
	}
}

// writeAims writes the aims whose cells are in the results.
func writeAims(w io.Writer, res *Results) {
	tab := table{head: []string{"cell", "aim", "measured", "result"}, left: 4}
	for _, a := range aims() {
		if row := res.row(a.cell); row != nil {
			value, result := a.verdict(row)
			tab.add(a.cell.Name(), a.what, value, result)
		}
	}
	if len(tab.lines) == 0 {
		return
	}
	heading(w, "Aims", `What braid aims at, on the medians of this run. "Measured" is the ratio or the figure
that the aim names, and the last column says by how much of its bound that is on the good side or not.
The floor has no streams, limits, cancellation or dispatch, and counts as no peer. A cell that was not
asked for in this run is left out.`)
	tab.write(w)
}
