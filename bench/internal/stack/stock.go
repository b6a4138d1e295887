package stack

import (
	"context"
	"net"

	"storj.io/drpc/drpcconn"
	"storj.io/drpc/drpcmanager"
	"storj.io/drpc/drpcmux"
	"storj.io/drpc/drpcserver"
	"storj.io/drpc/drpcwire"
)

// stockSettings are what all uses of storj.io/drpc have in common.
var stockSettings = []string{
	"default options of storj.io/drpc's drpcconn and drpcserver",
	"frames of at most 64 KiB, gathered in a buffer of 4 KiB and flushed after every message",
	"above 4 MiB the limit of messages is raised on both ends",
	"a stream is closed by a Close frame, which is not answered",
}

// stockNoCancel is why the end of a stream does not always reach its handler.
const stockNoCancel = "a connection that has a message which no handler takes reads nothing behind it, and so not the end of the stream either"

// Stock returns storj.io/drpc over one connection.
func Stock() Stack {
	return Stack{
		Name:     "stock",
		Module:   "storj.io/drpc",
		Settings: append([]string{"one connection, on which calls and streams wait for their turn"}, stockSettings...),
		Lacks: map[Feature]string{
			Concurrent: "a connection carries one stream at a time",
			Cancel:     stockNoCancel,
		},
		Serve: serveStock,
		Client: func(ctx context.Context, dial Dial, setup Setup) (Client, error) {
			raw, err := dial(ctx)
			if err != nil {
				return nil, err
			}
			return drpcClient{newStockConn(raw, setup)}, nil
		},
	}
}

// serveStock serves with storj.io/drpc.
func serveStock(ctx context.Context, lis net.Listener, service *Service, setup Setup) error {
	server, err := newStockServer(service, setup)
	if err != nil {
		return err
	}
	return server.Serve(ctx, lis)
}

// newStockServer returns a server of the service.
func newStockServer(service *Service, setup Setup) (*drpcserver.Server, error) {
	mux := drpcmux.New()
	if err := mux.Register(service, description{}); err != nil {
		return nil, err
	}
	return drpcserver.NewWithOptions(mux, drpcserver.Options{Manager: stockOptions(setup)}), nil
}

// newStockConn returns the client side of a connection.
func newStockConn(raw net.Conn, setup Setup) *drpcconn.Conn {
	return drpcconn.NewWithOptions(raw, drpcconn.Options{Manager: stockOptions(setup)})
}

// stockOptions returns the options of either end.
func stockOptions(setup Setup) drpcmanager.Options {
	return drpcmanager.Options{Reader: drpcwire.ReaderOptions{MaximumBufferSize: setup.messageLimit()}}
}
