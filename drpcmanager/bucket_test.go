package drpcmanager

import (
	"testing"
	"time"
)

// CountPairs is countPairs, for the tests.
var CountPairs = countPairs

// Defaults returns what the options mean that are zero, by the names that
// docs/limits.md gives them. Durations are in nanoseconds.
func Defaults() map[string]int64 {
	var l Limits
	var w Window
	var k Keepalive
	var o Options
	return map[string]int64{
		"Reader.MaximumBufferSize":          int64(o.Reader.Limit()),
		"Limits.Streams":                    int64(l.streams()),
		"Limits.MethodName":                 int64(l.methodName()),
		"Limits.Metadata":                   int64(l.metadata()),
		"Limits.MetadataPairs":              int64(l.metadataPairs()),
		"Limits.IncompleteInvokes":          int64(l.incomplete()),
		"Limits.IncompleteBytes":            int64(l.incompleteBytes()),
		"Limits.InvokeTimeout":              int64(l.invoke()),
		"Limits.IdleFrames":                 int64(l.idleFrames()),
		"Limits.IdleFramesPerSecond":        int64(l.idlePerSecond()),
		"Limits.FrameTimeout":               int64(l.frame()),
		"Limits.WriteTimeout":               int64(l.write()),
		"Window.Initial":                    int64(w.initial()),
		"Window.Maximum":                    int64(w.maximum()),
		"Window.Budget":                     int64(w.budget()),
		"Window.Total":                      int64(w.total()),
		"Keepalive.Interval, on a client":   int64(k.interval(false)),
		"Keepalive.Interval, on a server":   int64(k.interval(true)),
		"Keepalive.Timeout":                 int64(k.timeout()),
		"pings of the peer, while it calls": int64(minPingBusy),
		"pings of the peer, otherwise":      int64(minPingIdle),
	}
}

func TestABucketIsFullAtFirstAndRefilledWithTime(t *testing.T) {
	b := newBucket(3, 2)
	now := time.Unix(1000, 0)
	takes := func(at time.Duration, want int) {
		t.Helper()
		got := 0
		for b.take(now.Add(at)) {
			got++
		}
		if got != want {
			t.Errorf("%d were taken after %v, want %d", got, at, want)
		}
	}
	takes(0, 3)
	takes(0, 0)
	takes(499*time.Millisecond, 0)
	takes(500*time.Millisecond, 1) // what a refused one came for counts, too
	takes(2500*time.Millisecond, 3)
	takes(time.Hour, 3) // never more than its size
}

// Whatever the times are, no more is let through than the size and what has
// flowed in since.
func TestABucketNeverLetsMoreThrough(t *testing.T) {
	for _, rate := range []int{1, 7, 200} {
		for _, step := range []time.Duration{time.Microsecond, time.Millisecond, 100 * time.Millisecond, time.Second} {
			const size = 10
			b := newBucket(size, rate)
			start := time.Unix(1000, 0)
			taken := 0
			for i := range 3000 {
				now := start.Add(time.Duration(i) * step)
				if b.take(now) {
					taken++
				}
				most := size + now.Sub(start).Seconds()*float64(rate)
				if float64(taken) > most+1e-6 {
					t.Fatalf("rate %d, step %v: %d taken after %v, more than %f", rate, step, taken, now.Sub(start), most)
				}
			}
			least := min(3000, size+2999*step.Seconds()*float64(rate))
			if float64(taken) < least-1.01 {
				t.Errorf("rate %d, step %v: %d taken, want about %f", rate, step, taken, least)
			}
		}
	}
}

func TestABucketWithoutALimitIsNeverEmpty(t *testing.T) {
	l := Limits{IdleFrames: -1, IdleFramesPerSecond: -1}
	b := newBucket(l.idleFrames(), l.idlePerSecond())
	now := time.Unix(1000, 0)
	for range 100_000 {
		if !b.take(now) {
			t.Fatal("it was empty")
		}
	}
}
