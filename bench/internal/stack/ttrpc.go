package stack

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"

	"github.com/containerd/ttrpc"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"braid/bench/internal/blob"
)

// TTRPC returns containerd's ttrpc.
func TTRPC() Stack {
	return Stack{
		Name:        "ttrpc",
		Module:      "github.com/containerd/ttrpc",
		Multiplexed: true,
		Settings: []string{
			"default options, which are the only ones",
			"messages are google.protobuf.BytesValue, as it has no other codec; a call copies its payload twice each way, a stream once",
			"a message that is received is new, and its memory is not used again",
			"a write to the connection for every message, through a buffer of 4 KiB",
			"no flow control: a message that a stream has no room for (64 messages) holds up its connection for a second, and ends the stream then",
			"messages of at most 4 MiB",
			"a stream is closed by ending both directions, which waits for the handler: nothing cancels a stream",
		},
		Lacks:   map[Feature]string{Cancel: "nothing cancels a stream of ttrpc but the end of its connection"},
		MaxSize: defaultMessage,
		Serve:   serveTTRPC,
		Client: func(ctx context.Context, dial Dial, _ Setup) (Client, error) {
			conn, err := dial(ctx)
			if err != nil {
				return nil, err
			}
			return ttrpcClient{ttrpc.NewClient(conn)}, nil
		},
	}
}

// serveTTRPC implements Stack.Serve.
func serveTTRPC(ctx context.Context, lis net.Listener, service *Service, _ Setup) error {
	server, err := ttrpc.NewServer()
	if err != nil {
		return err
	}
	desc := &ttrpc.ServiceDesc{
		Methods: map[string]ttrpc.Method{string(MethodEcho): func(ctx context.Context, unmarshal func(any) error) (any, error) {
			in := new(wrapperspb.BytesValue)
			if err := unmarshal(in); err != nil {
				return nil, err
			}
			out, err := service.Echo(ctx, &blob.Blob{Data: in.Value})
			if err != nil {
				return nil, err
			}
			return wrapperspb.Bytes(out.Data), nil
		}},
		Streams: make(map[string]ttrpc.Stream),
	}
	for _, method := range streamMethods {
		desc.Streams[string(method.name)] = ttrpc.Stream{
			Handler: func(ctx context.Context, stream ttrpc.StreamServer) (any, error) {
				return nil, method.handler(service, ttrpcHandle{ctx, stream})
			},
			StreamingClient: true,
			StreamingServer: true,
		}
	}
	server.RegisterService(ServiceName, desc)
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	err = server.Serve(ctx, lis)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// ttrpcClient implements Client.
type ttrpcClient struct{ client *ttrpc.Client }

// Echo implements Client.
func (c ttrpcClient) Echo(ctx context.Context, in, out *blob.Blob) error {
	var answer wrapperspb.BytesValue
	if err := c.client.Call(ctx, ServiceName, string(MethodEcho), wrapperspb.Bytes(in.Data), &answer); err != nil {
		return err
	}
	out.Data = answer.Value
	return nil
}

// Open implements Client.
func (c ttrpcClient) Open(ctx context.Context, method Method) (Stream, error) {
	desc := &ttrpc.StreamDesc{StreamingClient: true, StreamingServer: true}
	stream, err := c.client.NewStream(ctx, desc, ServiceName, string(method), nil)
	if err != nil {
		return nil, err
	}
	return &ttrpcStream{ttrpcHandle: ttrpcHandle{ctx, stream}, client: stream}, nil
}

// Close implements Client. It waits for the goroutine of the client.
func (c ttrpcClient) Close() error {
	err := c.client.Close()
	return errors.Join(err, c.client.UserOnCloseWait(context.Background()))
}

// ttrpcHandle implements Handle, with what the two sides have in common.
type ttrpcHandle struct {
	ctx    context.Context
	stream interface {
		SendMsg(msg any) error
		RecvMsg(msg any) error
	}
}

func (s ttrpcHandle) Context() context.Context  { return s.ctx }
func (s ttrpcHandle) Send(msg *blob.Blob) error { return s.stream.SendMsg(wrapperspb.Bytes(msg.Data)) }

func (s ttrpcHandle) Recv(msg *blob.Blob) error {
	var in wrapperspb.BytesValue
	if err := s.stream.RecvMsg(&in); err != nil {
		return err
	}
	msg.Data = in.Value
	return nil
}

// ttrpcStream implements Stream.
type ttrpcStream struct {
	ttrpcHandle
	client ttrpc.ClientStream
	over   atomic.Bool // an error was received, and nothing comes behind it
}

// Recv implements Stream.
func (s *ttrpcStream) Recv(msg *blob.Blob) error {
	err := s.ttrpcHandle.Recv(msg)
	if err != nil {
		s.over.Store(true)
	}
	return err
}

// CloseSend implements Stream.
func (s *ttrpcStream) CloseSend() error { return s.client.CloseSend() }

// Close implements Stream. It receives what there is until the handler has
// returned, or the context of the stream ends.
func (s *ttrpcStream) Close() error {
	if err := s.client.CloseSend(); err != nil && !errors.Is(err, ttrpc.ErrStreamClosed) {
		return err
	}
	var rest blob.Blob
	for !s.over.Load() {
		if err := s.Recv(&rest); err != nil && !errors.Is(err, io.EOF) && s.ctx.Err() == nil {
			return err
		}
	}
	return nil
}
