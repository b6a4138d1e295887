package report

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// table is a table in Markdown, with columns padded so that it can be read as
// it is, too.
type table struct {
	head []string
	// left says how many columns hold words. The others hold numbers, and are
	// flush right.
	left int
	// note says that the last column holds words, too.
	note  bool
	lines [][]string
}

// words reports whether a column holds words.
func (t *table) words(i int) bool { return i < t.left || t.note && i == len(t.head)-1 }

// add adds a line.
func (t *table) add(cells ...string) { t.lines = append(t.lines, cells) }

// write writes the table and an empty line.
func (t *table) write(w io.Writer) {
	width := make([]int, len(t.head))
	for _, line := range append([][]string{t.head}, t.lines...) {
		for i, cell := range line {
			width[i] = max(width[i], utf8.RuneCountInString(cell), 3)
		}
	}
	t.writeLine(w, t.head, width)
	for i, n := range width {
		rule := strings.Repeat("-", n+2)
		if !t.words(i) {
			rule = strings.Repeat("-", n+1) + ":"
		}
		fmt.Fprint(w, "|", rule)
	}
	fmt.Fprintln(w, "|")
	for _, line := range t.lines {
		t.writeLine(w, line, width)
	}
	fmt.Fprintln(w)
}

// writeLine writes one line.
func (t *table) writeLine(w io.Writer, line []string, width []int) {
	for i, n := range width {
		cell := ""
		if i < len(line) {
			cell = line[i]
		}
		pad := strings.Repeat(" ", n-utf8.RuneCountInString(cell))
		if t.words(i) {
			fmt.Fprintf(w, "| %s%s ", cell, pad)
		} else {
			fmt.Fprintf(w, "| %s%s ", pad, cell)
		}
	}
	fmt.Fprintln(w, "|")
}

// none stands in a table for what there is not.
const none = "-"

// number writes a value with about three digits that count, in groups of three.
func number(v float64) string {
	switch {
	case math.IsNaN(v):
		return none
	case math.Abs(v) >= 99.95:
		return grouped(strconv.FormatFloat(v, 'f', 0, 64))
	case math.Abs(v) >= 9.995:
		return strconv.FormatFloat(v, 'f', 1, 64)
	default:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
}

// grouped puts commas into a whole number.
func grouped(digits string) string {
	sign := ""
	if strings.HasPrefix(digits, "-") {
		sign, digits = "-", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}

// times writes a ratio.
func times(v float64) string {
	switch {
	case math.IsNaN(v):
		return none
	case v >= 9.995:
		return strconv.FormatFloat(v, 'f', 1, 64) + "x"
	default:
		return strconv.FormatFloat(v, 'f', 2, 64) + "x"
	}
}

// counted writes a number of rounds.
func counted(rounds int) string {
	if rounds == 1 {
		return "1 round"
	}
	return fmt.Sprintf("%d rounds", rounds)
}

// middle writes a median.
func (s spread) middle(format func(float64) string) string {
	if s.n == 0 {
		return none
	}
	return format(s.median)
}

// between writes a range.
func (s spread) between(format func(float64) string) string {
	if s.n == 0 {
		return none
	}
	return format(s.min) + " to " + format(s.max)
}
