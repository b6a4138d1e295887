package job

import (
	"context"
	"errors"
	"fmt"
	"io"

	"storj.io/drpc"

	"braid/bench/internal/blob"
)

// errOneStream refuses concurrency where the unit is a message of one stream.
var errOneStream = errors.New("upload and download use one stream")

// upload sends messages over one stream. The server checks and counts them
// and answers with the tally, so a run ends when the last one has arrived.
type upload struct {
	conn   drpc.Conn
	size   int
	out    *blob.Blob
	ctx    context.Context
	cancel context.CancelFunc
}

func newUpload(conn drpc.Conn, callers, size int) (Job, error) {
	if callers != 1 {
		return nil, errOneStream
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &upload{conn: conn, size: size, out: blob.New(size, 0), ctx: ctx, cancel: cancel}, nil
}

// Run implements Job.
func (u *upload) Run(n int) error {
	stream, err := u.conn.NewStream(u.ctx, blob.MethodUpload, blob.Encoding{})
	if err != nil {
		return err
	}
	if err := u.send(stream, n); err != nil {
		return errors.Join(err, stream.Close())
	}
	return stream.Close()
}

// send sends n messages and compares the tally of the server.
func (u *upload) send(stream drpc.Stream, n int) error {
	for seq := range uint64(n) {
		u.out.Stamp(0, seq)
		if err := stream.MsgSend(u.out, blob.Encoding{}); err != nil {
			return err
		}
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	var answer blob.Blob
	if err := stream.MsgRecv(&answer, blob.Encoding{}); err != nil {
		return err
	}
	got, err := blob.TallyOf(&answer)
	if err != nil {
		return err
	}
	want := blob.Tally{Messages: uint64(n), Bytes: uint64(n * u.size)}
	if got != want {
		return fmt.Errorf("server counted %+v, want %+v", got, want)
	}
	return nil
}

// Close implements Job.
func (u *upload) Close() error {
	u.cancel()
	return nil
}

// download receives messages over one stream, checks and counts them.
type download struct {
	conn   drpc.Conn
	size   int
	ctx    context.Context
	cancel context.CancelFunc
}

func newDownload(conn drpc.Conn, callers, size int) (Job, error) {
	if callers != 1 {
		return nil, errOneStream
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &download{conn: conn, size: size, ctx: ctx, cancel: cancel}, nil
}

// Run implements Job.
func (d *download) Run(n int) error {
	stream, err := d.conn.NewStream(d.ctx, blob.MethodDownload, blob.Encoding{})
	if err != nil {
		return err
	}
	if err := d.receive(stream, n); err != nil {
		return errors.Join(err, stream.Close())
	}
	return stream.Close()
}

// receive asks for n messages and expects exactly those.
func (d *download) receive(stream drpc.Stream, n int) error {
	ask := blob.Tally{Messages: uint64(n), Bytes: uint64(n * d.size)}
	if err := stream.MsgSend(ask.Blob(), blob.Encoding{}); err != nil {
		return err
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	var in blob.Blob
	for seq := range uint64(n) {
		if err := stream.MsgRecv(&in, blob.Encoding{}); err != nil {
			return err
		}
		if err := in.Check(d.size, 0, seq); err != nil {
			return err
		}
	}
	if err := stream.MsgRecv(&in, blob.Encoding{}); !errors.Is(err, io.EOF) {
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
	streams []drpc.Stream
}

func newPingPong(conn drpc.Conn, callers, size int) (Job, error) {
	p := &pingPong{group: newGroup(callers, size)}
	for _, c := range p.group {
		stream, err := conn.NewStream(c.ctx, blob.MethodPingPong, blob.Encoding{})
		if err != nil {
			return nil, errors.Join(err, p.Close())
		}
		p.streams = append(p.streams, stream)
		if err := c.exchange(stream); err != nil {
			return nil, errors.Join(err, p.Close())
		}
	}
	return p, nil
}

// Run implements Job.
func (p *pingPong) Run(n int) error {
	return Spread(n, len(p.streams), func(i int) error {
		return p.group[i].exchange(p.streams[i])
	})
}

// Close implements Job.
func (p *pingPong) Close() error {
	var errs []error
	for _, stream := range p.streams {
		errs = append(errs, stream.Close())
	}
	return errors.Join(append(errs, p.group.Close())...)
}
