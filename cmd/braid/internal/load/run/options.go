// Package run makes load on a DRPC server and measures what comes back.
package run

import (
	"context"
	"time"

	"storj.io/drpc"

	"braid/cmd/braid/internal/load/arrival"
)

// Work is a kind of load. What is counted is its operations.
type Work int

const (
	// Unary is calls with one request and one answer; an operation is a call.
	Unary Work = iota
	// Upload is streams on which the client sends; an operation is a message.
	Upload
	// Download is streams on which the server sends; an operation is a message.
	Download
	// PingPong is streams on which each message is sent back before the next one
	// is sent; an operation is both of them.
	PingPong
)

// Options say what to do. All of them have to make sense: nothing is checked.
type Options struct {
	Work Work
	Size int // bytes of a message
	// Method and Data replace the echo of Unary: what is called, and the request.
	// The answer is not looked at then. Empty and nil: the echo.
	Method string
	Data   []byte

	Workers int // callers, or streams
	// Conns are the connections that the workers use in turn: at least one.
	Conns []drpc.Conn

	Warmup   time.Duration // is not measured; 0: there is none
	Duration time.Duration // in which operations begin; 0: Count says when it is over
	Count    int64         // how many operations there are; 0: Duration says when it is over
	Timeout  time.Duration // of each operation; 0: none

	// MaxFailed ends the run when so many operations have failed. 0: none does.
	MaxFailed int64

	// Rate makes it an open loop: operations are due at so many a second, however
	// long they take. 0: each worker begins one when its last one is over.
	Rate     float64
	Arrivals arrival.Process
	Queue    int // operations that may be due while all workers are busy
	// NewAlarm makes the alarm that an open loop goes by.
	NewAlarm func() arrival.Alarm

	// Watch, if there is one, is called from one goroutine every so often.
	Watch func(Sample)
	Every time.Duration
}

// Patience is what a run has apart from its duration.
const (
	// tail is how much longer than its duration a run begins operations that
	// were due in it.
	tail = time.Second
	// grace is how long operations that are under way may take at the end, unless
	// there is a timeout for them.
	grace = 5 * time.Second
	// hurry is the most of it for a run that was interrupted or has lost a connection.
	hurry = time.Second
	// helloPatience is how long the first answer may take.
	helloPatience = 10 * time.Second
)

// Ending says why a run ended.
type Ending int

const (
	// Completed is a run that did what it should.
	Completed Ending = iota
	// Interrupted is one whose context ended.
	Interrupted
	// Lost is one whose connection is gone.
	Lost
	// Draining is one whose server takes no more calls, because it is shutting down.
	Draining
	// TooManyFailed is one that has come to Options.MaxFailed.
	TooManyFailed
	// NoMethod is one whose server does not have the method.
	NoMethod
)

// String returns the name of the ending.
func (e Ending) String() string {
	switch e {
	case Completed:
		return "completed"
	case Interrupted:
		return "interrupted"
	case Lost:
		return "connection lost"
	case Draining:
		return "server shutting down"
	case TooManyFailed:
		return "too many failed"
	case NoMethod:
		return "no such method"
	}
	return "unknown"
}

// Sample is how a run is getting on.
type Sample struct {
	Warmup  bool          // it is not measured
	Elapsed time.Duration // of the warm-up or of the measuring
	Total   time.Duration // of it, 0 if that is not known
	Done    int64         // operations that are over, good or bad
	Count   int64         // of how many, 0 if that is not known
	Failed  int64

	// Of the time since the last sample, or since the beginning.
	Interval time.Duration
	OK       int64 // operations
	P50, P99 time.Duration
	// Behind is how long after it was due the last operation was begun, in an
	// open loop.
	Behind time.Duration
}

// draining is implemented by connections that tell when the server wants no more.
type draining interface{ Draining() <-chan struct{} }

// Runner is a run. Its methods are called one after the other.
type Runner struct {
	opts Options
}

// New makes a runner.
func New(opts Options) *Runner { return &Runner{opts: opts} }

// Run warms up and measures. It returns when nothing that it started is still
// running. The end of ctx ends it early; the result is of what was done until then.
func (r *Runner) Run(ctx context.Context) *Result {
	if r.opts.Warmup > 0 {
		warm := newPhase(r.opts, true)
		if res := warm.run(ctx); res.Ending != Completed {
			res.Measured = false
			return res
		}
	}
	res := newPhase(r.opts, false).run(ctx)
	res.Measured = true
	return res
}
