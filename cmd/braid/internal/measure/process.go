package measure

import (
	"context"
	"runtime"
	"runtime/metrics"
	"sync"
	"time"
)

// Process is what a process needs at one moment, or at most.
type Process struct {
	Goroutines int
	Heap       uint64 // bytes in objects, garbage that was not collected yet included
}

// heapMetric is read without stopping the program, unlike runtime.MemStats.
const heapMetric = "/memory/classes/heap/objects:bytes"

// Now returns what the process needs now.
func Now() Process {
	sample := []metrics.Sample{{Name: heapMetric}}
	metrics.Read(sample)
	p := Process{Goroutines: runtime.NumGoroutine()}
	if sample[0].Value.Kind() == metrics.KindUint64 {
		p.Heap = sample[0].Value.Uint64()
	}
	return p
}

// AtRest returns what the process needs once garbage is collected.
func AtRest() Process {
	// Twice, because the first one only makes what had a finalizer or was in
	// a sync.Pool collectable.
	runtime.GC()
	runtime.GC()
	return Now()
}

// AtRestBelow is AtRest, but first gives goroutines that are just ending time
// to do so, until no more than this many are left or the time is over.
func AtRestBelow(goroutines int, patience time.Duration) Process {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); runtime.NumGoroutine() > goroutines && time.Now().Before(deadline); {
		<-tick.C
	}
	return AtRest()
}

// Peak watches how much the process needs at most.
type Peak struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
	most   Process // owned by the watching goroutine until it is done
}

// WatchPeak looks at the process again and again, every so often, until Stop.
func WatchPeak(every time.Duration) *Peak {
	ctx, cancel := context.WithCancel(context.Background())
	p := &Peak{cancel: cancel, most: Now()}
	p.done.Go(func() { p.watch(ctx, every) })
	return p
}

func (p *Peak) watch(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			p.look()
		}
	}
}

// look raises the peak to what the process needs now.
func (p *Peak) look() {
	now := Now()
	p.most.Goroutines = max(p.most.Goroutines, now.Goroutines)
	p.most.Heap = max(p.most.Heap, now.Heap)
}

// Stop ends the watch and returns the most that was seen. It can be called
// again.
func (p *Peak) Stop() Process {
	p.cancel()
	p.done.Wait()
	return p.most
}
