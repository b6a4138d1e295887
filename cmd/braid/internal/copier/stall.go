package copier

import (
	"context"
	"fmt"
	"time"

	"braid/cmd/braid/internal/format"
	"braid/cmd/braid/internal/measure"
	"braid/cmd/braid/internal/stall"
)

// Stall is what came of the streams that nobody read, and of the others beside
// them. Nothing was copied in either phase, so that they can be compared.
type Stall struct {
	Before, During Phase
	Streams        []stall.Held // empty if the run did not come to their end
}

// Phase is what callers and talkers got done in some time. Only what was begun and
// ended in it counts.
type Phase struct {
	Elapsed     time.Duration
	Calls, Chat measure.Distribution
}

// phase is one that is being measured.
type phase struct {
	calls, chat *measure.Latency
}

// stall measures how the others do without the streams that nobody reads, opens
// these, and measures again.
func (r *run) stall(ctx context.Context) error {
	s := r.opts.Stall
	r.result.Stall = new(Stall)
	r.opts.Note("stall: measuring for %v before it begins", r.opts.StallFor)
	// Everybody who is to be measured has begun by then, and the memory that
	// they need is there.
	if err := pause(ctx, r.opts.StallFor/4); err != nil {
		return err
	}
	var err error
	if r.result.Stall.Before, err = r.measure(ctx); err != nil {
		return err
	}
	if err := s.Begin(ctx, r.stalled.client); err != nil {
		return err
	}
	r.opts.Count.HeldBytes.Store(s.Sent())
	r.opts.Count.Held.Store(2)
	r.opts.Note("stall: 2 streams that nobody reads are held after %s; measuring beside them",
		format.Bytes(s.Sent()))
	if r.result.Stall.During, err = r.measure(ctx); err != nil {
		return err
	}
	// If they held up the others, this is where it ends, and not the copying.
	if err := r.hello(ctx); err != nil {
		return fmt.Errorf("beside the stalled streams: %w", err)
	}
	r.opts.Note("stall: copying beside them")
	return nil
}

// release lets the stalled streams be read.
func (r *run) release() error {
	var err error
	r.result.Stall.Streams, err = r.opts.Stall.End()
	r.opts.Count.Held.Store(0)
	return err
}

// measure measures a phase.
func (r *run) measure(ctx context.Context) (Phase, error) {
	p := &phase{calls: measure.NewLatency(), chat: measure.NewLatency()}
	begin := time.Now()
	r.phase.Store(p)
	err := pause(ctx, r.opts.StallFor)
	r.phase.Store(nil)
	elapsed := time.Since(begin)
	return Phase{Elapsed: elapsed, Calls: p.calls.Distribution(), Chat: p.chat.Distribution()}, err
}

// pause lets the others work.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
