package drpcserver

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"braid/drpcstream"
)

// runFunc runs a call as a function of its name.
type runFunc func(rpc string)

func (f runFunc) run(_ *drpcstream.Stream, rpc string) { f(rpc) }

func (runFunc) failed(*drpcstream.Stream, string, any) {}

// newTestWorkers are workers whose calls are functions: what run does with the name of
// each.
func newTestWorkers(run func(rpc string)) *workers {
	return newWorkers(runFunc(run), new(atomic.Int64))
}

// Each of the calls waits until all of them have begun.
func TestACallThatBlocksHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const calls = 1000
		var all sync.WaitGroup
		all.Add(calls)
		w := newTestWorkers(func(string) {
			all.Done()
			all.Wait()
		})
		for range calls {
			w.start(new(drpcstream.Stream), "")
		}
		w.wait()
	})
}

func TestQuickCallsShareGoroutines(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var ran atomic.Int64
	w := newTestWorkers(func(string) { ran.Add(1) })
	const calls = 1000
	for range calls {
		w.start(new(drpcstream.Stream), "")
	}
	for ran.Load() < calls {
		runtime.Gosched()
	}
	w.mu.Lock()
	idle := len(w.idle)
	w.mu.Unlock()
	if idle > 10 { // or two, unless the runtime has preempted one
		t.Errorf("%d goroutines for %d calls that do not block", idle, calls)
	}
	w.wait()
}

// A handler may end its goroutine (runtime.Goexit, as testing.T.Fatal does).
func TestAGoroutineThatEndsLeavesItsCallsToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ran atomic.Int64
		w := newTestWorkers(func(rpc string) {
			ran.Add(1)
			if rpc == "exit" {
				runtime.Goexit()
			}
		})
		for range 100 {
			for _, rpc := range []string{"exit", "", "exit", "exit", ""} {
				w.start(new(drpcstream.Stream), rpc)
			}
			synctest.Wait()
		}
		w.wait()
		if n := ran.Load(); n != 500 {
			t.Errorf("%d calls of 500 ran", n)
		}
	})
}

func TestWaitReturnsAfterTheLastCall(t *testing.T) {
	for range 200 {
		var begun, ran atomic.Int64
		w := newTestWorkers(func(string) {
			begun.Add(1)
			runtime.Gosched()
			ran.Add(1)
		})
		for range 50 {
			w.start(new(drpcstream.Stream), "")
		}
		w.wait()
		if ran.Load() != 50 || begun.Load() != 50 {
			t.Fatalf("%d calls of 50 have ended", ran.Load())
		}
		if n := w.total.Load(); n != 0 {
			t.Fatalf("%d goroutines count as idle", n)
		}
	}
}

// The line is a queue whose storage is used again, and does not grow with the number of
// calls that ever were in it.
func TestTheLineOfCallsStaysAsLongAsItHasToBe(t *testing.T) {
	w := newTestWorkers(func(string) {})
	w.coming = comingAtOnce // nobody comes
	want, next := 0, 0
	put := func() {
		w.start(new(drpcstream.Stream), string(rune(next)))
		next++
	}
	for range 10 {
		put()
	}
	for range 100_000 {
		put()
		w.mu.Lock()
		if j := w.takeLocked(); j.rpc != string(rune(want)) {
			t.Fatalf("got call %q, want %q", j.rpc, string(rune(want)))
		}
		want++
		w.mu.Unlock()
		next, want = next%50_000, want%50_000
	}
	if cap(w.line) > 64 {
		t.Errorf("storage for %d calls, where 11 wait at most", cap(w.line))
	}
}
