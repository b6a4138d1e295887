package job

import (
	"context"

	"storj.io/drpc"

	"braid/bench/internal/blob"
)

// caller is one of the concurrent users of a connection. It reuses its
// messages, so that allocations are those of the stack and of the server side.
// It has a cancelable context of its own, because that is what calls are
// usually made with.
type caller struct {
	ctx     context.Context
	cancel  context.CancelFunc
	id, seq uint64
	size    int
	in, out *blob.Blob
}

// group is the callers of a job.
type group []*caller

// newGroup returns n callers with payloads of size bytes.
func newGroup(n, size int) group {
	g := make(group, n)
	for i := range g {
		ctx, cancel := context.WithCancel(context.Background())
		g[i] = &caller{
			ctx:    ctx,
			cancel: cancel,
			id:     uint64(i) + 1,
			size:   size,
			in:     blob.New(size, uint64(i)),
			out:    new(blob.Blob),
		}
	}
	return g
}

// Close cancels the contexts of the callers.
func (g group) Close() error {
	for _, c := range g {
		c.cancel()
	}
	return nil
}

// next marks the request as the next one of the caller.
func (c *caller) next() {
	c.seq++
	c.in.Stamp(c.id, c.seq)
}

// check reports whether the reply belongs to the last request.
func (c *caller) check() error { return c.out.Check(c.size, c.id, c.seq) }

// exchange sends a message over the stream and receives the answer.
func (c *caller) exchange(stream drpc.Stream) error {
	c.next()
	if err := stream.MsgSend(c.in, blob.Encoding{}); err != nil {
		return err
	}
	if err := stream.MsgRecv(c.out, blob.Encoding{}); err != nil {
		return err
	}
	return c.check()
}

// unary calls and waits for the answer.
type unary struct {
	group
	conn drpc.Conn
}

func newUnary(conn drpc.Conn, callers, size int) (Job, error) {
	return &unary{group: newGroup(callers, size), conn: conn}, nil
}

// Run implements Job.
func (u *unary) Run(n int) error {
	return Spread(n, len(u.group), func(i int) error {
		c := u.group[i]
		c.next()
		if err := u.conn.Invoke(c.ctx, blob.MethodEcho, blob.Encoding{}, c.in, c.out); err != nil {
			return err
		}
		return c.check()
	})
}

// openClose opens a stream, exchanges one message and closes the stream.
type openClose struct {
	group
	conn drpc.Conn
}

func newOpenClose(conn drpc.Conn, callers, size int) (Job, error) {
	return &openClose{group: newGroup(callers, size), conn: conn}, nil
}

// Run implements Job.
func (o *openClose) Run(n int) error {
	return Spread(n, len(o.group), func(i int) error {
		c := o.group[i]
		stream, err := o.conn.NewStream(c.ctx, blob.MethodPingPong, blob.Encoding{})
		if err != nil {
			return err
		}
		if err := c.exchange(stream); err != nil {
			return err
		}
		if err := stream.Close(); err != nil {
			return err
		}
		// A pool has its connection back only once the context is done. Who
		// does not wait for that makes the pool dial more connections.
		<-stream.Context().Done()
		return nil
	})
}
