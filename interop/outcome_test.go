package interop_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"storj.io/drpc"
	"storj.io/drpc/drpcerr"

	"braid/internal/drpctest"
)

// outcome describes an error by what a program can tell of it: the identities
// that stock's documentation promises, and else text and code.
func outcome(err error) string {
	switch {
	case err == nil:
		return "ok"
	case err == io.EOF: //nolint:errorlint // programs for stock compare it
		return "EOF"
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.Is(err, context.DeadlineExceeded):
		return "deadline exceeded"
	case drpc.ClosedError.Has(err):
		return "closed"
	default:
		return fmt.Sprintf("%q code %d", err.Error(), drpcerr.Code(err))
	}
}

// answer describes the result of a call or a receive.
func answer(text string, err error) string {
	if err != nil {
		return outcome(err)
	}
	if len(text) > 40 {
		return fmt.Sprintf("%d bytes, %q...", len(text), text[:8])
	}
	return fmt.Sprintf("%q", text)
}

// recv describes what the stream gives next.
func recv(stream drpc.Stream) string { return answer(drpctest.Recv(stream)) }

// send describes how sending goes.
func send(stream drpc.Stream, text string) string { return outcome(drpctest.Send(stream, text)) }

// must fails the test on an error.
func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// mustStream opens a stream.
func mustStream(tb testing.TB, ctx context.Context, c drpc.Conn, rpc string) drpc.Stream {
	tb.Helper()
	stream, err := c.NewStream(ctx, rpc, drpctest.Enc{})
	must(tb, err)
	return stream
}

// echo makes a unary call and reports an answer that is not the request. It may
// be called from any goroutine.
func echo(tb testing.TB, c drpc.Conn, text string) bool {
	tb.Helper()
	got, err := drpctest.Call(context.Background(), c, text)
	if err != nil || got != text {
		tb.Errorf("got %s want %s: %+v", answer(got, err), answer(text, nil), err)
		return false
	}
	return true
}

// endless is a handler that waits for its context to end.
func endless(stream drpc.Stream) error {
	<-stream.Context().Done()
	return stream.Context().Err()
}
