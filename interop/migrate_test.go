package interop_test

import (
	"context"
	"net"
	"testing"

	"storj.io/drpc/drpcmigrate"

	"braid/internal/drpctest"
)

// named is a service that answers every call with its name.
func named(name string) *drpctest.Service {
	return &drpctest.Service{
		UnaryFn: func(context.Context, *drpctest.Msg) (*drpctest.Msg, error) { return drpctest.Text(name), nil },
	}
}

// TestListenMuxRoutesConnections by the header that a client sends in front of
// its first write, to two servers behind one port.
func TestListenMuxRoutesConnections(t *testing.T) {
	forEachPair(t, func(t *testing.T, p pair) {
		base, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		addr := base.Addr().String()
		lm := drpcmigrate.NewListenMux(base, len(drpcmigrate.DRPCHeader))

		ctx, cancel := context.WithCancel(bg)
		serve := func(lis net.Listener, name string) <-chan error {
			s := p.server.server(p.server.handler(t, named(name)), options{})
			return later(func() error { return s.Serve(ctx, lis) })
		}
		ends := []<-chan error{
			serve(lm.Route(drpcmigrate.DRPCHeader), "route"),
			serve(lm.Default(), "default"),
			later(func() error { return lm.Run(ctx) }),
		}
		t.Cleanup(func() {
			cancel()
			for _, end := range ends {
				must(t, await(t, end, "the servers and the mux to end"))
			}
		})

		dial := map[string]func() (net.Conn, error){
			"DialWithHeader": func() (net.Conn, error) {
				return drpcmigrate.DialWithHeader(ctx, "tcp", addr, drpcmigrate.DRPCHeader)
			},
			"NewHeaderConn": func() (net.Conn, error) {
				return drpcmigrate.NewHeaderConn(drpctest.Dial(t, addr), drpcmigrate.DRPCHeader), nil
			},
			"without a header": func() (net.Conn, error) { return net.Dial("tcp", addr) },
		}
		want := map[string]string{"DialWithHeader": "route", "NewHeaderConn": "route", "without a header": "default"}
		for name, dial := range dial {
			nc, err := dial()
			must(t, err)
			c := p.client.open(t, nc, options{})
			for range 3 {
				if got, err := drpctest.Call(bg, c, "who"); err != nil || got != want[name] {
					t.Errorf("%s: got %s", name, answer(got, err))
				}
			}
		}
	})
}
