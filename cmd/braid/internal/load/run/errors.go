package run

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"

	"storj.io/drpc"
	"storj.io/drpc/drpcerr"

	"braid/cmd/braid/internal/load/blob"
	"braid/drpcmanager"
	"braid/drpcstream"
)

// Kind is a kind of failure.
type Kind string

const (
	// Status is an error that the server has answered with, or that this end has
	// refused to send something with; the code says more.
	Status Kind = "error"
	// Timeout is an operation that took longer than Options.Timeout.
	Timeout Kind = "timeout"
	// WrongReply is an answer that is not the one to the request, or a stream that
	// does not end as it should.
	WrongReply Kind = "wrong reply"
	// Unfinished is an operation that was still under way when the run was over.
	Unfinished Kind = "unfinished"
	// Canceled is an operation that the server has canceled. Towards stock, it is also
	// one whose connection is gone.
	Canceled Kind = "canceled"
	// Connection is an operation whose connection is gone.
	Connection Kind = "connection"
	// Refused is an operation that a server that is shutting down did not begin.
	Refused Kind = "refused"
	// Unknown is a method that the server does not have.
	Unknown Kind = "unknown rpc"
)

// ErrorCount is how often something failed in one way.
type ErrorCount struct {
	Kind  Kind
	Code  uint64 // DRPC's; 0 is none
	Count int64
	Text  string // of one of them
}

// errorKey tells which errors are counted together.
type errorKey struct {
	kind Kind
	code uint64
}

// maxText is how much is kept of the text of an error, in bytes.
const maxText = 500

// text returns the first line of the text of an error.
func text(err error) string {
	s, _, _ := strings.Cut(err.Error(), "\n")
	if len(s) > maxText {
		s = s[:maxText] + "..."
	}
	return s
}

// codeOf returns the code of an error, where its kind does not say it already.
func codeOf(kind Kind, err error) uint64 {
	if kind != Status && kind != Unknown {
		return 0
	}
	return drpcerr.Code(err)
}

// errTimeout is the cause that the context of a stream ends with when an operation
// on it takes too long.
var errTimeout = errors.New("it took longer than the timeout")

// failure is an error of an operation, and what kind it is of.
type failure struct {
	kind Kind
	err  error
}

// newFailure makes one of an error of an operation that was done in ctx, which has to
// be as it was then.
func newFailure(ctx context.Context, err error) *failure {
	return &failure{kind: classify(ctx, err), err: err}
}

// Error implements error.
func (f *failure) Error() string { return f.err.Error() }

// Unwrap returns the error.
func (f *failure) Unwrap() error { return f.err }

// classify says what kind of failure an error of an operation is. ctx is that of the
// operation.
func classify(ctx context.Context, err error) Kind {
	var lost *drpcmanager.LostError
	var wrong *blob.WrongError
	// What ended the operation from this side comes first: its error may be that of
	// a connection that stock closes for it.
	if ctx.Err() != nil {
		switch cause := context.Cause(ctx); {
		case errors.Is(cause, errCut):
			return Unfinished
		case errors.Is(cause, errTimeout), errors.Is(cause, context.DeadlineExceeded):
			return Timeout
		}
	}
	switch {
	case errors.As(err, &wrong):
		return WrongReply
	case errors.Is(err, drpcstream.ErrRefused), errors.Is(err, drpcmanager.ErrShutdown):
		return Refused
	case errors.As(err, &lost), isTransport(err):
		return Connection
	case isUnknown(err):
		return Unknown
	case errors.Is(err, io.EOF):
		// The stream ended in order, at a time when it should not have.
		return WrongReply
	case errors.Is(err, errTimeout), errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return Timeout
	case errors.Is(err, context.Canceled):
		return Canceled // not by this end: see above
	}
	return Status
}

// DialError tells that a connection did not come about.
type DialError struct{ Err error }

// Error implements error.
func (e *DialError) Error() string { return e.Err.Error() }

// Unwrap returns the error.
func (e *DialError) Unwrap() error { return e.Err }

// isTransport reports whether an error is one of a connection rather than of a call.
// Stock has no type for it.
func isTransport(err error) bool {
	var op *net.OpError
	var dial *DialError
	return drpc.ClosedError.Has(err) || drpc.ProtocolError.Has(err) || errors.As(err, &dial) || errors.As(err, &op) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrUnexpectedEOF)
}

// isUnknown reports whether an error says that the server does not have the method.
// It comes from there as a text: both stock's mux and braid's have this one.
func isUnknown(err error) bool {
	return strings.Contains(err.Error(), "unknown rpc") || drpcerr.Code(err) == drpcerr.Unimplemented
}
