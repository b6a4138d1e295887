package drpcconn_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"storj.io/drpc"
	"storj.io/drpc/drpcerr"

	"braid/drpcmanager"
	"braid/drpcwire"
	"braid/internal/drpctest"
)

func TestThousandsOfCallsAndStreamsShareOneConnection(t *testing.T) {
	conn := connect(t, &drpctest.Service{})
	var wg sync.WaitGroup
	for i := range 2000 {
		wg.Go(func() {
			want := fmt.Sprint("call ", i)
			if got, err := drpctest.Call(t.Context(), conn, want); got != want || err != nil {
				t.Errorf("call %d: %q, %v", i, got, err)
			}
		})
	}
	// All of these are open at the same time: none is closed before each has
	// had its answers.
	var open sync.WaitGroup
	open.Add(1000)
	for i := range 1000 {
		wg.Go(func() {
			stream := openStream(t, conn, drpctest.Bidi)
			for j := range 5 {
				echo(t, stream, fmt.Sprintf("stream %d message %d", i, j))
			}
			open.Done()
			open.Wait()
			if err := stream.CloseSend(); err != nil {
				t.Errorf("CloseSend: %v", err)
			}
			if _, err := drpctest.Recv(stream); err != io.EOF {
				t.Errorf("stream %d ended by %v", i, err)
			}
		})
	}
	wg.Wait()
}

func TestAllShapesAtOnce(t *testing.T) {
	conn := connect(t, &drpctest.Service{})
	var wg sync.WaitGroup
	for i := range 100 {
		text := fmt.Sprintf("%d%s", i, strings.Repeat("x", i*100))
		wg.Go(func() {
			stream := openStream(t, conn, drpctest.Up)
			for j := range text {
				if err := drpctest.Send(stream, text[j:j+1]); err != nil {
					t.Errorf("Up: %v", err)
				}
			}
			_ = stream.CloseSend()
			if got, err := drpctest.Recv(stream); got != text || err != nil {
				t.Errorf("Up: %d bytes, %v, want %d", len(got), err, len(text))
			}
		})
		wg.Go(func() {
			stream := openStream(t, conn, drpctest.Down)
			if err := drpctest.Send(stream, text); err != nil {
				t.Errorf("Down: %v", err)
			}
			_ = stream.CloseSend()
			var got strings.Builder
			for {
				part, err := drpctest.Recv(stream)
				if err == io.EOF {
					break
				} else if err != nil {
					t.Errorf("Down: %v", err)
					break
				}
				got.WriteString(part)
			}
			if got.String() != text {
				t.Errorf("Down: %d bytes, want %d", got.Len(), len(text))
			}
		})
	}
	wg.Wait()
}

// isolated runs do beside two streams that must not feel it, and checks them
// before, during and after.
func isolated(t *testing.T, service *drpctest.Service, do func(conn drpc.Conn)) {
	conn := connect(t, service)
	a, b := openStream(t, conn, drpctest.Bidi), openStream(t, conn, drpctest.Bidi)
	echo(t, a, "before")
	echo(t, b, "before")
	do(conn)
	echo(t, a, "after")
	echo(t, b, "after")
	for _, stream := range []drpc.Stream{a, b} {
		_ = stream.CloseSend()
		if _, err := drpctest.Recv(stream); err != io.EOF {
			t.Errorf("ended by %v", err)
		}
	}
}

func TestAnErrorStaysOnItsStream(t *testing.T) { // M11
	service := &drpctest.Service{UpFn: func(drpc.Stream) error {
		return drpcerr.WithCode(errors.New("refused by the handler"), 42)
	}}
	isolated(t, service, func(conn drpc.Conn) {
		stream := openStream(t, conn, drpctest.Up)
		_, err := drpctest.Recv(stream)
		if err == nil || err.Error() != "refused by the handler" || drpcerr.Code(err) != 42 {
			t.Errorf("Recv: %v, code %d", err, drpcerr.Code(err))
		}
		if err := drpctest.Send(stream, "late"); err != io.EOF { // M16
			t.Errorf("Send: %v", err)
		}
	})
}

func TestACancelStaysOnItsStream(t *testing.T) { // M10
	canceled := make(chan error, 1)
	service := &drpctest.Service{UpFn: func(stream drpc.Stream) error {
		_ = drpctest.Send(stream, "running")
		<-stream.Context().Done()
		_, err := drpctest.Recv(stream)
		canceled <- err
		return err
	}}
	isolated(t, service, func(conn drpc.Conn) {
		ctx, cancel := context.WithCancel(t.Context())
		stream, err := conn.NewStream(ctx, drpctest.Up, drpctest.Enc{})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := drpctest.Recv(stream); got != "running" {
			t.Errorf("got %q, %v", got, err)
		}
		cancel()
		if _, err := drpctest.Recv(stream); err != context.Canceled {
			t.Errorf("Recv: %v", err)
		}
		if err := drpctest.Send(stream, "late"); err != context.Canceled {
			t.Errorf("Send: %v", err)
		}
		if err := <-canceled; err != context.Canceled {
			t.Errorf("the handler got %v", err)
		}
	})
}

// A deadline is DeadlineExceeded on both sides.
func TestADeadlineStaysOnItsStream(t *testing.T) {
	handler := make(chan error, 1)
	service := &drpctest.Service{UpFn: func(stream drpc.Stream) error {
		_, err := drpctest.Recv(stream)
		handler <- err
		return err
	}}
	isolated(t, service, func(conn drpc.Conn) {
		ctx, cancel := context.WithTimeout(t.Context(), 1)
		defer cancel()
		stream, err := conn.NewStream(ctx, drpctest.Up, drpctest.Enc{})
		if err == nil {
			_, err = drpctest.Recv(stream)
			if got := <-handler; got != context.DeadlineExceeded {
				t.Errorf("the handler got %v", got)
			}
		}
		if err != context.DeadlineExceeded {
			t.Errorf("got %v", err)
		}
	})
}

// A handler that does not receive leaves the others alone while its queue has
// room (docs/streams.md, "Who waits for whom").
func TestASlowHandlerIsNotFeltByOthers(t *testing.T) {
	release := make(chan struct{})
	service := &drpctest.Service{UpFn: func(stream drpc.Stream) error {
		<-release
		return (&drpctest.Service{}).Up(stream)
	}}
	isolated(t, service, func(conn drpc.Conn) {
		var streams []drpc.Stream
		var senders sync.WaitGroup
		for range 50 {
			stream := openStream(t, conn, drpctest.Up)
			senders.Go(func() { // parks for credit
				for range 15 {
					if err := stream.MsgSend(&drpctest.Msg{Data: make([]byte, 60_000)}, drpctest.Enc{}); err != nil {
						t.Error(err)
					}
				}
				_ = stream.CloseSend()
			})
			streams = append(streams, stream)
		}
		for i := range 1000 {
			if got, err := drpctest.Call(t.Context(), conn, fmt.Sprint(i)); got != fmt.Sprint(i) || err != nil {
				t.Fatalf("beside slow handlers: %q, %v", got, err)
			}
		}
		close(release)
		senders.Wait()
		for _, stream := range streams {
			if got, err := drpctest.Recv(stream); len(got) != 15*60_000 || err != nil {
				t.Errorf("got %d bytes, %v", len(got), err)
			}
		}
	})
}

func TestAPanicStaysOnItsStream(t *testing.T) { // T22
	service := &drpctest.Service{UpFn: func(drpc.Stream) error { panic("the handler's secret") }}
	isolated(t, service, func(conn drpc.Conn) {
		stream := openStream(t, conn, drpctest.Up)
		_, err := drpctest.Recv(stream)
		if drpcerr.Code(err) != drpcwire.CodeInternal || strings.Contains(err.Error(), "secret") {
			t.Errorf("Recv: %v, code %d", err, drpcerr.Code(err))
		}
	})
}

// A decoder that panics in the caller's goroutine is the caller's to recover;
// its call ends all the same, and the connection goes on (T22).
func TestAPanicInTheClientsEncodingEndsItsCall(t *testing.T) {
	running := make(chan struct{})
	service := &drpctest.Service{DownFn: func(_ *drpctest.Msg, stream drpc.Stream) error {
		_ = drpctest.Send(stream, "x")
		<-stream.Context().Done() // Invoke must end the call for this to return
		close(running)
		return nil
	}}
	isolated(t, service, func(conn drpc.Conn) {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic did not reach the caller")
				}
			}()
			_ = conn.Invoke(t.Context(), drpctest.Down, panicking{}, drpctest.Text("x"), new(drpctest.Msg))
		}()
		<-running
	})
}

type panicking struct{ drpctest.Enc }

func (panicking) Unmarshal([]byte, drpc.Message) error { panic("decoder") }

// A message that its encoding refuses, or whose decoding fails, is an error of
// that operation and no more.
func TestAnEncodingErrorIsReturnedAndTheStreamGoesOn(t *testing.T) {
	conn := connect(t, &drpctest.Service{})
	stream := openStream(t, conn, drpctest.Bidi)
	if err := stream.MsgSend(drpctest.Text("x"), refusing{}); !errors.Is(err, errEncoding) {
		t.Errorf("MsgSend: %v", err)
	}
	_ = drpctest.Send(stream, "first")
	if err := stream.MsgRecv(new(drpctest.Msg), refusing{}); !errors.Is(err, errEncoding) {
		t.Errorf("MsgRecv: %v", err)
	}
	echo(t, stream, "second")
	err := conn.Invoke(t.Context(), drpctest.Unary, refusing{}, drpctest.Text("x"), new(drpctest.Msg))
	if !errors.Is(err, errEncoding) {
		t.Errorf("Invoke: %v", err)
	}
	echo(t, stream, "third")
	_ = stream.Close()
}

var errEncoding = errors.New("cannot encode")

type refusing struct{}

func (refusing) Marshal(drpc.Message) ([]byte, error) { return nil, errEncoding }
func (refusing) Unmarshal([]byte, drpc.Message) error { return errEncoding }

// Streams of a connection that is closed or breaks all end, and are told why (M12, M13).
func TestAllStreamsEndWithTheirConnection(t *testing.T) {
	for name, end := range map[string]func(conn drpc.Conn, tr io.Closer){
		"closed by this end": func(conn drpc.Conn, _ io.Closer) { _ = conn.Close() },
		"transport closed":   func(_ drpc.Conn, tr io.Closer) { _ = tr.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			conn := connect(t, &drpctest.Service{})
			var wg sync.WaitGroup
			for range 3 {
				stream := openStream(t, conn, drpctest.Bidi)
				echo(t, stream, "open")
				wg.Go(func() {
					_, err := drpctest.Recv(stream)
					var lost *drpcmanager.LostError
					if !errors.As(err, &lost) || !drpc.ClosedError.Has(err) || drpcerr.Code(err) != drpcwire.CodeUnavailable {
						t.Errorf("Recv: %v", err)
					}
					if wrapped := fmt.Errorf("call: %w", err); !errors.As(wrapped, &lost) {
						t.Error("the error cannot be told through a wrapper")
					}
				})
			}
			end(conn, conn.Transport())
			wg.Wait()
			<-conn.Closed()
			if _, err := drpctest.Call(t.Context(), conn, "late"); !drpc.ClosedError.Has(err) {
				t.Errorf("a late call: %v", err)
			}
			_ = conn.Close()
		})
	}
}

func TestAHandlerWithoutAnAnswerGivesEOF(t *testing.T) {
	conn := connect(t, &drpctest.Service{UnaryFn: func(context.Context, *drpctest.Msg) (*drpctest.Msg, error) { return nil, nil }})
	if _, err := drpctest.Call(t.Context(), conn, "x"); err != io.EOF {
		t.Errorf("got %v", err)
	}
}

// A handler that returns before it has received what the client sends: the
// client's sends end, and it learns the outcome.
func TestAHandlerMayReturnEarly(t *testing.T) {
	service := &drpctest.Service{UpFn: func(stream drpc.Stream) error { return drpctest.Send(stream, "enough") }}
	conn := connect(t, service)
	stream := openStream(t, conn, drpctest.Up)
	var err error
	for err == nil {
		err = stream.MsgSend(&drpctest.Msg{Data: make([]byte, 50_000)}, drpctest.Enc{})
	}
	if !errors.Is(err, io.EOF) || !drpc.ClosedError.Has(err) {
		t.Errorf("Send: %v", err)
	}
	if got, err := drpctest.Recv(stream); got != "enough" || err != nil {
		t.Errorf("Recv: %q, %v", got, err)
	}
	if _, err := drpctest.Recv(stream); err != io.EOF {
		t.Errorf("Recv: %v", err)
	}
}

// An answer larger than the client accepts is an error of that call.
func TestALargeUnaryRequestAndAnswer(t *testing.T) {
	conn := connect(t, &drpctest.Service{})
	for _, size := range []int{0, 1, 32 << 10, 32<<10 + 1, 64 << 10, 64<<10 + 1, 1 << 20, 4 << 20} {
		in := &drpctest.Msg{Data: []byte(strings.Repeat("x", size))}
		var out drpctest.Msg
		if err := conn.Invoke(t.Context(), drpctest.Unary, drpctest.Enc{}, in, &out); err != nil || len(out.Data) != size {
			t.Errorf("%d bytes: got %d, %v", size, len(out.Data), err)
		}
	}
	in := &drpctest.Msg{Data: make([]byte, 4<<20+1)}
	err := conn.Invoke(t.Context(), drpctest.Unary, drpctest.Enc{}, in, new(drpctest.Msg))
	if drpcerr.Code(err) != drpcwire.CodeResourceExhausted {
		t.Errorf("over the limit: %v", err)
	}
	if got, err := drpctest.Call(t.Context(), conn, "fine"); got != "fine" || err != nil { // M39
		t.Errorf("after it: %q, %v", got, err)
	}
}
