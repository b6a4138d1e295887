package interop_test

import (
	"context"
	"io"
	"testing"

	"storj.io/drpc"

	"braid/drpcwire"
	"braid/internal/drpctest"
)

// raw is what a program reaches by a type assertion on a stream.
type raw interface {
	drpc.Stream
	flusher

	ID() uint64
	RawWrite(kind drpcwire.Kind, data []byte) error
	RawRecv() ([]byte, error)
	SendError(err error) error
	SendCancel(err error) (busy bool, _ error)
	Cancel(err error) (finished bool)
	Terminated() <-chan struct{}
	IsTerminated() bool
	Finished() <-chan struct{}
	IsFinished() bool
}

// rawEcho answers without an encoding.
func rawEcho(stream drpc.Stream) error {
	s := stream.(raw)
	for {
		data, err := s.RawRecv()
		if err == io.EOF { //nolint:errorlint // a clean end is io.EOF itself
			return nil
		} else if err != nil {
			return err
		}
		if err := s.RawWrite(drpcwire.KindMessage, data); err != nil {
			return err
		}
		if err := s.RawFlush(); err != nil {
			return err
		}
	}
}

// TestStreamsCanBeUsedWithoutAnEncoding on both sides.
func TestStreamsCanBeUsedWithoutAnEncoding(t *testing.T) {
	t.Run("server", func(t *testing.T) {
		for _, s := range stacks {
			c := pair{s, braid}.connect(t, &drpctest.Service{BidiFn: rawEcho}, options{})
			must(t, shapes[3].call(bg, c, "text"))
		}
	})
	t.Run("client", func(t *testing.T) {
		for _, s := range stacks {
			c := pair{braid, s}.connect(t, &drpctest.Service{}, options{})
			stream := mustStream(t, bg, c, drpctest.Bidi).(raw)
			if stream.ID() == 0 {
				t.Error("a stream has no id")
			}
			for _, text := range []string{"a", "", large} {
				must(t, stream.RawWrite(drpcwire.KindMessage, []byte(text)))
				must(t, stream.RawFlush())
				if got, err := stream.RawRecv(); err != nil || string(got) != text {
					t.Errorf("got %s", answer(string(got), err))
				}
			}
			if stream.IsTerminated() || stream.IsFinished() {
				t.Error("over while it is open")
			}
			must(t, stream.CloseSend())
			if got, err := stream.RawRecv(); err != io.EOF { //nolint:errorlint // a clean end is io.EOF itself
				t.Errorf("got %s", answer(string(got), err))
			}
			await(t, stream.Terminated(), "the end of the stream")
			await(t, stream.Finished(), "the end of everything")
			if !stream.IsTerminated() || !stream.IsFinished() || !stream.Cancel(context.Canceled) {
				t.Error("not over after its end")
			}
		}
	})
}

// TestStreamCanBeCanceledByHand: it is never too busy for that, and the
// connection goes on.
func TestStreamCanBeCanceledByHand(t *testing.T) {
	ways := map[string]func(t *testing.T, s raw){
		"SendCancel": func(t *testing.T, s raw) {
			if busy, err := s.SendCancel(context.Canceled); busy || err != nil {
				t.Errorf("got %v, %v", busy, err)
			}
		},
		"Cancel": func(t *testing.T, s raw) {
			if s.Cancel(context.Canceled) {
				t.Error("finished before it was canceled")
			}
		},
	}
	for name, cancel := range ways {
		t.Run(name, func(t *testing.T) {
			for _, s := range stacks {
				seen := make(chan string, 1)
				c := pair{braid, s}.connect(t, &drpctest.Service{BidiFn: func(stream drpc.Stream) error {
					_, _ = drpctest.Recv(stream)
					seen <- recv(stream)
					return nil
				}}, options{})
				stream := mustStream(t, bg, c, drpctest.Bidi).(raw)
				must(t, drpctest.Send(stream, "x"))
				cancel(t, stream)
				if got := recv(stream); got != "canceled" {
					t.Errorf("client: got %s", got)
				}
				if got := await(t, seen, "the handler"); got != "canceled" {
					t.Errorf("server: got %s", got)
				}
				await(t, stream.Finished(), "the end of the stream")
				echo(t, c, "next")
			}
		})
	}
}
