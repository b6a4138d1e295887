package main

import (
	"braid/bench/internal/job"
	"braid/bench/internal/measure"
	"braid/bench/internal/stack"
)

// pair is work that both stacks do.
type pair struct {
	kind    job.Kind
	callers int
	size    int
	// bar is the largest median of braid's time over stock's that is asked
	// for, or 0 if nothing is, and if these are not the stacks.
	bar float64
}

// allPairs returns what is compared.
func (cfg config) allPairs() []pair {
	const kib, mib = 1 << 10, 1 << 20
	pairs := []pair{
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
	for i := range pairs {
		if cfg.stack != "braid" || cfg.against != stock {
			pairs[i].bar = 0
		}
	}
	return pairs
}

// name returns the name of the pair, as its benchmark has it.
func (p pair) name() string { return p.kind.Name + "/" + p.kind.Case(p.callers, p.size) }

// cell returns the work of the pair.
func (p pair) cell(cfg config) measure.Cell {
	return measure.Cell{Work: p.kind.Name, Callers: p.callers, Size: p.size, Transport: string(cfg.transport)}
}

// stock is the name of the stack that has two forms.
const stock = "stock"

// sideFor returns the stack of that name for a number of callers. Who wants
// concurrency of stock uses its pool.
func sideFor(name string, callers int) (stack.Stack, error) {
	st, err := stack.Named(name)
	if err == nil && st.Name == stock && callers > 1 {
		st = stack.Pool()
		st.Name = stock
	}
	return st, err
}

// sides returns the stack measured and the stack it is measured against.
func (cfg config) sides(callers int) (measured, against stack.Stack, err error) {
	measured, err = sideFor(cfg.stack, callers)
	if err != nil {
		return measured, against, err
	}
	against, err = sideFor(cfg.against, callers)
	return measured, against, err
}

// supports returns why one of the stacks cannot do the work of a pair, or nil.
func (cfg config) supports(p pair) error {
	measured, against, err := cfg.sides(p.callers)
	if err != nil {
		return err
	}
	if err := measure.Supports(measured, p.cell(cfg)); err != nil {
		return err
	}
	return measure.Supports(against, p.cell(cfg))
}
