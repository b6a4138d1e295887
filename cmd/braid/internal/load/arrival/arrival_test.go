package arrival

import (
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"braid/cmd/braid/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// start makes a schedule that begins now.
func start(opts Options) *Schedule {
	begin := time.Now()
	opts.Now = func() time.Duration { return time.Since(begin) }
	opts.Alarm = NewTimer()
	if opts.Queue == 0 {
		opts.Queue = math.MaxInt
	}
	return New(opts)
}

// takeAll takes until there is nothing more, without ever being late.
func takeAll(t *testing.T, s *Schedule) []time.Duration {
	t.Helper()
	var all []time.Duration
	for {
		due, ok := s.Take()
		if !ok {
			return all
		}
		if now := s.opts.Now(); now-due > time.Nanosecond {
			t.Fatalf("what was due at %v was handed out at %v", due, now)
		}
		all = append(all, due)
	}
}

func TestConstantArrivalsAreEquallyFarApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := takeAll(t, start(Options{Rate: 3, End: 10 * time.Second}))
		if len(all) != 30 {
			t.Fatalf("%d were due", len(all))
		}
		for i, due := range all {
			if want := time.Duration(math.Round(float64(i) / 3 * float64(time.Second))); due != want {
				t.Errorf("number %d was due at %v, want %v", i, due, want)
			}
		}
	})
}

func TestPoissonArrivalsAreAsManyAndTheSameEachTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := Options{Rate: 1000, Process: Poisson, End: 100 * time.Second}
		first, second := takeAll(t, start(opts)), takeAll(t, start(opts))
		if len(first) != len(second) || first[1000] != second[1000] {
			t.Errorf("the second time is another one")
		}
		// 100,000, with a standard deviation of 316.
		if n := len(first); n < 98_500 || n > 101_500 {
			t.Errorf("%d were due", n)
		}
		// Of exponential distances, 1-1/e are below the mean.
		below := 0
		for i := range len(first) - 1 {
			if first[i+1]-first[i] < time.Millisecond {
				below++
			}
		}
		if share := float64(below) / float64(len(first)); share < 0.62 || share > 0.645 {
			t.Errorf("%.3f of the distances are below the mean, want 0.632", share)
		}
	})
}

func TestCountEndsASchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(Options{Rate: 10, Count: 7})
		if all := takeAll(t, s); len(all) != 7 {
			t.Errorf("%d were due", len(all))
		}
		if st := s.Stats(); st.Due != 7 || st.Taken != 7 || st.Queued != 0 || st.GivenUp != 0 {
			t.Errorf("%+v", st)
		}
	})
}

func TestWhatWasNotTakenInTimeIsTakenLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(Options{Rate: 100, End: 5 * time.Second})
		time.Sleep(time.Second)
		for i := range 101 { // with that at 0 s and that at 1 s
			if due, ok := s.Take(); !ok || due != time.Duration(i)*10*time.Millisecond {
				t.Fatalf("number %d was due at %v, %v", i, due, ok)
			}
		}
		if now := s.opts.Now(); now != time.Second {
			t.Errorf("it took until %v", now)
		}
		if st := s.Stats(); st.Behind != time.Second || st.Queued != 0 {
			t.Errorf("%+v", st)
		}
	})
}

func TestAboveItsBoundTheQueueGivesUpWhatComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(Options{Rate: 100, End: 5 * time.Second, Queue: 30})
		time.Sleep(time.Second + time.Millisecond)
		st := s.Stats()
		if st.Due != 101 || st.Queued != 30 || st.GivenUp != 71 || st.BehindNow != time.Second+time.Millisecond {
			t.Errorf("%+v", st)
		}
		// The oldest are kept.
		for i := range 30 {
			if due, _ := s.Take(); due != time.Duration(i)*10*time.Millisecond {
				t.Fatalf("number %d was due at %v", i, due)
			}
		}
		if due, _ := s.Take(); due != 1010*time.Millisecond {
			t.Errorf("the next one was due at %v", due)
		}
	})
}

func TestAQueueThatIsNeverEmptyDoesNotGrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(Options{Rate: 1000, End: time.Hour})
		time.Sleep(3 * time.Second)
		for i := range 100_000 {
			if due, ok := s.Take(); !ok || due != time.Duration(i)*time.Millisecond {
				t.Fatalf("number %d was due at %v, %v", i, due, ok)
			}
			time.Sleep(time.Millisecond)
		}
		if n := cap(s.queue); n > 20_000 {
			t.Errorf("there is room for %d where some 3,000 are due", n)
		}
	})
}

func TestStopWakesAllWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(Options{Rate: 0.001, End: time.Hour})
		if _, ok := s.Take(); !ok {
			t.Fatal("the first one is due at once")
		}
		var takers sync.WaitGroup
		for range 5 {
			takers.Go(func() {
				if due, ok := s.Take(); ok {
					t.Errorf("%v was handed out", due)
				}
			})
		}
		time.Sleep(time.Second)
		s.Stop()
		s.Stop()
		takers.Wait()
		if now := s.opts.Now(); now != time.Second {
			t.Errorf("they woke at %v", now)
		}
		// Time has stopped with it.
		time.Sleep(time.Hour)
		if st := s.Stats(); st.Due != 1 || st.Queued != 0 {
			t.Errorf("%+v", st)
		}
		if _, ok := s.Take(); ok {
			t.Error("something is handed out later")
		}
	})
}

func TestEachTimeIsHandedOutOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(Options{Rate: 10_000, End: time.Second})
		var mu sync.Mutex
		seen := make(map[time.Duration]bool)
		var takers sync.WaitGroup
		for range 20 {
			takers.Go(func() {
				for {
					due, ok := s.Take()
					if !ok {
						return
					}
					mu.Lock()
					if seen[due] {
						t.Errorf("%v was handed out twice", due)
					}
					seen[due] = true
					mu.Unlock()
				}
			})
		}
		takers.Wait()
		if len(seen) != 10_000 {
			t.Errorf("%d were handed out", len(seen))
		}
	})
}

// As long as somebody is free, nothing is late, however busy the others are.
func TestWhoIsFreeIsWokenInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(Options{Rate: 10, End: time.Minute})
		var takers sync.WaitGroup
		for range 12 {
			takers.Go(func() {
				for {
					due, ok := s.Take()
					if !ok {
						return
					}
					if now := s.opts.Now(); now != due {
						t.Errorf("what was due at %v was handed out at %v", due, now)
					}
					time.Sleep(time.Second)
				}
			})
		}
		takers.Wait()
		if st := s.Stats(); st.Taken != 600 || st.Behind != 0 {
			t.Errorf("%+v", st)
		}
	})
}

// Those who were busy while much was due share what has come together.
func TestAllWhoAreFreeCatchUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(Options{Rate: 1000, Count: 1001})
		first, _ := s.Take()
		if first != 0 {
			t.Fatal(first)
		}
		var takers sync.WaitGroup
		for range 10 {
			takers.Go(func() {
				time.Sleep(time.Second) // until all are due
				for {
					if _, ok := s.Take(); !ok {
						return
					}
					time.Sleep(10 * time.Millisecond)
				}
			})
		}
		takers.Wait()
		if took := s.opts.Now(); took != 2*time.Second {
			t.Errorf("1,000 calls of 10 ms by 10 took until %v", took)
		}
	})
}

func TestRatesAtTheirLimitsDoNotOverflow(t *testing.T) {
	if got := seconds(1e300); got != math.MaxInt64 {
		t.Errorf("%v", got)
	}
	synctest.Test(t, func(t *testing.T) {
		if all := takeAll(t, start(Options{Rate: 0.001, End: 24 * time.Hour})); len(all) != 87 {
			t.Errorf("%d were due in a day", len(all))
		}
	})
}

func TestTheAlarmOfTheSystemWaitsAndStops(t *testing.T) {
	a := NewAlarm()
	defer a.Close()
	for _, d := range []time.Duration{-time.Second, 0, 1, time.Millisecond, 20 * time.Millisecond} {
		begin := time.Now()
		if !a.Wait(d) {
			t.Fatalf("it did not wait for %v", d)
		}
		if took := time.Since(begin); took < d {
			t.Errorf("it waited %v in place of %v", took, d)
		}
	}
	done := make(chan bool)
	go func() { done <- a.Wait(time.Hour) }()
	a.Stop()
	if <-done {
		t.Error("an hour has passed")
	}
	if a.Wait(0) || a.Wait(time.Nanosecond) {
		t.Error("it goes on after it was stopped")
	}
	a.Stop()
}
