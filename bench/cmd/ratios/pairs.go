package main

import (
	"braid/bench/internal/job"
	"braid/bench/internal/rig"
)

// pair is work that both stacks do.
type pair struct {
	kind    job.Kind
	callers int
	size    int
	// bar is the largest median of braid's time over stock's that is asked
	// for, or 0 if nothing is.
	bar float64
}

// allPairs returns what is compared.
func allPairs() []pair {
	const kib, mib = 1 << 10, 1 << 20
	return []pair{
		{kind: job.Unary, callers: 1, size: 16, bar: 1},
		{kind: job.Unary, callers: 1, size: kib},
		{kind: job.Unary, callers: 64, size: 16, bar: 1.0 / 5},
		{kind: job.Unary, callers: 64, size: kib},
		{kind: job.Unary, callers: 1000, size: 16},
		{kind: job.Upload, callers: 1, size: 16},
		{kind: job.Upload, callers: 1, size: kib},
		{kind: job.Upload, callers: 1, size: mib},
		{kind: job.Download, callers: 1, size: 16},
		{kind: job.Download, callers: 1, size: kib},
		{kind: job.Download, callers: 1, size: mib},
		{kind: job.PingPong, callers: 1, size: 16},
		{kind: job.PingPong, callers: 64, size: 16},
		{kind: job.OpenClose, callers: 1, size: 16},
		{kind: job.OpenClose, callers: 64, size: 16},
	}
}

// name returns the name of the pair, as its benchmark has it.
func (p pair) name() string { return p.kind.Name + "/" + p.kind.Case(p.callers, p.size) }

// sides returns the stack measured and the stack it is measured against.
func sides() (measured, against rig.Stack) {
	stacks := rig.Stacks()
	return stacks[0], stacks[1]
}
