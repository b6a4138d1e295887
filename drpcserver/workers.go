package drpcserver

import (
	"runtime"
	"sync"
	"sync/atomic"

	"braid/drpcstream"
)

const (
	// maxIdleWorkers is how many goroutines a connection keeps between calls.
	maxIdleWorkers = 64

	// maxIdleTotal is how many all connections of a server keep: they take 3 to 9 KiB
	// each, by the stack that their handlers needed, and 64 of them many times what an idle
	// connection takes without.
	maxIdleTotal = 4096

	// callsPerTurn is how many calls a goroutine handles in a row before it lets others
	// run: those that write the answers, for one.
	callsPerTurn = 16

	// comingAtOnce is how many goroutines may be on their way to the calls. The one that was
	// made ready last runs next on the same processor, and another processor leaves it
	// alone for some 50 us, which is the time of as many calls; the one before that it
	// takes at once.
	comingAtOnce = 2

	// keptLine is the longest line, in calls, whose storage is kept.
	keptLine = 1024
)

// job is a call to be handled.
type job struct {
	stream *drpcstream.Stream
	rpc    string
}

// runner is the server. It is no func: that of a method lies on the stack besides the method.
type runner interface {
	// run handles a call.
	run(stream *drpcstream.Stream, rpc string)

	// failed does the rest where run does not return. value is what it has panicked with.
	failed(stream *drpcstream.Stream, rpc string, value any)
}

// workers runs the handlers of a connection, each in a goroutine of its own while it
// runs. A goroutine whose handler has returned takes the next call: its stack has grown
// to what handlers need, which a new one would have to do again (see bench,
// BenchmarkHandlerGoroutine).
//
// Calls wait in a line for a goroutine. While there are any, one or two are on their way
// to the line: such a one was woken or started, or lets others run, and takes a call next.
// Whoever takes a call and leaves others behind sees to it that there is such a one before
// it runs the handler, so a handler that blocks holds up nobody; and where handlers are
// quick, a few goroutines handle all that has come in one read, and the others are not
// woken.
type workers struct {
	runner
	total *atomic.Int64 // idle ones, of all connections of the server
	wg    sync.WaitGroup

	mu     sync.Mutex
	line   []job           // from head on; guarded by mu, like all below
	head   int             // the next to be taken
	coming int             // workers that are on their way to the line
	idle   []chan struct{} // the most recently used last
	done   bool            // wait was called
}

func newWorkers(r runner, total *atomic.Int64) *workers {
	return &workers{runner: r, total: total}
}

// start puts a call in the line. It is called by the connection's reader, never after
// wait, and by a goroutine of the workers whose handler has returned.
func (w *workers) start(stream *drpcstream.Stream, rpc string) {
	w.mu.Lock()
	if w.head > 0 && w.head >= len(w.line)/2 && len(w.line) == cap(w.line) {
		n := copy(w.line, w.line[w.head:])
		clear(w.line[n:])
		w.line, w.head = w.line[:n], 0
	}
	w.line = append(w.line, job{stream, rpc})
	w.summonLocked()
	w.mu.Unlock()
}

// summonLocked sends a worker to the line, if more calls wait there than workers are on
// their way, and these are few.
func (w *workers) summonLocked() {
	if w.coming >= min(comingAtOnce, len(w.line)-w.head) {
		return
	}
	w.coming++
	if n := len(w.idle) - 1; n >= 0 {
		wake := w.idle[n]
		w.idle = w.idle[:n]
		w.total.Add(-1)
		wake <- struct{}{} // it has room for one
		return
	}
	w.wg.Add(1)
	x := &worker{workers: w}
	go x.work()
}

// worker is a goroutine that handles calls.
type worker struct {
	*workers
	job                   // the call that is being handled; the zero value: there is none
	handled int           // calls, since it has come to the line
	wake    chan struct{} // made when it is needed: a handler may run for good
}

// work handles calls until enough others are idle, wait is called, or a call does not
// return. Then others handle those that come: one is on its way if there are any in line.
func (x *worker) work() {
	defer x.ended()
	for x.next() || x.rest() {
		if x.stream != nil {
			x.run(x.stream, x.rpc)
		}
	}
}

// ended is deferred by work. A call that is still being handled is a panic or
// runtime.Goexit, which recover does not stop.
func (x *worker) ended() {
	defer x.wg.Done()
	if x.stream != nil {
		x.failed(x.stream, x.rpc, recover())
	}
}

// next takes the next call; now and then it lets others run before. If no call is left, it
// enters the worker among the idle ones, where there are not enough, and reports false.
func (x *worker) next() (ok bool) {
	w := x.workers
	w.mu.Lock()
	defer w.mu.Unlock()
	if x.handled == 0 {
		w.coming--
	} else if x.handled%callsPerTurn == 0 {
		w.yieldLocked()
	}
	if w.head == len(w.line) {
		x.job = job{}
		x.wake = w.restLocked(x.wake)
		return false
	}
	x.job = w.takeLocked()
	x.handled++
	w.summonLocked()
	return true
}

// rest waits until the worker is woken. It reports false if it is to end.
func (x *worker) rest() (woken bool) {
	if x.wake == nil {
		return false
	}
	_, woken = <-x.wake
	x.handled = 0
	return woken
}

// yieldLocked lets others run. Meanwhile the worker is on its way to the line.
func (w *workers) yieldLocked() {
	w.coming++
	w.mu.Unlock()
	runtime.Gosched()
	w.mu.Lock()
	w.coming--
}

// takeLocked takes the first call out of the line.
func (w *workers) takeLocked() job {
	j := w.line[w.head]
	w.line[w.head] = job{} // so that it is not kept
	if w.head++; w.head == len(w.line) {
		w.line, w.head = w.line[:0], 0
		if cap(w.line) > keptLine {
			w.line = nil
		}
	}
	return j
}

// restLocked enters a worker among the idle ones, and returns what wakes it, which it may
// have from before; nil if there are enough.
func (w *workers) restLocked(wake chan struct{}) chan struct{} {
	if w.done || len(w.idle) >= maxIdleWorkers {
		return nil
	}
	if w.total.Add(1) > maxIdleTotal {
		w.total.Add(-1)
		return nil
	}
	if wake == nil {
		wake = make(chan struct{}, 1)
	}
	w.idle = append(w.idle, wake)
	return wake
}

// wait ends the idle workers and returns when the others have ended too. The
// connection's reader must have returned.
func (w *workers) wait() {
	w.mu.Lock()
	w.done = true
	w.total.Add(-int64(len(w.idle)))
	for _, wake := range w.idle {
		close(wake)
	}
	w.idle = nil
	w.mu.Unlock()
	w.wg.Wait()
}
