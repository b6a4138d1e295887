package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"braid/bench/internal/figures"
	"braid/bench/internal/stack"
)

// report writes what was measured, and on what.
func report(out io.Writer, cfg config, results []result, skipped []string) error {
	w := &errWriter{w: out}
	writeEnvironment(w, cfg)
	writeTable(w, cfg, results)
	if len(skipped) > 0 {
		fmt.Fprintln(w, "\nNot measured:")
		for _, line := range skipped {
			fmt.Fprintln(w, "-", line)
		}
	}
	writeSettings(w, cfg, results)
	return w.err
}

// writeTable writes a line for each pair.
func writeTable(w io.Writer, cfg config, results []result) {
	a, b := cfg.stack, cfg.against
	fmt.Fprintf(w, "\nTimes are wall-clock ns per unit over all callers: median [min-max] of %d rounds.\n", cfg.rounds)
	fmt.Fprintf(w, "Ratios are %s/%s within a round, so below 1 %s is faster; speedup is the inverse of the median.\n\n",
		a, b, a)
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tab, "pair\tunit\t%s ns\t%s ns\tratio\tspeedup\tconns\tbar", a, b)
	if cfg.require {
		fmt.Fprint(tab, "\tverdict")
	}
	fmt.Fprintln(tab)
	for _, r := range results {
		ratios := r.ratios()
		fmt.Fprintf(tab, "%s\t%s\t%s\t%s\t%s\t%.2fx\t%v vs %v\t%s", r.name(), r.kind.Unit,
			spread(r.measured.nanos, "%.0f"), spread(r.against.nanos, "%.0f"), spread(ratios, "%.3f"),
			1/figures.Median(ratios), r.measured.conns, r.against.conns, barName(r.bar))
		if cfg.require {
			fmt.Fprintf(tab, "\t%s", verdict(r))
		}
		fmt.Fprintln(tab)
	}
	_ = tab.Flush() // w keeps the error.
}

// spread writes a median with the smallest and the largest value.
func spread(values []float64, format string) string {
	return fmt.Sprintf(format+" ["+format+"-"+format+"]",
		figures.Median(values), slices.Min(values), slices.Max(values))
}

// barName says what is asked of a pair.
func barName(bar float64) string {
	if bar == 0 {
		return "-"
	}
	return fmt.Sprintf("<=%.3g", bar)
}

// verdict says whether a pair does what is asked of it.
func verdict(r result) string {
	switch {
	case r.bar == 0:
		return "-"
	case r.meets():
		return "met"
	default:
		return "missed"
	}
}

// writeSettings says in what the two sides were not treated alike.
func writeSettings(w io.Writer, cfg config, results []result) {
	fmt.Fprintln(w, "\nWhat is not equal:")
	fmt.Fprintf(w, "- Connections: the column conns has what the servers accepted, %s first.\n", cfg.stack)
	if cfg.stack == stock || cfg.against == stock {
		fmt.Fprintf(w, "- With more than one caller %s goes through its own drpcpool (no capacity limit, no expiration).\n", stock)
		fmt.Fprintln(w, "  With one caller it uses its connection directly, as other stacks always do.")
	}
	fmt.Fprintln(w, "- Each stack has its own default options: sizes of buffers and frames, how writes are gathered,")
	fmt.Fprintln(w, "  how goroutines are used. Those are part of what is compared. In particular:")
	for _, name := range []string{cfg.stack, cfg.against} {
		if st, err := stack.Named(name); err == nil {
			fmt.Fprintf(w, "- %s: %s.\n", name, strings.Join(st.Settings, "; "))
		}
	}
	notes := make(map[string]bool)
	for _, r := range results {
		maps.Copy(notes, r.measured.notes)
		maps.Copy(notes, r.against.notes)
	}
	for _, note := range slices.Sorted(maps.Keys(notes)) {
		fmt.Fprintf(w, "- Limited: %s.\n", note)
	}
	fmt.Fprintln(w, "Equal: service, messages of raw bytes, what lies below the stacks, a new server and new connections,")
	fmt.Fprintln(w, "a warm-up before every measurement, and a collection of garbage before the time starts.")
}

// errWriter keeps the first error, so that a report is written in peace.
type errWriter struct {
	w   io.Writer
	err error
}

// Write implements io.Writer.
func (e *errWriter) Write(p []byte) (int, error) {
	if e.err != nil {
		return 0, e.err
	}
	n, err := e.w.Write(p)
	e.err = err
	return n, err
}
