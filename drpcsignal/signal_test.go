package drpcsignal_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zeebo/assert"
	stock "storj.io/drpc/drpcsignal"

	"braid/drpcsignal"
)

var (
	errFirst  = errors.New("first")
	errSecond = errors.New("second")
)

// signal is what both implementations have in common.
type signal interface {
	Set(err error) bool
	Get() (error, bool) //nolint:revive // the order is storj.io/drpc's
	Err() error
	IsSet() bool
	Signal() chan struct{}
}

// isClosed reports whether a channel on which nothing is sent has been closed.
func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// describe says everything that can be learned of a signal without blocking.
func describe(s signal) string {
	err, ok := s.Get()
	return fmt.Sprintf("get=%v,%v err=%v set=%v closed=%v", err, ok, s.Err(), s.IsSet(), isClosed(s.Signal()))
}

func TestSignalKeepsTheFirstErrorOnly(t *testing.T) {
	const unset = "get=<nil>,false err=<nil> set=false closed=false"
	for _, tc := range []struct {
		name string
		sets []error
		want string
	}{
		{"never set", nil, unset},
		{"set", []error{errFirst}, "get=first,true err=first set=true closed=true"},
		{"set twice", []error{errFirst, errSecond}, "get=first,true err=first set=true closed=true"},
		{"set to nil", []error{nil}, "get=<nil>,true err=<nil> set=true closed=true"},
		{"set to nil, then to an error", []error{nil, errSecond}, "get=<nil>,true err=<nil> set=true closed=true"},
	} {
		// A channel that was asked for before the first Set takes another way
		// through the code than one that was not.
		for _, early := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/asked early %v", tc.name, early), func(t *testing.T) {
				var s drpcsignal.Signal
				var ch <-chan struct{}
				if early {
					ch = s.Signal()
					assert.Equal(t, describe(&s), unset)
				}
				for i, err := range tc.sets {
					assert.Equal(t, s.Set(err), i == 0)
				}
				assert.Equal(t, describe(&s), tc.want)
				if early {
					assert.Equal(t, isClosed(ch), len(tc.sets) > 0)
				}
			})
		}
	}
}

func TestOneOfManyRacingSetsWins(t *testing.T) {
	const racers = 16
	for range 200 {
		var s drpcsignal.Signal
		var wg sync.WaitGroup
		var winner atomic.Pointer[error]
		start := make(chan struct{})
		for i := range racers {
			wg.Go(func() {
				err := fmt.Errorf("racer %d", i)
				<-start
				if s.Set(err) && winner.Swap(&err) != nil {
					t.Error("two racers won")
				}
				// From here on the signal is set, whoever has set it.
				if got, ok := s.Get(); !ok || got == nil || !s.IsSet() || !errors.Is(s.Err(), got) {
					t.Errorf("after Set: get=%v,%v set=%v err=%v", got, ok, s.IsSet(), s.Err())
				}
				s.Wait()
			})
		}
		close(start)
		wg.Wait()
		if winner.Load() == nil {
			t.Fatal("nobody won")
		}
		assert.Equal(t, s.Err(), *winner.Load())
	}
}

func TestSetWakesEverybodyThatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s drpcsignal.Signal
		var woken atomic.Int32
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() { s.Wait(); woken.Add(1) })
			wg.Go(func() { <-s.Signal(); woken.Add(1) })
		}
		synctest.Wait()
		assert.Equal(t, woken.Load(), int32(0))
		s.Set(nil)
		wg.Wait()
		assert.Equal(t, woken.Load(), int32(16))
	})
}

func TestNoWakeUpIsLostBetweenSignalAndSet(t *testing.T) {
	// In the bubble a goroutine that is never woken is reported at once.
	synctest.Test(t, func(t *testing.T) {
		for range 5000 {
			var s drpcsignal.Signal
			var wg sync.WaitGroup
			wg.Go(func() { s.Set(errFirst) })
			for range 2 {
				wg.Go(func() {
					<-s.Signal()
					if err, ok := s.Get(); !ok || !errors.Is(err, errFirst) {
						t.Errorf("woken before the error was in place: %v, %v", err, ok)
					}
				})
			}
			wg.Wait()
		}
	})
}

func TestASignalNobodyWaitsForDoesNotAllocate(t *testing.T) {
	const runs = 100
	signals := make([]drpcsignal.Signal, runs+1)
	allocs := testing.AllocsPerRun(runs, func() {
		s := &signals[0]
		signals = signals[1:]
		_, _ = s.Get()
		s.Set(errFirst)
		s.Set(errSecond)
		_, _ = s.Get()
		_ = s.Err()
		_ = s.IsSet()
		_ = s.Signal() // after Set it needs no channel of its own
		s.Wait()
	})
	assert.Equal(t, allocs, 0.0)
}

func TestSignalBehavesAsStocks(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	errs := []error{nil, errFirst, errSecond}
	for range 500 {
		pair := []signal{new(drpcsignal.Signal), new(stock.Signal)}
		var trace []string
		for range 1 + rng.IntN(8) {
			op, err := rng.IntN(5), errs[rng.IntN(len(errs))]
			var got [2]string
			for i, s := range pair {
				switch op {
				case 0:
					got[i] = fmt.Sprintf("Set(%v)=%v", err, s.Set(err))
				case 1:
					err, ok := s.Get()
					got[i] = fmt.Sprintf("Get=%v,%v", err, ok)
				case 2:
					got[i] = fmt.Sprintf("Err=%v", s.Err())
				case 3:
					got[i] = fmt.Sprintf("IsSet=%v", s.IsSet())
				case 4:
					got[i] = fmt.Sprintf("Signal=%v", isClosed(s.Signal()))
				}
			}
			if got[0] != got[1] {
				t.Fatalf("after %v: got %s, stock %s", trace, got[0], got[1])
			}
			trace = append(trace, got[0])
		}
	}
}
