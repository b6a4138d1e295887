package drpcstream

import (
	"context"
	"errors"
	"io"

	"storj.io/drpc"
	"storj.io/drpc/drpcerr"

	"braid/drpcwire"
)

// ErrRefused is in the chain of the error of a call that the peer has refused
// before it began: it was not executed, and a retry is safe. The code of that
// error is drpcwire.CodeUnavailable.
var ErrRefused = errors.New("the peer refused the call before it began")

// What operations return after an end that this side has brought about.
var (
	errSendClosed   = drpc.Error.New("send closed")
	errSentError    = drpc.Error.New("stream terminated by sending error")
	errSentClose    = drpc.Error.New("stream terminated by sending close")
	errReturned     = drpc.ClosedError.New("the handler has returned")
	errRemoteClosed = drpc.ClosedError.Wrap(remoteClosed{})
)

// errBadCredit ends a stream whose peer has granted nothing, or more than there may
// be.
func errBadCredit(n uint64) error {
	return drpc.ProtocolError.New("credit of %d bytes is out of range", n)
}

// remoteClosed is what a send gives after the peer has closed the stream. It is
// io.EOF to errors.Is, like every send after an end by the peer, and
// drpc.ClosedError where it is returned, as programs for storj.io/drpc expect.
type remoteClosed struct{}

func (remoteClosed) Error() string { return "remote closed the stream" }
func (remoteClosed) Unwrap() error { return io.EOF }

// cancelError is what receives return after the peer's Cancel.
func cancelError(code drpcwire.CancelCode) error {
	switch code {
	case drpcwire.CancelDeadline:
		return context.DeadlineExceeded
	case drpcwire.CancelRefused:
		return drpcerr.WithCode(ErrRefused, drpcwire.CodeUnavailable)
	default:
		return context.Canceled
	}
}

// cancelCode is what the peer is told of a cancellation for this reason.
func cancelCode(err error) drpcwire.CancelCode {
	if errors.Is(err, context.DeadlineExceeded) {
		return drpcwire.CancelDeadline
	}
	return drpcwire.CancelCanceled
}
