package summary

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"braid/cmd/braid/internal/format"
	"braid/cmd/braid/internal/load/run"
	"braid/cmd/braid/internal/table"
)

// WriteText writes the summary for people, in lines of some 80 columns.
func (s *Summary) WriteText(w io.Writer) error {
	var b strings.Builder
	s.writeOverview(&b)
	s.writeLatency(&b)
	s.writeBars(&b)
	s.writeErrors(&b)
	s.writeNotes(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

func (s *Summary) writeOverview(b *strings.Builder) {
	t := table.Table{Left: 2}
	res, opts := s.Result, &s.Setup.Options
	if early := s.early(); early != "" {
		t.Add("ENDED EARLY", early)
	}
	t.Add("work", s.work())
	server, client := s.server()
	t.Add("server", server)
	t.Add("client", client)
	ran := format.Duration(res.Elapsed)
	if opts.Warmup > 0 && res.Measured {
		ran += ", after a warm-up of " + format.Duration(opts.Warmup)
	}
	t.Add("ran", ran)
	ops := operations(opts.Work)
	t.Add(ops, s.counts())
	got := fmt.Sprintf("%s %s a second", rate(perSecond(res.OK, res.Elapsed)), ops)
	if opts.Rate > 0 {
		got += fmt.Sprintf(" (%s were due)", rate(opts.Rate))
	}
	t.Add("rate", got)
	t.Add("payload", s.payload())
	t.Write(b)
}

// payload says how many bytes there were, in the directions that the work has.
func (s *Summary) payload() string {
	var parts []string
	for _, d := range []struct {
		name  string
		bytes int64
		not   run.Work
	}{{"sent", s.Result.Sent, run.Download}, {"received", s.Result.Received, run.Upload}} {
		if s.Setup.Options.Work != d.not {
			parts = append(parts, fmt.Sprintf("%s %s, %s/s", format.Bytes(d.bytes), d.name,
				format.Bytes(int64(perSecond(d.bytes, s.Result.Elapsed)))))
		}
	}
	return strings.Join(parts, "; ")
}

// early says why and when a run ended early, or nothing if it did not.
func (s *Summary) early() string {
	res := s.Result
	if res.Ending == run.Completed {
		return ""
	}
	what := "these are the figures so far"
	if !res.Measured {
		what = "these are the figures of the warm-up"
	}
	return fmt.Sprintf("%v after %s; %s", res.Ending, format.Duration(res.Elapsed), what)
}

// who is what does the work.
func (s *Summary) who() string {
	if s.Setup.Options.Work == run.Unary {
		return "callers"
	}
	return "streams"
}

func (s *Summary) work() string {
	opts := &s.Setup.Options
	what := workName(opts.Work)
	size := opts.Size
	if opts.Method != "" {
		what += " " + format.Line(opts.Method)
		size = len(opts.Data)
	}
	loop := "closed loop"
	if opts.Rate > 0 {
		loop = fmt.Sprintf("open loop at %s a second, %s", rate(opts.Rate), arrivalName(opts.Arrivals))
	}
	return fmt.Sprintf("%s, %s each, %s; %s", what, format.Bytes(int64(size)),
		plural(opts.Workers, s.who()), loop)
}

// server says what was called over what, and how.
func (s *Summary) server() (server, client string) {
	set := &s.Setup
	kind := set.Client
	if set.braid() {
		if set.Shares {
			kind += ", and so is the server: calls share a connection"
		} else {
			kind += ", and the server is not: calls take turns on a connection"
		}
	}
	return fmt.Sprintf("%s, %s, %s", set.Address, plural(set.Conns, "connections"), set.Protocol), kind
}

func (s *Summary) counts() string {
	res := s.Result
	text := fmt.Sprintf("%s ok, %s failed", format.Number(res.OK), format.Number(res.Failed))
	if res.Unfinished > 0 {
		text += fmt.Sprintf(", %s unfinished", format.Number(res.Unfinished))
	}
	if o := res.Open; o != nil {
		text += fmt.Sprintf("; of %s due, %s not sent", format.Number(o.Due), format.Number(o.NotSent))
	}
	return text
}

// column is what a histogram is called, and what of.
type column struct {
	name string
	hist *hdrhistogram.Histogram
}

func (s *Summary) columns() []column {
	res := s.Result
	if res.Open != nil {
		return []column{
			{"latency", res.Latency}, {"service time", res.Service}, {"sent late by", res.Late},
		}
	}
	switch s.Setup.Options.Work {
	case run.Upload:
		return []column{{"time to send", res.Latency}}
	case run.Download:
		return []column{{"time to next", res.Latency}}
	}
	return []column{{"latency", res.Latency}}
}

func (s *Summary) writeLatency(b *strings.Builder) {
	cols := s.columns()
	if cols[0].hist.TotalCount() == 0 {
		return
	}
	b.WriteByte('\n')
	t := table.Table{Left: 1}
	row := func(name string, of func(*hdrhistogram.Histogram) float64) {
		cells := []string{name}
		for _, c := range cols {
			cells = append(cells, format.Duration(time.Duration(of(c.hist))))
		}
		t.Add(cells...)
	}
	head := []string{""}
	for _, c := range cols {
		head = append(head, c.name)
	}
	t.Add(head...)
	row("mean", (*hdrhistogram.Histogram).Mean)
	for _, q := range quantiles {
		row(q.name, func(h *hdrhistogram.Histogram) float64 { return float64(h.ValueAtPercentile(q.percent)) })
	}
	row("max", func(h *hdrhistogram.Histogram) float64 { return float64(h.Max()) })
	t.Write(b)
	switch {
	case s.Result.Open != nil:
		b.WriteString("latency is from when a call was due, service time from when it was sent\n")
	case s.Setup.Options.Work == run.Upload:
		b.WriteString("how long a message waited until the connection took it\n")
	case s.Setup.Options.Work == run.Download:
		b.WriteString("how long it took until the next message was there\n")
	default:
		b.WriteString("closed loop: who waits for an answer does not call meanwhile, so that a stall\n" +
			"of the server is seen by few calls; with --rate it is seen by all that were due\n")
	}
}

// The size of a text histogram.
const (
	mostBars  = 16
	barColumn = 48
)

func (s *Summary) writeBars(b *strings.Builder) {
	bars := buckets(s.Result.Latency, mostBars)
	if len(bars) == 0 {
		return
	}
	b.WriteByte('\n')
	t := table.Table{Left: 0}
	var most int64
	for _, bar := range bars {
		most = max(most, bar.count)
	}
	t.Add(s.columns()[0].name+" up to", operations(s.Setup.Options.Work))
	for _, bar := range bars {
		t.Add(format.Duration(time.Duration(bar.le)), format.Number(bar.count))
	}
	var lines strings.Builder
	t.Write(&lines)
	for i, line := range strings.Split(strings.TrimSuffix(lines.String(), "\n"), "\n") {
		b.WriteString(line)
		if i > 0 && bars[i-1].count > 0 {
			n := int(math.Ceil(barColumn * float64(bars[i-1].count) / float64(most)))
			b.WriteString("  " + strings.Repeat("#", n))
		}
		b.WriteByte('\n')
	}
}

func (s *Summary) writeErrors(b *strings.Builder) {
	if len(s.Result.Errors) == 0 {
		return
	}
	b.WriteByte('\n')
	t := table.Table{Left: 4}
	t.Add("failures", "kind", "code", "one of them")
	for _, e := range s.Result.Errors {
		code := "-"
		if e.Code != 0 {
			code = fmt.Sprint(e.Code)
		}
		t.Add(format.Number(e.Count), string(e.Kind), code, format.Line(e.Text))
	}
	t.Write(b)
}

func (s *Summary) writeNotes(b *strings.Builder) {
	for _, note := range s.notes() {
		fmt.Fprintf(b, "\nnote: %s\n", note)
	}
}

// behindMatters is how late calls have to be sent so that it is worth a word.
const behindMatters = 10 * time.Millisecond

// notes are what has to be known so that the figures are not taken for something else.
func (s *Summary) notes() (notes []string) {
	res, set := s.Result, &s.Setup
	if o := res.Open; o != nil {
		// Some are due at the very moment at which a run ends early.
		if o.NotSent > 0 && (res.Ending == run.Completed || o.Behind > behindMatters) {
			text := fmt.Sprintf("%s %s were due and never sent, %s of all: with %s this rate was not reached.\n"+
				"They were behind by up to %s, and no latency has what was not sent",
				format.Number(o.NotSent), operations(set.Options.Work), percent(o.NotSent, o.Due),
				plural(set.Options.Workers, s.who()), format.Duration(o.Behind))
			if o.GivenUp > 0 {
				text += fmt.Sprintf(";\n%s were given up because %s were due already (--queue)",
					format.Number(o.GivenUp), format.Number(int64(set.Options.Queue)))
			}
			notes = append(notes, text)
		} else if o.Behind > behindMatters {
			notes = append(notes, fmt.Sprintf("all %s were busy at times: the latest was sent %s after it was due", s.who(), format.Duration(o.Behind)))
		}
	}
	if set.braid() && !set.Shares && set.Options.Workers > set.Conns {
		notes = append(notes, fmt.Sprintf("%s took turns on %s, because the server is not braid:\n"+
			"--conns %d gives each a connection, and so does --client stock",
			plural(set.Options.Workers, "callers"), plural(set.Conns, "connections"), set.Options.Workers))
	}
	if !set.braid() && slices.ContainsFunc(res.Errors, func(e run.ErrorCount) bool { return e.Kind == run.Timeout }) {
		notes = append(notes, "with storj.io/drpc a call that times out costs its connection, and the next one has to\n"+
			"make another within its own timeout")
	}
	if set.Options.Method != "" {
		notes = append(notes, "the answers were counted and not checked, since only the server knows what they should be")
	}
	return notes
}

// plural writes a number and what there are, whose last letter goes if it is one.
func plural(n int, what string) string {
	if n == 1 {
		what = strings.TrimSuffix(what, "s")
	}
	return format.Number(int64(n)) + " " + what
}

// rate writes how many there are in a second.
func rate(v float64) string {
	switch {
	case v >= 100 || v == math.Trunc(v):
		return format.Number(int64(math.Round(v)))
	case v >= 1:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

// percent writes a share.
func percent(n, of int64) string {
	if of == 0 {
		return "0 %"
	}
	return fmt.Sprintf("%.2g %%", 100*float64(n)/float64(of))
}
