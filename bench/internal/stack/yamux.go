package stack

import (
	"context"
	"errors"
	"io"
	"net"

	"github.com/hashicorp/yamux"

	"braid/bench/internal/blob"
)

// Yamux returns storj.io/drpc with a yamux stream for every call and every
// stream.
func Yamux() Stack {
	return Stack{
		Name:        "yamux",
		Module:      "github.com/hashicorp/yamux",
		Multiplexed: true,
		Settings: append([]string{
			"a yamux stream, and a drpcconn and a drpcserver's connection over it, for every call and every stream",
			"yamux.DefaultConfig without its log: windows of 256 KiB that do not grow, frames as large as what drpc writes at once",
			"a stream is closed with its yamux stream",
		}, stockSettings[:len(stockSettings)-1]...),
		Lacks: map[Feature]string{Cancel: stockNoCancel},
		Serve: func(ctx context.Context, lis net.Listener, service *Service, setup Setup) error {
			server, err := newStockServer(service, setup)
			if err != nil {
				return err
			}
			return serveConns(ctx, lis, func(conn net.Conn) {
				session, err := yamux.Server(conn, yamuxConfig())
				if err != nil {
					return
				}
				_ = server.Serve(ctx, session) // ends with the session, which the client ends
				_ = session.Close()
			})
		},
		Client: func(ctx context.Context, dial Dial, setup Setup) (Client, error) {
			conn, err := dial(ctx)
			if err != nil {
				return nil, err
			}
			session, err := yamux.Client(conn, yamuxConfig())
			if err != nil {
				return nil, errors.Join(err, conn.Close())
			}
			return yamuxClient{session, setup}, nil
		},
	}
}

// yamuxConfig returns the configuration of either end.
func yamuxConfig() *yamux.Config {
	cfg := yamux.DefaultConfig()
	cfg.LogOutput = io.Discard
	return cfg
}

// yamuxClient implements Client.
type yamuxClient struct {
	session *yamux.Session
	setup   Setup
}

// open opens a yamux stream and makes it a connection.
func (c yamuxClient) open() (drpcClient, error) {
	raw, err := c.session.Open()
	if err != nil {
		return drpcClient{}, err
	}
	return drpcClient{newStockConn(raw, c.setup)}, nil
}

// Echo implements Client.
func (c yamuxClient) Echo(ctx context.Context, in, out *blob.Blob) error {
	conn, err := c.open()
	if err != nil {
		return err
	}
	return errors.Join(conn.Echo(ctx, in, out), conn.Close())
}

// Open implements Client.
func (c yamuxClient) Open(ctx context.Context, method Method) (Stream, error) {
	conn, err := c.open()
	if err != nil {
		return nil, err
	}
	stream, err := conn.Open(ctx, method)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return yamuxStream{stream, conn}, nil
}

// Close implements Client.
func (c yamuxClient) Close() error { return c.session.Close() }

// yamuxStream implements Stream. It has a connection for itself.
type yamuxStream struct {
	Stream
	conn drpcClient
}

// Close implements Stream.
func (s yamuxStream) Close() error { return errors.Join(s.Stream.Close(), s.conn.Close()) }
