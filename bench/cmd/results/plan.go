package main

import (
	"fmt"
	"slices"

	"braid/bench/internal/report"
)

// task is a cell that is to be measured.
type task struct {
	cell   report.Cell
	rounds int
	stacks []string
}

// plan is all that is to be measured, and where it is shown.
type plan struct {
	stacks   []report.Stack
	sections []report.Section
	plots    []report.Plot
	tasks    []task
}

// newPlan returns what the flags ask for.
func newPlan(cfg config, m measurer) (*plan, error) {
	p := &plan{sections: sections(), plots: plots()}
	if cfg.quick {
		p.sections, p.plots = quickSections(), quickPlots()
	}
	var err error
	if p.stacks, err = chosen(m.Stacks(), cfg.stacks); err != nil {
		return nil, err
	}
	for i := range p.sections {
		p.sections[i].Cells = matching(cfg, p.sections[i].Cells)
		p.add(p.sections[i].Cells, cfg.rounds, nil)
	}
	for i, plot := range p.plots {
		cells := matching(cfg, plot.Cells)
		if plot.Axis == report.Procs {
			if len(cells) < len(plot.Cells) {
				cells = nil // All are related to the first.
			}
			p.add(cells, cfg.rounds, []string{"braid", "grpc", "floor"})
		} else {
			p.add(cells, (cfg.rounds+1)/2, nil)
		}
		p.plots[i].Cells = cells
	}
	p.plots = slices.DeleteFunc(p.plots, func(plot report.Plot) bool { return len(plot.Cells) == 0 })
	if len(p.tasks) == 0 {
		return nil, fmt.Errorf("run: no cell matches %q", cfg.only)
	}
	return p, nil
}

// chosen returns the stacks of the given names, or all if there are no names.
func chosen(all []report.Stack, names []string) ([]report.Stack, error) {
	if names == nil {
		return all, nil
	}
	var known []string
	for _, s := range all {
		known = append(known, s.Name)
	}
	for _, name := range names {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("stacks: %q is none of %v", name, known)
		}
	}
	return slices.DeleteFunc(slices.Clone(all), func(s report.Stack) bool { return !slices.Contains(names, s.Name) }), nil
}

// matching returns the cells that the flags ask for.
func matching(cfg config, cells []report.Cell) []report.Cell {
	var kept []report.Cell
	for _, cell := range cells {
		if cfg.only.MatchString(cell.Name()) {
			kept = append(kept, cell)
		}
	}
	return kept
}

// add adds cells that are not there yet, for the given stacks or for all.
func (p *plan) add(cells []report.Cell, rounds int, stacks []string) {
	for _, cell := range cells {
		if slices.ContainsFunc(p.tasks, func(t task) bool { return t.cell == cell }) {
			continue
		}
		t := task{cell: cell, rounds: rounds}
		for _, s := range p.stacks {
			if stacks == nil || slices.Contains(stacks, s.Name) {
				t.stacks = append(t.stacks, s.Name)
			}
		}
		p.tasks = append(p.tasks, t)
	}
}

// order returns the places 0 to n-1 in the order of a round. The first moves by
// one with each round, and every other round goes backwards, so that nobody
// always comes first, or always after the same other.
func order(n, round int) []int {
	places := make([]int, n)
	for i := range places {
		places[i] = (i + round) % n
	}
	if round%2 == 1 {
		slices.Reverse(places)
	}
	return places
}
