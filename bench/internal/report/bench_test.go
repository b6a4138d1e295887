package report

import (
	"bytes"
	"math"
	"testing"

	"golang.org/x/perf/benchfmt"
)

// parsed returns what WriteBenchmarks writes, as benchstat reads it.
func parsed(t *testing.T, res *Results) []*benchfmt.Result {
	t.Helper()
	var out bytes.Buffer
	if err := WriteBenchmarks(&out, res); err != nil {
		t.Fatal(err)
	}
	var all []*benchfmt.Result
	reader := benchfmt.NewReader(&out, "results.txt")
	for reader.Scan() {
		result, ok := reader.Result().(*benchfmt.Result)
		if !ok {
			t.Fatalf("not a result: %v", reader.Result())
		}
		all = append(all, result.Clone())
	}
	if err := reader.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestBenchmarksAreTheSameForTheSameFigures(t *testing.T) {
	res := fakeResults()
	res.Rows = res.Rows[:1]
	var out bytes.Buffer
	if err := WriteBenchmarks(&out, res); err != nil {
		t.Fatal(err)
	}
	golden(t, "results.txt", out.Bytes())
}

func TestBenchmarksReadBackAsWhatWasMeasured(t *testing.T) {
	res := fakeResults()
	res.Incomplete = "interrupted: too soon"
	all := parsed(t, res)
	i := 0
	for _, row := range res.Rows {
		for _, side := range row.Sides {
			for _, sample := range side.Samples {
				got := all[i]
				i++
				if want := benchmarkName(row.Cell, side.Stack, res.Procs).String(); got.Name.String() != want {
					t.Fatalf("line %d is %s, want %s", i, got.Name, want)
				}
				checkValue(t, got, "sec/op", sample.Nanos()/1e9)
				checkValue(t, got, "B/op", sample.Bytes)
				checkValue(t, got, "allocs/op", sample.Allocs)
				if got.Iters != int(sample.Ops) {
					t.Errorf("%s: %d operations, want %d", got.Name, got.Iters, sample.Ops)
				}
			}
		}
	}
	if i != len(all) {
		t.Errorf("%d lines, want %d", len(all), i)
	}
	for key, want := range map[string]string{
		"date": "", // Runs of two days can be compared.
		"goos": "linux", "cpu": "Imagined CPU", "go": "go1.99",
		"stack-grpc": "example.org/grpc v1.2.3", "incomplete": "interrupted: too soon",
	} {
		if got := all[0].GetConfig(key); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
}

// checkValue checks a value of a line. A value that is not a number is not in
// the line.
func checkValue(t *testing.T, result *benchfmt.Result, unit string, want float64) {
	t.Helper()
	got, ok := result.Value(unit)
	if ok == math.IsNaN(want) || ok && math.Abs(got-want) > want/1000 {
		t.Errorf("%s: %v %s, %v, want %v", result.Name, got, unit, ok, want)
	}
}

func TestLatenciesAreInSeconds(t *testing.T) {
	res := fakeResults()
	res.Rows = []*Row{res.row(cell(Unary, 64, 16))}
	result := parsed(t, res)[0]
	checkValue(t, result, "p50-sec", percentile(50)(res.Rows[0].Sides[0].Samples[0])/1e9)
	checkValue(t, result, "p99.9-sec", percentile(99.9)(res.Rows[0].Sides[0].Samples[0])/1e9)
}

func TestNamesOfStacksDoNotBreakNamesOfBenchmarks(t *testing.T) {
	c := cell(Unary, 64, 16)
	for _, test := range []struct {
		procs, own int
		stack      string
		want       string
	}{
		{1, 0, "net/rpc", "Unary/callers=64/size=16B/transport=tcp/stack=netrpc"},
		{2, 0, "stock with drpcpool", "Unary/callers=64/size=16B/transport=tcp/stack=stock-with-drpcpool-2"},
		{2, 1, "a=b", "Unary/callers=64/size=16B/transport=tcp/stack=a-b"},
		{2, 8, "braid", "Unary/callers=64/size=16B/transport=tcp/stack=braid-8"},
	} {
		c.Procs = test.own
		if got := benchmarkName(c, test.stack, test.procs).String(); got != test.want {
			t.Errorf("got %s, want %s", got, test.want)
		}
	}
	if got := configKey("Net/RPC: x"); got != "netrpc--x" {
		t.Errorf("got the key %q", got)
	}
}
