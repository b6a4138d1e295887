package report

import (
	"fmt"
	"strings"
	"time"

	"braid/cmd/braid/internal/copier"
	"braid/cmd/braid/internal/format"
	"braid/cmd/braid/internal/measure"
	"braid/cmd/braid/internal/table"
)

// writeStall writes what became of the streams that nobody read, and how the
// others did without and with them.
func (r *Report) writeStall(b *strings.Builder) {
	s := r.Result.Stall
	t := table.Table{Left: 1}
	t.Add("stalled", "messages", "bytes sent", "within", "then held for", "arrived in the end")
	for _, h := range s.Streams {
		t.Add(h.Name, format.Number(h.Messages), format.Bytes(h.Bytes),
			format.Duration(h.Within), format.Duration(h.For), format.Bytes(h.Total))
	}
	t.Write(b)
	b.WriteByte('\n')

	t = table.Table{Left: 1}
	t.Add("the stall", "per second", "p50", "p90", "p99", "p99.9", "max")
	addPhases(&t, "calls", s, func(p copier.Phase) measure.Distribution { return p.Calls })
	addPhases(&t, "chat", s, func(p copier.Phase) measure.Distribution { return p.Chat })
	t.Write(b)
	b.WriteByte('\n')
}

// addPhases adds a row for each phase, and how many times the first is the second.
func addPhases(t *table.Table, name string, s *copier.Stall, of func(copier.Phase) measure.Distribution) {
	before, during := of(s.Before), of(s.During)
	if before.Count == 0 && during.Count == 0 {
		return // there are none
	}
	for _, row := range []struct {
		when string
		dist measure.Distribution
		time time.Duration
	}{
		{"before it", before, s.Before.Elapsed},
		{"during it", during, s.During.Elapsed},
	} {
		d := row.dist
		t.Add(name+" "+row.when, format.Number(rate(d.Count, row.time)),
			format.Duration(d.P50), format.Duration(d.P90), format.Duration(d.P99),
			format.Duration(d.P999), format.Duration(d.Max))
	}
	t.Add("  during/before",
		ratio(rate(during.Count, s.During.Elapsed), rate(before.Count, s.Before.Elapsed)),
		ratio(during.P50, before.P50), ratio(during.P90, before.P90), ratio(during.P99, before.P99),
		ratio(during.P999, before.P999), ratio(during.Max, before.Max))
}

// ratio writes how many times b is in a.
func ratio[T ~int64](a, b T) string {
	if b <= 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", float64(a)/float64(b))
}
