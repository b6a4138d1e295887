package run

import (
	"context"
	"errors"
	"fmt"
	"io"

	"storj.io/drpc"

	"braid/cmd/braid/internal/load/blob"
)

// NoServiceError tells that a server does not have the methods that make load on it
// possible without knowing anything of it.
type NoServiceError struct{ err error }

// Error implements error.
func (e *NoServiceError) Error() string {
	return fmt.Sprintf("the server does not have the bench service (it says: %s)", text(e.err))
}

// Unwrap returns what the server has said.
func (e *NoServiceError) Unwrap() error { return e.err }

// Hello makes the first call on a connection, on its own: it tells whether the peer is
// a server, and lets the two ends find out what they both can. A server without the
// service is a NoServiceError.
func Hello(ctx context.Context, conn drpc.Conn) error {
	ctx, cancel := context.WithTimeoutCause(ctx, helloPatience,
		fmt.Errorf("the server does not answer within %v: does it speak DRPC?", helloPatience))
	defer cancel()
	out, in := blob.Message{Data: newData(64)}, blob.Message{}
	blob.Stamp(out.Data, 1)
	err := conn.Invoke(ctx, blob.Echo, blob.Encoding{}, &out, &in)
	switch {
	case err == nil:
		return blob.Check(in.Data, len(out.Data), 1)
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case isUnknown(err):
		return &NoServiceError{err}
	case isTransport(err), errors.Is(err, io.EOF), errors.Is(err, context.Canceled): // the last by stock
		return fmt.Errorf("the connection ended at the first call (%w): the server does not speak DRPC here, or only over TLS", err)
	}
	return err
}

// unblocked is implemented by connections that tell when a call can begin.
type unblocked interface {
	drpc.Conn
	Unblocked() <-chan struct{}
}

// Shares reports whether calls share a connection of braid's, rather than taking turns
// because the peer is not braid. Hello has to have been called, and nothing else must
// be going on.
func Shares(ctx context.Context, conn unblocked) (bool, error) {
	// A stream is in the way of others only where they take turns. If the server
	// ends it before it was looked at, it is in nobody's way, so it is tried again.
	for range 3 {
		blocked, err := blocks(ctx, conn)
		if blocked || err != nil {
			return false, err
		}
	}
	return true, nil
}

// blocks opens a stream, and reports whether it is in the way of another one.
func blocks(ctx context.Context, conn unblocked) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, helloPatience)
	defer cancel()
	stream, err := conn.NewStream(ctx, blob.PingPong, blob.Encoding{})
	if err != nil {
		return false, err
	}
	defer func() { _ = stream.Close() }()
	blocked := true
	select {
	case <-conn.Unblocked():
		blocked = false
	default:
	}
	// To its end, so that what comes next begins with an idle connection.
	if err := stream.CloseSend(); err != nil && !errors.Is(err, io.EOF) {
		return blocked, err
	}
	var in blob.Message
	err = stream.MsgRecv(&in, blob.Encoding{})
	if errors.Is(err, io.EOF) || err != nil && isUnknown(err) {
		return blocked, nil
	}
	return blocked, err
}
