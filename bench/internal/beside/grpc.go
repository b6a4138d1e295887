package beside

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

// GRPC returns grpc-go with default options, but for what carries plain bytes
// over a plain connection.
func GRPC() Stack {
	return Stack{
		Name:   "grpc",
		Module: "google.golang.org/grpc",
		Settings: []string{
			"default options of grpc.NewClient and grpc.NewServer, but for the codec, the dialer and no TLS",
			"HTTP/2 frames of at most 16 KiB",
			"windows of 64 KiB, of streams and of the connection, that grow with the measured bandwidth-delay product",
			"buffers of 32 KiB for reading and for writing",
		},
		Serve:  serveGRPC,
		Client: dialGRPC,
	}
}

// serveGRPC serves until ctx is done, and then ends every connection.
func serveGRPC(ctx context.Context, lis net.Listener, service *Service) error {
	server := grpc.NewServer(grpc.ForceServerCodecV2(codec{}))
	desc := grpc.ServiceDesc{
		ServiceName: serviceName,
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: MethodEcho[len("/"+serviceName+"/"):], Handler: echoGRPC}},
	}
	for _, method := range streamMethods {
		desc.Streams = append(desc.Streams, grpc.StreamDesc{
			StreamName: method.name[len("/"+serviceName+"/"):],
			Handler: func(srv any, stream grpc.ServerStream) error {
				return method.handler(srv.(*Service), grpcStream{stream})
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
func dialGRPC(_ context.Context, dial Dial) (Client, error) {
	conn, err := grpc.NewClient("passthrough:///server",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return dial(ctx) }),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(codec{})))
	if err != nil {
		return nil, err
	}
	return grpcClient{conn}, nil
}

// grpcClient implements Client.
type grpcClient struct{ conn *grpc.ClientConn }

func (c grpcClient) Echo(ctx context.Context, in, out *blob.Blob) error {
	return c.conn.Invoke(ctx, MethodEcho, in, out)
}

func (c grpcClient) Open(ctx context.Context, method string) (Stream, error) {
	desc := &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}
	stream, err := c.conn.NewStream(ctx, desc, method)
	if err != nil {
		return nil, err
	}
	return grpcStream{stream}, nil
}

func (c grpcClient) Close() error { return c.conn.Close() }

// grpcStream implements Stream, with what the two sides have in common.
type grpcStream struct {
	stream interface {
		Context() context.Context
		SendMsg(msg any) error
		RecvMsg(msg any) error
	}
}

func (s grpcStream) Context() context.Context { return s.stream.Context() }

func (s grpcStream) Send(msg *blob.Blob) error { return s.stream.SendMsg(msg) }

func (s grpcStream) Recv(msg *blob.Blob) error { return s.stream.RecvMsg(msg) }

// codec carries the bytes of a Blob as they are, with one copy each way as
// blob.Encoding has it. It allocates as grpc-go's own codec for protobuf does.
type codec struct{}

var _ encoding.CodecV2 = codec{}

// Name implements encoding.CodecV2.
func (codec) Name() string { return "blob" }

// Marshal implements encoding.CodecV2.
func (codec) Marshal(v any) (mem.BufferSlice, error) {
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
func (codec) Unmarshal(data mem.BufferSlice, v any) error {
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
