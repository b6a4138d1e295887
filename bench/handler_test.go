package bench

import (
	"fmt"
	"sync"
	"testing"

	"braid/bench/internal/figures"
)

// BenchmarkHandlerGoroutine compares ways to give every call a goroutine: a
// new one, or one that is kept from an earlier call. One operation is one
// handler that returned. The dispatcher starts as many handlers as inflight
// says, as a reader does with one batch of requests, and waits for them.
//
// The depth matters because a new goroutine starts with a small stack and
// copies it to a larger one whenever it is full, whereas a goroutine that is
// kept has its stack already.
func BenchmarkHandlerGoroutine(b *testing.B) {
	for _, depth := range []int{0, 8 << 10} {
		for _, inflight := range []int{1, 64} {
			for _, d := range dispatchers() {
				name := fmt.Sprintf("depth=%s/inflight=%d/dispatch=%s", depthName(depth), inflight, d.name)
				b.Run(name, func(b *testing.B) {
					start, stop := d.new()
					defer stop()
					b.ReportAllocs()
					dispatch(b.N, inflight, depth, start)
				})
			}
		}
	}
}

// depthName names a depth of stack.
func depthName(depth int) string {
	if depth == 0 {
		return "tiny"
	}
	return figures.SizeName(depth)
}

// handling is one call of a handler.
type handling struct {
	depth int
	done  *sync.WaitGroup
	reply []byte
}

// run is the handler. It allocates as handlers do, because the collector is
// what tells the runtime how large the stacks in use are.
func (h *handling) run() {
	h.reply = make([]byte, 256)
	h.reply[0] = descend(h.depth)
	h.done.Done()
}

// frameSize is about what one level of descend takes from the stack.
const frameSize = 512

// descend uses about depth bytes of stack.
//
//go:noinline
func descend(depth int) byte {
	if depth <= 0 {
		return 1
	}
	var frame [frameSize - 32]byte
	touch(frame[:], depth)
	return descend(depth-frameSize) + frame[0]
}

// touch uses a piece of stack. It stays a call so that the compiler, which
// would see that the bytes do not matter, keeps them on the stack.
//
//go:noinline
func touch(p []byte, depth int) { p[depth%len(p)] = 1 }

// dispatch starts n handlers, inflight of them at a time.
func dispatch(n, inflight, depth int, start func(*handling)) {
	var done sync.WaitGroup
	batch := make([]handling, inflight)
	for n > 0 {
		now := min(n, inflight)
		done.Add(now)
		for i := range now {
			batch[i] = handling{depth: depth, done: &done}
			start(&batch[i])
		}
		done.Wait()
		n -= now
	}
}

// dispatcher is a way to run handlers.
type dispatcher struct {
	name string
	new  func() (start func(*handling), stop func())
}

// dispatchers returns the ways compared.
func dispatchers() []dispatcher {
	return []dispatcher{
		{"go", newGoroutines},
		{"shared-channel", newSharedChannel},
		{"free-list", newFreeList},
	}
}

// newGoroutines starts a goroutine for every handler.
func newGoroutines() (func(*handling), func()) {
	return func(h *handling) { go h.run() }, func() {}
}

// newSharedChannel keeps goroutines that wait on one channel, and starts
// another only when none is waiting.
func newSharedChannel() (func(*handling), func()) {
	idle := make(chan *handling)
	start := func(h *handling) {
		select {
		case idle <- h:
		default:
			go func() {
				h.run()
				for h := range idle {
					h.run()
				}
			}()
		}
	}
	return start, func() { close(idle) }
}

// freeList keeps goroutines that wait on a channel each, and gives work to the
// one that has waited least, whose stack is most likely still in a cache.
type freeList struct {
	mu   sync.Mutex
	idle []chan *handling
}

// newFreeList returns the start and stop functions of a freeList.
func newFreeList() (func(*handling), func()) {
	l := new(freeList)
	return l.start, l.stop
}

// start hands h to an idle goroutine or to a new one.
func (l *freeList) start(h *handling) {
	l.mu.Lock()
	if last := len(l.idle) - 1; last >= 0 {
		ch := l.idle[last]
		l.idle = l.idle[:last]
		l.mu.Unlock()
		ch <- h
		return
	}
	l.mu.Unlock()
	go l.work(h)
}

// work runs h and whatever it is given after that.
func (l *freeList) work(h *handling) {
	ch := make(chan *handling, 1)
	for h != nil {
		// Being idle has to be announced before the handler is known to be
		// done, or a dispatcher with one handler in flight never finds it. The
		// buffer of the channel holds what arrives in between.
		done := h.done
		done.Add(1)
		h.run()
		l.mu.Lock()
		l.idle = append(l.idle, ch)
		l.mu.Unlock()
		done.Done()
		h = <-ch
	}
}

// stop ends the goroutines. No handler may be running.
func (l *freeList) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, ch := range l.idle {
		close(ch)
	}
	l.idle = nil
}
