package measure

import (
	"sync"
	"testing"
	"time"
)

func TestLatencyKeepsTheDistribution(t *testing.T) {
	l := NewLatency()
	var all sync.WaitGroup
	for i := range 10 {
		all.Go(func() {
			for n := range 100 {
				l.Add(time.Duration(100*i+n+1) * time.Millisecond)
			}
		})
	}
	all.Wait()
	d := l.Distribution()
	if d.Count != 1000 {
		t.Errorf("%d durations", d.Count)
	}
	for _, q := range []struct {
		name      string
		got, want time.Duration
	}{
		{"p50", d.P50, 500 * time.Millisecond},
		{"p90", d.P90, 900 * time.Millisecond},
		{"p99", d.P99, 990 * time.Millisecond},
		{"p99.9", d.P999, 999 * time.Millisecond},
		{"max", d.Max, 1000 * time.Millisecond},
	} {
		// Three significant digits are kept.
		if diff := q.got - q.want; diff < -q.want/500 || diff > q.want/500 {
			t.Errorf("%s is %v, want %v", q.name, q.got, q.want)
		}
	}
}

func TestLatencyTakesAnything(t *testing.T) {
	l := NewLatency()
	l.Add(-time.Second)
	l.Add(0)
	l.Add(1000 * time.Hour)
	if d := l.Distribution(); d.Count != 3 || d.Max < longest-longest/500 {
		t.Errorf("%+v", d)
	}
}

func TestPeakIsAtLeastWhatItSees(t *testing.T) {
	p := WatchPeak(time.Hour)
	before := p.most
	stop := make(chan struct{})
	var held sync.WaitGroup
	for range 50 {
		held.Go(func() { <-stop })
	}
	// In place of the hour.
	p.cancel()
	p.done.Wait()
	p.look()
	close(stop)
	held.Wait()
	most := p.Stop()
	if most.Goroutines < 50 || most.Heap < before.Heap {
		t.Errorf("%+v after %+v", most, before)
	}
	if p.Stop() != most {
		t.Error("a second stop says something else")
	}
}

func TestAtRestBelowDoesNotWaitForEver(t *testing.T) {
	if AtRestBelow(0, time.Millisecond).Goroutines == 0 {
		t.Error("no goroutine is left to run this")
	}
}
