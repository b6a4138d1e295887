// Package report writes what came of a run as a table.
package report

import (
	"fmt"
	"io"
	"strings"
	"time"

	"braid/cmd/braid/internal/copier"
	"braid/cmd/braid/internal/format"
	"braid/cmd/braid/internal/measure"
	"braid/cmd/braid/internal/table"
	"braid/cmd/braid/internal/wire"
)

// Report is everything there is to say about a run.
type Report struct {
	Connection string // what carried it
	Files      int    // regular files that were found
	Skipped    int    // what is not a regular file
	Unreadable int    // what could not be looked at
	Result     *copier.Result

	Before, During, After measure.Process

	Checks []Check
}

// Check is something that has to hold.
type Check struct {
	OK   bool
	What string
}

// OK reports whether everything holds.
func (r *Report) OK() bool {
	for _, c := range r.Checks {
		if !c.OK {
			return false
		}
	}
	return true
}

// Write writes the report.
func (r *Report) Write(w io.Writer) error {
	var b strings.Builder
	r.writeOverview(&b)
	b.WriteByte('\n')
	r.writeStreams(&b)
	b.WriteByte('\n')
	r.writeLatency(&b)
	b.WriteByte('\n')
	if r.Result.Stall != nil {
		r.writeStall(&b)
	}
	r.writeProcess(&b)
	b.WriteByte('\n')
	for _, c := range r.Checks {
		verdict := "ok    "
		if !c.OK {
			verdict = "FAILED"
		}
		fmt.Fprintf(&b, "%s  %s\n", verdict, c.What)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *Report) writeOverview(b *strings.Builder) {
	res := r.Result
	t := table.Table{Left: 2}
	t.Add("connection", r.Connection)
	t.Add("files", fmt.Sprintf("%s of %s copied, %s failed, %s skipped",
		format.Number(int64(len(res.Copied))), format.Number(int64(r.Files)),
		format.Number(int64(res.Failed+r.Unreadable)), format.Number(int64(r.Skipped))))
	t.Add("size", fmt.Sprintf("%s in %s, %s/s", format.Bytes(res.Bytes),
		format.Duration(res.Copying), format.Bytes(rate(res.Bytes, res.Copying))))
	t.Write(b)
}

func (r *Report) writeStreams(b *strings.Builder) {
	res := r.Result
	t := table.Table{Left: 1}
	t.Add("", "streams", "messages sent", "received", "bytes sent", "received")
	var total [5]int64
	type kind struct {
		name string
		work copier.Work
	}
	kinds := []kind{
		{"uploads", res.Uploads},
		{"canceled", res.Cancels},
		{"calls", res.Calls},
		{"chat", res.Chat},
		{"control", res.Control},
	}
	if res.Stall != nil {
		kinds = append(kinds, kind{"stalled", res.Stalled})
	}
	for _, kind := range kinds {
		n := counts(kind.work.Traffic)
		for i := range n {
			total[i] += n[i]
		}
		addCounts(&t, kind.name, n)
	}
	addCounts(&t, "total", total)
	t.Write(b)
}

// counts returns the columns of the table of streams.
func counts(t *wire.Traffic) [5]int64 {
	return [5]int64{
		t.Streams.Load(),
		t.Sent.Load(), t.Received.Load(),
		t.SentBytes.Load(), t.ReceivedSize.Load(),
	}
}

func addCounts(t *table.Table, name string, n [5]int64) {
	t.Add(name, format.Number(n[0]), format.Number(n[1]), format.Number(n[2]),
		format.Bytes(n[3]), format.Bytes(n[4]))
}

func (r *Report) writeLatency(b *strings.Builder) {
	res := r.Result
	t := table.Table{Left: 1}
	t.Add("latency", "count", "per second", "p50", "p90", "p99", "p99.9", "max")
	for _, kind := range []struct {
		name string
		dist measure.Distribution
		time time.Duration // in which they were
	}{
		{"calls", res.Calls.Latency, res.Elapsed},
		{"uploads", res.Uploads.Latency, res.Copying},
		{"chat", res.Chat.Latency, res.Elapsed},
		{"cancel noticed", res.Cancels.Latency, res.Copying},
	} {
		d := kind.dist
		if d.Count == 0 {
			t.Add(kind.name, "0", "-", "-", "-", "-", "-", "-")
			continue
		}
		t.Add(kind.name, format.Number(d.Count), format.Number(rate(d.Count, kind.time)),
			format.Duration(d.P50), format.Duration(d.P90), format.Duration(d.P99),
			format.Duration(d.P999), format.Duration(d.Max))
	}
	t.Write(b)
}

func (r *Report) writeProcess(b *strings.Builder) {
	t := table.Table{Left: 1}
	t.Add("process", "before", "during (peak)", "after")
	t.Add("goroutines", format.Number(int64(r.Before.Goroutines)),
		format.Number(int64(r.During.Goroutines)), format.Number(int64(r.After.Goroutines)))
	t.Add("heap", format.Bytes(int64(r.Before.Heap)),
		format.Bytes(int64(r.During.Heap)), format.Bytes(int64(r.After.Heap)))
	t.Write(b)
}

// rate returns how many there were in a second.
func rate(n int64, d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	return int64(float64(n) / d.Seconds())
}
