// Package loadtest serves a bench service over loopback TCP, with braid or with
// storj.io/drpc, for tests.
package loadtest

import (
	"context"
	"net"
	"testing"

	"storj.io/drpc"
	stockmux "storj.io/drpc/drpcmux"
	stockserver "storj.io/drpc/drpcserver"

	"braid/drpcmux"
	"braid/drpcserver"
)

// Stack is a library that serves.
type Stack string

// The stacks.
const (
	Braid Stack = "braid"
	Stock Stack = "stock"
)

// Stacks are all of them.
var Stacks = []Stack{Braid, Stock}

// mux is what a stack dispatches with.
type mux interface {
	drpc.Mux
	drpc.Handler
}

// Serve serves what was registered until the test is over, and returns the address.
func (s Stack) Serve(t testing.TB, register func(drpc.Mux) error) string {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return s.ServeOn(t, lis, register)
}

// ServeOn is Serve on a listener, which it takes over.
func (s Stack) ServeOn(t testing.TB, lis net.Listener, register func(drpc.Mux) error) string {
	t.Helper()
	var m mux
	var serve func(context.Context, net.Listener) error
	if s == Stock {
		stock := stockmux.New()
		m, serve = stock, stockserver.New(stock).Serve
	} else {
		braid := drpcmux.New()
		m, serve = braid, drpcserver.New(braid).Serve
	}
	if err := register(m); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- serve(ctx, lis) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("serving ended with %v", err)
		}
	})
	return lis.Addr().String()
}
