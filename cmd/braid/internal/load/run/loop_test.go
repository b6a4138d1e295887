package run

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"braid/cmd/braid/internal/load/arrival"
	"braid/cmd/braid/internal/load/blob"
)

// stalls is a server that answers after a millisecond, but for one second, from 3 s on
// since it was made, in which it answers nothing.
func stalls() *fake {
	begin := time.Now()
	return &fake{serve: func(ctx context.Context, _ int, in, out *blob.Message) error {
		after := time.Millisecond
		if at := time.Since(begin); at >= 3*time.Second && at < 4*time.Second {
			after += 4*time.Second - at
		}
		return echo(ctx, after, in, out)
	}}
}

// Of 100 calls a second, 100 are due while the server stalls for a second, and each of
// them has waited for what was left of it.
func TestAnOpenLoopSeesAStallInEveryCallThatWasDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		res := New(usual(stalls(), func(o *Options) { o.Rate = 100 })).Run(t.Context())
		if res.OK != 1000 || res.Failed+res.Unfinished != 0 || res.Open.Due != 1000 || res.Open.NotSent != 0 {
			t.Fatalf("%+v, %+v", res, res.Open)
		}
		for _, test := range []struct {
			above       time.Duration
			least, most int64
		}{
			{0, 1000, 1000},
			// Some more calls come while four callers make up for the second.
			{10 * time.Millisecond, 98, 106},
			{250 * time.Millisecond, 74, 78},
			{500 * time.Millisecond, 49, 53},
			{750 * time.Millisecond, 24, 28},
			{1010 * time.Millisecond, 0, 0},
		} {
			if n := above(res.Latency, test.above); n < test.least || n > test.most {
				t.Errorf("%d latencies are above %v, want %d to %d", n, test.above, test.least, test.most)
			}
		}
		// Who has sent had to wait, and the others were not sent yet.
		if n := above(res.Service, 10*time.Millisecond); n != 4 {
			t.Errorf("%d calls took long once they were sent, want those of the 4 callers", n)
		}
		if b := res.Open.Behind; b < 950*time.Millisecond || b > time.Second {
			t.Errorf("behind by %v", b)
		}
		if n, want := above(res.Late, 10*time.Millisecond), above(res.Latency, 10*time.Millisecond)-4; n < want-2 || n > want+2 {
			t.Errorf("%d calls were sent late, want %d", n, want)
		}
	})
}

// The same stall is four calls where each caller waits for its answer: one in ten
// thousand, and the 99.9th percentile knows nothing of it.
func TestAClosedLoopHidesTheSameStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		res := New(usual(stalls(), nil)).Run(t.Context())
		if n := above(res.Latency, 10*time.Millisecond); n != 4 {
			t.Errorf("%d latencies tell of it", n)
		}
		if p := time.Duration(res.Latency.ValueAtPercentile(99.9)); p > 2*time.Millisecond {
			t.Errorf("the 99.9th percentile is %v", p)
		}
		if res.Open != nil || res.Late != nil || res.Service != res.Latency {
			t.Error("it has figures of an open loop")
		}
		if res.OK < 35_000 || res.OK > 36_010 {
			t.Errorf("%d calls", res.OK)
		}
	})
}

func TestAnOpenLoopThatIsTooSlowCountsWhatItNeverSends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// 4 callers at a millisecond each are 4,000 calls a second of 10,000.
		server := steady()
		res := New(usual(server, func(o *Options) { o.Rate = 10_000 })).Run(t.Context())
		o := res.Open
		if o.Due != 100_000 || res.OK+o.NotSent != o.Due || int(res.OK) != server.count() {
			t.Errorf("%d ok, %+v", res.OK, o)
		}
		// For its 10 seconds, and one more.
		if res.OK < 43_900 || res.OK > 44_100 || res.Elapsed < 11*time.Second || res.Elapsed > 11*time.Second+2*time.Millisecond {
			t.Errorf("%d ok in %v", res.OK, res.Elapsed)
		}
		if o.GivenUp != 0 || o.BehindEnd < 6500*time.Millisecond || o.BehindEnd > 6700*time.Millisecond || o.Behind < o.BehindEnd {
			t.Errorf("%+v", o)
		}
	})
}

func TestAFullQueueIsToldApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		res := New(usual(steady(), func(o *Options) { o.Rate, o.Queue = 10_000, 100 })).Run(t.Context())
		o := res.Open
		if res.OK+o.NotSent != o.Due || o.GivenUp == 0 || o.GivenUp != o.NotSent {
			t.Errorf("%d ok, %+v", res.OK, o)
		}
		// 100 calls are 25 ms of 4 callers.
		if most := time.Duration(res.Latency.Max()); most > 30*time.Millisecond {
			t.Errorf("a call took %v", most)
		}
		if res.Elapsed > 10*time.Second+30*time.Millisecond {
			t.Errorf("it took %v", res.Elapsed)
		}
	})
}

func TestAnOpenLoopKeepsItsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, process := range []arrival.Process{arrival.Constant, arrival.Poisson} {
			server := steady()
			res := New(usual(server, func(o *Options) {
				o.Rate, o.Arrivals, o.Workers = 500, process, 20
			})).Run(t.Context())
			if res.Ending != Completed || res.OK < 4700 || res.OK > 5300 || res.OK != res.Open.Due {
				t.Errorf("%d ok, %+v", res.OK, res.Open)
			}
			if process == arrival.Constant && server.most != 1 {
				t.Errorf("%d at the same time", server.most)
			}
			if process == arrival.Poisson && server.most < 3 {
				t.Errorf("%d at the same time: they do not cluster", server.most)
			}
			if most := time.Duration(res.Late.Max()); most > time.Microsecond {
				t.Errorf("sent late by %v, with a clock that is exact", most)
			}
		}
	})
}

func TestCountIsExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, rate := range []float64{0, 100} {
			for _, count := range []int64{1, 3, 1001} {
				server := steady()
				res := New(usual(server, func(o *Options) {
					o.Rate, o.Duration, o.Count = rate, 0, count
				})).Run(t.Context())
				if res.OK != count || int64(server.count()) != count || res.Ending != Completed {
					t.Errorf("%d ok of %d", res.OK, count)
				}
			}
		}
	})
}

func TestAWarmUpIsNotMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := steady()
		slow := server.serve
		server.serve = func(ctx context.Context, n int, in, out *blob.Message) error {
			if n <= 4 {
				return echo(ctx, time.Second, in, out)
			}
			return slow(ctx, n, in, out)
		}
		res := New(usual(server, func(o *Options) { o.Warmup = 2 * time.Second })).Run(t.Context())
		if most := time.Duration(res.Latency.Max()); most > 2*time.Millisecond || !res.Measured {
			t.Errorf("the slowest took %v", most)
		}
		if all := int64(server.count()); all < res.OK+3900 || res.Elapsed > 10*time.Second+time.Millisecond {
			t.Errorf("%d calls, %d of them measured in %v", all, res.OK, res.Elapsed)
		}
	})
}

func TestAWarmUpGoesByTimeAndTheRestByCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := steady()
		res := New(usual(server, func(o *Options) {
			o.Warmup, o.Duration, o.Count = time.Second, 0, 10
		})).Run(t.Context())
		if n := server.count(); res.OK != 10 || n < 3990 || n > 4020 {
			t.Errorf("%d calls, %d of them measured", n, res.OK)
		}
	})
}

func TestSamplesTellHowItGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var samples []Sample
		res := New(usual(steady(), func(o *Options) {
			o.Warmup, o.Duration = 2*time.Second, 3*time.Second
			o.Every, o.Watch = time.Second, func(s Sample) { samples = append(samples, s) }
		})).Run(t.Context())
		if len(samples) < 4 {
			t.Fatalf("there were %d", len(samples))
		}
		var ok int64
		for i, s := range samples {
			if s.Warmup != (s.Total == 2*time.Second) || s.Interval != time.Second || s.OK < 3990 || s.OK > 4010 ||
				s.P50 < 990*time.Microsecond || s.P99 > 1020*time.Microsecond || s.Failed != 0 {
				t.Errorf("number %d is %+v", i, s)
			}
			if !s.Warmup {
				if ok += s.OK; s.Done != ok {
					t.Errorf("%d were done, and %d shown", s.Done, ok)
				}
			}
		}
		if ok > res.OK {
			t.Errorf("%d were shown, and %d done", ok, res.OK)
		}
	})
}
