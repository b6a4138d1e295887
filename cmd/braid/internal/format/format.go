// Package format writes numbers for people.
package format

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Number writes a whole number with commas: 1,234,567.
func Number(n int64) string {
	digits := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, digits = "-", digits[1:]
	}
	var b strings.Builder
	b.WriteString(sign)
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}

// Bytes writes a size with a binary unit: 17 B, 1.5 KiB.
func Bytes(n int64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	v, unit := float64(n)/1024, 0
	// 1023.95 would be written as 1024.0.
	for v >= 1023.95 && unit < len(units)-1 {
		v, unit = v/1024, unit+1
	}
	return fmt.Sprintf("%.1f %ciB", v, units[unit])
}

// Duration writes a duration with three digits, in the unit that fits.
func Duration(d time.Duration) string {
	for _, u := range []struct {
		size time.Duration
		name string
	}{{time.Second, "s"}, {time.Millisecond, "ms"}, {time.Microsecond, "µs"}} {
		if d < u.size {
			continue
		}
		v := float64(d) / float64(u.size)
		switch {
		case v < 9.995:
			return fmt.Sprintf("%.2f %s", v, u.name)
		case v < 99.95:
			return fmt.Sprintf("%.1f %s", v, u.name)
		}
		return fmt.Sprintf("%.0f %s", v, u.name)
	}
	return fmt.Sprintf("%d ns", d.Nanoseconds())
}

// Line writes a text so that it stays on its line and leaves the terminal alone:
// errors can have words of a peer in them.
func Line(text string) string {
	if strings.IndexFunc(text, unprintable) < 0 {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if unprintable(r) {
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// unprintable tells what does not belong in a line. Bytes that are not UTF-8
// arrive here as utf8.RuneError.
func unprintable(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }

// Path writes a path so that it stays on its line and leaves the terminal
// alone, whatever is in the name of a file.
func Path(p string) string {
	odd := func(r rune) bool { return unprintable(r) || r == '"' }
	if p != "" && strings.IndexFunc(p, odd) < 0 {
		return p
	}
	return strconv.Quote(p)
}
