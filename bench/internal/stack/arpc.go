package stack

import (
	"context"
	"errors"
	"net"

	"github.com/lesismal/arpc"
	"github.com/lesismal/arpc/log"

	"braid/bench/internal/blob"
)

// ARPC returns lesismal/arpc.
func ARPC() Stack {
	const why = "arpc is measured with calls only: nothing cancels a stream of it, and one that is not received from holds up its connection"
	lacks := map[Feature]string{Upload: why, Download: why, Duplex: why, Concurrent: why, Cancel: why}
	if raceDetector {
		lacks[Unary] = "Stop of arpc has data races with its goroutines"
	}
	return Stack{
		Name:        "arpc",
		Module:      "github.com/lesismal/arpc",
		Multiplexed: true,
		Settings: []string{
			"a goroutine for every call that the server handles, one for all writes",
			"calls are written together, up to 64 KiB, which by default they are not; a buffer of 8 KiB for reads",
			"segments are sent at once, as with all others; by default arpc turns Nagle's algorithm on, and calls may wait for a delayed acknowledgement",
			"messages are bytes, which it does not encode; an answer is new memory",
			"calls are waited for with their context; nothing is sent when that ends, and no deadline is",
			"no limit to the calls at once, and no flow control",
		},
		Lacks:  lacks,
		Serve:  serveARPC,
		Client: newARPCClient,
	}
}

func init() { log.SetLevel(log.LevelNone) } // it would tell of every connection

// serveARPC implements Stack.Serve.
func serveARPC(ctx context.Context, lis net.Listener, service *Service, setup Setup) error {
	server := arpc.NewServer()
	server.Handler = newARPCHandler(setup)
	server.Handler.Handle(MethodEcho.Path(), func(c *arpc.Context) {
		out, err := service.Echo(ctx, &blob.Blob{Data: c.Body()})
		if err != nil {
			_ = c.Error(err) // where the connection has ended there is nobody to tell
			return
		}
		_ = c.Write(out.Data)
	})
	stop := context.AfterFunc(ctx, func() { _ = server.Stop() })
	defer stop()
	err := server.Serve(lis)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// newARPCHandler returns what arpc has the options of an end in.
func newARPCHandler(setup Setup) arpc.Handler {
	h := arpc.NewHandler()
	h.SetSendBufferSize(64 << 10)
	h.HandleConnected(func(*arpc.Client) {}) // in place of what sets TCP_NODELAY to false
	h.SetMaxBodyLen(max(h.MaxBodyLen(), setup.Size+arpc.MaxMethodLen))
	return h
}

// arpcClient implements Client.
type arpcClient struct{ client *arpc.Client }

func newARPCClient(ctx context.Context, dial Dial, setup Setup) (Client, error) {
	// It dials again where a connection has ended: the context is that of the first.
	client, err := arpc.NewClient(func() (net.Conn, error) { return dial(ctx) }, newARPCHandler(setup))
	if err != nil {
		return nil, err
	}
	return arpcClient{client}, nil
}

// Echo implements Client.
func (c arpcClient) Echo(ctx context.Context, in, out *blob.Blob) error {
	err := c.client.CallContext(ctx, MethodEcho.Path(), in.Data, &out.Data)
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// Open implements Client.
func (c arpcClient) Open(context.Context, Method) (Stream, error) {
	return nil, errors.New("arpc is measured with calls only")
}

// Close implements Client.
func (c arpcClient) Close() error {
	c.client.Stop()
	return nil
}
