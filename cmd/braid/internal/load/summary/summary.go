// Package summary writes what came of a run of load: as text for people, as JSON for
// programs, and as a percentile distribution for plotters.
package summary

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"braid/cmd/braid/internal/load/arrival"
	"braid/cmd/braid/internal/load/run"
)

// Summary is everything there is to say about a run.
type Summary struct {
	Setup  Setup
	Result *run.Result
}

// Setup is what was run against what.
type Setup struct {
	Options  run.Options
	Address  string // as it was given
	Protocol string // TCP, or the version of TLS
	Client   string // the library: braid or storj.io/drpc
	Conns    int
	// Shares tells whether calls share a connection of braid's, rather than taking
	// turns on it.
	Shares bool
	// Versions are those of this program, of Go and of storj.io/drpc.
	Versions Versions
}

// Versions say what made the load.
type Versions struct {
	Braid, Go, DRPC, OS, Arch string
	CPUs                      int // that Go uses
}

// braid reports whether the client is braid's.
func (s *Setup) braid() bool { return s.Client == ClientBraid }

// The names of the clients.
const (
	ClientBraid = "braid"
	ClientStock = "storj.io/drpc"
)

// quantiles are the percentiles that are written.
var quantiles = []struct {
	name    string
	percent float64
}{
	{"p50", 50}, {"p75", 75}, {"p90", 90}, {"p95", 95},
	{"p99", 99}, {"p99.9", 99.9}, {"p99.99", 99.99},
}

// workName is what a kind of work is called.
func workName(w run.Work) string {
	return [...]string{"unary", "upload", "download", "ping-pong"}[w]
}

// operations is what the operations of a kind of work are called.
func operations(w run.Work) string {
	return [...]string{"calls", "messages", "messages", "round trips"}[w]
}

// arrivalName is what a way of arriving is called.
func arrivalName(p arrival.Process) string {
	if p == arrival.Poisson {
		return "poisson"
	}
	return "constant"
}

// perSecond returns how many there were in a second.
func perSecond(n int64, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return float64(n) / d.Seconds()
}

// bucket is a bar of a histogram: how many values are above the bucket before it and
// not above le.
type bucket struct {
	le    int64
	count int64
}

// buckets splits a histogram at 1, 2 and 5 times the powers of ten, or at the powers
// of ten alone if there were more than most otherwise. It begins and ends where the
// values do.
func buckets(h *hdrhistogram.Histogram, most int) []bucket {
	if h.TotalCount() == 0 {
		return nil
	}
	out := split(h, []int64{1, 2, 5})
	if len(out) > most {
		out = split(h, []int64{1})
	}
	return out
}

func split(h *hdrhistogram.Histogram, steps []int64) []bucket {
	var out []bucket
	bars := h.Distribution()
	i := 0
	for power := int64(1); i < len(bars); power *= 10 {
		for _, step := range steps {
			b := bucket{le: power * step}
			// A bar that the bound goes through counts below it: it is as narrow as
			// the histogram is exact.
			for ; i < len(bars) && bars[i].From <= b.le; i++ {
				b.count += bars[i].Count
			}
			if b.count > 0 || len(out) > 0 {
				out = append(out, b)
			}
		}
	}
	for len(out) > 0 && out[len(out)-1].count == 0 {
		out = out[:len(out)-1]
	}
	return out
}
