package latency

import (
	"sync"
	"testing"
	"time"
)

func TestARecorderHasTheLatenciesOfAllCallersSinceTheLastReset(t *testing.T) {
	var r Recorder
	if n := r.Histogram().TotalCount(); n != 0 {
		t.Errorf("%d latencies before any was recorded", n)
	}
	const callers, each = 3 * shards, 100
	record := func(d time.Duration) {
		var wg sync.WaitGroup
		for caller := range callers {
			wg.Go(func() {
				for range each {
					r.Record(caller, d)
				}
			})
		}
		wg.Wait()
	}
	record(time.Second)
	r.Reset()
	record(time.Millisecond)
	record(2 * longest)
	hist := r.Histogram()
	if n := hist.TotalCount(); n != 2*callers*each {
		t.Errorf("%d latencies, want %d", n, 2*callers*each)
	}
	if got := time.Duration(hist.ValueAtQuantile(25)).Round(10 * time.Microsecond); got != time.Millisecond {
		t.Errorf("the lower half is %v, want 1ms", got)
	}
	if got := time.Duration(hist.Max()); got < longest || got > longest*1001/1000 {
		t.Errorf("the longest is %v, want %v", got, longest)
	}
}
