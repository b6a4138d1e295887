package report

import (
	"math"
	"slices"
	"testing"
	"time"

	"braid/bench/internal/figures"
)

// sideOf makes a side of times in nanoseconds, one a round.
func sideOf(stack string, nanos ...float64) *Side {
	s := &Side{Stack: stack}
	for round, n := range nanos {
		s.Samples = append(s.Samples, Sample{Round: round, Ops: 1000, Elapsed: time.Duration(n * 1000)})
	}
	return s
}

func TestRatiosAreOfTheSameRound(t *testing.T) {
	// The machine becomes four times slower in the middle.
	base := sideOf(Base, 10, 10, 40, 40)
	other := sideOf("other", 20, 20, 80, 80)
	if got := paired(other, base, nanos); !slices.Equal(got, []float64{2, 2, 2, 2}) {
		t.Errorf("ratios %v, want 2 in each round", got)
	}
	// A round that one of them lacks, in the middle, counts for neither.
	other.Samples = slices.Delete(other.Samples, 1, 2)
	if got := paired(other, base, nanos); !slices.Equal(got, []float64{2, 2, 2}) {
		t.Errorf("ratios %v, want 2 in three rounds", got)
	}
	other.Failed = "broken"
	if got := paired(other, base, nanos); got != nil {
		t.Errorf("ratios %v of a side that failed", got)
	}
}

func TestDifferencesAreTestedAsBenchstatDoes(t *testing.T) {
	base := sideOf(Base, 10, 11, 12, 13, 14, 15)
	for _, test := range []struct {
		other       *Side
		significant bool
		verdict     string
	}{
		// The p of six against six that do not overlap is 2/924.
		{sideOf("slow", 20, 21, 22, 23, 24, 25), true, "p=0.002"},
		{sideOf("alike", 10.5, 11.5, 12.5, 13.5, 14.5, 15.5), false, "~ (p=0.699)"},
		// The p of three against six is 2/84 at best.
		{sideOf("few", 1000, 1001, 1002), true, "p=0.024"},
		{sideOf(Base, 1, 2), false, ""},
	} {
		got := compare(test.other, base, nanos)
		if got.significant() != test.significant || got.verdict() != test.verdict {
			t.Errorf("%s: %v, %q, want %v, %q", test.other.Stack, got.significant(), got.verdict(), test.significant, test.verdict)
		}
	}
	// What is unknown takes no part.
	one := sideOf("slow", 20, 21, 22, 23, 24, 25, 1)
	one.Samples[6].Ops = 0
	if got := compare(one, base, nanos); got.verdict() != "p=0.002" {
		t.Errorf("with a figure that is unknown: %q", got.verdict())
	}
	three := compare(sideOf("other", 1000, 1001, 1002), sideOf(Base, 1, 2, 3), nanos)
	if three.significant() {
		t.Errorf("three rounds of each show a difference: %q", three.verdict())
	}
}

func TestASpreadLeavesOutWhatIsUnknown(t *testing.T) {
	if got := spreadOf([]float64{3, math.NaN(), 1, 10}); got != (spread{n: 3, median: 3, min: 1, max: 10}) {
		t.Errorf("got %+v", got)
	}
	if got := spreadOf([]float64{4, 1}); got.median != 2.5 {
		t.Errorf("the median of 1 and 4 is %v", got.median)
	}
	if got := spreadOf([]float64{math.NaN()}); got != (spread{}) {
		t.Errorf("got %+v", got)
	}
}

func TestAPercentileTakesEnoughValues(t *testing.T) {
	sample := fakeSample(cell(Unary, 64, 16), 0, 1000)
	if p := percentile(99.9)(sample); math.Abs(p-3000) > 5 {
		t.Errorf("p99.9 is %v, want about 3000", p)
	}
	sample.Latency.Reset()
	for range 99 {
		_ = sample.Latency.RecordValue(7)
	}
	if p := percentile(90)(sample); p != 7 {
		t.Errorf("p90 of 99 values is %v", p)
	}
	if p := percentile(99)(sample); !math.IsNaN(p) {
		t.Errorf("p99 of 99 values is %v", p)
	}
	sample.Latency = nil
	if p := percentile(50)(sample); !math.IsNaN(p) {
		t.Errorf("p50 of nothing is %v", p)
	}
}

func TestNumbersAreShort(t *testing.T) {
	for _, test := range []struct{ got, want string }{
		{number(math.NaN()), "-"},
		{number(0), "0.00"},
		{number(9.994), "9.99"},
		{number(9.996), "10.0"},
		{number(99.94), "99.9"},
		{number(99.96), "100"},
		{number(999.6), "1,000"},
		{number(1234567), "1,234,567"},
		{number(-1234.4), "-1,234"},
		{times(0.512), "0.51x"},
		{times(12.34), "12.3x"},
		{times(math.NaN()), "-"},
		{figures.SizeName(0), "0B"},
		{figures.SizeName(1500), "1500B"},
		{figures.SizeName(64 << 20), "64MiB"},
		{counted(1), "1 round"},
		{counted(0), "0 rounds"},
		{shortNumber(200), "200"},
		{shortNumber(50_000), "50k"},
		{shortNumber(2e6), "2M"},
	} {
		if test.got != test.want {
			t.Errorf("got %q, want %q", test.got, test.want)
		}
	}
}

func TestLatenciesAreOfAllRoundsTogether(t *testing.T) {
	side := fakeRow(cell(Unary, 64, 16)).side(Base)
	first := side.Samples[0].Latency.TotalCount()
	if got := side.latencies().TotalCount(); got != fakeRounds*first {
		t.Errorf("%d values of %d rounds of %d", got, fakeRounds, first)
	}
	if got := side.Samples[0].Latency.TotalCount(); got != first {
		t.Errorf("a round has %d values now, and had %d", got, first)
	}
	side.Failed = "broken"
	if side.latencies() != nil {
		t.Error("a side that failed has latencies")
	}
	if got := inMicros(1500, spread{}); got != "1.50" {
		t.Errorf("got %q", got)
	}
}
