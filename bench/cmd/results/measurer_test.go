package main

import (
	"errors"
	"os"
	"runtime"
	"testing"
	"time"

	"braid/bench/internal/measure"
	"braid/bench/internal/report"
	"braid/bench/internal/rig"
)

func TestMain(m *testing.M) {
	rig.Main()
	os.Exit(m.Run())
}

func TestRealStacksAreMeasured(t *testing.T) {
	text, err := printed(t, t.Context(), stacks{}, "-stacks=braid,floor", "-rounds=1", "-time=5ms", "-warm=1ms",
		"-run=^Unary/callers=64/size=16B/transport=(tcp|processes)$|^Mixed/|^Idle/")
	if err != nil {
		t.Fatal(err)
	}
	want(t, text, "Unary/callers=64/size=16B/transport=processes", report.UnitBulk, report.UnitIdleBytes,
		report.UnitGoroutines, "## Latencies", "## Aims", "default options of drpcconn")
}

func TestGOMAXPROCSIsOfOneMeasurement(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	cell := procs(before + 1)[0]
	sample, err := stacks{}.Measure(t.Context(), "floor", cell, measure.Options{Time: time.Millisecond, NoLatency: true})
	if err != nil || sample.Ops == 0 || sample.Latency != nil {
		t.Errorf("%+v, %v", sample, err)
	}
	if now := runtime.GOMAXPROCS(0); now != before {
		t.Errorf("GOMAXPROCS is %d after a measurement, and was %d", now, before)
	}
}

func TestEveryCellHasAStackThatCanDoIt(t *testing.T) {
	p, err := newPlan(flags(t, "-out=unused"), stacks{})
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range p.tasks {
		for _, name := range []string{report.Base, "grpc"} {
			if err := (stacks{}).Supports(name, task.cell); err != nil {
				t.Errorf("%s: %s: %v", task.cell.Name(), name, err)
			}
		}
	}
}

func TestWhatIsSaidBesideAnErrorIsLeftOut(t *testing.T) {
	inner := errors.New("stack x: too slow")
	if got := bare(inner, "stack x: "); got.Error() != "too slow" {
		t.Errorf("got %q", got)
	}
	if got := bare(inner, "stack y: "); !errors.Is(got, inner) {
		t.Errorf("got %q", got)
	}
	if got := bare(nil, ""); got != nil {
		t.Errorf("got %q", got)
	}
}
