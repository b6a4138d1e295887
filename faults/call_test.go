package faults_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"storj.io/drpc"

	"braid/drpcconn"
	"braid/internal/drpctest"
)

// shape is one of the rpcs.
type shape int

const (
	unary shape = iota
	up
	down
	bidi
)

func (s shape) rpc() string {
	return [...]string{drpctest.Unary, drpctest.Up, drpctest.Down, drpctest.Bidi}[s]
}

// call is one call and what is to become of it.
type call struct {
	order
	shape   shape
	timeout time.Duration
	quit    int           // after so many messages the client cancels; negative: it does not
	quitIn  time.Duration // after that time, for a unary call that quits
}

func (c call) String() string {
	return fmt.Sprintf("%s with %d messages of %d bytes at most (fail %d, quit %d, timeout %v)",
		c.shape.rpc(), c.Count, c.Size, c.Fail, c.quit, c.timeout)
}

// wrong is the error of a call that braid has not dealt with as it promises.
type wrong string

func (w wrong) Error() string { return string(w) }

// sent returns message i of the client.
func (c call) sent(i uint32) *drpctest.Msg {
	o := c.order
	o.Index, o.Last = i, i+1 == c.sends()
	return requestOf(o)
}

// sends and receives are how many messages there are in each direction.
func (c call) sends() uint32 {
	if c.shape == up || c.shape == bidi {
		return c.Count
	}
	return 1
}

func (c call) receives() uint32 {
	if c.shape == down || c.shape == bidi {
		return c.Count
	}
	return 1
}

// received returns message i from the server.
func (c call) received(i uint32) *drpctest.Msg {
	o := c.order
	o.Index, o.Last = i, i+1 == c.receives()
	switch c.shape {
	case up:
		o.Index, o.Last = c.Count-1, true
		sum := sha256.New()
		for i := range c.Count {
			sum.Write(c.sent(i).Data)
		}
		return answerOf(o, sum.Sum(nil))
	case bidi:
		return answerOf(o, digest(c.sent(i).Data))
	default:
		return answerOf(o, digest(c.sent(0).Data))
	}
}

// run makes the call. It returns nil if the call has succeeded with exactly what
// was to come, a wrong if it brought something else, and else the error with which
// it ended, after a prefix of what was to come.
func (c call) run(ctx context.Context, cancel func(), conn *drpcconn.Conn) error {
	if c.shape == unary {
		return c.runUnary(ctx, cancel, conn)
	}
	stream, err := conn.NewStream(ctx, c.shape.rpc(), drpctest.Enc{})
	if err != nil {
		return err
	}
	var sending sync.WaitGroup
	var sendErr error
	sending.Go(func() { sendErr = c.sendAll(stream, cancel) })
	err = c.recvAll(stream, cancel)
	if err != nil {
		cancel() // a sender has nothing to wait for
	}
	sending.Wait()
	if err == nil && sendErr != nil {
		// It may have lost the race with the answer only where the handler does
		// not wait for everything, and none of these does.
		return wrong(fmt.Sprintf("all was received though sending has failed: %v", sendErr))
	}
	return err
}

func (c call) runUnary(ctx context.Context, cancel func(), conn *drpcconn.Conn) error {
	if c.quit >= 0 {
		defer time.AfterFunc(c.quitIn, cancel).Stop()
	}
	var out drpctest.Msg
	if err := conn.Invoke(ctx, c.shape.rpc(), drpctest.Enc{}, c.sent(0), &out); err != nil {
		return err
	}
	return c.compare(0, out.Data)
}

// sendAll sends the messages of the client and closes its side. An error of
// sending is also one that receiving tells, and there with its reason.
func (c call) sendAll(stream drpc.Stream, cancel func()) error {
	for i := range c.sends() {
		if c.shape == up && int(i) == c.quit {
			cancel()
		}
		if err := stream.MsgSend(c.sent(i), drpctest.Enc{}); err != nil {
			return err
		}
	}
	return stream.CloseSend()
}

// recvAll receives until the end.
func (c call) recvAll(stream drpc.Stream, cancel func()) error {
	for i := uint32(0); ; i++ {
		if c.shape != up && int(i) == c.quit {
			cancel()
		}
		var in drpctest.Msg
		err := stream.MsgRecv(&in, drpctest.Enc{})
		switch {
		case err == nil && i == c.receives():
			return wrong(fmt.Sprintf("%d bytes came after the last message", len(in.Data)))
		case err == nil:
			err = c.compare(i, in.Data)
		case errors.Is(err, io.EOF) && i < c.receives():
			return wrong(fmt.Sprintf("%v came after %d of %d messages", err, i, c.receives()))
		case errors.Is(err, io.EOF):
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (c call) compare(i uint32, got []byte) error {
	if want := c.received(i).Data; !bytes.Equal(got, want) {
		return wrong(fmt.Sprintf("message %d has %d bytes %x\nwant %d bytes %x",
			i, len(got), got[:min(len(got), 64)], len(want), want[:min(len(want), 64)]))
	}
	return nil
}
