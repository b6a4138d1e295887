package drpcsignal_test

import (
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

// channel is what both implementations have in common.
type channel interface {
	Make(capacity uint)
	Get() chan struct{}
	Close()
	Send()
	Recv()
	Full() bool
}

func TestChanIsUnbufferedUnlessMadeOtherwiseFirst(t *testing.T) {
	var zero drpcsignal.Chan
	assert.Equal(t, cap(zero.Get()), 0)
	zero.Make(3)
	assert.Equal(t, cap(zero.Get()), 0)

	var made drpcsignal.Chan
	made.Make(3)
	made.Make(5)
	assert.Equal(t, cap(made.Get()), 3)

	// Full asks for the channel, and so settles what it is.
	var asked drpcsignal.Chan
	assert.True(t, asked.Full())
	asked.Make(3)
	assert.Equal(t, cap(asked.Get()), 0)
}

func TestChanIsFullWhenASendWouldBlock(t *testing.T) {
	var c drpcsignal.Chan
	c.Make(2)
	for range 2 {
		assert.False(t, c.Full())
		c.Send()
	}
	assert.True(t, c.Full())
	c.Recv()
	assert.False(t, c.Full())
	assert.Equal(t, len(c.Get()), 1) // asking has left no value behind
}

func TestSendAndRecvMeet(t *testing.T) {
	for _, first := range []string{"send", "recv"} {
		t.Run(first+" first", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var c drpcsignal.Chan
				var done atomic.Bool
				one, other := c.Send, c.Recv
				if first == "recv" {
					one, other = c.Recv, c.Send
				}
				go func() { one(); done.Store(true) }()
				synctest.Wait()
				assert.False(t, done.Load())
				other()
				synctest.Wait()
				assert.True(t, done.Load())
			})
		})
	}
}

func TestCloseWakesEveryReceiver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c drpcsignal.Chan
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(c.Recv)
			wg.Go(func() { <-c.Get() })
		}
		synctest.Wait()
		c.Close()
		wg.Wait()
		c.Recv() // and whoever comes later
	})
}

func TestRacingFirstUsesAgreeOnOneChannel(t *testing.T) {
	// In the bubble a receiver that waits on another channel than the one that
	// is closed is reported at once.
	synctest.Test(t, func(t *testing.T) {
		for range 1000 {
			var c drpcsignal.Chan
			var wg sync.WaitGroup
			var got [4]chan struct{}
			for i := range got {
				wg.Go(func() { got[i] = c.Get(); c.Recv() })
			}
			wg.Go(c.Close)
			wg.Wait()
			for _, ch := range got {
				if ch != got[0] {
					t.Fatal("two channels")
				}
			}
		}
	})
}

func TestAChanClosedFirstDoesNotAllocate(t *testing.T) {
	const runs = 100
	chans := make([]drpcsignal.Chan, runs+1)
	allocs := testing.AllocsPerRun(runs, func() {
		c := &chans[0]
		chans = chans[1:]
		c.Close()
		_ = c.Get()
		c.Recv()
	})
	assert.Equal(t, allocs, 0.0)
}

// outcome runs f and says how it ended.
func outcome(f func()) (result string) {
	defer func() {
		if p := recover(); p != nil {
			result = fmt.Sprint("panic: ", p)
		}
	}()
	f()
	return "ok"
}

func TestMisuseOfAClosedChanPanicsAsStocks(t *testing.T) {
	for name, misuse := range map[string]func(c channel){
		"second close": func(c channel) { c.Close() },
		"send":         func(c channel) { c.Send() },
		"full":         func(c channel) { c.Full() },
	} {
		for _, asked := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/asked before %v", name, asked), func(t *testing.T) {
				var got [2]string
				for i, c := range []channel{new(drpcsignal.Chan), new(stock.Chan)} {
					if asked {
						c.Get()
					}
					c.Close()
					got[i] = outcome(func() { misuse(c) })
				}
				assert.Equal(t, got[0], got[1])
				assert.NotEqual(t, got[0], "ok")
			})
		}
	}
}

func TestChanBehavesAsStocks(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 500 {
		pair := []channel{new(drpcsignal.Chan), new(stock.Chan)}
		var trace []string
		for range 1 + rng.IntN(10) {
			op, n := rng.IntN(5), rng.IntN(4)
			var got [2]string
			for i, c := range pair {
				switch op {
				case 0:
					c.Make(uint(n))
					got[i] = fmt.Sprintf("Make(%d)", n)
				case 1:
					got[i] = fmt.Sprintf("Get=%d/%d", len(c.Get()), cap(c.Get()))
				case 2:
					got[i] = fmt.Sprintf("Full=%v", c.Full())
				case 3:
					if got[i] = "Send blocks"; !c.Full() {
						got[i] = outcome(c.Send)
					}
				case 4:
					if got[i] = "Recv blocks"; len(c.Get()) > 0 {
						got[i] = outcome(c.Recv)
					}
				}
			}
			if got[0] != got[1] {
				t.Fatalf("after %v: got %s, stock %s", trace, got[0], got[1])
			}
			trace = append(trace, got[0])
		}
		for i, c := range pair {
			c.Close()
			if !isClosed(drained(c.Get())) {
				t.Fatalf("after %v: implementation %d is open after Close", trace, i)
			}
		}
	}
}

// drained returns the channel, which is closed, without the values left in it.
func drained(ch chan struct{}) chan struct{} {
	for len(ch) > 0 {
		<-ch
	}
	return ch
}
