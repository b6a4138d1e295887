package run

import (
	"context"
	"errors"
	"io"
	"time"

	"storj.io/drpc"

	"braid/cmd/braid/internal/load/blob"
)

// flow is a stream that is opened when it is needed and stays open. Its methods
// return errors of type *failure.
type flow struct {
	ctx     context.Context // the parent of those of the streams
	conn    drpc.Conn
	rpc     string
	timeout time.Duration

	stream drpc.Stream             // nil: none is open
	own    context.Context         // of the stream
	cancel context.CancelCauseFunc // of own
	timer  *time.Timer             // cancels own; nil without a timeout
	number uint64                  // of the next message, counted from 0 on each stream
	in     blob.Message
}

// begin opens the stream if there is none, and starts the clock of an operation.
// opened tells that it is a new one.
func (f *flow) begin() (opened bool, err error) {
	if f.stream != nil {
		if f.timer != nil {
			f.timer.Reset(f.timeout)
		}
		return false, nil
	}
	f.own, f.cancel = context.WithCancelCause(f.ctx)
	if f.timeout > 0 {
		cancel := f.cancel
		f.timer = time.AfterFunc(f.timeout, func() { cancel(errTimeout) })
	}
	f.number = 0
	stream, err := f.conn.NewStream(f.own, f.rpc, blob.Encoding{})
	if err != nil {
		return false, f.fail(err)
	}
	f.stream = stream
	return true, nil
}

// end stops the clock of an operation that went well.
func (f *flow) end() error {
	if f.timer != nil && !f.timer.Stop() {
		return f.fail(errTimeout) // it has ended the stream, or is about to
	}
	return nil
}

func (f *flow) fail(err error) error { return newFailure(f.own, err) }

func (f *flow) drop() {
	if f.cancel == nil {
		return
	}
	if f.timer != nil {
		f.timer.Stop()
	}
	f.cancel(errCut)
	if f.stream != nil {
		_ = f.stream.Close() // it is over in any case
	}
	f.stream, f.cancel, f.timer = nil, nil, nil
}

func (f *flow) send(m *blob.Message) error {
	err := f.stream.MsgSend(m, blob.Encoding{})
	if errors.Is(err, io.EOF) {
		// The server has ended the stream. Receiving tells why.
		for err = error(nil); err == nil; {
			err = f.stream.MsgRecv(&f.in, blob.Encoding{})
		}
	}
	if err != nil {
		return f.fail(err)
	}
	return nil
}

func (f *flow) recv() error {
	if err := f.stream.MsgRecv(&f.in, blob.Encoding{}); err != nil {
		return f.fail(err)
	}
	return nil
}

// close closes this side of the stream and receives until the server has closed its,
// too. Each message that comes is given to each.
func (f *flow) close(each func(p []byte) error) error {
	defer f.drop()
	if f.timer != nil {
		f.timer.Reset(f.timeout)
	}
	if err := f.stream.CloseSend(); err != nil {
		return f.fail(err)
	}
	for {
		switch err := f.stream.MsgRecv(&f.in, blob.Encoding{}); {
		case errors.Is(err, io.EOF):
			return f.end()
		case err != nil:
			return f.fail(err)
		}
		if err := each(f.in.Data); err != nil {
			return f.fail(err)
		}
	}
}

// upload sends.
type upload struct {
	flow
	out blob.Message
}

func (u *upload) do() (sent, received int, err error) {
	if _, err := u.begin(); err != nil {
		return 0, 0, err
	}
	blob.Stamp(u.out.Data, u.number)
	if err := u.send(&u.out); err != nil {
		return 0, 0, err
	}
	u.number++
	return len(u.out.Data), 0, u.end()
}

func (u *upload) finish() error {
	if u.stream == nil {
		return nil
	}
	sent := blob.Tally{Messages: u.number, Bytes: u.number * uint64(len(u.out.Data))}
	tallies := 0
	err := u.close(func(p []byte) error {
		tallies++
		got, ok := blob.TallyOf(p)
		if !ok || got != sent {
			return blob.Wrong("%d messages were sent, and the server says that %d arrived", sent.Messages, got.Messages)
		}
		return nil
	})
	if err == nil && tallies != 1 {
		return newFailure(u.ctx, blob.Wrong("the server answered %d times to an upload", tallies))
	}
	return err
}

// download receives.
type download struct {
	flow
	size int
}

func (d *download) do() (sent, received int, err error) {
	opened, err := d.begin()
	if err != nil {
		return 0, 0, err
	}
	if opened {
		ask := blob.Message{Data: blob.Ask{Size: uint64(d.size)}.AppendTo(nil)}
		if err := d.send(&ask); err != nil {
			return 0, 0, err
		}
	}
	if err := d.recv(); err != nil {
		return 0, 0, err
	}
	if err := d.next(d.in.Data); err != nil {
		return 0, 0, d.fail(err)
	}
	return 0, d.size, d.end()
}

// next makes sure that a message is the next one.
func (d *download) next(p []byte) error {
	err := blob.Check(p, d.size, d.number)
	d.number++
	return err
}

func (d *download) finish() error {
	if d.stream == nil {
		return nil
	}
	over := false
	err := d.close(func(p []byte) error {
		sent, ok := blob.TallyOf(p)
		switch {
		case over:
			return blob.Wrong("the server sent something after its tally")
		case !ok:
			return d.next(p) // it was on its way
		case sent.Messages != d.number:
			return blob.Wrong("the server says that it sent %d messages, and %d arrived", sent.Messages, d.number)
		}
		over = true
		return nil
	})
	if err == nil && !over {
		return newFailure(d.ctx, blob.Wrong("the server ended a download without its tally"))
	}
	return err
}

// pingPong sends and receives in turn.
type pingPong struct {
	flow
	out    blob.Message
	number uint64 // of the next message, counted over all streams
}

func (p *pingPong) do() (sent, received int, err error) {
	if _, err := p.begin(); err != nil {
		return 0, 0, err
	}
	blob.Stamp(p.out.Data, p.number)
	if err := p.send(&p.out); err != nil {
		return 0, 0, err
	}
	if err := p.recv(); err != nil {
		return 0, 0, err
	}
	if err := blob.Check(p.in.Data, len(p.out.Data), p.number); err != nil {
		return 0, 0, p.fail(err)
	}
	p.number++
	return len(p.out.Data), len(p.in.Data), p.end()
}

func (p *pingPong) finish() error {
	if p.stream == nil {
		return nil
	}
	return p.close(func([]byte) error { return blob.Wrong("the server sent more than it was sent") })
}
