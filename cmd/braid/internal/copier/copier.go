// Package copier is the client's side of the copy service: it copies a listing
// of files over one connection, and keeps that connection busy with other calls
// meanwhile.
package copier

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"storj.io/drpc"

	"braid/cmd/braid/internal/measure"
	"braid/cmd/braid/internal/progress"
	"braid/cmd/braid/internal/stall"
	"braid/cmd/braid/internal/tree"
	"braid/cmd/braid/internal/wire"
	"braid/drpcmanager"
	"braid/drpcstream"
)

// Options say what to copy and what to do meanwhile.
type Options struct {
	Root  *os.Root    // the directory that the files are in
	Files []tree.File // what to copy

	Uploads int // files on their way at once, at least 1
	Chunk   int // bytes of a file in one message, at least 1
	Callers int // goroutines that make one call after the other
	Talkers int // members of a chat room who talk all the time
	Cancels int // uploads that are started in addition and canceled midway

	// How many calls each caller makes and lines each talker says, even if
	// there is next to nothing to copy. At least one, in any case.
	LeastCalls, LeastLines int

	// Stall, if there is one, is streams that nobody reads. They are opened
	// before the copying and read after it. What callers and talkers get done
	// is measured for StallFor before and for StallFor with them.
	Stall    *stall.Stall
	StallFor time.Duration
	// Note is told what a run with a Stall is doing.
	Note func(text string, args ...any)

	Count *progress.Count // what was done so far, kept up to date
	// Failed is told which file could not be copied and why. It is called
	// from several goroutines. The others are copied all the same.
	Failed func(path string, err error)
}

// Result is what came of it.
type Result struct {
	Elapsed time.Duration
	Copying time.Duration // of it, with uploads

	Copied   []tree.File // verified, with the sizes that were sent
	Bytes    int64       // in them
	Failed   int         // files
	Canceled int         // uploads of which the server said that they were canceled

	Uploads, Cancels, Calls, Chat, Control, Stalled Work

	Stall *Stall // nil without Options.Stall

	// What went wrong beside the files, if anything.
	CancelErr, CallErr, ChatErr error
}

// Work is what one kind of stream did.
type Work struct {
	Traffic *wire.Traffic
	Latency measure.Distribution // of whole uploads, calls, lines heard by their author
}

// helloPatience is how long a server may take for the first answer. A peer that
// accepts connections and speaks something else never gives one.
const helloPatience = 10 * time.Second

// run is a copy that is under way.
type run struct {
	opts Options
	conn drpc.Conn

	uploads, cancels, calls, chat, control, stalled activity

	phase atomic.Pointer[phase] // what is measured apart; nil: nothing is

	copied  chan struct{} // closed when nothing is left to copy or to cancel
	refused chan struct{} // closed when the server takes no more calls

	mu     sync.Mutex
	result Result // guarded by mu until everything has ended
}

// activity is one kind of stream.
type activity struct {
	client  *wire.Client
	traffic *wire.Traffic
	latency *measure.Latency
}

func newActivity(conn drpc.Conn) activity {
	traffic := new(wire.Traffic)
	return activity{client: wire.NewClient(conn, traffic), traffic: traffic, latency: measure.NewLatency()}
}

func (a activity) work() Work {
	return Work{Traffic: a.traffic, Latency: a.latency.Distribution()}
}

// Run copies. It returns an error if the copying had to be given up: because
// ctx ended, because the connection was lost, or because the peer is not a
// copying server. Files that failed one by one are not such an error. The
// result says how far it got in any case. Nothing that was started is still
// running when Run returns.
func Run(ctx context.Context, conn drpc.Conn, opts Options) (*Result, error) {
	r := &run{
		opts:    opts,
		conn:    conn,
		uploads: newActivity(conn),
		cancels: newActivity(conn),
		calls:   newActivity(conn),
		chat:    newActivity(conn),
		control: newActivity(conn),
		stalled: newActivity(conn),
		copied:  make(chan struct{}),
		refused: make(chan struct{}),
	}
	begin := time.Now()
	err := r.run(ctx)
	res := &r.result
	res.Elapsed = time.Since(begin)
	res.Uploads, res.Cancels = r.uploads.work(), r.cancels.work()
	res.Calls, res.Chat, res.Control = r.calls.work(), r.chat.work(), r.control.work()
	res.Stalled = r.stalled.work()
	return res, err
}

func (r *run) run(ctx context.Context) error {
	// The first call goes alone: it tells whether the peer is one to talk to,
	// and lets the two ends of the connection find out what they both can.
	if err := r.hello(ctx); err != nil {
		return err
	}
	background, stop := context.WithCancel(ctx)
	defer stop()
	var beside sync.WaitGroup
	beside.Go(func() { r.callAll(background) })
	beside.Go(func() { r.talkAll(background) })

	err := r.copyAmongOthers(ctx)
	if err != nil {
		stop()
	}
	close(r.copied)
	beside.Wait()
	if err != nil {
		return err
	}
	// And the last one shows that the connection is as good as before.
	return r.hello(ctx)
}

// copyAmongOthers copies everything, beside the stalled streams, if there are any.
func (r *run) copyAmongOthers(ctx context.Context) error {
	if r.opts.Stall != nil {
		defer r.opts.Stall.Cancel()
		if err := r.stall(ctx); err != nil {
			return err
		}
	}
	begin := time.Now()
	err := r.copyAll(ctx)
	r.result.Copying = time.Since(begin)
	if err != nil {
		return err
	}
	if isClosed(r.refused) {
		return errRefused
	}
	if r.opts.Stall != nil {
		return r.release()
	}
	return nil
}

// hello asks the server for a sign of life.
func (r *run) hello(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, helloPatience,
		fmt.Errorf("the server does not answer within %v", helloPatience))
	defer cancel()
	question := wire.Echo{Payload: []byte("hello")}
	err := ask(ctx, r.control.client, &question)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.DeadlineExceeded):
		return context.Cause(ctx)
	case r.isRefusal(err):
		return errRefused
	}
	return err
}

// copyAll copies the files, and starts and cancels the additional uploads among
// them.
func (r *run) copyAll(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	files := make(chan tree.File)
	cancels := make(chan int, r.opts.Cancels) // has room for all, so that files never wait for it

	group.Go(func() error {
		defer close(files)
		defer close(cancels)
		return r.feed(ctx, files, cancels)
	})
	for range min(r.opts.Uploads, len(r.opts.Files)) {
		group.Go(func() error { return r.uploadFrom(ctx, files) })
	}
	for range min(r.opts.Cancels, cancelers) {
		group.Go(func() error { return r.cancelFrom(ctx, cancels) })
	}
	return group.Wait()
}

// feed hands out the files in order, until the server takes no more, and the numbers of the uploads to cancel
// evenly among them, so that there are some from beginning to end.
func (r *run) feed(ctx context.Context, files chan<- tree.File, cancels chan<- int) error {
	next := 0
	for i, f := range r.opts.Files {
		for ; next*len(r.opts.Files) <= i*r.opts.Cancels && next < r.opts.Cancels; next++ {
			cancels <- next
		}
		select {
		case files <- f:
		case <-r.refused:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for ; next < r.opts.Cancels; next++ {
		cancels <- next
	}
	return nil
}

// errRefused is what ends a copy to a server that is shutting down.
var errRefused = errors.New("the server takes no more calls: it is shutting down")

// isRefusal reports whether an error says that the server takes no more calls: that
// it has refused one, or that the connection has come to its end as it had said.
func (r *run) isRefusal(err error) bool {
	switch {
	case errors.Is(err, drpcstream.ErrRefused), errors.Is(err, drpcmanager.ErrShutdown):
		return true
	case errors.Is(err, drpcmanager.ErrHungUp):
		// What the server did next may be known before this end has drawn
		// its conclusions.
		conn, ok := r.conn.(interface{ Draining() <-chan struct{} })
		return ok && isClosed(conn.Draining())
	}
	return false
}

// refuse notes that the server takes no more calls. What is on its way finishes.
func (r *run) refuse() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !isClosed(r.refused) {
		close(r.refused)
	}
}

// over reports whether the copying is done.
func (r *run) over() bool { return isClosed(r.copied) }

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// fatal reports whether an error is the end of everything and not of one
// stream only.
func fatal(ctx context.Context, err error) bool {
	var lost *drpcmanager.LostError
	return ctx.Err() != nil || errors.As(err, &lost)
}
