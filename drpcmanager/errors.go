package drpcmanager

import (
	"context"
	"errors"
	"io"

	"storj.io/drpc"

	"braid/drpcwire"
)

// LostError is in the chain of every error that is due to the connection having
// ended: on its open streams, and on calls made afterwards. Reading, writing
// and Close all give this type; Cause tells them apart.
//
// The whole chain also has drpc.ClosedError, the code
// drpcwire.CodeUnavailable, and Cause. It never matches io.EOF, which would
// look like the regular end of a stream.
type LostError struct {
	// Cause is a drpc.ProtocolError if the peer broke the protocol; ErrClosed
	// after Close; ErrHungUp if the peer closed the connection between frames
	// while no stream was open, and io.ErrUnexpectedEOF if it did so otherwise;
	// on a server a context's error, if the server's context or
	// InactivityTimeout ended the connection; and else what the transport
	// returned.
	Cause error

	server bool
}

// ErrClosed is the cause of a LostError after Close was called on this end.
var ErrClosed = errors.New("closed by this end")

// ErrHungUp is the cause of a LostError where the peer closed the connection with
// no stream open: the normal end of a connection.
var ErrHungUp = errors.New("closed by the peer")

// Error implements error.
func (e *LostError) Error() string { return "connection lost: " + e.Cause.Error() }

// Unwrap returns the cause.
func (e *LostError) Unwrap() error { return e.Cause }

// Code returns drpcwire.CodeUnavailable.
func (e *LostError) Code() uint64 { return drpcwire.CodeUnavailable }

// Is reports context.Canceled on a server's streams: to a handler, a client
// that is gone is a client that has canceled.
func (e *LostError) Is(target error) bool { return e.server && target == context.Canceled }

// lost makes the error of a connection that ended for this reason.
func (m *Manager) lost(cause error) error {
	return drpc.ClosedError.Wrap(&LostError{Cause: cause, server: m.server})
}

// lostTransport is lost for an error of the transport. Such an error must not
// look like the end of a stream, or like that of a context which has not ended:
// where it has one of these in its chain, the chain is cut, and the text stays.
func (m *Manager) lostTransport(err error) error {
	switch {
	case err == io.EOF: //nolint:errorlint // as Read returns it
		err = io.ErrUnexpectedEOF
	case errors.Is(err, io.EOF), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		err = errors.New(err.Error())
	}
	return m.lost(err)
}
