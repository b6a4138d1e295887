package copier

import (
	"context"
	"errors"
	"fmt"
	"time"

	"braid/cmd/braid/internal/wire"
)

const (
	// cancelers is how many of the uploads to cancel are open at once.
	cancelers = 4
	// cancelSize is how many chunks such an upload announces. Half of them are
	// sent.
	cancelSize = 16
	// noticePatience is how long the server may take to notice. It is noticed
	// within milliseconds; the limit keeps a server that never does from
	// stopping everything.
	noticePatience = 30 * time.Second
)

// cancelFrom makes one upload after the other that it cancels midway.
func (r *run) cancelFrom(ctx context.Context, numbers <-chan int) error {
	prefix := fmt.Sprintf("canceled-%x", newUploadID())
	for n := range numbers {
		err := r.cancelOne(ctx, fmt.Sprintf("%s/%d", prefix, n))
		if r.isRefusal(err) {
			r.refuse()
			return nil
		}
		if err != nil && fatal(ctx, err) {
			return fmt.Errorf("copying had to stop: %w", err)
		}
		r.mu.Lock()
		if err == nil {
			r.result.Canceled++
		} else if r.result.CancelErr == nil {
			r.result.CancelErr = fmt.Errorf("canceled upload %d: %w", n, err)
		}
		r.mu.Unlock()
		if err == nil {
			r.opts.Count.Canceled.Add(1)
		}
	}
	return nil
}

// cancelOne makes an upload, cancels it midway, and asks the server what became
// of it.
func (r *run) cancelOne(ctx context.Context, path string) error {
	id := newUploadID()
	if err := r.abandon(ctx, id, path); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, noticePatience,
		fmt.Errorf("the server did not notice within %v", noticePatience))
	defer cancel()
	begin := time.Now()
	outcome, err := r.control.client.Await(ctx, id)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return context.Cause(ctx)
	case err != nil:
		return err
	case outcome.State != wire.Canceled:
		return fmt.Errorf("the server says that it was %v", outcome.State)
	}
	r.cancels.latency.Add(time.Since(begin))
	return nil
}

// abandon sends half of an upload and cancels its context. It returns nil if
// the stream then says, as it should, that it was canceled.
func (r *run) abandon(ctx context.Context, id wire.UploadID, path string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := r.cancels.client.Upload(ctx)
	if err != nil {
		return err
	}
	header := wire.UploadFrame{
		Step: wire.Header, ID: id, Path: path, Perm: 0o600,
		Size: int64(cancelSize * r.opts.Chunk), WantReady: true,
	}
	if err := send(stream, &header); err != nil {
		return err
	}
	// The answer is what makes it "midway": the server has the file open.
	var ready wire.UploadReply
	if err := stream.Recv(&ready); err != nil {
		return ended(err)
	}
	chunk := wire.UploadFrame{Step: wire.Chunk, Data: make([]byte, r.opts.Chunk)}
	for range cancelSize / 2 {
		if err := send(stream, &chunk); err != nil {
			return err
		}
	}
	cancel()
	var reply wire.UploadReply
	switch err := stream.Recv(&reply); {
	case err == nil:
		return errors.New("the server answered although the upload is incomplete")
	case !errors.Is(err, context.Canceled):
		return fmt.Errorf("after the cancellation the stream says: %w", err)
	}
	return nil
}
