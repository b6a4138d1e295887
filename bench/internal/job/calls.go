package job

import (
	"context"
	"time"

	"braid/bench/internal/blob"
	"braid/bench/internal/latency"
	"braid/bench/internal/stack"
)

// caller is one of the concurrent users of a client. It reuses its messages, so
// that allocations are those of the stack and of the server side. It has a
// cancelable context of its own, because that is what calls are usually made
// with.
type caller struct {
	ctx     context.Context
	cancel  context.CancelFunc
	id, seq uint64
	size    int
	in, out *blob.Blob
}

// group is the callers of a job.
type group struct {
	client    stack.Client
	latencies *latency.Recorder // may be nil
	callers   []*caller
}

// newGroup returns as many callers as the load says.
func newGroup(ctx context.Context, load Load) group {
	g := group{client: load.Client, latencies: load.Latencies}
	for i := range load.Callers {
		ctx, cancel := context.WithCancel(ctx)
		g.callers = append(g.callers, &caller{
			ctx:    ctx,
			cancel: cancel,
			id:     uint64(i) + 1,
			size:   load.Size,
			in:     blob.New(load.Size, uint64(i)),
			out:    new(blob.Blob),
		})
	}
	return g
}

// Close cancels the contexts of the callers.
func (g group) Close() error {
	for _, c := range g.callers {
		c.cancel()
	}
	return nil
}

// run does n units among the callers, and records how long each takes if
// somebody wants to know.
func (g group) run(n int, step func(i int, c *caller) error) error {
	if g.latencies == nil {
		return spread(n, len(g.callers), func(i int) error { return step(i, g.callers[i]) })
	}
	return spread(n, len(g.callers), func(i int) error {
		began := time.Now()
		if err := step(i, g.callers[i]); err != nil {
			return err
		}
		g.latencies.Record(i, time.Since(began))
		return nil
	})
}

// call makes a call and checks its answer.
func (g group) call(_ int, c *caller) error {
	c.next()
	if err := g.client.Echo(c.ctx, c.in, c.out); err != nil {
		return err
	}
	return c.check()
}

// next marks the request as the next one of the caller.
func (c *caller) next() {
	c.seq++
	c.in.Stamp(c.id, c.seq)
}

// check reports whether the reply belongs to the last request.
func (c *caller) check() error { return c.out.Check(c.size, c.id, c.seq) }

// exchange sends a message over the stream and receives the answer.
func (c *caller) exchange(stream stack.Handle) error {
	c.next()
	if err := stream.Send(c.in); err != nil {
		return err
	}
	if err := stream.Recv(c.out); err != nil {
		return err
	}
	return c.check()
}

// unary calls and waits for the answer.
type unary struct{ group }

func newUnary(ctx context.Context, load Load) (Job, error) {
	return &unary{newGroup(ctx, load)}, nil
}

// Run implements Job.
func (u *unary) Run(n int) error { return u.run(n, u.call) }

// openClose opens a stream, exchanges one message and closes the stream.
type openClose struct{ group }

func newOpenClose(ctx context.Context, load Load) (Job, error) {
	return &openClose{newGroup(ctx, load)}, nil
}

// Run implements Job.
func (o *openClose) Run(n int) error {
	return o.run(n, func(_ int, c *caller) error {
		stream, err := o.client.Open(c.ctx, stack.MethodPingPong)
		if err != nil {
			return err
		}
		if err := c.exchange(stream); err != nil {
			return failed(stream, c.cancel, err)
		}
		return stream.Close()
	})
}
