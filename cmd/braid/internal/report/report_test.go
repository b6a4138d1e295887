package report

import (
	"strings"
	"testing"
	"time"

	"braid/cmd/braid/internal/copier"
	"braid/cmd/braid/internal/measure"
	"braid/cmd/braid/internal/stall"
	"braid/cmd/braid/internal/tree"
	"braid/cmd/braid/internal/wire"
)

func work(streams int64) copier.Work {
	t := new(wire.Traffic)
	t.Streams.Store(streams)
	t.Sent.Store(2 * streams)
	t.Received.Store(3 * streams)
	t.SentBytes.Store(1024 * streams)
	t.ReceivedSize.Store(10 * streams)
	return copier.Work{Traffic: t}
}

func TestTheWholeReport(t *testing.T) {
	calls := work(1000)
	calls.Latency = measure.Distribution{
		Count: 1000, P50: time.Millisecond, P90: 2 * time.Millisecond, P99: 3 * time.Millisecond,
		P999: 4 * time.Millisecond, Max: 5 * time.Millisecond,
	}
	rep := &Report{
		Connection: "one, a to b, TCP",
		Files:      3, Skipped: 1, Unreadable: 1,
		Result: &copier.Result{
			Elapsed: 2 * time.Second, Copying: time.Second, Copied: make([]tree.File, 2), Bytes: 4096, Failed: 1,
			Uploads: work(3), Cancels: work(0), Calls: calls, Chat: work(0), Control: work(2),
		},
		Before: measure.Process{Goroutines: 3, Heap: 1024},
		During: measure.Process{Goroutines: 1234, Heap: 1 << 20},
		After:  measure.Process{Goroutines: 3, Heap: 2048},
		Checks: []Check{{true, "good"}, {false, "bad"}},
	}
	const want = `connection  one, a to b, TCP
files       2 of 3 copied, 2 failed, 1 skipped
size        4.0 KiB in 1.00 s, 4.0 KiB/s

          streams  messages sent  received  bytes sent  received
uploads         3              6         9     3.0 KiB      30 B
canceled        0              0         0         0 B       0 B
calls       1,000          2,000     3,000  1000.0 KiB   9.8 KiB
chat            0              0         0         0 B       0 B
control         2              4         6     2.0 KiB      20 B
total       1,005          2,010     3,015  1005.0 KiB   9.8 KiB

latency         count  per second      p50      p90      p99    p99.9      max
calls           1,000         500  1.00 ms  2.00 ms  3.00 ms  4.00 ms  5.00 ms
uploads             0           -        -        -        -        -        -
chat                0           -        -        -        -        -        -
cancel noticed      0           -        -        -        -        -        -

process      before  during (peak)    after
goroutines        3          1,234        3
heap        1.0 KiB        1.0 MiB  2.0 KiB

ok      good
FAILED  bad
`
	var out strings.Builder
	if err := rep.Write(&out); err != nil {
		t.Fatal(err)
	}
	if out.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", out.String(), want)
	}
	if rep.OK() {
		t.Error("a failed check is fine")
	}
	rep.Checks = rep.Checks[:1]
	if !rep.OK() {
		t.Error("it is not fine")
	}
}

func TestStalledStreamsHaveTablesOfTheirOwn(t *testing.T) {
	calls := func(n int64, d time.Duration) measure.Distribution {
		return measure.Distribution{Count: n, P50: d, P90: 2 * d, P99: 3 * d, P999: 4 * d, Max: 5 * d}
	}
	rep := &Report{Result: &copier.Result{
		Uploads: work(0), Cancels: work(0), Calls: work(0), Chat: work(0), Control: work(0), Stalled: work(2),
		Stall: &copier.Stall{
			Before: copier.Phase{Elapsed: 2 * time.Second, Calls: calls(2000, time.Millisecond)},
			During: copier.Phase{Elapsed: time.Second, Calls: calls(500, 2*time.Millisecond)},
			Streams: []stall.Held{
				{Name: "upload", Messages: 60, Bytes: 60 << 10, Within: time.Millisecond, For: 3 * time.Second, Total: 8 << 20},
				{Name: "download", Messages: 6, Bytes: 6 << 10, Within: 10 * time.Millisecond, For: 2 * time.Second, Total: 8 << 20},
			},
		},
	}}
	const want = `
stalled   messages  bytes sent   within  then held for  arrived in the end
upload          60    60.0 KiB  1.00 ms         3.00 s             8.0 MiB
download         6     6.0 KiB  10.0 ms         2.00 s             8.0 MiB

the stall        per second      p50      p90      p99    p99.9      max
calls before it       1,000  1.00 ms  2.00 ms  3.00 ms  4.00 ms  5.00 ms
calls during it         500  2.00 ms  4.00 ms  6.00 ms  8.00 ms  10.0 ms
  during/before        0.50     2.00     2.00     2.00     2.00     2.00

process `
	var out strings.Builder
	if err := rep.Write(&out); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), want) || !strings.Contains(out.String(), "\nstalled         2 ") {
		t.Errorf("got:\n%s\nwant in it:\n%s", out.String(), want)
	}
}

func TestARatioToNothingIsNotWritten(t *testing.T) {
	if got := ratio(int64(5), 0); got != "-" {
		t.Errorf("%q", got)
	}
}

func TestNothingTakesNoTime(t *testing.T) {
	if rate(5, 0) != 0 {
		t.Error("something was divided by zero")
	}
}
