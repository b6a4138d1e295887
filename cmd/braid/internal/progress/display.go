package progress

import (
	"fmt"
	"io"
	"time"

	"github.com/schollz/progressbar/v3"

	"braid/cmd/braid/internal/format"
)

// lines prints a line for each state, for logs and pipes. Errors of the writer
// are nothing that a copy should fail for.
type lines struct {
	w     io.Writer
	total Total
	begin time.Time
}

func newLines(w io.Writer, total Total) *lines {
	return &lines{w: w, total: total, begin: time.Now()}
}

func (l *lines) show(c *Count) {
	_, _ = fmt.Fprintf(l.w, "%6.1fs  %s of %s  %s\n", time.Since(l.begin).Seconds(),
		format.Bytes(c.Bytes.Load()), format.Bytes(l.total.Bytes), summary(c, l.total))
}

func (l *lines) note(line string) { _, _ = fmt.Fprintln(l.w, line) }

func (l *lines) finish(c *Count) { l.show(c) }

// bar draws a progress bar over the bytes, with the other counts before it.
type bar struct {
	w     io.Writer
	total Total
	bar   *progressbar.ProgressBar
}

func newBar(w io.Writer, total Total) *bar {
	return &bar{w: w, total: total, bar: progressbar.NewOptions64(
		max(total.Bytes, 1), // the library divides by it
		progressbar.OptionSetWriter(w),
		progressbar.OptionFullWidth(),
		progressbar.OptionShowBytes(!total.Waits),
		progressbar.OptionUseIECUnits(true),
		progressbar.OptionSetPredictTime(false),
	)}
}

func (b *bar) show(c *Count) {
	b.bar.Describe(b.summary(c))
	// Short of the end until the end: the library stops drawing there, and
	// files may have grown since they were counted.
	b.set(min(c.Bytes.Load(), b.total.Bytes-1))
}

func (b *bar) set(n int64) { _ = b.bar.Set64(max(n, 0)) }

func (b *bar) note(line string) {
	_ = b.bar.Clear()
	_, _ = fmt.Fprintln(b.w, line)
	_ = b.bar.RenderBlank()
}

func (b *bar) finish(c *Count) {
	b.bar.Describe(b.summary(c))
	if c.Files.Load() >= b.total.Files {
		b.set(max(b.total.Bytes, 1))
	} else {
		_ = b.bar.Exit()
	}
	_, _ = fmt.Fprintln(b.w)
}

// summary is short, so that the bar fits a line of 80 columns.
func (b *bar) summary(c *Count) string {
	s := fmt.Sprintf("%s/%s files, %s calls", format.Number(c.Files.Load()),
		format.Number(b.total.Files), format.Number(c.Calls.Load()))
	if n := c.Held.Load(); n > 0 {
		s += fmt.Sprintf(", %s held", format.Number(n))
	}
	return s
}

// summary says what was done beside the bytes.
func summary(c *Count, total Total) string {
	s := fmt.Sprintf("%s of %s files, %s calls, %s lines of chat",
		format.Number(c.Files.Load()), format.Number(total.Files),
		format.Number(c.Calls.Load()), format.Number(c.Lines.Load()))
	if n := c.Canceled.Load(); n > 0 {
		s += fmt.Sprintf(", %s streams canceled", format.Number(n))
	}
	if n := c.Held.Load(); n > 0 {
		s += fmt.Sprintf(", %s streams held after %s", format.Number(n), format.Bytes(c.HeldBytes.Load()))
	}
	return s
}
