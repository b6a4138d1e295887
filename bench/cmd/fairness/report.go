package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"strings"
	"text/tabwriter"

	"braid/bench/internal/beside"
	"braid/bench/internal/figures"
)

// writeText writes what was measured, and on what, for people.
func writeText(out io.Writer, cfg config, res results) error {
	w := new(bytes.Buffer)
	for _, line := range environment(cfg) {
		fmt.Fprintln(w, line)
	}
	fmt.Fprintf(w, "\nEach figure is the median [min-max] of %d rounds. The line %s/%s has the ratios within a round.\n",
		cfg.rounds, cfg.stacks[0].Name, cfg.stacks[1].Name)
	for _, mode := range cfg.modes {
		writeTable(w, cfg, mode, res)
	}
	writeTroubles(w, res)
	fmt.Fprintln(w, "\nWhat is not equal:")
	for _, line := range unequal(cfg) {
		fmt.Fprintln(w, "-", line)
	}
	fmt.Fprintln(w, "Equal:", equal)
	_, err := w.WriteTo(out)
	return err
}

// equal is what both stacks have in common.
const equal = `one connection per stack, loopback TCP with TCP_NODELAY, client and server in one process,
messages of raw bytes copied once on each side, the same handlers, no TLS, no deadlines on calls,
a new server and connection, a collection of garbage and a warm-up before each measurement.`

// environment says what was measured, and on what.
func environment(cfg config) []string {
	lines := []string{
		fmt.Sprintf("go:       %s %s/%s, GOMAXPROCS %d of %d CPUs",
			runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0), runtime.NumCPU()),
		"cpu:      " + figures.CPUModel(),
	}
	for i, st := range cfg.stacks {
		lines = append(lines, fmt.Sprintf("%s %s %s",
			[]string{"compared:", "against: "}[i], st.Module, figures.ModuleVersion(st.Module)))
	}
	slow := "loopback as it is"
	if cfg.link.Enabled() {
		slow = cfg.link.String() + ", by a proxy in the same process"
		if size := cfg.link.SendBuffer(); size > 0 {
			slow += fmt.Sprintf(", send buffers of sockets %d KiB", size>>10)
		}
	}
	return append(lines,
		"link:     "+slow,
		fmt.Sprintf("calls:    %d callers, each one call of %d B after another", cfg.callers, cfg.callSize),
		fmt.Sprintf("bulk:     messages of %d B", cfg.size),
		fmt.Sprintf("rounds:   %d, in each of which the stacks are measured in turn, for %v after %v", cfg.rounds, cfg.time, cfg.warm))
}

// unequal says in what the stacks were not treated alike.
func unequal(cfg config) []string {
	var lines []string
	for _, st := range cfg.stacks {
		lines = append(lines, st.Name+": "+strings.Join(st.Settings, "; ")+".")
	}
	return append(lines,
		"Each stack has its own wire format, and its own way to gather writes and to use goroutines.")
}

// writeTable writes a line for each stack of each cell of a mode.
func writeTable(w io.Writer, cfg config, mode beside.Mode, res results) {
	fmt.Fprintf(w, "\n%s: %s\n\n", mode, map[beside.Mode]string{
		beside.Upload:   "clients send as fast as they can, handlers read and discard",
		beside.Download: "handlers send as fast as they can, clients read and discard",
		beside.Stalled:  "clients send until they are blocked, handlers never read",
	}[mode])
	cols := columns(mode)
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(tab, "streams\tstack")
	for _, col := range cols {
		fmt.Fprint(tab, "\t", col.title)
	}
	fmt.Fprintln(tab)
	for _, c := range res {
		if c.mode != mode {
			continue
		}
		for _, s := range c.sides {
			fmt.Fprintf(tab, "%d\t%s", c.streams, s.stack)
			for _, col := range cols {
				fmt.Fprint(tab, "\t", s.show(col))
			}
			fmt.Fprintln(tab)
		}
		fmt.Fprintf(tab, "%d\t%s/%s", c.streams, cfg.stacks[0].Name, cfg.stacks[1].Name)
		for _, col := range cols {
			text := "-"
			if sp, ok := spreadOf(c.ratios(col.key)); ok {
				text = sp.text(1, "%.2f")
			}
			fmt.Fprint(tab, "\t", text)
		}
		fmt.Fprintln(tab)
	}
	_ = tab.Flush() // a buffer takes everything
}

// show writes a figure, or what there is in its place.
func (s side) show(col column) string {
	if sp, ok := spreadOf(s.values(col.key)); ok {
		return sp.text(col.scale, col.format)
	}
	switch stalled, failed, _ := s.troubles(); {
	case failed > 0:
		return "failed"
	case stalled > 0:
		return "stalled"
	}
	return "-"
}

// writeTroubles says what the table has no figures of.
func writeTroubles(w io.Writer, res results) {
	var lines []string
	for _, c := range res {
		for _, s := range c.sides {
			name := fmt.Sprintf("%s, %d streams, %s", c.mode, c.streams, s.stack)
			stalled, failed, hung := s.troubles()
			if stalled > 0 {
				lines = append(lines, fmt.Sprintf("%s: %d of %d rounds stalled: %s",
					name, stalled, len(s.rounds), s.first(func(r round) string { return r.Stalled })))
			}
			if failed > 0 {
				lines = append(lines, fmt.Sprintf("%s: %d of %d rounds failed: %s",
					name, failed, len(s.rounds), s.first(func(r round) string { return r.Failed })))
			}
			if hung > 0 {
				lines = append(lines, fmt.Sprintf("%s: %d of %d rounds did not end when they were closed", name, hung, len(s.rounds)))
			}
		}
	}
	if len(lines) == 0 {
		return
	}
	fmt.Fprintln(w, "\nNot in the figures:")
	for _, line := range lines {
		fmt.Fprintln(w, "-", line)
	}
}

// first returns the first of some texts of the rounds that is not empty.
func (s side) first(text func(round) string) string {
	for _, r := range s.rounds {
		if t := text(r); t != "" {
			return t
		}
	}
	return ""
}

// document is the report for programs. Figures are by their keys, which have
// their units.
type document struct {
	Environment []string       `json:"environment"`
	Unequal     []string       `json:"unequal"`
	Cells       []documentCell `json:"cells"`
}

type documentCell struct {
	Mode    beside.Mode       `json:"mode"`
	Streams int               `json:"streams"`
	Stacks  []documentSide    `json:"stacks"`
	Ratios  map[string]spread `json:"ratios"` // of the first stack to the second
}

type documentSide struct {
	Stack   string            `json:"stack"`
	Figures map[string]spread `json:"figures"` // of the rounds without troubles
	Stalled int               `json:"stalled"` // rounds
	Failed  int               `json:"failed"`  // rounds
	Rounds  []round           `json:"rounds"`
}

// writeJSON writes what was measured, and on what, for programs.
func writeJSON(out io.Writer, cfg config, res results) error {
	doc := document{Environment: environment(cfg), Unequal: unequal(cfg)}
	for _, c := range res {
		cell := documentCell{Mode: c.mode, Streams: c.streams, Ratios: make(map[string]spread)}
		for _, s := range c.sides {
			side := documentSide{Stack: s.stack, Figures: make(map[string]spread), Rounds: s.rounds}
			side.Stalled, side.Failed, _ = s.troubles()
			for _, col := range columns(c.mode) {
				if sp, ok := spreadOf(s.values(col.key)); ok {
					side.Figures[col.key] = sp
				}
				if sp, ok := spreadOf(c.ratios(col.key)); ok {
					cell.Ratios[col.key] = sp
				}
			}
			cell.Stacks = append(cell.Stacks, side)
		}
		doc.Cells = append(doc.Cells, cell)
	}
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	return enc.Encode(doc)
}
