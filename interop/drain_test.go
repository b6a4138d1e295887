package interop_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"storj.io/drpc"
	"storj.io/drpc/drpcerr"

	"braid/drpcserver"
	"braid/drpcstream"
	"braid/drpcwire"
	"braid/internal/drpctest"
)

// TestAClientOfADrainingServer of either stack finishes the call that it is in. Then
// its connection is closed, and the next call fails cleanly: soon, as one on a
// connection that is closed, and without a handler having seen it (F18).
func TestAClientOfADrainingServer(t *testing.T) {
	for _, client := range stacks {
		for _, shape := range []string{drpctest.Bidi, drpctest.Unary} {
			t.Run(client.name+shape, func(t *testing.T) {
				var calls atomic.Int64
				started, finish := make(chan struct{}), make(chan struct{})
				service := &drpctest.Service{
					UnaryFn: func(_ context.Context, in *drpctest.Msg) (*drpctest.Msg, error) {
						calls.Add(1)
						close(started)
						<-finish
						return drpctest.Text(large + in.String()), nil
					},
					BidiFn: func(stream drpc.Stream) error {
						calls.Add(1)
						close(started)
						<-finish
						return (&drpctest.Service{}).Bidi(stream)
					},
				}
				lis, err := net.Listen("tcp", "127.0.0.1:0")
				must(t, err)
				srv := drpcserver.NewWithOptions(braid.handler(t, service), drpcserver.Options{
					Log: func(err error) { t.Errorf("logged %v", err) },
				})
				served := later(func() error { return srv.Serve(bg, lis) })
				c := client.dial(t, lis.Addr().String(), options{})

				current := later(func() error {
					if shape == drpctest.Unary {
						got, err := drpctest.Call(bg, c, "x")
						if err == nil && got != large+"x" {
							err = errors.New("a wrong answer")
						}
						return err
					}
					stream, err := c.NewStream(bg, drpctest.Bidi, drpctest.Enc{})
					if err != nil {
						return err
					}
					for i := range 100 {
						if err := drpctest.Send(stream, "x"); err != nil {
							return err
						}
						if i == 0 {
							<-finish
						}
						if got, err := drpctest.Recv(stream); got != "x" || err != nil {
							return errors.Join(errors.New("a wrong answer"), err)
						}
					}
					if err := stream.CloseSend(); err != nil {
						return err
					}
					if _, err := drpctest.Recv(stream); !errors.Is(err, io.EOF) {
						return errors.Join(errors.New("a wrong end"), err)
					}
					return nil
				})
				await(t, started, "the handler")
				down := later(func() error { return srv.Shutdown(bg) })
				close(finish)
				if err := await(t, current, "the current call"); err != nil {
					t.Errorf("the current call: %v", err)
				}
				must(t, await(t, down, "Shutdown"))
				must(t, await(t, served, "Serve"))

				await(t, c.Closed(), "the end of the connection")
				_, err = drpctest.Call(bg, c, "next")
				// What stock returns has no class, but for that of the manager.
				clean := err != nil && strings.Contains(err.Error(), "closed")
				if !clean || client.name == "braid" && !(drpc.ClosedError.Has(err) && errors.Is(err, drpcstream.ErrRefused)) {
					t.Errorf("the next call: %v", err)
				}
				if n := calls.Load(); n != 1 {
					t.Errorf("%d handlers have run", n)
				}
				must(t, c.Close())
			})
		}
	}
}

// TestAStockClientIsRefusedByADrainingServer with a code, where its next call arrives
// while another one of its connection, which it has canceled, still runs.
func TestAStockClientIsRefusedByADrainingServer(t *testing.T) {
	started, finish, down := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	service := &drpctest.Service{BidiFn: func(drpc.Stream) error {
		close(started)
		<-finish // whatever becomes of its stream
		return nil
	}}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	srv := drpcserver.New(braid.handler(t, service))
	served := later(func() error { return srv.Serve(bg, lis) })
	c := stock.dial(t, lis.Addr().String(), options{SoftCancel: true})
	ctx, cancel := context.WithCancel(bg)
	stream := mustStream(t, ctx, c, drpctest.Bidi)
	must(t, drpctest.Send(stream, "x")) // stock keeps the Invoke back until then
	await(t, started, "the handler")
	cancel()
	_, _ = drpctest.Recv(stream)
	go func() { down <- srv.Shutdown(bg) }()
	refused := false
	for range 1000 { // one or the other may reach the server before Shutdown does
		got, err := drpctest.Call(bg, c, "x")
		if err == nil && got == "x" {
			continue
		}
		refused = true
		if drpcerr.Code(err) != drpcwire.CodeUnavailable || !strings.Contains(err.Error(), "shutting down") {
			t.Errorf("got %v with code %d", err, drpcerr.Code(err))
		}
		break
	}
	if !refused {
		t.Error("a thousand calls were served")
	}
	close(finish)
	must(t, await(t, down, "Shutdown"))
	must(t, await(t, served, "Serve"))
}
