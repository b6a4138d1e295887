package stack

import (
	"context"
	"fmt"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"

	"braid/bench/internal/blob"
)

// GRPC returns grpc-go.
func GRPC() Stack {
	return Stack{
		Name:        "grpc",
		Module:      "google.golang.org/grpc",
		Multiplexed: true,
		Settings: []string{
			"default options of grpc.NewClient and grpc.NewServer, but for the codec, the dialer and no TLS of its own",
			"HTTP/2 frames of at most 16 KiB",
			"windows of 64 KiB, of streams and of the connection, that grow with the measured bandwidth-delay product",
			"buffers of 32 KiB for reading and for writing",
			"above 4 MiB the limit of messages is raised on both ends",
			"a stream is closed by canceling its context, which sends RST_STREAM and is not answered",
		},
		Serve:  serveGRPC,
		Client: dialGRPC,
	}
}

// serveGRPC implements Stack.Serve.
func serveGRPC(ctx context.Context, lis net.Listener, service *Service, setup Setup) error {
	opts := []grpc.ServerOption{grpc.ForceServerCodecV2(grpcCodec{})}
	if limit := setup.messageLimit(); limit > 0 {
		opts = append(opts, grpc.MaxRecvMsgSize(limit))
	}
	server := grpc.NewServer(opts...)
	desc := grpc.ServiceDesc{
		ServiceName: ServiceName,
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: string(MethodEcho), Handler: echoGRPC}},
	}
	for _, method := range streamMethods {
		desc.Streams = append(desc.Streams, grpc.StreamDesc{
			StreamName: string(method.name),
			Handler: func(srv any, stream grpc.ServerStream) error {
				return method.handler(srv.(*Service), grpcHandle{stream})
			},
			ServerStreams: true,
			ClientStreams: true,
		})
	}
	server.RegisterService(&desc, service)
	stop := context.AfterFunc(ctx, server.Stop)
	defer stop()
	err := server.Serve(lis)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// echoGRPC is the handler of Echo as generated code has it.
func echoGRPC(srv any, ctx context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	in := new(blob.Blob)
	if err := dec(in); err != nil {
		return nil, err
	}
	return srv.(*Service).Echo(ctx, in)
}

// dialGRPC makes a client. It connects with the first call.
func dialGRPC(_ context.Context, dial Dial, setup Setup) (Client, error) {
	calls := []grpc.CallOption{grpc.ForceCodecV2(grpcCodec{})}
	if limit := setup.messageLimit(); limit > 0 {
		calls = append(calls, grpc.MaxCallRecvMsgSize(limit))
	}
	conn, err := grpc.NewClient("passthrough:///server",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return dial(ctx) }),
		grpc.WithDefaultCallOptions(calls...))
	if err != nil {
		return nil, err
	}
	return grpcClient{conn}, nil
}

// grpcClient implements Client.
type grpcClient struct{ conn *grpc.ClientConn }

// Echo implements Client.
func (c grpcClient) Echo(ctx context.Context, in, out *blob.Blob) error {
	return c.conn.Invoke(ctx, MethodEcho.Path(), in, out)
}

// Open implements Client.
func (c grpcClient) Open(ctx context.Context, method Method) (Stream, error) {
	ctx, cancel := context.WithCancel(ctx)
	desc := &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}
	stream, err := c.conn.NewStream(ctx, desc, method.Path())
	if err != nil {
		cancel()
		return nil, err
	}
	return &grpcStream{grpcHandle{stream}, stream, cancel}, nil
}

// Close implements Client.
func (c grpcClient) Close() error { return c.conn.Close() }

// grpcHandle implements Handle, with what the two sides have in common.
type grpcHandle struct {
	stream interface {
		Context() context.Context
		SendMsg(msg any) error
		RecvMsg(msg any) error
	}
}

func (s grpcHandle) Context() context.Context  { return s.stream.Context() }
func (s grpcHandle) Send(msg *blob.Blob) error { return s.stream.SendMsg(msg) }
func (s grpcHandle) Recv(msg *blob.Blob) error { return s.stream.RecvMsg(msg) }

// grpcStream implements Stream.
type grpcStream struct {
	grpcHandle
	client grpc.ClientStream
	cancel context.CancelFunc
}

func (s *grpcStream) CloseSend() error { return s.client.CloseSend() }

// Close implements Stream.
func (s *grpcStream) Close() error {
	s.cancel()
	return nil
}

// grpcCodec carries the bytes of a Blob as they are, with one copy each way as
// blob.Encoding has it. It allocates as grpc-go's own codec for protobuf does.
type grpcCodec struct{}

var _ encoding.CodecV2 = grpcCodec{}

// Name implements encoding.CodecV2.
func (grpcCodec) Name() string { return "blob" }

// Marshal implements encoding.CodecV2.
func (grpcCodec) Marshal(v any) (mem.BufferSlice, error) {
	b, ok := v.(*blob.Blob)
	if !ok {
		return nil, fmt.Errorf("cannot encode a %T", v)
	}
	if mem.IsBelowBufferPoolingThreshold(len(b.Data)) {
		return mem.BufferSlice{mem.SliceBuffer(append([]byte(nil), b.Data...))}, nil
	}
	pool := mem.DefaultBufferPool()
	buf := pool.Get(len(b.Data))
	copy(*buf, b.Data)
	return mem.BufferSlice{mem.NewBuffer(buf, pool)}, nil
}

// Unmarshal implements encoding.CodecV2.
func (grpcCodec) Unmarshal(data mem.BufferSlice, v any) error {
	b, ok := v.(*blob.Blob)
	if !ok {
		return fmt.Errorf("cannot decode a %T", v)
	}
	b.Data = b.Data[:0]
	for _, part := range data {
		b.Data = append(b.Data, part.ReadOnlyData()...)
	}
	return nil
}
