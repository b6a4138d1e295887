package main

import (
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"braid/bench/internal/job"
)

// TestRatiosArePaired checks that a round is compared with itself: a machine
// that becomes slower in the middle must not change the ratio.
func TestRatiosArePaired(t *testing.T) {
	r := result{
		measured: side{nanos: []float64{10, 10, 40, 40}},
		against:  side{nanos: []float64{20, 20, 80, 80}},
	}
	for _, ratio := range r.ratios() {
		if ratio != 0.5 {
			t.Errorf("ratio %v, want 0.5", ratio)
		}
	}
	r.bar = 0.5
	if missed([]result{r}) {
		t.Error("a bar that is just reached counts as missed")
	}
	r.bar = 0.4
	if !missed([]result{{}, r}) {
		t.Error("a missed bar goes unnoticed")
	}
}

// TestRun runs one pair for real, but briefly.
func TestRun(t *testing.T) {
	cfg, err := parse([]string{"-rounds=2", "-time=2ms", "-run=^Unary/callers=64/size=16B$", "-q"})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := run(cfg, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"GOMAXPROCS", "storj.io/drpc", "Unary/callers=64/size=16B", "1 vs 64"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, &out)
		}
	}
}

// TestTimeout checks that work which hangs ends the program.
func TestTimeout(t *testing.T) {
	cfg := config{time: time.Millisecond, timeout: 10 * time.Millisecond, only: regexp.MustCompile("")}
	if _, err := timeJob(cfg, hangingJob{}); !errors.Is(err, errTimeout) {
		t.Errorf("got %v, want %v", err, errTimeout)
	}
}

type hangingJob struct{}

var _ job.Job = hangingJob{}

func (hangingJob) Run(int) error { select {} }
func (hangingJob) Close() error  { return nil }
