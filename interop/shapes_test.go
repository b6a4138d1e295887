package interop_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"storj.io/drpc"

	"braid/internal/drpctest"
)

// shape is one of the four shapes of call. call makes one against the echo, and
// checks what comes back. The text must not be empty.
type shape struct {
	name string
	call func(ctx context.Context, c drpc.Conn, text string) error
}

var shapes = []shape{
	{"unary", func(ctx context.Context, c drpc.Conn, text string) error {
		got, err := drpctest.Call(ctx, c, text)
		return check(got, err, text)
	}},
	{"client stream", func(ctx context.Context, c drpc.Conn, text string) error {
		return stream(ctx, c, drpctest.Up, func(s drpc.Stream) error {
			if err := errors.Join(drpctest.Send(s, text), drpctest.Send(s, "+"), s.CloseSend()); err != nil {
				return err
			}
			got, err := drpctest.Recv(s)
			return check(got, err, text+"+")
		})
	}},
	{"server stream", func(ctx context.Context, c drpc.Conn, text string) error {
		return stream(ctx, c, drpctest.Down, func(s drpc.Stream) error {
			if err := errors.Join(drpctest.Send(s, text), s.CloseSend()); err != nil {
				return err
			}
			var all strings.Builder
			for range text {
				got, err := drpctest.Recv(s)
				if err != nil {
					return err
				}
				all.WriteString(got)
			}
			return check(all.String(), nil, text)
		})
	}},
	{"both stream", func(ctx context.Context, c drpc.Conn, text string) error {
		return stream(ctx, c, drpctest.Bidi, func(s drpc.Stream) error {
			for range 3 {
				if err := drpctest.Send(s, text); err != nil {
					return err
				}
				got, err := drpctest.Recv(s)
				if err := check(got, err, text); err != nil {
					return err
				}
			}
			return s.CloseSend()
		})
	}},
}

// stream opens a stream, uses it, and expects it to end with io.EOF.
func stream(ctx context.Context, c drpc.Conn, rpc string, use func(drpc.Stream) error) error {
	s, err := c.NewStream(ctx, rpc, drpctest.Enc{})
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer func() { _ = s.Close() }()
	if err := use(s); err != nil {
		return err
	}
	if got, err := drpctest.Recv(s); err != io.EOF { //nolint:errorlint // a clean end is io.EOF itself
		return fmt.Errorf("got %s at the end, want EOF", answer(got, err))
	}
	return nil
}

func check(got string, err error, want string) error {
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("got %q want %q", got, want)
	}
	return nil
}
