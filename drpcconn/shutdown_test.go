package drpcconn_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"storj.io/drpc"
	"storj.io/drpc/drpcerr"

	"braid/drpcconn"
	"braid/drpcmanager"
	"braid/drpcmux"
	"braid/drpcserver"
	"braid/drpcstream"
	"braid/drpcwire"
	"braid/internal/drpctest"
)

// refused checks that a call was not begun.
func refused(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, drpcstream.ErrRefused) || drpcerr.Code(err) != drpcwire.CodeUnavailable {
		t.Errorf("%s: %v with code %d", what, err, drpcerr.Code(err))
	}
}

func TestShutdownLetsCallsFinishAndRefusesNewOnes(t *testing.T) {
	told := make(chan struct{})
	conn := connect(t, &drpctest.Service{UpFn: func(stream drpc.Stream) error {
		_ = drpctest.Send(stream, "started")
		<-stream.(*drpcstream.Stream).Draining()
		close(told)
		var all drpctest.Msg
		for {
			in, err := drpctest.Recv(stream)
			if errors.Is(err, io.EOF) {
				return stream.MsgSend(&all, drpctest.Enc{})
			} else if err != nil {
				return err
			}
			all.Data = append(all.Data, in...)
		}
	}})
	stream := openStream(t, conn, drpctest.Up)
	if got, err := drpctest.Recv(stream); got != "started" || err != nil {
		t.Fatalf("got %q, %v", got, err)
	}
	done := make(chan error, 1)
	go func() { done <- conn.Shutdown(t.Context()) }()
	<-told // the handler, on the server
	<-conn.Draining()
	<-stream.(*drpcstream.Stream).Draining()
	_, err := drpctest.Call(t.Context(), conn, "x")
	refused(t, "a call", err)
	_, err = conn.NewStream(t.Context(), drpctest.Bidi, drpctest.Enc{})
	refused(t, "a stream", err)
	for i := range 100 {
		if err := drpctest.Send(stream, fmt.Sprint(i%10)); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case err := <-done:
		t.Fatalf("Shutdown did not wait: %v", err)
	default:
	}
	_ = stream.CloseSend()
	if got, err := drpctest.Recv(stream); len(got) != 100 || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := drpctest.Recv(stream); err != io.EOF {
		t.Errorf("ended by %v", err)
	}
	if err := <-done; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	<-conn.Closed()
	_, err = drpctest.Call(t.Context(), conn, "x")
	refused(t, "after the end", err)
	if err := conn.Shutdown(t.Context()); err != nil {
		t.Errorf("again: %v", err)
	}
	if err := conn.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// Whoever waits for a turn is refused at once, and those that go on are not touched.
func TestShutdownSendsAwayWhoWaitsForATurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := drpctest.Pipe()
		peer := drpctest.NewPeer(t, b)
		conn := drpcconn.NewWithOptions(a, drpcconn.Options{Manager: drpcmanager.Options{Multiplex: drpcmanager.MultiplexNever}})
		defer conn.Close()
		first := openStream(t, conn, "/rpc")
		peer.Expect(`s1 m1 Invoke "/rpc"`)
		errs := make(chan error, 10)
		for range 5 {
			go func() {
				_, err := drpctest.Call(t.Context(), conn, "x")
				errs <- err
			}()
			go func() {
				_, err := conn.NewStream(t.Context(), "/rpc", drpctest.Enc{})
				errs <- err
			}()
		}
		synctest.Wait()
		done := make(chan error, 1)
		go func() { done <- conn.Shutdown(t.Context()) }()
		for range 10 {
			refused(t, "in line", <-errs)
		}
		peer.Send(`s1 m1 Message "answer"`, `s1 m2 CloseSend`)
		if got, err := drpctest.Recv(first); got != "answer" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
		_ = first.CloseSend()
		peer.Expect(`s1 m2 CloseSend`) // and no GoAway, which it would not know
		peer.ExpectClosed()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// An open stream that nobody ends holds up Shutdown until its context ends, and not a
// moment longer; the transport may be stuck besides.
func TestTheEndOfShutdownsContextCuts(t *testing.T) {
	for _, stuck := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			a, b := drpctest.Pipe()
			defer b.Close()
			conn := drpcconn.NewWithOptions(a, drpcconn.Options{Manager: drpcmanager.Options{Multiplex: drpcmanager.MultiplexAlways}})
			defer conn.Close()
			stream := openStream(t, conn, "/rpc")
			if stuck {
				a.Limit(0)
			}
			if err := drpctest.Send(stream, "x"); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			start := time.Now()
			if err := conn.Shutdown(ctx); err != context.DeadlineExceeded {
				t.Errorf("Shutdown: %v", err)
			}
			if took := time.Since(start); took != 2*time.Second {
				t.Errorf("it took %v", took)
			}
			var lost *drpcmanager.LostError
			if _, err := drpctest.Recv(stream); !errors.As(err, &lost) || lost.Cause != drpcmanager.ErrShutdown {
				t.Errorf("the stream got %v", err)
			}
		})
	}
}

// Every call has its answer, or was never begun, at whatever moment the client shuts
// down.
func TestAClientsShutdownLosesNoAnswer(t *testing.T) {
	for round := range 20 {
		var begun, answered atomic.Int64
		service := &drpctest.Service{UnaryFn: func(_ context.Context, in *drpctest.Msg) (*drpctest.Msg, error) {
			begun.Add(1)
			return in, nil
		}}
		server := drpcserver.NewWithOptions(drpctest.Register(t, drpcmux.New(), service), drpcserver.Options{
			Log: func(err error) { t.Errorf("logged %v", err) },
		})
		conn := drpcconn.New(drpctest.Dial(t, drpctest.Serve(t, server)))
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				for {
					if _, err := drpctest.Call(t.Context(), conn, "x"); err != nil {
						refused(t, "a call", err)
						return
					}
					if answered.Add(1) == int64(10*round) {
						wg.Go(func() {
							if err := conn.Shutdown(t.Context()); err != nil {
								t.Errorf("Shutdown: %v", err)
							}
						})
					}
				}
			})
		}
		if round == 0 {
			_ = conn.Shutdown(t.Context())
		}
		wg.Wait()
		if begun.Load() != answered.Load() {
			t.Errorf("%d were begun, %d answered", begun.Load(), answered.Load())
		}
		_ = conn.Close()
	}
}
