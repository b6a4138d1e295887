package report

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"unicode/utf8"
)

// column is a figure that a table shows beside the time.
type column struct {
	title string
	fig   figure
}

// primary returns the figure by which stacks are compared in a cell.
func primary(c Cell) column {
	if c.Work == Idle {
		return column{UnitIdleBytes, extra(UnitIdleBytes)}
	}
	return column{"ns/op", nanos}
}

// columns returns the other figures of a row that anybody has.
func columns(row *Row) []column {
	var cols []column
	switch {
	case row.Cell.Work == Idle:
		cols = []column{{"ns/call beside", nanos}}
	case row.Cell.Size >= 1<<10 && moves(row.Cell):
		cols = []column{{"MB/s", megabytes(row.Cell)}}
	default:
		cols = []column{{"op/s", perSecond}}
	}
	units := make(map[string]bool)
	for _, side := range row.Sides {
		for _, sample := range side.Samples {
			for unit := range sample.Extra {
				units[unit] = unit != primary(row.Cell).title
			}
		}
	}
	for _, unit := range slices.Sorted(maps.Keys(units)) {
		if units[unit] {
			cols = append(cols, column{unit, extra(unit)})
		}
	}
	if row.Cell.Work != Idle {
		cols = append(cols, column{"B/op", memory}, column{"allocs/op", allocs})
	}
	cols = append(cols, column{"conns", func(s Sample) float64 { return float64(s.Conns) }})
	return slices.DeleteFunc(cols, func(col column) bool {
		return !slices.ContainsFunc(row.Sides, func(s *Side) bool { return s.spread(col.fig).n > 0 })
	})
}

// writeCell writes the table of a cell: a line for each stack.
func writeCell(w io.Writer, row *Row) {
	fmt.Fprintf(w, "**%s**", row.Cell.Name())
	if n := roundsOf(row); n != row.Rounds {
		fmt.Fprintf(w, " (%d of %s)", n, counted(row.Rounds))
	}
	fmt.Fprint(w, "\n\n")
	main, cols, remarks := primary(row.Cell), columns(row), hasRemarks(row)
	tab := table{head: []string{"stack", main.title, "range", "ratio", "range", "test"}, left: 1}
	for _, col := range cols {
		tab.head = append(tab.head, col.title)
	}
	if remarks {
		tab.head, tab.note = append(tab.head, "note"), true
	}
	for _, side := range row.Sides {
		s, c := side.spread(main.fig), compare(side, row.side(Base), main.fig)
		line := []string{side.Stack, s.middle(number), s.between(number),
			c.middle(times), c.between(times), c.verdict()}
		if side.Failed != "" {
			line[1] = "failed"
		}
		for _, col := range cols {
			line = append(line, side.spread(col.fig).middle(countOr(col)))
		}
		if remarks {
			line = append(line, shortened(side.remark()))
		}
		tab.add(line...)
	}
	tab.write(w)
}

// countOr returns how values of a column are written.
func countOr(col column) func(float64) string {
	if col.title == "conns" || col.title == "op/s" || col.title == "B/op" {
		return func(v float64) string { return grouped(fmt.Sprintf("%.0f", v)) }
	}
	return number
}

// roundsOf returns how many rounds there are figures of.
func roundsOf(row *Row) int {
	most := 0
	for _, side := range row.Sides {
		most = max(most, len(side.Samples))
	}
	return most
}

// hasRemarks reports whether any side has something to say.
func hasRemarks(row *Row) bool {
	return slices.ContainsFunc(row.Sides, func(s *Side) bool { return s.remark() != "" })
}

// remark says why a side has no figures, or what has to be known about them.
func (s *Side) remark() string {
	if text := cmp.Or(s.Failed, s.Cannot); text != "" {
		return oneLine(text)
	}
	for _, sample := range s.Samples {
		if sample.Note != "" {
			return oneLine(sample.Note)
		}
	}
	return ""
}

// shortened cuts a text that would make a table too wide.
func shortened(s string) string {
	const most = 90
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most-3]) + "..."
}

// writeOverview writes how every stack relates to the base in every cell of the
// sections.
func writeOverview(w io.Writer, res *Results) {
	tab := table{head: []string{"cell", Base}, left: 1}
	for _, s := range res.Stacks {
		if s.Name != Base {
			tab.head = append(tab.head, s.Name)
		}
	}
	for _, section := range res.Sections {
		for _, cell := range section.Cells {
			row := res.row(cell)
			if row == nil {
				continue
			}
			main := primary(cell)
			line := []string{cell.Name(), baseOf(row, main)}
			for _, s := range res.Stacks {
				if s.Name != Base {
					line = append(line, overviewOf(row, s.Name, main.fig))
				}
			}
			tab.add(line...)
		}
	}
	if len(tab.lines) == 0 {
		return
	}
	heading(w, "Overview", `For each cell the figure of braid, and how many times that the others take: above 1 braid
is ahead. "~" says that the test does not tell the two apart.`)
	tab.write(w)
}

// baseOf is what the overview has of the base itself.
func baseOf(row *Row, main column) string {
	side := row.side(Base)
	if side.good() {
		return side.spread(main.fig).middle(number) + " " + main.title
	}
	return overviewOf(row, Base, main.fig)
}

// overviewOf is what the overview has of a stack in a cell.
func overviewOf(row *Row, stack string, fig figure) string {
	side := row.side(stack)
	switch {
	case side == nil:
		return none
	case side.Failed != "":
		return "failed"
	}
	c := compare(side, row.side(Base), fig)
	if c.n > 0 && !c.significant() {
		return "~" + c.middle(times)
	}
	return c.middle(times)
}
