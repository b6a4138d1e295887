// Package beside runs small calls beside bulk streams over one connection, and
// tells how the calls fare.
package beside

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"braid/bench/internal/blob"
	"braid/bench/internal/stack"
)

// Mode is what the bulk streams do.
type Mode string

// The modes.
const (
	Upload   Mode = "upload"   // clients send, handlers read and discard
	Download Mode = "download" // handlers send, clients read and discard
	Stalled  Mode = "stalled"  // clients send until they are blocked, handlers never read
)

// Modes returns all modes.
func Modes() []Mode { return []Mode{Upload, Download, Stalled} }

// MaxTaken is how many bytes the senders of the mode Stalled push at most, all
// of them together, plus one message each. It saves the machine where a stack
// has no bound of its own, or one that is out of reach.
const MaxTaken = 4 << 30

// Load is bulk streams that are at work.
type Load struct {
	client stack.Client
	mode   Mode
	most   int64 // bytes that senders of the mode Stalled push
	cancel context.CancelFunc

	received func() int64 // bytes of payload that upload handlers have read
	moved    atomic.Int64 // bytes: received by clients, or sent by them where nobody receives
	wg       sync.WaitGroup

	mu  sync.Mutex
	err error // the first failure of a stream; guarded by mu
}

// MaxSize is the largest message in bytes: what all stacks accept by default,
// less some room for what they put around it.
const MaxSize = 4<<20 - 1<<10

// StartLoad starts bulk streams, each with a goroutine of its own and messages
// of size bytes. Stop ends them. The function tells how many bytes of payload the
// upload handlers of the server have read.
func StartLoad(client stack.Client, received func() int64, mode Mode, streams, size int) *Load {
	return startLoad(client, received, mode, streams, size, MaxTaken)
}

func startLoad(client stack.Client, received func() int64, mode Mode, streams, size int, most int64) *Load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &Load{client: client, received: received, mode: mode, most: most, cancel: cancel}
	run := map[Mode]func(context.Context, int) error{Upload: l.send, Download: l.receive, Stalled: l.push}[mode]
	for i := range streams {
		l.wg.Go(func() { // ends with ctx, or when its stream fails
			if err := run(ctx, size); ctx.Err() == nil {
				l.fail(fmt.Errorf("bulk stream %d of %d: %w", i, streams, err))
			}
		})
	}
	return l
}

// Moved returns how many bytes of payload have arrived so far, or, where
// nobody receives, how many the senders got rid of.
func (l *Load) Moved() int64 {
	if l.mode == Upload {
		return l.received()
	}
	return l.moved.Load()
}

// Err returns the first error that a stream has ended with before Stop.
func (l *Load) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Stop cancels the streams and waits until their goroutines have ended.
func (l *Load) Stop() {
	l.cancel()
	l.wg.Wait()
}

// fail keeps the first error.
func (l *Load) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
	}
}

// over opens a stream, and closes it when use has returned.
func (l *Load) over(ctx context.Context, method stack.Method, use func(stack.Stream) error) error {
	stream, err := l.client.Open(ctx, method)
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }() // what use returns is what counts
	return use(stream)
}

// send uploads as fast as it can.
func (l *Load) send(ctx context.Context, size int) error {
	return l.over(ctx, stack.MethodUpload, func(stream stack.Stream) error {
		msg := blob.New(size, 2)
		for seq := uint64(0); ; seq++ {
			msg.Stamp(0, seq)
			if err := stream.Send(msg); err != nil {
				return err
			}
		}
	})
}

// push sends to a handler that never receives.
func (l *Load) push(ctx context.Context, size int) error {
	return l.over(ctx, stack.MethodStall, func(stream stack.Stream) error {
		msg := blob.New(size, 2)
		for {
			if err := stream.Send(msg); err != nil {
				return err
			}
			if l.moved.Add(int64(size)) >= l.most {
				<-ctx.Done()
				return ctx.Err()
			}
		}
	})
}

// receive downloads as fast as it can.
func (l *Load) receive(ctx context.Context, size int) error {
	return l.over(ctx, stack.MethodDownload, func(stream stack.Stream) error {
		ask := blob.Tally{Messages: stack.Endless, Bytes: stack.Endless * uint64(size)}
		if err := stream.Send(ask.Blob()); err != nil {
			return err
		}
		var in blob.Blob
		for seq := uint64(0); ; seq++ {
			if err := stream.Recv(&in); err != nil {
				return err
			}
			if err := in.Check(size, 0, seq); err != nil {
				return err
			}
			l.moved.Add(int64(size))
		}
	})
}
