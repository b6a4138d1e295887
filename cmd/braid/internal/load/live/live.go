// Package live shows how a run of load is getting on: in one line of a terminal that
// is written again and again, or in a line for each interval anywhere else.
package live

import (
	"fmt"
	"io"
	"time"

	"github.com/schollz/progressbar/v3"

	"braid/cmd/braid/internal/format"
	"braid/cmd/braid/internal/load/run"
)

// Display shows one sample after the other. Its methods are not called concurrently.
type Display interface {
	Show(s run.Sample)
	// Finish leaves the cursor on an empty line.
	Finish()
}

// lines writes a line for each sample. Errors of the writer are nothing that a run
// should end for.
type lines struct{ w io.Writer }

// Lines returns a display that writes a line for each sample.
func Lines(w io.Writer) Display { return lines{w} }

func (l lines) Show(s run.Sample) {
	_, _ = fmt.Fprintf(l.w, "%s  %s\n", clock(s), figures(s))
}

func (lines) Finish() {}

// bar draws how much of the run is over, and the figures of the last interval.
type bar struct {
	w      io.Writer
	bar    *progressbar.ProgressBar // nil before the first sample
	warmup bool                     // that it is of
}

// Bar returns a display for a terminal.
func Bar(w io.Writer) Display { return &bar{w: w} }

// steps is how finely a bar shows what is over.
const steps = 1000

func (b *bar) Show(s run.Sample) {
	if b.bar == nil || b.warmup != s.Warmup {
		if b.bar != nil {
			_ = b.bar.Clear()
		}
		b.warmup = s.Warmup
		b.bar = progressbar.NewOptions64(steps,
			progressbar.OptionSetWriter(b.w),
			progressbar.OptionFullWidth(),
			progressbar.OptionSetPredictTime(false),
			progressbar.OptionSetElapsedTime(false),
		)
	}
	b.bar.Describe(clock(s) + " " + figures(s))
	// Short of the end: the library stops drawing there, and what is under way
	// then may take its time.
	_ = b.bar.Set64(min(int64(steps*over(s)), steps-1))
}

func (b *bar) Finish() {
	if b.bar == nil {
		return
	}
	_ = b.bar.Clear()
	_ = b.bar.Exit()
}

// over returns how much of the run is over, between 0 and 1.
func over(s run.Sample) float64 {
	var share float64
	if s.Total > 0 {
		share = float64(s.Elapsed) / float64(s.Total)
	}
	if s.Count > 0 {
		share = float64(s.Done) / float64(s.Count)
	}
	return min(share, 1)
}

// clock says when it is, and what is left.
func clock(s run.Sample) string {
	text := fmt.Sprintf("%.1fs", s.Elapsed.Seconds())
	switch {
	case s.Warmup:
		text += " of warm-up"
	case s.Total > 0:
		text += fmt.Sprintf(", %.1fs left", max(s.Total-s.Elapsed, 0).Seconds())
	case s.Count > 0:
		text += fmt.Sprintf(", %s left", format.Number(max(s.Count-s.Done, 0)))
	}
	return text
}

// figures says what the last interval was like.
func figures(s run.Sample) string {
	if s.Interval <= 0 {
		s.Interval = time.Nanosecond
	}
	text := format.Number(int64(float64(s.OK)/s.Interval.Seconds())) + "/s"
	if s.OK > 0 {
		text += fmt.Sprintf(", p50 %s, p99 %s", format.Duration(s.P50), format.Duration(s.P99))
	}
	if s.Behind > behindMatters {
		text += ", behind " + format.Duration(s.Behind)
	}
	if s.Failed > 0 {
		text += fmt.Sprintf(", %s failed", format.Number(s.Failed))
	}
	return text
}

// behindMatters is how late an operation has to be begun so that it is worth a word.
const behindMatters = 10 * time.Millisecond
