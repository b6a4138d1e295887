package run

import (
	"context"
	"time"

	"storj.io/drpc"

	"braid/cmd/braid/internal/load/blob"
)

// task is what a worker does again and again. It is used by one goroutine. Its errors
// are of type *failure.
type task interface {
	// do does one operation, and returns the bytes of the messages that it sent and
	// received.
	do() (sent, received int, err error)
	// finish brings to its end what is open, and makes sure that all that was sent
	// has arrived.
	finish() error
	// drop ends what is open at once. The next do begins anew.
	drop()
}

// newTask makes the task of a worker. The end of ctx ends what it does.
func newTask(ctx context.Context, opts *Options, conn drpc.Conn, worker int) task {
	if opts.Work == Unary {
		u := &unary{ctx: ctx, conn: conn, timeout: opts.Timeout, rpc: blob.Echo, number: firstNumber(worker)}
		if opts.Method != "" {
			u.rpc, u.out.Data, u.foreign = opts.Method, opts.Data, true
		} else {
			u.out.Data = newData(opts.Size)
		}
		return u
	}
	f := flow{ctx: ctx, conn: conn, timeout: opts.Timeout}
	switch opts.Work {
	case Upload:
		f.rpc = blob.Upload
		return &upload{flow: f, out: blob.Message{Data: newData(opts.Size)}}
	case Download:
		f.rpc = blob.Download
		return &download{flow: f, size: opts.Size}
	default:
		f.rpc = blob.PingPong
		return &pingPong{flow: f, out: blob.Message{Data: newData(opts.Size)}, number: firstNumber(worker)}
	}
}

// newData makes a message to be stamped.
func newData(size int) []byte {
	data := make([]byte, size)
	blob.Fill(data)
	return data
}

// firstNumber returns the number of the first message of a worker. No other worker
// comes to it.
func firstNumber(worker int) uint64 { return uint64(worker) << 47 }

// unary makes calls.
type unary struct {
	ctx     context.Context
	conn    drpc.Conn
	timeout time.Duration
	rpc     string
	foreign bool   // not the echo: the answer is the server's business
	number  uint64 // of the next call
	out, in blob.Message
}

func (u *unary) do() (sent, received int, err error) {
	ctx := u.ctx
	if u.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, u.timeout)
		defer cancel()
	}
	if !u.foreign {
		blob.Stamp(u.out.Data, u.number)
	}
	u.in.Data = u.in.Data[:0]
	if err := u.conn.Invoke(ctx, u.rpc, blob.Encoding{}, &u.out, &u.in); err != nil {
		return 0, 0, newFailure(ctx, err)
	}
	if !u.foreign {
		if err := blob.Check(u.in.Data, len(u.out.Data), u.number); err != nil {
			return 0, 0, newFailure(ctx, err)
		}
		u.number++
	}
	return len(u.out.Data), len(u.in.Data), nil
}

func (u *unary) finish() error { return nil }

func (u *unary) drop() { u.number++ } // an answer that is late is not taken for another one
