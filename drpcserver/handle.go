package drpcserver

import (
	"sync"
	"sync/atomic"

	"github.com/zeebo/errs"

	"storj.io/drpc"
	"storj.io/drpc/drpcerr"

	"braid/drpcstream"
	"braid/drpcwire"
)

// errPanic is what the client of a handler that panicked is told. The value and
// the stack are for the server's log.
var errPanic = drpcerr.WithCode(errs.New("internal error: the handler panicked"), drpcwire.CodeInternal)

// run handles one call. Whatever the handler does, the stream ends.
func (s *Server) run(stream *drpcstream.Stream, rpc string) {
	if !s.places.take(stream) {
		return
	}
	defer s.places.giveBack()
	returned := false
	defer func() {
		if returned {
			return
		}
		// A panic, or runtime.Goexit, which recover does not stop and which
		// ends this goroutine once the stream is dealt with.
		value := recover()
		_ = stream.Return(errPanic) // an error means that the client is gone
		s.logPanic(rpc, value)
	}()
	unary := s.registry != nil && s.registry.Unary(rpc)
	if unary {
		stream.EndWithReply()
	}
	err := s.handle(stream, rpc, unary)
	_ = stream.Return(err) // an error means that the client is gone
	returned = true        // not before: the methods of err are the handler's code, too
	if unary {
		stream.Release()
	}
}

// handle calls the handler. known says that the rpc is registered for sure.
func (s *Server) handle(stream drpc.Stream, rpc string, known bool) error {
	if !known && !s.registered(rpc) {
		return drpc.ProtocolError.New("unknown rpc: %q", rpc)
	}
	return s.handler.HandleRPC(stream, rpc)
}

const (
	// maxIdleWorkers is how many goroutines a connection keeps between calls.
	maxIdleWorkers = 64

	// maxIdleTotal is how many all connections of a server keep: they take some 6 KiB
	// each, and 64 of them twenty times what an idle connection takes without.
	maxIdleTotal = 4096
)

// job is a call to be handled.
type job struct {
	stream *drpcstream.Stream
	rpc    string
}

// workers runs the handlers of a connection, one goroutine for each that is
// running. A goroutine whose handler has returned waits for the next call: its
// stack has grown to what handlers need, which a new one would have to do again
// (see bench, BenchmarkHandlerGoroutine).
type workers struct {
	run   func(*drpcstream.Stream, string)
	total *atomic.Int64 // idle ones, of all connections of the server
	wg    sync.WaitGroup

	mu   sync.Mutex
	idle []chan job // the most recently used last; guarded by mu
	done bool       // wait was called; guarded by mu
}

func newWorkers(run func(*drpcstream.Stream, string), total *atomic.Int64) *workers {
	return &workers{run: run, total: total}
}

// start hands a call to a goroutine. It is called by the connection's reader, never
// after wait, and by a goroutine of the workers whose handler has returned.
func (w *workers) start(stream *drpcstream.Stream, rpc string) {
	w.mu.Lock()
	if n := len(w.idle); n > 0 {
		jobs := w.idle[n-1]
		w.idle = w.idle[:n-1]
		w.mu.Unlock()
		w.total.Add(-1)
		jobs <- job{stream, rpc} // it has room for one
		return
	}
	w.mu.Unlock()
	w.wg.Add(1)
	go w.work(job{stream, rpc})
}

// work handles calls until enough others are idle or wait is called.
func (w *workers) work(j job) {
	defer w.wg.Done()
	jobs := make(chan job, 1)
	for ok := true; ok; j, ok = <-jobs {
		w.run(j.stream, j.rpc)
		if !w.rest(jobs) {
			return
		}
	}
}

// rest enters a worker among the idle ones.
func (w *workers) rest(jobs chan job) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.done || len(w.idle) >= maxIdleWorkers {
		return false
	}
	if w.total.Add(1) > maxIdleTotal {
		w.total.Add(-1)
		return false
	}
	w.idle = append(w.idle, jobs)
	return true
}

// wait ends the idle workers and returns when the others have ended too. The
// connection's reader must have returned.
func (w *workers) wait() {
	w.mu.Lock()
	w.done = true
	w.total.Add(-int64(len(w.idle)))
	for _, jobs := range w.idle {
		close(jobs)
	}
	w.idle = nil
	w.mu.Unlock()
	w.wg.Wait()
}
