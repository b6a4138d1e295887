package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/perf/benchfmt"

	"github.com/HdrHistogram/hdrhistogram-go"

	"braid/bench/internal/measure"
	"braid/bench/internal/report"
)

// fake measures nothing, and takes no time for it.
type fake struct {
	names []string
	// before is called with each measurement, and may fail it.
	before func(ctx context.Context, c call) error
	// cannot says what a stack cannot do.
	cannot func(stack string, cell report.Cell) error
	// timed is told how each cell is to be measured.
	timed func(cell report.Cell, opts measure.Options)

	mu    sync.Mutex
	calls []call // what was asked for, in order; guarded by mu
}

// asked adds what is asked for.
func (f *fake) asked(c call) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, c)
}

// call is a measurement that was asked for.
type call struct {
	stack string
	cell  report.Cell
}

var _ measurer = (*fake)(nil)

// newFake returns a measurer with some stacks that can do everything.
func newFake() *fake {
	return &fake{names: []string{"braid", "stock", "grpc", "ttrpc", "arpc", "floor"}}
}

func (f *fake) Stacks() []report.Stack {
	var all []report.Stack
	for _, name := range f.names {
		all = append(all, report.Stack{Name: name, Module: "example.org/" + name, Version: "v1.0.0"})
	}
	return all
}

func (f *fake) Supports(stack string, cell report.Cell) error {
	if f.cannot == nil {
		return nil
	}
	return f.cannot(stack, cell)
}

func (f *fake) Measure(ctx context.Context, stack string, cell report.Cell, opts measure.Options) (report.Sample, error) {
	c := call{stack, cell}
	f.asked(c)
	if f.timed != nil {
		f.timed(cell, opts)
	}
	if f.before != nil {
		if err := f.before(ctx, c); err != nil {
			return report.Sample{}, err
		}
	}
	sample := report.Sample{
		Ops: 1000, Elapsed: time.Duration(slices.Index(f.names, stack)+1) * time.Millisecond,
		Bytes: 100, Allocs: 2, Conns: 1,
	}
	if cell.Work == report.Idle {
		sample.Extra = map[string]float64{report.UnitIdleBytes: 4000, report.UnitGoroutines: 1}
	}
	if !opts.NoLatency {
		sample.Latency = hdrhistogram.New(1, int64(time.Minute), 3)
		_ = sample.Latency.RecordValues(int64(sample.Nanos()), 5000)
	}
	return sample, nil
}

// config returns what flags say.
func flags(t *testing.T, args ...string) config {
	t.Helper()
	cfg, err := parse(args, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// printed runs and returns what is printed.
func printed(t *testing.T, ctx context.Context, m measurer, args ...string) (string, error) {
	t.Helper()
	var out strings.Builder
	err := run(ctx, flags(t, args...), m, &out, nil)
	return out.String(), err
}

// want checks that a text has some others in it.
func want(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("there is no %q in:\n%s", part, text)
		}
	}
}

func TestEveryStackIsMeasuredOnceInEachRoundOfACell(t *testing.T) {
	m := newFake()
	_, err := printed(t, t.Context(), m, "-rounds=6", "-run=^Unary/callers=64/size=1KiB/transport=tcp$|^PingPong/streams=1/")
	if err != nil {
		t.Fatal(err)
	}
	n := len(m.names)
	if want := 2 * 6 * n; len(m.calls) != want {
		t.Fatalf("%d measurements, want %d", len(m.calls), want)
	}
	firsts := make(map[string]int)
	for i := 0; i < len(m.calls); i += n {
		group := m.calls[i : i+n]
		seen := make(map[string]bool)
		for _, c := range group {
			seen[c.stack] = true
			if c.cell != group[0].cell {
				t.Errorf("measurements %d to %d are not of one cell", i, i+n-1)
			}
		}
		if len(seen) != n {
			t.Errorf("measurements %d to %d are of the stacks %v", i, i+n-1, seen)
		}
		firsts[group[0].stack]++
	}
	for name, times := range firsts {
		if times > 4 {
			t.Errorf("%s comes first in %d of 12 rounds", name, times)
		}
	}
}

func TestTheOrderOfStacksChangesFromRoundToRound(t *testing.T) {
	const n = 5
	after := make(map[[2]int]int)
	for round := range 2 * n {
		places := order(n, round)
		if sorted := slices.Sorted(slices.Values(places)); !slices.Equal(sorted, []int{0, 1, 2, 3, 4}) {
			t.Fatalf("round %d has the places %v", round, places)
		}
		for i := 1; i < n; i++ {
			after[[2]int{places[i-1], places[i]}]++
		}
	}
	if after[[2]int{0, 1}] == 0 || after[[2]int{1, 0}] == 0 {
		t.Errorf("one of two neighbours always comes after the other: %v", after)
	}
}

func TestAStackThatFailsLeavesTheRestAlone(t *testing.T) {
	m := newFake()
	m.before = func(_ context.Context, c call) error {
		if c.stack == "ttrpc" && c.cell.Work == report.Upload {
			return errors.New("the wire is cut")
		}
		return nil
	}
	m.cannot = func(stack string, cell report.Cell) error {
		if stack == "arpc" && cell.Work != report.Unary {
			return errors.New("it has no streams")
		}
		return nil
	}
	text, err := printed(t, t.Context(), m, "-rounds=4", "-run=^Upload/streams=16/|^Unary/callers=64/size=1KiB/transport=tcp$")
	if !errors.Is(err, errFailed) {
		t.Errorf("got %v, want %v", err, errFailed)
	}
	want(t, text, "failed", "round 1: the wire is cut", "it has no streams", "## What went wrong")
	asked := make(map[call]int)
	for _, c := range m.calls {
		asked[c]++
	}
	upload := report.Cell{Work: report.Upload, Callers: 16, Size: 1 << 10, Transport: measure.TCP}
	unary := report.Cell{Work: report.Unary, Callers: 64, Size: 1 << 10, Transport: measure.TCP}
	for c, times := range map[call]int{
		{"ttrpc", upload}: 1, {"ttrpc", unary}: 4, {"braid", upload}: 4,
		{"arpc", upload}: 0, {"arpc", unary}: 4,
	} {
		if asked[c] != times {
			t.Errorf("%v was measured %d times, want %d", c, asked[c], times)
		}
	}
}

func TestAnInterruptLeavesAReportOfWhatThereIs(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	m := newFake()
	m.before = func(ctx context.Context, _ call) error {
		if len(m.calls) == 2*len(m.names)+3 {
			cancel()
			return ctx.Err()
		}
		return nil
	}
	folder := t.TempDir()
	text, err := printed(t, ctx, m, "-run=^Unary/callers=64/size=1KiB/transport=tcp$", "-out="+folder)
	if !errors.Is(err, errInterrupted) {
		t.Errorf("got %v, want %v", err, errInterrupted)
	}
	want(t, text, documentName, rawName)
	document := read(t, folder, documentName)
	want(t, document, "**Incomplete: interrupted in round 3 of 6, after 14 of 36 measurements.**", "(3 of 6 rounds)")
	if strings.Contains(document, "failed:") {
		t.Error("what was interrupted counts as failed")
	}
	want(t, read(t, folder, folderName, rawName), "incomplete: interrupted in round 3 of 6")
}

// read returns a file as a text.
func read(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestAMeasurementThatHangsIsGivenUp(t *testing.T) {
	for _, obeys := range []bool{true, false} {
		t.Run(fmt.Sprint("obeys=", obeys), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				end := make(chan struct{})
				m := newFake()
				m.before = func(ctx context.Context, c call) error {
					if c.stack != "grpc" {
						return nil
					}
					if obeys {
						<-ctx.Done()
						return ctx.Err()
					}
					<-end
					return nil
				}
				text, err := printed(t, t.Context(), m, "-timeout=3s", "-rounds=4", "-run=^OpenClose/streams=1/")
				if !errors.Is(err, errFailed) {
					t.Errorf("got %v, want %v", err, errFailed)
				}
				want(t, text, "took longer than 3.19s")
				if !obeys {
					want(t, text, errHangs.Error(), "may have worked on beside")
				}
				close(end)
				synctest.Wait()
			})
		})
	}
}

func TestNothingMeasuredIsNoMeasurement(t *testing.T) {
	m := newFake()
	m.names = []string{"braid"}
	_, err := printed(t, t.Context(), nothing{m}, "-rounds=1", "-run=^OpenClose/streams=1/")
	if !errors.Is(err, errFailed) {
		t.Errorf("got %v, want %v", err, errFailed)
	}
}

// nothing does no operation at all.
type nothing struct{ measurer }

func (nothing) Measure(context.Context, string, report.Cell, measure.Options) (report.Sample, error) {
	return report.Sample{Elapsed: time.Second}, nil
}

func TestAWholeRunWritesEverything(t *testing.T) {
	folder := t.TempDir()
	m := newFake()
	text, err := printed(t, t.Context(), m, "-out="+folder, "-rounds=4")
	if err != nil {
		t.Fatal(err)
	}
	document := read(t, folder, documentName)
	if met := strings.Count(document, " met by ") + strings.Count(document, " missed by "); met != 26 {
		t.Errorf("%d aims have an answer, want 26", met)
	}
	if strings.Contains(document, "not measured") {
		t.Error("an aim has no figures")
	}
	for _, p := range plots() {
		want(t, text, p.File)
		want(t, document, "(results/"+p.File+")")
		want(t, read(t, folder, folderName, p.File), "<svg", "</svg>")
	}
	lines := 0
	reader := benchfmt.NewReader(strings.NewReader(read(t, folder, folderName, rawName)), rawName)
	for reader.Scan() {
		if _, ok := reader.Result().(*benchfmt.Result); !ok {
			t.Fatalf("not a result: %v", reader.Result())
		}
		lines++
	}
	if lines != len(m.calls) {
		t.Errorf("%d lines of %d measurements", lines, len(m.calls))
	}
}

func TestLatenciesAreTakenOnlyWhereTheyAreShown(t *testing.T) {
	text, err := printed(t, t.Context(), newFake(), "-run=^(Unary|Mixed)/callers=[1-9]+/size=16B/transport=tcp$", "-rounds=1")
	if err != nil {
		t.Fatal(err)
	}
	_, latencies, _ := strings.Cut(text, "## Latencies")
	latencies, _, _ = strings.Cut(latencies, "## Sweeps")
	want(t, latencies, "Unary/callers=1/", "Unary/callers=64/", "Mixed/callers=4/")
	if n := strings.Count(latencies, "| braid "); n != 3 {
		t.Errorf("%d tables of latencies, want 3", n)
	}
}

func TestAnOldPlotDoesNotStayBesideNewFigures(t *testing.T) {
	folder := t.TempDir()
	old := filepath.Join(folder, folderName, "latency-1.svg")
	if err := errors.Join(makeFolders(folder), os.WriteFile(old, []byte("old"), 0o600)); err != nil {
		t.Fatal(err)
	}
	m := newFake()
	m.cannot = func(string, report.Cell) error { return errors.New("nobody can") }
	if _, err := printed(t, t.Context(), m, "-out="+folder, "-run=^Unary/callers=1/size=16B/transport=tcp$"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(old); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the old plot: %v", err)
	}
}

func TestFlagsThatMakeNoSenseAreRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ flag, say string }{
		{"-rounds=0", "rounds is 0"},
		{"-rounds=101", "from 1 to 100"},
		{"-time=0", "time is 0s"},
		{"-time=61s", "at most 1m0s"},
		{"-warm=-1s", "warm is -1s"},
		{"-warm=61s", "from 0 to 1m0s"},
		{"-timeout=0", "timeout is 0s"},
		{"-run=(", "missing closing"},
		{"-run=^nothing$", "no cell matches"},
		{"-stacks=", "empty name"},
		{"-stacks=grpc", "lacks braid"},
		{"-stacks=braid,nobody", `"nobody" is none of [braid stock`},
		{"-out=" + file, "out: "},
		{"-nothing", "not defined"},
		{"extra", `unexpected argument "extra"`},
	} {
		t.Run(test.flag, func(t *testing.T) {
			m := newFake()
			cfg, err := parse([]string{"-quick", test.flag}, io.Discard)
			if err == nil {
				err = run(t.Context(), cfg, m, io.Discard, nil)
			}
			if err == nil || !strings.Contains(err.Error(), test.say) {
				t.Errorf("got the error %v, want one with %q", err, test.say)
			}
			if len(m.calls) > 0 {
				t.Error("something was measured")
			}
		})
	}
}

func TestAPartOfTheMatrixIsPrintedAndNotWritten(t *testing.T) {
	for _, args := range [][]string{{"-quick"}, {"-run=Upload"}, {"-stacks=braid"}} {
		if cfg := flags(t, args...); cfg.out != "" {
			t.Errorf("%v writes into %q", args, cfg.out)
		}
	}
	if cfg := flags(t, "-quick", "-out=somewhere"); cfg.out != "somewhere" {
		t.Errorf("-out is %q", cfg.out)
	}
}

func TestTheFolderIsFoundFromTheRootAndFromTheModule(t *testing.T) {
	module := filepath.Join("..", "..")
	for from, want := range map[string]string{
		module:                      module,
		filepath.Join(module, ".."): filepath.Join(module, "..", "bench"),
	} {
		var cfg config
		if err := cfg.findOut(from); err != nil || cfg.out != want {
			t.Errorf("from %s: %q, %v, want %q", from, cfg.out, err, want)
		}
	}
	if _, err := parse(nil, io.Discard); err == nil || !strings.Contains(err.Error(), "-out") {
		t.Errorf("from elsewhere: %v", err)
	}
}

func TestRunsEndInTime(t *testing.T) {
	m := newFake()
	m.names = []string{"braid", "b", "c", "grpc", "e", "f", "g", "h", "i", "floor"}
	for _, test := range []struct {
		args []string
		most time.Duration
	}{
		{[]string{"-out=unused"}, 15 * time.Minute},
		{[]string{"-quick"}, 2 * time.Minute},
	} {
		cfg := flags(t, test.args...)
		p, err := newPlan(cfg, m)
		if err != nil {
			t.Fatal(err)
		}
		show := newProgress(cfg, nil)
		var rows []*report.Row
		for _, task := range p.tasks {
			row := &report.Row{Cell: task.cell, Rounds: task.rounds}
			for _, name := range task.stacks {
				row.Sides = append(row.Sides, &report.Side{Stack: name})
			}
			rows = append(rows, row)
		}
		show.begin(rows)
		// Some measurements take much longer than they are asked to.
		if guess := show.remaining(); guess > test.most*2/3 || guess < test.most/10 {
			t.Errorf("%v: %d measurements of %d cells are to take %v", test.args, show.all, len(rows), guess)
		}
	}
}

func TestTheQuickCellsAreAPartOfAll(t *testing.T) {
	all := make(map[report.Cell]bool)
	for _, s := range sections() {
		for _, cell := range s.Cells {
			all[cell] = true
		}
	}
	n := 0
	for _, s := range quickSections() {
		n += len(s.Cells)
		for _, cell := range s.Cells {
			if !all[cell] {
				t.Errorf("%s is not in the whole matrix", cell.Name())
			}
		}
	}
	if n != 9 {
		t.Errorf("%d quick cells, want 9", n)
	}
	for _, p := range quickPlots() {
		for _, cell := range p.Cells {
			if !all[cell] {
				t.Errorf("%s is drawn and not measured", cell.Name())
			}
		}
	}
}

func TestTheTimeLeftFollowsWhatMeasurementsTook(t *testing.T) {
	cfg := config{time: time.Second, quiet: true}
	show := newProgress(cfg, nil)
	cell := cells(report.Unary, 16, 1)[0]
	show.begin([]*report.Row{{Cell: cell, Rounds: 3, Sides: []*report.Side{{Stack: "braid"}, {Stack: "grpc"}, {Stack: "x", Cannot: "no"}}}})
	if show.all != 6 || show.remaining() != (6*(time.Second+overhead)).Round(time.Second) {
		t.Errorf("%d measurements in %v", show.all, show.remaining())
	}
	show.next(cell, "braid", 0)
	show.took(10 * time.Second)
	show.next(cell, "grpc", 0)
	show.failed(3)
	if want := 20 * time.Second; show.remaining() != want || show.done != 4 {
		t.Errorf("%v left after %d, want %v after 4", show.remaining(), show.done, want)
	}
}

// Very many callers are measured for longer, so that each makes several calls.
func TestManyCallersAreMeasuredForLonger(t *testing.T) {
	times := make(map[int]measure.Options)
	f := newFake()
	f.timed = func(cell report.Cell, opts measure.Options) { times[cell.Callers] = opts }
	_, err := printed(t, t.Context(), f, "-run", "^Unary/callers=1?0000?/size=16B/transport=tcp$", "-time=30ms", "-warm=20ms", "-rounds=1", "-q")
	if err != nil {
		t.Fatal(err)
	}
	for callers, want := range map[int]time.Duration{1000: 30 * time.Millisecond, 10_000: 300 * time.Millisecond} {
		if got := times[callers]; got.Time != want || got.Warm != want*2/3 {
			t.Errorf("%d callers are measured for %v after %v, want %v", callers, got.Time, got.Warm, want)
		}
	}
}
