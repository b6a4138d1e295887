package stack

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"

	"connectrpc.com/connect"

	"braid/bench/internal/blob"
)

// httpStreams is how many streams net/http lets a client have open at once.
const httpStreams = 250

// Connect returns connect-go over the HTTP/2 of net/http.
func Connect() Stack {
	return Stack{
		Name:        "connect",
		Module:      "connectrpc.com/connect",
		Multiplexed: true,
		Settings: []string{
			"the Connect protocol over net/http's HTTP/2 without TLS of its own (prior knowledge), default options but for what is said here",
			"at most one connection, of which net/http has no limit by default",
			"the server allows 100 streams more than there are callers if that is above net/http's 250, so that all callers share that connection",
			"no gzip, which connect-go has for answers by default",
			"HTTP/2 frames of at most 512 KiB from the client and 1 MiB from the server",
			"windows: 1 MiB of streams and of the connection to the server; 4 MiB of streams and 1 GiB of the connection to the client; they do not grow",
			"every stream takes a buffer of 512 KiB for what its client sends, which is net/http's",
			"the answer of a call is a new message, whose memory is not used again",
			"a stream is closed by canceling its context, which sends RST_STREAM and is not answered",
		},
		Serve:  serveConnect,
		Client: dialConnect,
	}
}

// unencryptedHTTP2 is HTTP/2 alone, by prior knowledge.
func unencryptedHTTP2() *http.Protocols {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	return protocols
}

// serveConnect implements Stack.Serve.
func serveConnect(ctx context.Context, lis net.Listener, service *Service, setup Setup) error {
	opts := []connect.HandlerOption{connect.WithCodec(connectCodec{}), connect.WithCompression("gzip", nil, nil)}
	mux := http.NewServeMux()
	mux.Handle(MethodEcho.Path(), connect.NewUnaryHandler(MethodEcho.Path(),
		func(ctx context.Context, req *connect.Request[blob.Blob]) (*connect.Response[blob.Blob], error) {
			out, err := service.Echo(ctx, req.Msg)
			if err != nil {
				return nil, err
			}
			return connect.NewResponse(out), nil
		}, opts...))
	for _, method := range streamMethods {
		mux.Handle(method.name.Path(), connect.NewBidiStreamHandler(method.name.Path(),
			func(ctx context.Context, stream *connect.BidiStream[blob.Blob, blob.Blob]) error {
				return method.handler(service, connectHandle{ctx, stream.Conn()})
			}, opts...))
	}
	server := &http.Server{
		Handler:   mux,
		Protocols: unencryptedHTTP2(),
		ErrorLog:  log.New(io.Discard, "", 0), // connections that tests break
	}
	if most := setup.Callers + 100; most > httpStreams {
		server.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: most}
	}
	// A handler that never reads does not learn that its connection has ended
	// in any other way.
	server.BaseContext = func(net.Listener) context.Context { return ctx }
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	err := server.Serve(lis)
	if ctx.Err() != nil || errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// dialConnect makes a client. It connects with the first call.
func dialConnect(_ context.Context, dial Dial, _ Setup) (Client, error) {
	transport := &http.Transport{
		Protocols:   unencryptedHTTP2(),
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		// A connection is there for others only some time after it has carried
		// its first call. Who comes before that would have another dialed.
		MaxConnsPerHost: 1,
	}
	client := &http.Client{Transport: transport}
	c := &connectClient{transport: transport, streams: make(map[Method]*connect.Client[blob.Blob, blob.Blob])}
	make := func(m Method) *connect.Client[blob.Blob, blob.Blob] {
		return connect.NewClient[blob.Blob, blob.Blob](client, "http://server"+m.Path(),
			connect.WithCodec(connectCodec{}), connect.WithAcceptCompression("gzip", nil, nil))
	}
	c.echo = make(MethodEcho)
	for _, method := range streamMethods {
		c.streams[method.name] = make(method.name)
	}
	return c, nil
}

// connectClient implements Client.
type connectClient struct {
	transport *http.Transport
	echo      *connect.Client[blob.Blob, blob.Blob]
	streams   map[Method]*connect.Client[blob.Blob, blob.Blob]
}

// Echo implements Client.
func (c *connectClient) Echo(ctx context.Context, in, out *blob.Blob) error {
	answer, err := c.echo.CallUnary(ctx, connect.NewRequest(in))
	if err != nil {
		return err
	}
	*out = *answer.Msg
	return nil
}

// Open implements Client. The request begins with the first message.
func (c *connectClient) Open(ctx context.Context, method Method) (Stream, error) {
	ctx, cancel := context.WithCancel(ctx)
	conn, err := c.streams[method].CallBidiStream(ctx).Conn()
	if err != nil {
		cancel()
		return nil, err
	}
	return &connectStream{connectHandle{ctx, conn}, conn, cancel}, nil
}

// Close implements Client.
func (c *connectClient) Close() error {
	c.transport.CloseIdleConnections()
	return nil
}

// connectHandle implements Handle, with what the two sides have in common.
type connectHandle struct {
	ctx  context.Context
	conn interface {
		Send(msg any) error
		Receive(msg any) error
	}
}

func (s connectHandle) Context() context.Context  { return s.ctx }
func (s connectHandle) Send(msg *blob.Blob) error { return s.conn.Send(msg) }
func (s connectHandle) Recv(msg *blob.Blob) error { return s.conn.Receive(msg) }

// connectStream implements Stream.
type connectStream struct {
	connectHandle
	client connect.StreamingClientConn
	cancel context.CancelFunc
}

func (s *connectStream) CloseSend() error { return s.client.CloseRequest() }

// Close implements Stream. The errors that it leaves out say that the stream
// was canceled.
func (s *connectStream) Close() error {
	s.cancel()
	_ = s.client.CloseRequest()
	_ = s.client.CloseResponse()
	return nil
}

// connectCodec carries the bytes of a Blob as they are.
type connectCodec struct{ blob.Encoding }

var _ connect.Codec = connectCodec{}

// Name implements connect.Codec.
func (connectCodec) Name() string { return "blob" }

// Marshal implements connect.Codec.
func (c connectCodec) Marshal(msg any) ([]byte, error) { return c.Encoding.Marshal(msg) }

// MarshalAppend is what connect-go uses instead of Marshal.
func (c connectCodec) MarshalAppend(buf []byte, msg any) ([]byte, error) {
	return c.Encoding.MarshalAppend(buf, msg)
}

// Unmarshal implements connect.Codec.
func (c connectCodec) Unmarshal(buf []byte, msg any) error { return c.Encoding.Unmarshal(buf, msg) }
