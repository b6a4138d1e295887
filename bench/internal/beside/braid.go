package beside

import (
	"context"
	"fmt"
	"net"

	"storj.io/drpc"

	"braid/bench/internal/blob"
	"braid/bench/internal/rig"
	"braid/drpcconn"
	"braid/drpcwire"
)

// Braid returns braid with default options.
func Braid() Stack {
	stack := rig.Braid()
	return Stack{
		Name:   stack.Name,
		Module: stack.Module,
		Settings: []string{
			"default options of drpcconn and drpcserver",
			fmt.Sprintf("frames of at most %d KiB", drpcwire.DefaultSplitSize>>10),
			fmt.Sprintf("at most %d KiB of a stream wait to be written", drpcwire.DefaultMaximumPendingPerStream>>10),
		},
		Serve: func(ctx context.Context, lis net.Listener, service *Service) error {
			return stack.Serve(ctx, lis, func(mux drpc.Mux) error {
				return mux.Register(service, description{})
			})
		},
		Client: func(ctx context.Context, dial Dial) (Client, error) {
			raw, err := dial(ctx)
			if err != nil {
				return nil, err
			}
			return braidClient{drpcconn.New(raw)}, nil
		},
	}
}

// braidClient implements Client.
type braidClient struct{ conn *drpcconn.Conn }

func (c braidClient) Echo(ctx context.Context, in, out *blob.Blob) error {
	return c.conn.Invoke(ctx, MethodEcho, blob.Encoding{}, in, out)
}

func (c braidClient) Open(ctx context.Context, method string) (Stream, error) {
	stream, err := c.conn.NewStream(ctx, method, blob.Encoding{})
	if err != nil {
		return nil, err
	}
	return braidStream{stream}, nil
}

func (c braidClient) Close() error { return c.conn.Close() }

// braidStream implements Stream.
type braidStream struct{ stream drpc.Stream }

func (s braidStream) Context() context.Context { return s.stream.Context() }

func (s braidStream) Send(msg *blob.Blob) error { return s.stream.MsgSend(msg, blob.Encoding{}) }

func (s braidStream) Recv(msg *blob.Blob) error { return s.stream.MsgRecv(msg, blob.Encoding{}) }

// description tells a mux how to dispatch to a Service.
type description struct{}

var _ drpc.Description = description{}

// streamMethods are the methods that take a stream.
var streamMethods = []struct {
	name    string
	handler func(*Service, Stream) error
}{
	{MethodUpload, (*Service).Upload},
	{MethodDownload, (*Service).Download},
	{MethodStall, (*Service).Stall},
}

func (description) NumMethods() int { return 1 + len(streamMethods) }

func (description) Method(n int) (string, drpc.Encoding, drpc.Receiver, any, bool) {
	switch {
	case n == 0:
		echo := func(srv any, ctx context.Context, in1, _ any) (drpc.Message, error) {
			return srv.(*Service).Echo(ctx, in1.(*blob.Blob))
		}
		return MethodEcho, blob.Encoding{}, echo, (*Service).Echo, true
	case n > 0 && n <= len(streamMethods):
		method := streamMethods[n-1]
		receive := func(srv any, _ context.Context, in1, _ any) (drpc.Message, error) {
			return nil, method.handler(srv.(*Service), braidStream{in1.(drpc.Stream)})
		}
		// A mux looks at the type of the method alone, which is the type that
		// generated code has for a method that takes a stream.
		return method.name, blob.Encoding{}, receive, func(*Service, drpc.Stream) error { return nil }, true
	default:
		return "", nil, nil, nil, false
	}
}
