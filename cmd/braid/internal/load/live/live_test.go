package live

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"braid/cmd/braid/internal/load/run"
)

// samples are those of a run with a warm-up.
var samples = []run.Sample{
	{Warmup: true, Elapsed: time.Second, Total: time.Second, Interval: time.Second, OK: 10, Done: 10, P50: time.Millisecond, P99: 2 * time.Millisecond},
	{Elapsed: 500 * time.Millisecond, Total: 2 * time.Second, Interval: 500 * time.Millisecond},
	{Elapsed: 1500 * time.Millisecond, Total: 2 * time.Second, Interval: time.Second, OK: 1234, Failed: 5, P50: time.Millisecond, P99: 2 * time.Millisecond, Behind: time.Second},
}

func play(d Display, samples ...run.Sample) {
	for _, s := range samples {
		d.Show(s)
	}
	d.Finish()
}

func TestLinesHaveEverySample(t *testing.T) {
	var out bytes.Buffer
	play(Lines(&out), append(samples, run.Sample{Elapsed: time.Second, Count: 1000, Done: 400})...)
	const want = `1.0s of warm-up  10/s, p50 1.00 ms, p99 2.00 ms
0.5s, 1.5s left  0/s
1.5s, 0.5s left  1,234/s, p50 1.00 ms, p99 2.00 ms, behind 1.00 s, 5 failed
1.0s, 600 left  0/s
`
	if out.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", out.String(), want)
	}
}

func TestTheBarIsDrawnInPlaceAndGoesInTheEnd(t *testing.T) {
	var out bytes.Buffer
	play(Bar(&out), samples...)
	text := out.String()
	for _, want := range []string{"1.0s of warm-up 10/s, p50 1.00 ms", "1.5s, 0.5s left 1,234/s", ", 5 failed", " 25% ", " 75% ", "\r"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in %q", want, text)
		}
	}
	if strings.Contains(text, "\n") {
		t.Errorf("there is more than a line in %q", text)
	}
	last := text[strings.LastIndexByte(strings.TrimRight(text, "\r"), '\r')+1:]
	if strings.TrimSpace(last) != "" {
		t.Errorf("what stays is %q", last)
	}
}

func TestARunWithoutSamplesShowsNothing(t *testing.T) {
	var out bytes.Buffer
	play(Bar(&out))
	play(Lines(&out))
	if out.Len() != 0 {
		t.Errorf("%q", out.String())
	}
}

func TestTheShareStaysWithinTheBar(t *testing.T) {
	for _, test := range []struct {
		s    run.Sample
		want float64
	}{
		{run.Sample{}, 0},
		{run.Sample{Elapsed: 3 * time.Second, Total: 2 * time.Second}, 1},
		{run.Sample{Elapsed: 3 * time.Second, Count: 10, Done: 5}, 0.5},
		{run.Sample{Count: 10, Done: 15}, 1},
	} {
		if got := over(test.s); got != test.want {
			t.Errorf("%+v is %v, want %v", test.s, got, test.want)
		}
	}
}
