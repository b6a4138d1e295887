package main

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/term"

	"braid/bench/internal/report"
)

// overhead is about how long it takes to start and to end what is measured.
const overhead = 60 * time.Millisecond

// progress tells a person what is going on and how long it will take. One
// goroutine uses it.
type progress struct {
	out    *os.File // nil to say nothing
	live   bool     // out is a terminal, where a line can be written over
	guess  time.Duration
	rounds int
	all    int // measurements
	done   int // measurements, those included that are given up
	// known is how long the last measurement of a stack in a cell took, and left
	// how many of them are still to come.
	known   map[place]time.Duration
	left    map[place]int
	current place
	begun   time.Time
}

// place is a stack in a cell.
type place struct {
	cell  report.Cell
	stack string
}

// newProgress returns what writes to out, unless it is not asked for.
func newProgress(cfg config, out *os.File) *progress {
	p := &progress{
		guess: cfg.time + cfg.warm + overhead,
		known: make(map[place]time.Duration),
		left:  make(map[place]int),
	}
	if !cfg.quiet && out != nil {
		p.out, p.live = out, term.IsTerminal(int(out.Fd()))
	}
	return p
}

// begin counts what is to be done and says how long it may take.
func (p *progress) begin(rows []*report.Row) {
	p.begun = time.Now()
	for _, row := range rows {
		p.rounds = max(p.rounds, row.Rounds)
		for _, side := range row.Sides {
			if side.Cannot == "" {
				p.left[place{row.Cell, side.Stack}] = row.Rounds
				p.all += row.Rounds
			}
		}
	}
	p.say("%d measurements of %d cells in up to %d rounds: about %v", p.all, len(rows), p.rounds, p.remaining())
}

// remaining estimates the time that is left.
func (p *progress) remaining() time.Duration {
	var sum time.Duration
	for where, n := range p.left {
		each, ok := p.known[where]
		if !ok {
			each = p.guess
		}
		sum += time.Duration(n) * each
	}
	return sum.Round(time.Second)
}

// next says what is measured now.
func (p *progress) next(cell report.Cell, stack string, round int) {
	p.current = place{cell, stack}
	if p.live {
		fmt.Fprintf(p.out, "\r\x1b[K%d/%d, round %d of %d, %v left: %s %s",
			p.done+1, p.all, round+1, p.rounds, p.remaining(), cell.Name(), stack)
	}
}

// took says that the measurement has ended, and how long it took.
func (p *progress) took(d time.Duration) {
	p.known[p.current] = d
	p.left[p.current]--
	p.done++
}

// failed says that this measurement and those that were to follow it are given
// up: n in all.
func (p *progress) failed(n int) {
	delete(p.left, p.current)
	p.done += n
	p.say("%s %s has failed", p.current.cell.Name(), p.current.stack)
}

// round says that a round has ended, where that was not seen all the time.
func (p *progress) round(round int) {
	if !p.live {
		p.say("round %d of %d has ended, %v left", round+1, p.rounds, p.remaining())
	}
}

// end says that all has ended.
func (p *progress) end() {
	p.say("%d of %d measurements in %v", p.done, p.all, time.Since(p.begun).Round(time.Second))
}

// say writes a line that stays.
func (p *progress) say(format string, args ...any) {
	if p.out == nil {
		return
	}
	if p.live {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
	fmt.Fprintf(p.out, format+"\n", args...)
}
