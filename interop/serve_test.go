package interop_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"storj.io/drpc"

	"braid/internal/drpctest"
)

// TestServeOneEndsWithItsClient: stock's returns that the transport has ended,
// which every connection does. braid's returns nil after a client that has hung
// up with no call open, and otherwise why the connection was lost.
func TestServeOneEndsWithItsClient(t *testing.T) {
	right := map[string]func(err error) bool{
		"stock, idle":          func(err error) bool { return errors.Is(err, io.EOF) },
		"stock, during a call": func(err error) bool { return err != nil },
		"braid, idle":          func(err error) bool { return err == nil },
		"braid, during a call": func(err error) bool { return drpc.ClosedError.Has(err) && !errors.Is(err, io.EOF) },
	}
	for _, s := range stacks {
		for _, when := range []string{"idle", "during a call"} {
			t.Run(s.name+"/"+when, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					nc, ns := drpctest.Pipe()
					done := s.serveOne(t, bg, ns, &drpctest.Service{BidiFn: func(stream drpc.Stream) error {
						// Stock reads nothing further until the message is received.
						_, _ = drpctest.Recv(stream)
						return endless(stream)
					}}, options{})
					c := stock.open(t, nc, options{})
					echo(t, c, "x")
					if when != "idle" {
						must(t, drpctest.Send(mustStream(t, bg, c, drpctest.Bidi), "x"))
					}
					synctest.Wait()
					must(t, c.Close())
					if err := await(t, done, "ServeOne"); !right[s.name+", "+when](err) {
						t.Errorf("ServeOne: %v", err)
					}
				})
			})
		}
	}
}

// TestServeOneEndsWithItsContext, with that error, also during a call.
func TestServeOneEndsWithItsContext(t *testing.T) {
	for _, s := range stacks {
		for _, during := range []bool{false, true} {
			name := s.name + "/idle"
			if during {
				name = s.name + "/during a call"
			}
			t.Run(name, func(t *testing.T) {
				ctx, cancel := context.WithCancel(bg)
				started := make(chan struct{}, 1)
				nc, ns := drpctest.Pipe()
				done := s.serveOne(t, ctx, ns, &drpctest.Service{BidiFn: func(stream drpc.Stream) error {
					_, _ = drpctest.Recv(stream)
					started <- struct{}{}
					return endless(stream)
				}}, options{})
				c := stock.open(t, nc, options{})
				echo(t, c, "x")
				if during {
					stream := mustStream(t, bg, c, drpctest.Bidi)
					must(t, drpctest.Send(stream, "x"))
					await(t, started, "the handler")
				}
				cancel()
				if err := await(t, done, "ServeOne"); !errors.Is(err, context.Canceled) {
					t.Errorf("ServeOne: %v", err)
				}
				await(t, c.Closed(), "the client to notice")
			})
		}
	}
}

// TestInactivityTimeoutEndsAnIdleConnection, and none with a call in progress.
func TestInactivityTimeoutEndsAnIdleConnection(t *testing.T) {
	const timeout = 10 * time.Second
	for _, s := range stacks {
		t.Run(s.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				nc, ns := drpctest.Pipe()
				done := s.serveOne(t, bg, ns, &drpctest.Service{BidiFn: func(stream drpc.Stream) error {
					_, _ = drpctest.Recv(stream)
					<-release
					return nil
				}}, options{InactivityTimeout: timeout})
				c := stock.open(t, nc, options{})
				stream := mustStream(t, bg, c, drpctest.Bidi)
				must(t, drpctest.Send(stream, "x"))
				time.Sleep(10 * timeout) // in the bubble's time
				synctest.Wait()
				if len(done) > 0 {
					t.Fatalf("ServeOne: %v", <-done)
				}
				close(release)
				must(t, stream.CloseSend())
				must(t, stream.Close())
				time.Sleep(timeout / 2)
				echo(t, c, "in time")
				start := time.Now()
				if err := await(t, done, "ServeOne"); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("ServeOne: %v", err)
				}
				if idle := time.Since(start); idle != timeout {
					t.Errorf("ended after %v", idle)
				}
			})
		})
	}
}

// TestServeEndsWithItsContextOrItsListener: nil for the first, the error for the
// second; the listener is closed and no connection is left in either case.
func TestServeEndsWithItsContextOrItsListener(t *testing.T) {
	for _, s := range stacks {
		for _, by := range []string{"context", "listener"} {
			t.Run(s.name+"/"+by, func(t *testing.T) {
				lis, err := net.Listen("tcp", "127.0.0.1:0")
				must(t, err)
				ctx, cancel := context.WithCancel(bg)
				defer cancel()
				srv := s.server(s.handler(t, &drpctest.Service{}), options{})
				done := later(func() error { return srv.Serve(ctx, lis) })
				c := stock.dial(t, lis.Addr().String(), options{})
				echo(t, c, "x")

				if by == "context" {
					cancel()
				} else {
					must(t, lis.Close())
				}
				err = await(t, done, "Serve")
				if by == "context" && err != nil || by == "listener" && !errors.Is(err, net.ErrClosed) {
					t.Errorf("Serve: %v", err)
				}
				await(t, c.Closed(), "the connection to end")
				if _, err := lis.Accept(); !errors.Is(err, net.ErrClosed) {
					t.Errorf("the listener is open: %v", err)
				}
			})
		}
	}
}

// flaky is a listener that fails a few times in a way that passes.
type flaky struct {
	net.Listener
	left atomic.Int64
}

// passing is an error that says that it passes.
type passing struct{ error }

func (passing) Timeout() bool   { return false }
func (passing) Temporary() bool { return true }

// Accept implements net.Listener.
func (f *flaky) Accept() (net.Conn, error) {
	if f.left.Add(-1) >= 0 {
		return nil, passing{errors.New("try again")}
	}
	return f.Listener.Accept()
}

// TestServeOutlivesErrorsThatPass, and logs them.
func TestServeOutlivesErrorsThatPass(t *testing.T) {
	logged := make(chan error, 8)
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	ctx, cancel := context.WithCancel(bg)
	srv := braid.server(braid.handler(t, &drpctest.Service{}), options{Log: func(err error) { logged <- err }})
	f := &flaky{Listener: lis}
	f.left.Store(3)
	done := later(func() error { return srv.Serve(ctx, f) })
	echo(t, stock.dial(t, lis.Addr().String(), options{}), "x")
	for range 3 {
		if err := await(t, logged, "the log"); !errors.As(err, new(passing)) {
			t.Errorf("logged: %v", err)
		}
	}
	cancel()
	must(t, await(t, done, "Serve"))
}

// TestServeOneReturnsNilWhenTheClientHangsUpAtOnce: right after the end of its
// call, when the server may still be busy with that.
func TestServeOneReturnsNilWhenTheClientHangsUpAtOnce(t *testing.T) {
	for end, result := range map[string]error{"EOF": nil, `"told to fail" code 0`: errors.New("told to fail")} {
		for _, client := range stacks {
			t.Run(end+"/"+client.name+" client", func(t *testing.T) {
				service := &drpctest.Service{BidiFn: func(drpc.Stream) error { return result }}
				const connections = 500
				bad := 0
				var last error
				for range connections {
					nc, ns := drpctest.Pipe()
					done := braid.serveOne(t, bg, ns, service, options{})
					c := client.conn(nc, options{})
					stream := mustStream(t, bg, c, drpctest.Bidi)
					must(t, stream.CloseSend())
					if got := recv(stream); got != end {
						t.Errorf("got %s", got)
					}
					must(t, c.Close())
					if err := await(t, done, "ServeOne"); err != nil {
						bad, last = bad+1, err
					}
				}
				if bad > 0 {
					t.Errorf("not nil after %d of %d connections: %v", bad, connections, last)
				}
			})
		}
	}
}
