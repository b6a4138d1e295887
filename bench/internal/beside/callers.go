package beside

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"braid/bench/internal/blob"
	"braid/bench/internal/latency"
	"braid/bench/internal/stack"
)

// Window is the time in which calls count.
type Window struct{ Begin, End time.Time }

// Callers are goroutines that make unary calls, each one call after another,
// from their start to the end of the window.
type Callers struct {
	client stack.Client
	window Window
	cancel context.CancelFunc
	wg     sync.WaitGroup

	calling   atomic.Int64 // callers that have not come to their end
	completed atomic.Int64 // calls that have returned within the window

	mu   sync.Mutex
	hist *hdrhistogram.Histogram // of the callers that have ended; guarded by mu
	err  error                   // the first failure; guarded by mu
}

// StartCallers starts n callers with messages of size bytes. Cancel or the end
// of the window ends them.
func StartCallers(client stack.Client, n, size int, window Window) *Callers {
	ctx, cancel := context.WithCancel(context.Background())
	c := &Callers{client: client, window: window, cancel: cancel, hist: latency.NewHistogram()}
	c.calling.Store(int64(n))
	for i := range n {
		c.wg.Go(func() { // ends with the window or with ctx
			hist, err := c.run(ctx, uint64(i), size)
			c.collect(hist, err)
			if err == nil {
				c.calling.Add(-1)
			}
		})
	}
	return c
}

// Wait waits for all callers to end.
func (c *Callers) Wait() { c.wg.Wait() }

// Cancel ends the calls in flight. Callers that it meets count as Calling.
func (c *Callers) Cancel() { c.cancel() }

// Calling returns how many callers have not ended by themselves: they wait for
// an answer, or one of their calls has failed.
func (c *Callers) Calling() int { return int(c.calling.Load()) }

// Completed returns how many calls have returned within the window.
func (c *Callers) Completed() int64 { return c.completed.Load() }

// Result returns the latencies of the calls that were in flight at any time of
// the window, of the callers that have ended, and the first error of a call, unless Cancel
// was its cause. The histogram must not be used while callers run.
func (c *Callers) Result() (*hdrhistogram.Histogram, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hist, c.err
}

// run calls until the window ends. A call that is in flight at any time of the
// window counts with all the time that it takes: leaving out those that begin
// before it or return after it would leave out the slowest ones.
func (c *Callers) run(ctx context.Context, caller uint64, size int) (*hdrhistogram.Histogram, error) {
	hist := latency.NewHistogram()
	in, out := blob.New(size, caller), new(blob.Blob)
	for seq := uint64(0); ; seq++ {
		in.Stamp(caller, seq)
		began := time.Now()
		if !began.Before(c.window.End) {
			return hist, nil
		}
		if err := c.client.Echo(ctx, in, out); err != nil {
			if ctx.Err() != nil {
				return hist, ctx.Err()
			}
			return hist, fmt.Errorf("caller %d, call %d: %w", caller, seq, err)
		}
		ended := time.Now()
		if err := out.Check(size, caller, seq); err != nil {
			return hist, fmt.Errorf("caller %d, call %d: %w", caller, seq, err)
		}
		if ended.Before(c.window.Begin) {
			continue
		}
		latency.Record(hist, ended.Sub(began))
		if ended.Before(c.window.End) {
			c.completed.Add(1)
		}
	}
}

// collect adds what a caller has found.
func (c *Callers) collect(hist *hdrhistogram.Histogram, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hist.Merge(hist)
	if c.err == nil && err != nil && err != context.Canceled {
		c.err = err
	}
}
