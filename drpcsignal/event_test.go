package drpcsignal_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"braid/drpcsignal"
)

func TestAnEventHappensOnce(t *testing.T) {
	// A channel that was asked for before takes another way through the code.
	for _, early := range []bool{false, true} {
		var e drpcsignal.Event
		var ch <-chan struct{}
		if early {
			ch = e.Signal()
			if e.Signal() != ch {
				t.Error("two channels")
			}
		}
		if e.IsSet() || early && isClosed(ch) {
			t.Errorf("asked early %v: it has happened before Set", early)
		}
		if !e.Set() || e.Set() {
			t.Errorf("asked early %v: not the first Set returns true, or another one does", early)
		}
		if !e.IsSet() || !isClosed(e.Signal()) || early && !isClosed(ch) {
			t.Errorf("asked early %v: it has not happened after Set", early)
		}
	}
}

func TestAnEventWakesEverybodyThatWaits(t *testing.T) {
	// In the bubble a goroutine that is never woken is reported at once.
	synctest.Test(t, func(t *testing.T) {
		for range 2000 {
			var e drpcsignal.Event
			var first atomic.Int32
			var wg sync.WaitGroup
			for range 2 {
				wg.Go(e.Wait)
				wg.Go(func() { <-e.Signal() })
				wg.Go(func() {
					if e.Set() {
						first.Add(1)
					}
					if !e.IsSet() {
						t.Error("it has not happened after Set")
					}
				})
			}
			wg.Wait()
			if n := first.Load(); n != 1 {
				t.Fatalf("%d of two racers were the first", n)
			}
		}
	})
}

func TestAnEventThatNobodyWaitsForTakesNoStorage(t *testing.T) {
	events := make([]drpcsignal.Event, 200)
	if n := testing.AllocsPerRun(len(events)/2, func() {
		e := &events[0]
		events = events[1:]
		e.Set()
		<-e.Signal()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
