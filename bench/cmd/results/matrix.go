package main

import (
	"braid/bench/internal/measure"
	"braid/bench/internal/report"
)

const (
	kib = 1 << 10
	mib = 1 << 20
)

// mixedCallers is how many callers there are beside bulk.
const mixedCallers = 4

// manyCallers is how many callers are measured for longer than fewer are.
const manyCallers = 10_000

// cells returns the cells of a work at some numbers of callers or streams and
// sizes.
func cells(work string, size int, callers ...int) []report.Cell {
	var all []report.Cell
	for _, n := range callers {
		all = append(all, report.Cell{Work: work, Callers: n, Size: size, Transport: measure.TCP})
	}
	return all
}

// sizes returns the cells of a work at some sizes.
func sizes(work string, callers int, sizes ...int) []report.Cell {
	var all []report.Cell
	for _, size := range sizes {
		all = append(all, cells(work, size, callers)...)
	}
	return all
}

// over returns cells over another transport.
func over(transport string) []report.Cell {
	return []report.Cell{
		{Work: report.Unary, Callers: 64, Size: 16, Transport: transport},
		{Work: report.Upload, Callers: 1, Size: kib, Transport: transport},
	}
}

// join puts lists of cells together.
func join(lists ...[]report.Cell) []report.Cell {
	var all []report.Cell
	for _, list := range lists {
		all = append(all, list...)
	}
	return all
}

// sections returns the cells that have tables of their own.
func sections() []report.Section {
	return []report.Section{
		{Title: "Unary calls", Text: "One operation is a call that has returned.",
			Cells: join(cells(report.Unary, 16, 1, 64, 1000), cells(report.Unary, kib, 64), cells(report.Unary, mib, 8))},
		{Title: "Uploads", Text: "One operation is a message from client to server that has arrived.",
			Cells: join(sizes(report.Upload, 1, 16, kib, mib), cells(report.Upload, kib, 16))},
		{Title: "Downloads", Text: "One operation is a message from server to client that has arrived.",
			Cells: sizes(report.Download, 1, 16, kib, mib)},
		{Title: "Ping-pong", Text: "One operation is a message and its answer on an open stream.",
			Cells: cells(report.PingPong, 16, 1, 64)},
		{Title: "Short streams", Text: "One operation is to open a stream, send one message, receive one, and close.",
			Cells: cells(report.OpenClose, 16, 1, 64)},
		{Title: "Small calls beside bulk", Text: `One operation is a call of one of the callers. Beside them eight streams upload messages of 64 KiB
to handlers that read and discard. Calls and bulk compete for the same CPUs: a stack that moves more
bulk has less left for calls, so look at both. What the streams allocate is in B/op and allocs/op.`,
			Cells: cells(report.Mixed, 16, mixedCallers)},
		{Title: "Idle streams", Text: `What an open stream takes that does nothing, in bytes of memory (live objects and stacks) and in goroutines,
of both ends together; what the kernel holds is not in them. Four callers work beside the streams, and their time for a call is shown, too.`,
			Cells: cells(report.Idle, 16, report.IdleCount)},
		{Title: "TLS", Text: "The same work as above, with TLS over loopback TCP.", Cells: over(measure.TLS)},
		{Title: "Two processes", Text: "The same work as above, with the server in a process of its own.", Cells: over(measure.Processes)},
	}
}

// sweepSizes are the sizes that sweeps go through.
var sweepSizes = []int{16, 256, 4 * kib, 64 * kib, mib, 16 * mib, 64 * mib}

// sweepCallers is how many callers there are while the size of calls changes:
// few, as each of them holds several copies of the largest.
const sweepCallers = 2

// plots returns what is drawn. Their cells that have no table of their own are
// measured for them.
func plots() []report.Plot {
	return append([]report.Plot{
		{File: "callers.svg", Title: "Unary calls of 16 B, against callers", Axis: report.Callers,
			Cells: cells(report.Unary, 16, 1, 10, 100, 1000, manyCallers)},
		{File: "connections.svg", Title: "Unary calls of 16 B by 1,000 callers, against the connections that they share", Axis: report.Callers,
			Cells: cells(report.Connections, 16, 1, 10, 100, 1000)},
		{File: "upload-sizes.svg", Title: "Uploads on one stream, against message size", Axis: report.Sizes,
			Cells: sizes(report.Upload, 1, sweepSizes...)},
		{File: "unary-sizes.svg", Title: "Unary calls of two callers, against message size", Axis: report.Sizes,
			Cells: sizes(report.Unary, sweepCallers, sweepSizes...)},
		{File: "gomaxprocs.svg", Title: "Unary calls of 16 B by 64 callers, against GOMAXPROCS", Axis: report.Procs,
			Cells: procs(1, 2, 4, 8)},
	}, latencyPlots()...)
}

// procs returns the cells of unary calls at some values of GOMAXPROCS.
func procs(values ...int) []report.Cell {
	var all []report.Cell
	for _, n := range values {
		all = append(all, report.Cell{Work: report.Unary, Callers: 64, Size: 16, Transport: measure.TCP, Procs: n})
	}
	return all
}

// latencyPlots returns the plots of latencies.
func latencyPlots() []report.Plot {
	return []report.Plot{
		{File: "latency-1.svg", Title: "Latency of unary calls of 16 B, 1 caller", Axis: report.Latency,
			Cells: cells(report.Unary, 16, 1)},
		{File: "latency-64.svg", Title: "Latency of unary calls of 16 B, 64 callers", Axis: report.Latency,
			Cells: cells(report.Unary, 16, 64)},
		{File: "latency-mixed.svg", Title: "Latency of calls of 16 B beside eight bulk streams, 4 callers", Axis: report.Latency,
			Cells: cells(report.Mixed, 16, mixedCallers)},
	}
}

// quickSections returns a few cells of each kind that says much.
func quickSections() []report.Section {
	keep := map[report.Cell]bool{}
	for _, cell := range join(cells(report.Unary, 16, 1, 64, 1000), sizes(report.Upload, 1, 16, mib),
		sizes(report.Download, 1, kib), cells(report.PingPong, 16, 64), cells(report.OpenClose, 16, 64),
		cells(report.Mixed, 16, mixedCallers)) {
		keep[cell] = true
	}
	var kept []report.Section
	for _, s := range sections() {
		var some []report.Cell
		for _, cell := range s.Cells {
			if keep[cell] {
				some = append(some, cell)
			}
		}
		if s.Cells = some; len(some) > 0 {
			kept = append(kept, s)
		}
	}
	return kept
}

// quickPlots returns the plots for which quickSections has all that is needed.
func quickPlots() []report.Plot { return latencyPlots() }
