package stack

import (
	"context"
	"fmt"
	"net"

	"braid/drpcconn"
	"braid/drpcmanager"
	"braid/drpcmux"
	"braid/drpcserver"
	"braid/drpcwire"
)

// The defaults of braid that a setup can be too large for.
const (
	braidStreams = 1024
	braidWindow  = 64 << 10
)

// Braid returns braid.
func Braid() Stack {
	return Stack{
		Name:        "braid",
		Module:      "braid",
		Multiplexed: true,
		Settings: []string{
			"default options of drpcconn and drpcserver",
			fmt.Sprintf("frames of at most %d KiB", drpcwire.DefaultSplitSize>>10),
			fmt.Sprintf("at most %d KiB of a stream wait to be written, 512 while the transport takes as much in a millisecond", drpcwire.DefaultMaximumPendingPerStream>>10),
			"windows of streams of 64 KiB, that grow up to 16 MiB with the measured bandwidth-delay product; none of the connection",
			"socket options: on loopback a receive buffer of 384 KiB, and at most 64 KiB in the kernel that are not sent",
			fmt.Sprintf("above %d streams the server's limit of streams, and what their windows may come to, is raised to their number", braidStreams),
			"above 4 MiB the limit of messages is raised on both ends",
			"a stream is closed by a Close frame, which is not answered",
		},
		Serve: func(ctx context.Context, lis net.Listener, service *Service, setup Setup) error {
			mux := drpcmux.New()
			if err := mux.Register(service, description{}); err != nil {
				return err
			}
			opts := drpcserver.Options{Manager: braidOptions(setup)}
			if setup.Callers > braidStreams {
				opts.Manager.Limits.Streams = setup.Callers
				opts.Manager.Window.Total = setup.Callers * braidWindow
			}
			return drpcserver.NewWithOptions(mux, opts).Serve(ctx, lis)
		},
		Client: func(ctx context.Context, dial Dial, setup Setup) (Client, error) {
			conn, err := dial(ctx)
			if err != nil {
				return nil, err
			}
			return drpcClient{drpcconn.NewWithOptions(conn, drpcconn.Options{Manager: braidOptions(setup)})}, nil
		},
	}
}

// braidOptions returns the options of either end.
func braidOptions(setup Setup) drpcmanager.Options {
	return drpcmanager.Options{Reader: drpcwire.ReaderOptions{MaximumBufferSize: setup.messageLimit()}}
}
