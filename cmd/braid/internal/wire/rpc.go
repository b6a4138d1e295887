package wire

import (
	"context"

	"storj.io/drpc"
)

// The names of the methods.
const (
	echoRPC   = "/braid.copy.Files/Echo"
	awaitRPC  = "/braid.copy.Files/Await"
	uploadRPC = "/braid.copy.Files/Upload"
	chatRPC   = "/braid.copy.Files/Chat"
)

// Stream is a drpc.Stream that sends messages of one type and receives messages
// of another. As with any drpc.Stream, one goroutine may send while another one
// receives.
type Stream[Out, In any] struct {
	drpc.Stream
	codec Codec
}

// Send sends a message.
func (s *Stream[Out, In]) Send(m *Out) error { return s.MsgSend(m, s.codec) }

// Recv receives a message into m, whose memory it reuses.
func (s *Stream[Out, In]) Recv(m *In) error { return s.MsgRecv(m, s.codec) }

// The two ends of the two streams.
type (
	UploadClient = Stream[UploadFrame, UploadReply]
	UploadServer = Stream[UploadReply, UploadFrame]
	ChatClient   = Stream[ChatFrame, ChatFrame]
	ChatServer   = Stream[ChatFrame, ChatFrame]
)

// Server is what a copying server implements.
type Server interface {
	// Echo returns its argument.
	Echo(ctx context.Context, in *Echo) (*Echo, error)
	// Await says what became of an upload, as soon as it is over.
	Await(ctx context.Context, in *UploadID) (*Outcome, error)
	// Upload stores a file.
	Upload(stream *UploadServer) error
	// Chat takes part in a room.
	Chat(stream *ChatServer) error
}

// Description tells a drpc mux how to call a [Server].
type Description struct{}

var _ drpc.Description = Description{}

// NumMethods returns how many methods there are.
func (Description) NumMethods() int { return 4 }

// Method returns the nth of them.
func (Description) Method(n int) (rpc string, enc drpc.Encoding, recv drpc.Receiver, method any, ok bool) {
	switch n {
	case 0:
		return echoRPC, Codec{}, func(srv any, ctx context.Context, in1, _ any) (drpc.Message, error) {
			return srv.(Server).Echo(ctx, in1.(*Echo))
		}, Server.Echo, true
	case 1:
		return awaitRPC, Codec{}, func(srv any, ctx context.Context, in1, _ any) (drpc.Message, error) {
			return srv.(Server).Await(ctx, in1.(*UploadID))
		}, Server.Await, true
	case 2:
		return uploadRPC, Codec{}, func(srv any, _ context.Context, in1, _ any) (drpc.Message, error) {
			return nil, srv.(Server).Upload(&UploadServer{Stream: in1.(drpc.Stream)})
		}, Server.Upload, true
	case 3:
		return chatRPC, Codec{}, func(srv any, _ context.Context, in1, _ any) (drpc.Message, error) {
			return nil, srv.(Server).Chat(&ChatServer{Stream: in1.(drpc.Stream)})
		}, Server.Chat, true
	}
	return "", nil, nil, nil, false
}

// Client calls a copying server. Several clients can share one connection, each
// with a count of its own.
type Client struct {
	conn    drpc.Conn
	codec   Codec
	traffic *Traffic
}

// NewClient returns a client that counts what it does in traffic.
func NewClient(conn drpc.Conn, traffic *Traffic) *Client {
	return &Client{conn: conn, codec: Codec{traffic: traffic}, traffic: traffic}
}

// Echo asks for in to be sent back, into out.
func (c *Client) Echo(ctx context.Context, in, out *Echo) error {
	c.traffic.Streams.Add(1)
	return c.conn.Invoke(ctx, echoRPC, c.codec, in, out)
}

// Await asks what became of an upload, and waits until it is over.
func (c *Client) Await(ctx context.Context, id UploadID) (Outcome, error) {
	c.traffic.Streams.Add(1)
	var out Outcome
	err := c.conn.Invoke(ctx, awaitRPC, c.codec, &id, &out)
	return out, err
}

// Upload opens a stream for one file. The end of ctx cancels it.
func (c *Client) Upload(ctx context.Context) (*UploadClient, error) {
	c.traffic.Streams.Add(1)
	stream, err := c.conn.NewStream(ctx, uploadRPC, c.codec)
	if err != nil {
		return nil, err
	}
	return &UploadClient{Stream: stream, codec: c.codec}, nil
}

// Chat opens a stream for one member of a room. The end of ctx cancels it.
func (c *Client) Chat(ctx context.Context) (*ChatClient, error) {
	c.traffic.Streams.Add(1)
	stream, err := c.conn.NewStream(ctx, chatRPC, c.codec)
	if err != nil {
		return nil, err
	}
	return &ChatClient{Stream: stream, codec: c.codec}, nil
}
