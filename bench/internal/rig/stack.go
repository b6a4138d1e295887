// Package rig starts a stack's server and clients over loopback TCP.
package rig

import (
	"context"
	"net"

	"storj.io/drpc"
	"storj.io/drpc/drpcconn"
	"storj.io/drpc/drpcmux"
	"storj.io/drpc/drpcserver"
)

// Stack is one of the implementations compared.
type Stack struct {
	// Name is what benchmarks call the stack.
	Name string
	// Module is the module path of the stack, to look its version up.
	Module string
	// Multiplexed says that one connection carries any number of calls at
	// once. A stack that is not multiplexed gets a connection per caller.
	Multiplexed bool
	// Client wraps a connection for its callers.
	Client func(net.Conn) Client
	// Serve serves what register registers, until ctx is done.
	Serve func(ctx context.Context, lis net.Listener, register func(drpc.Mux) error) error
}

// Client is a client connection as the pool of stock wants it.
type Client interface {
	drpc.Conn
	Unblocked() <-chan struct{}
}

// Stacks returns the stacks compared: the one measured first, then the one it
// is measured against.
func Stacks() []Stack { return []Stack{Braid(), Stock()} }

// Stock returns storj.io/drpc with default options.
func Stock() Stack {
	return Stack{
		Name:   "stock",
		Module: "storj.io/drpc",
		Client: func(conn net.Conn) Client { return drpcconn.New(conn) },
		Serve: func(ctx context.Context, lis net.Listener, register func(drpc.Mux) error) error {
			mux := drpcmux.New()
			if err := register(mux); err != nil {
				return err
			}
			return drpcserver.New(mux).Serve(ctx, lis)
		},
	}
}
