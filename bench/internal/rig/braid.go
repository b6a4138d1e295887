package rig

import (
	"context"
	"net"

	"storj.io/drpc"

	"braid/drpcconn"
	"braid/drpcmux"
	"braid/drpcserver"
)

// Braid returns braid with default options.
func Braid() Stack {
	return Stack{
		Name:        "braid",
		Module:      "braid",
		Multiplexed: true,
		Client:      func(conn net.Conn) Client { return drpcconn.New(conn) },
		Serve: func(ctx context.Context, lis net.Listener, register func(drpc.Mux) error) error {
			mux := drpcmux.New()
			if err := register(mux); err != nil {
				return err
			}
			return drpcserver.New(mux).Serve(ctx, lis)
		},
	}
}
