package beside

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"braid/bench/internal/blob"
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
	rig    *Rig
	mode   Mode
	most   int64 // bytes that senders of the mode Stalled push
	cancel context.CancelFunc
	moved  atomic.Int64 // bytes: received by clients, or sent by them where nobody receives
	wg     sync.WaitGroup

	mu  sync.Mutex
	err error // the first failure of a stream; guarded by mu
}

// StartLoad starts bulk streams, each with a goroutine of its own and messages
// of size bytes. Stop ends them.
func (r *Rig) StartLoad(mode Mode, streams, size int) *Load {
	return r.startLoad(mode, streams, size, MaxTaken)
}

func (r *Rig) startLoad(mode Mode, streams, size int, most int64) *Load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &Load{rig: r, mode: mode, most: most, cancel: cancel}
	run := l.send
	if mode == Download {
		run = l.receive
	}
	msg := blob.New(size, 2) // shared: nobody changes it
	for i := range streams {
		l.wg.Go(func() { // ends with ctx, or when its stream fails
			if err := run(ctx, msg); ctx.Err() == nil {
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
		return l.rig.Received()
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

// send uploads as fast as it can.
func (l *Load) send(ctx context.Context, msg *blob.Blob) error {
	method := MethodUpload
	if l.mode == Stalled {
		method = MethodStall
	}
	stream, err := l.rig.client.Open(ctx, method)
	if err != nil {
		return err
	}
	for {
		if err := stream.Send(msg); err != nil {
			return err
		}
		if l.mode == Stalled && l.moved.Add(int64(len(msg.Data))) >= l.most {
			<-ctx.Done()
			return ctx.Err()
		}
	}
}

// receive downloads as fast as it can.
func (l *Load) receive(ctx context.Context, msg *blob.Blob) error {
	stream, err := l.rig.client.Open(ctx, MethodDownload)
	if err != nil {
		return err
	}
	ask := blob.Tally{Messages: 1, Bytes: uint64(len(msg.Data))}
	if err := stream.Send(ask.Blob()); err != nil {
		return err
	}
	var in blob.Blob
	for {
		if err := stream.Recv(&in); err != nil {
			return err
		}
		if len(in.Data) != len(msg.Data) {
			return errors.New("a message has not the size asked for")
		}
		l.moved.Add(int64(len(in.Data)))
	}
}
