package report

import (
	"bytes"
	"fmt"
	"io"
	"slices"
)

// Options say how a document is written.
type Options struct {
	// Plots is the folder of the plots as seen from the document, or "" if
	// there are none.
	Plots string
	// Raw is the file in the benchmark format as seen from the document, or "".
	Raw string
}

// WriteDocument writes all tables, and what is needed to read them, in Markdown.
func WriteDocument(out io.Writer, res *Results, opts Options) error {
	w := new(bytes.Buffer)
	fmt.Fprint(w, "# Results\n\n")
	if res.Incomplete != "" {
		fmt.Fprintf(w, "**Incomplete: %s.** Fewer rounds, or none, are behind some of the figures.\n\n", res.Incomplete)
	}
	writeEnvironment(w, res, opts)
	writeReading(w, res)
	writeAims(w, res)
	writeOverview(w, res)
	for _, section := range res.Sections {
		writeSection(w, res, section)
	}
	writeLatencies(w, res)
	writeSweeps(w, res)
	if opts.Plots != "" {
		writePlotLinks(w, res, opts.Plots)
	}
	writeSettings(w, res)
	writeTroubles(w, res)
	// One line end is enough at the end of a file.
	text := bytes.TrimRight(w.Bytes(), "\n")
	_, err := out.Write(append(text, '\n'))
	return err
}

// heading writes a heading and a text below it.
func heading(w io.Writer, title, text string) {
	fmt.Fprintf(w, "## %s\n\n", title)
	if text != "" {
		fmt.Fprintf(w, "%s\n\n", text)
	}
}

// writeEnvironment says what was measured, and on what.
func writeEnvironment(w io.Writer, res *Results, opts Options) {
	heading(w, "What was measured on what", "")
	env := table{head: []string{"what", "value"}, left: 2}
	for _, item := range res.Environment {
		env.add(item.Key, oneLine(item.Value))
	}
	env.write(w)
	stacks := table{head: []string{"stack", "module", "version"}, left: 3}
	for _, s := range res.Stacks {
		stacks.add(s.Name, orNone(s.Module), orNone(s.Version))
	}
	stacks.write(w)
	if opts.Raw != "" {
		fmt.Fprintf(w, "Every measurement is a line of [%s](%s), which benchstat reads:\n", opts.Raw, opts.Raw)
		fmt.Fprintf(w, "`benchstat -col /stack %s`.\n\n", opts.Raw)
	}
}

// orNone returns a dash in place of nothing.
func orNone(s string) string {
	if s == "" {
		return none
	}
	return oneLine(s)
}

// writeReading says how to read the rest.
func writeReading(w io.Writer, res *Results) {
	heading(w, "How to read it", fmt.Sprintf(`- A cell is one piece of work. Within a round each stack is measured once in it, with a new server
  and new connections, and which is first changes from round to round. There are up to %s.
- ns/op is wall-clock time over all callers together: with 64 callers, each waits about 64 times as
  long for its own. Figures are medians of the rounds, with the smallest and the largest as range.
- A ratio is a stack's time divided by braid's time in the same round, so above 1 braid is faster.
  The median of ratios differs a little from the ratio of medians, which the aims are about.
- The test is Mann-Whitney's U over the figures of all rounds, as benchstat has it. p is how likely
  such a difference is to come about by chance; "~" stands where it is %v or more, and then the
  difference means nothing. It takes four rounds to show any, and of many tests a few err.
- B/op and allocs/op count both ends, unless the server is another process. MB/s are 1e6 bytes of
  payload, counted once. conns is how many connections the server accepted.
- "-" stands where a stack cannot do the work, and the note says why. "failed" is an error.`,
		counted(res.Rounds), alpha))
}

// writeSection writes the tables of a section.
func writeSection(w io.Writer, res *Results, section Section) {
	if !slices.ContainsFunc(section.Cells, func(c Cell) bool { return res.row(c) != nil }) {
		return
	}
	heading(w, section.Title, section.Text)
	for _, cell := range section.Cells {
		if row := res.row(cell); row != nil {
			writeCell(w, row)
		}
	}
}

// writePlotLinks embeds the plots.
func writePlotLinks(w io.Writer, res *Results, folder string) {
	drawn := slices.DeleteFunc(slices.Clone(res.Plots), func(p Plot) bool { return !Drawable(res, p) })
	if len(drawn) == 0 {
		return
	}
	heading(w, "Plots", "Points are medians of the rounds.")
	for _, p := range drawn {
		fmt.Fprintf(w, "![%s](%s/%s)\n\n", p.Title, folder, p.File)
	}
}

// writeSettings says in what the stacks were not treated alike.
func writeSettings(w io.Writer, res *Results) {
	heading(w, "What is not equal", "")
	for _, s := range res.Stacks {
		if len(s.Settings) == 0 {
			fmt.Fprintf(w, "- %s: its defaults, and nothing else\n", s.Name)
			continue
		}
		fmt.Fprintf(w, "- %s:\n", s.Name)
		for _, words := range s.Settings {
			fmt.Fprintf(w, "  - %s\n", oneLine(words))
		}
	}
	fmt.Fprint(w, "- Each has its own wire format, and its own way to gather writes and to use goroutines\n\n")
}

// writeTroubles writes what went wrong, in full.
func writeTroubles(w io.Writer, res *Results) {
	lines := slices.Clone(res.Notes)
	for _, row := range res.Rows {
		for _, side := range row.Sides {
			if side.Failed != "" {
				lines = append(lines, fmt.Sprintf("%s, %s: %s", row.Cell.Name(), side.Stack, side.Failed))
			}
		}
	}
	if len(lines) == 0 {
		return
	}
	heading(w, "What went wrong", "")
	for _, line := range lines {
		fmt.Fprintf(w, "- %s\n", oneLine(line))
	}
	fmt.Fprintln(w)
}
