package stack

import (
	"context"

	"storj.io/drpc"

	"braid/bench/internal/blob"
)

// defaultMessage is the largest message, in bytes, that the stacks with a limit
// accept by default, less some room for what they put around it.
const defaultMessage = 4<<20 - 1<<10

// messageLimit returns what to raise the limit of messages to, or 0 if the
// default is enough.
func (s Setup) messageLimit() int {
	if s.Size <= defaultMessage {
		return 0
	}
	return s.Size + 1<<20
}

// drpcClient implements Client over a connection that carries drpc.
type drpcClient struct{ conn drpc.Conn }

// Echo implements Client.
func (c drpcClient) Echo(ctx context.Context, in, out *blob.Blob) error {
	return c.conn.Invoke(ctx, MethodEcho.Path(), blob.Encoding{}, in, out)
}

// Open implements Client.
func (c drpcClient) Open(ctx context.Context, method Method) (Stream, error) {
	stream, err := c.conn.NewStream(ctx, method.Path(), blob.Encoding{})
	if err != nil {
		return nil, err
	}
	return drpcStream{stream}, nil
}

// Close implements Client.
func (c drpcClient) Close() error { return c.conn.Close() }

// drpcStream implements Stream, on either side.
type drpcStream struct{ stream drpc.Stream }

func (s drpcStream) Context() context.Context  { return s.stream.Context() }
func (s drpcStream) Send(msg *blob.Blob) error { return s.stream.MsgSend(msg, blob.Encoding{}) }
func (s drpcStream) Recv(msg *blob.Blob) error { return s.stream.MsgRecv(msg, blob.Encoding{}) }
func (s drpcStream) CloseSend() error          { return s.stream.CloseSend() }

// Close ends the stream, and waits until its context has ended: a pool has its
// connection back only then, and who does not wait makes it dial another.
func (s drpcStream) Close() error {
	err := s.stream.Close()
	<-s.stream.Context().Done()
	return err
}

// description tells a mux how to dispatch to a Service, as generated code does.
type description struct{}

var _ drpc.Description = description{}

// NumMethods implements drpc.Description.
func (description) NumMethods() int { return 1 + len(streamMethods) }

// Method implements drpc.Description.
func (description) Method(n int) (string, drpc.Encoding, drpc.Receiver, any, bool) {
	switch {
	case n == 0:
		echo := func(srv any, ctx context.Context, in1, _ any) (drpc.Message, error) {
			return srv.(*Service).Echo(ctx, in1.(*blob.Blob))
		}
		return MethodEcho.Path(), blob.Encoding{}, echo, (*Service).Echo, true
	case n > 0 && n <= len(streamMethods):
		method := streamMethods[n-1]
		receive := func(srv any, _ context.Context, in1, _ any) (drpc.Message, error) {
			return nil, method.handler(srv.(*Service), drpcStream{in1.(drpc.Stream)})
		}
		// A mux looks at the type of the method alone, which is the type that
		// generated code has for a method that takes a stream.
		return method.name.Path(), blob.Encoding{}, receive, func(*Service, drpc.Stream) error { return nil }, true
	default:
		return "", nil, nil, nil, false
	}
}
