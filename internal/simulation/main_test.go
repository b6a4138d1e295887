package simulation_test

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"braid/internal/drpctest"
)

var (
	seedsFlag = flag.Int("sim.seeds", 0, "number of histories; 0: 1,000, and 100 with -short")
	firstFlag = flag.Uint64("sim.first", 0, "seed of the first history")
	seedFlag  = flag.Int64("sim.seed", -1, "run the history of this seed alone, and log it")
)

func TestMain(m *testing.M) { drpctest.Main(m) }

// TestHistories runs random histories of a connection: many streams of two ends
// that behave, over a link that may not. doc_test.go says what a history is and
// what must hold of each.
func TestHistories(t *testing.T) {
	if *seedFlag >= 0 {
		runSeed(t, uint64(*seedFlag), true)
		return
	}
	n := *seedsFlag
	switch {
	case n > 0:
	case testing.Short():
		n = 100
	default:
		n = 1000
	}
	var sum tally
	for seed := range uint64(n) {
		seed += *firstFlag
		sum.add(runSeed(t, seed, false))
		if t.Failed() {
			t.Fatalf("seed %d; to see it again:\n\t%s", seed, command(seed))
		}
	}
	t.Log(sum)
	if n >= 1000 {
		sum.checkCoverage(t)
	}
}

func command(seed uint64) string {
	return fmt.Sprintf("go test ./internal/simulation -run TestHistories -sim.seed=%d", seed)
}

// realTime is how long a history may take on a clock that is not simulated. It
// takes milliseconds.
const realTime = 2 * time.Minute

// runSeed runs one history. A goroutine that waits for a mutex keeps a bubble from
// going on, and nothing inside of it can tell: hence the watch from outside.
func runSeed(t *testing.T, seed uint64, verbose bool) (got tally) {
	watch := time.AfterFunc(realTime, func() {
		buf := make([]byte, 4<<20)
		buf = buf[:runtime.Stack(buf, true)]
		fmt.Fprintf(os.Stderr, "seed %d hangs; to see it again:\n\t%s\n\n%s\n", seed, command(seed), buf)
		os.Exit(2)
	})
	defer watch.Stop()
	over := false
	defer func() {
		if !over { // by a panic, which is what a goroutine left in the bubble makes
			fmt.Fprintf(os.Stderr, "seed %d; to see it again:\n\t%s\n", seed, command(seed))
		}
	}()
	p := newPlan(seed)
	synctest.Test(t, func(t *testing.T) {
		h := newHistory(t, p, verbose)
		h.run()
		got = h.tally
	})
	over = true
	return got
}

// tally is what the histories have come across, so that it shows if they do not
// come across much.
type tally struct {
	histories, streams, messages, bytes int

	abandoned, recvTimeouts, refused, lost, ended, clean, unary, contended, grown, dead int
}

func (a *tally) add(b tally) {
	a.histories += b.histories
	a.streams += b.streams
	a.messages += b.messages
	a.bytes += b.bytes
	a.abandoned += b.abandoned
	a.recvTimeouts += b.recvTimeouts
	a.refused += b.refused
	a.lost += b.lost
	a.ended += b.ended
	a.clean += b.clean
	a.unary += b.unary
	a.contended += b.contended
	a.grown += b.grown
	a.dead += b.dead
}

func (a tally) String() string {
	return fmt.Sprintf("%d histories, %d streams (%d unary; %d ended clean, %d by somebody, %d lost, %d refused), "+
		"%d messages of %d KiB, %d sends abandoned, %d receives timed out, "+
		"%d histories with a budget in use, %d of them beyond it, %d with a dead connection",
		a.histories, a.streams, a.unary, a.clean, a.ended, a.lost, a.refused,
		a.messages, a.bytes>>10, a.abandoned, a.recvTimeouts, a.grown, a.contended, a.dead)
}

// checkCoverage checks that a thousand histories see all there is to be seen.
func (a tally) checkCoverage(t *testing.T) {
	for what, n := range map[string]int{
		"streams that end clean": a.clean, "streams that are ended": a.ended, "streams that are lost": a.lost,
		"streams that are refused": a.refused, "unary calls": a.unary, "sends that time out": a.abandoned,
		"receives that time out": a.recvTimeouts, "budgets in use": a.grown, "budgets exceeded": a.contended,
		"dead connections": a.dead,
	} {
		if n < a.histories/100 {
			t.Errorf("%d histories have only %d %s", a.histories, n, what)
		}
	}
}
