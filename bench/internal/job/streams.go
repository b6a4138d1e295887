package job

import (
	"context"
	"errors"
	"fmt"
	"io"

	"braid/bench/internal/blob"
	"braid/bench/internal/stack"
)

// failed closes a stream that is of no more use, without waiting for what may
// never come, and returns why it is not.
func failed(stream stack.Stream, cancel context.CancelFunc, why error) error {
	cancel()
	_ = stream.Close() // the first error is what tells
	return why
}

// sender sends messages over one stream after another.
type sender struct {
	client stack.Client
	out    *blob.Blob
}

// send opens a stream, sends messages while more says so, which is given how
// many there have been, and compares the tally of the server.
func (s *sender) send(ctx context.Context, more func(sent uint64) bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := s.client.Open(ctx, stack.MethodUpload)
	if err != nil {
		return err
	}
	if err := s.sendOver(stream, more); err != nil {
		return failed(stream, cancel, err)
	}
	return stream.Close()
}

func (s *sender) sendOver(stream stack.Stream, more func(sent uint64) bool) error {
	var want blob.Tally
	for more(want.Messages) {
		s.out.Stamp(0, want.Messages)
		if err := stream.Send(s.out); err != nil {
			return cause(stream, err)
		}
		want.Messages++
		want.Bytes += uint64(len(s.out.Data))
	}
	if err := stream.CloseSend(); err != nil {
		return cause(stream, err)
	}
	var answer blob.Blob
	if err := stream.Recv(&answer); err != nil {
		return err
	}
	got, err := blob.TallyOf(&answer)
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("server counted %+v, want %+v", got, want)
	}
	return nil
}

// cause returns why a message could not be sent: some stacks tell that to who
// receives, and io.EOF to who sends.
func cause(stream stack.Stream, err error) error {
	if !errors.Is(err, io.EOF) {
		return err
	}
	if why := stream.Recv(new(blob.Blob)); why != nil && !errors.Is(why, io.EOF) {
		return why
	}
	return err
}

// upload sends messages over some streams. The server checks and counts them
// and answers with the tally, so a run ends when the last one has arrived.
type upload struct {
	ctx     context.Context
	cancel  context.CancelFunc
	senders []*sender
}

func newUpload(ctx context.Context, load Load) (Job, error) {
	u := new(upload)
	u.ctx, u.cancel = context.WithCancel(ctx)
	for i := range load.Callers {
		u.senders = append(u.senders, &sender{load.Client, blob.New(load.Size, uint64(i))})
	}
	return u, nil
}

// Run implements Job.
func (u *upload) Run(n int) error {
	return divide(n, len(u.senders), func(i, units int) error {
		return u.senders[i].send(u.ctx, func(sent uint64) bool { return sent < uint64(units) })
	})
}

// Close implements Job.
func (u *upload) Close() error {
	u.cancel()
	return nil
}

// download receives messages over some streams, checks and counts them.
type download struct {
	client stack.Client
	ctx    context.Context
	cancel context.CancelFunc
	size   int
	in     []blob.Blob // of each stream
}

func newDownload(ctx context.Context, load Load) (Job, error) {
	d := &download{client: load.Client, size: load.Size, in: make([]blob.Blob, load.Callers)}
	d.ctx, d.cancel = context.WithCancel(ctx)
	return d, nil
}

// Run implements Job.
func (d *download) Run(n int) error {
	return divide(n, len(d.in), func(i, units int) error {
		ctx, cancel := context.WithCancel(d.ctx)
		defer cancel()
		stream, err := d.client.Open(ctx, stack.MethodDownload)
		if err != nil {
			return err
		}
		if err := d.receive(stream, &d.in[i], units); err != nil {
			return failed(stream, cancel, err)
		}
		return stream.Close()
	})
}

// receive asks for n messages and expects exactly those.
func (d *download) receive(stream stack.Stream, in *blob.Blob, n int) error {
	ask := blob.Tally{Messages: uint64(n), Bytes: uint64(n) * uint64(d.size)}
	if err := stream.Send(ask.Blob()); err != nil {
		return err
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	for seq := range uint64(n) {
		if err := stream.Recv(in); err != nil {
			return err
		}
		if err := in.Check(d.size, 0, seq); err != nil {
			return err
		}
	}
	if err := stream.Recv(in); !errors.Is(err, io.EOF) {
		return fmt.Errorf("after the last message: %v, want %v", err, io.EOF)
	}
	return nil
}

// Close implements Job.
func (d *download) Close() error {
	d.cancel()
	return nil
}

// pingPong exchanges messages over streams that stay open.
type pingPong struct {
	group
	streams []stack.Stream
}

func newPingPong(ctx context.Context, load Load) (Job, error) {
	p := &pingPong{group: newGroup(ctx, load)}
	for _, c := range p.callers {
		stream, err := p.client.Open(c.ctx, stack.MethodPingPong)
		if err != nil {
			return nil, p.abandon(err)
		}
		p.streams = append(p.streams, stream)
		if err := c.exchange(stream); err != nil {
			return nil, p.abandon(err)
		}
	}
	return p, nil
}

// abandon closes what there is without waiting for it, and returns why.
func (p *pingPong) abandon(why error) error {
	_ = p.group.Close()
	_ = p.Close() // the first error is what tells
	return why
}

// Run implements Job.
func (p *pingPong) Run(n int) error {
	return p.run(n, func(i int, c *caller) error { return c.exchange(p.streams[i]) })
}

// Close implements Job.
func (p *pingPong) Close() error {
	errs := make([]error, 0, len(p.streams))
	for _, stream := range p.streams {
		errs = append(errs, stream.Close())
	}
	return errors.Join(append(errs, p.group.Close())...)
}
