package stack

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/rpc"

	"braid/bench/internal/blob"
)

// NetRPC returns net/rpc of the standard library, with a codec for raw bytes.
func NetRPC() Stack {
	const why = "net/rpc has calls only"
	return Stack{
		Name:        "netrpc",
		Multiplexed: true,
		Settings: []string{
			"net/rpc with a codec for raw bytes instead of gob: a header of 17 bytes and two texts, a buffer of 4 KiB each way, a flush after every message",
			"calls are sent with Client.Go and waited for with their context; nothing is sent when that ends",
		},
		Lacks: map[Feature]string{Upload: why, Download: why, Duplex: why, Concurrent: why, Cancel: why},
		Serve: func(ctx context.Context, lis net.Listener, service *Service, _ Setup) error {
			server := rpc.NewServer()
			if err := server.RegisterName(ServiceName, &netrpcService{service}); err != nil {
				return err
			}
			return serveConns(ctx, lis, func(conn net.Conn) { server.ServeCodec(newNetRPCCodec(conn)) })
		},
		Client: func(ctx context.Context, dial Dial, _ Setup) (Client, error) {
			conn, err := dial(ctx)
			if err != nil {
				return nil, err
			}
			return netrpcClient{rpc.NewClientWithCodec(newNetRPCCodec(conn))}, nil
		},
	}
}

// netrpcService has the methods of the service in the form that net/rpc takes.
type netrpcService struct{ service *Service }

// Echo returns its argument.
func (s *netrpcService) Echo(in, out *blob.Blob) error {
	answer, err := s.service.Echo(context.Background(), in)
	if err == nil {
		*out = *answer
	}
	return err
}

// netrpcClient implements Client.
type netrpcClient struct{ client *rpc.Client }

// Echo implements Client.
func (c netrpcClient) Echo(ctx context.Context, in, out *blob.Blob) error {
	call := c.client.Go(ServiceName+"."+string(MethodEcho), in, out, make(chan *rpc.Call, 1))
	select {
	case <-call.Done:
		return call.Error
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Open implements Client.
func (c netrpcClient) Open(context.Context, Method) (Stream, error) {
	return nil, errors.New("net/rpc has no streams")
}

// Close implements Client.
func (c netrpcClient) Close() error { return c.client.Close() }

// netrpcCodec implements rpc.ClientCodec and rpc.ServerCodec. Either way a
// message is a sequence number, the lengths of two texts and of the payload,
// the name of the method, what went wrong, and the payload.
type netrpcCodec struct {
	conn io.Closer
	r    *bufio.Reader
	w    *bufio.Writer

	// Owned by who writes; net/rpc writes one message at a time.
	out [netrpcHeader]byte

	// Owned by who reads.
	in     [netrpcHeader]byte
	text   []byte
	method string // the last one, so that it need not be allocated again
	size   int    // of the payload that comes next
}

// netrpcHeader is the size of what precedes the texts: 8 bytes of sequence
// number, one of the method's length, 4 of the error's and 4 of the payload's.
const netrpcHeader = 17

// netrpcMaxError is the longest text of an error, in bytes.
const netrpcMaxError = 64 << 10

func newNetRPCCodec(conn io.ReadWriteCloser) *netrpcCodec {
	return &netrpcCodec{conn: conn, r: bufio.NewReader(conn), w: bufio.NewWriter(conn)}
}

// WriteRequest implements rpc.ClientCodec.
func (c *netrpcCodec) WriteRequest(r *rpc.Request, body any) error {
	return c.write(r.Seq, r.ServiceMethod, "", body)
}

// ReadRequestHeader implements rpc.ServerCodec.
func (c *netrpcCodec) ReadRequestHeader(r *rpc.Request) error {
	var none string
	return c.readHeader(&r.Seq, &r.ServiceMethod, &none)
}

// ReadRequestBody implements rpc.ServerCodec.
func (c *netrpcCodec) ReadRequestBody(body any) error { return c.readBody(body) }

// WriteResponse implements rpc.ServerCodec.
func (c *netrpcCodec) WriteResponse(r *rpc.Response, body any) error {
	return c.write(r.Seq, r.ServiceMethod, r.Error, body)
}

// ReadResponseHeader implements rpc.ClientCodec.
func (c *netrpcCodec) ReadResponseHeader(r *rpc.Response) error {
	return c.readHeader(&r.Seq, &r.ServiceMethod, &r.Error)
}

// ReadResponseBody implements rpc.ClientCodec.
func (c *netrpcCodec) ReadResponseBody(body any) error { return c.readBody(body) }

// Close implements both.
func (c *netrpcCodec) Close() error { return c.conn.Close() }

// write writes a message. A body that is no Blob is one that net/rpc puts in
// place of an answer that there is none of.
func (c *netrpcCodec) write(seq uint64, method, failure string, body any) error {
	var payload []byte
	if b, ok := body.(*blob.Blob); ok {
		payload = b.Data
	} else if failure == "" {
		return fmt.Errorf("cannot encode a %T", body)
	}
	if len(method) > 255 {
		return fmt.Errorf("name of a method of %d bytes", len(method))
	}
	failure = failure[:min(len(failure), netrpcMaxError)]
	binary.LittleEndian.PutUint64(c.out[0:8], seq)
	c.out[8] = byte(len(method))
	binary.LittleEndian.PutUint32(c.out[9:13], uint32(len(failure)))
	binary.LittleEndian.PutUint32(c.out[13:17], uint32(len(payload)))
	// A bufio.Writer keeps the first error, and Flush returns it.
	_, _ = c.w.Write(c.out[:])
	_, _ = c.w.WriteString(method)
	_, _ = c.w.WriteString(failure)
	_, _ = c.w.Write(payload)
	return c.w.Flush()
}

// readHeader reads everything that precedes the payload.
func (c *netrpcCodec) readHeader(seq *uint64, method, failure *string) error {
	if _, err := io.ReadFull(c.r, c.in[:]); err != nil {
		return err
	}
	*seq = binary.LittleEndian.Uint64(c.in[0:8])
	methodSize := int(c.in[8])
	failureSize := int(binary.LittleEndian.Uint32(c.in[9:13]))
	c.size = int(binary.LittleEndian.Uint32(c.in[13:17]))
	if failureSize > netrpcMaxError || c.size > MaxSize {
		return fmt.Errorf("a message of %d bytes with an error of %d", c.size, failureSize)
	}
	if cap(c.text) < methodSize+failureSize {
		c.text = make([]byte, methodSize+failureSize)
	}
	c.text = c.text[:methodSize+failureSize]
	if _, err := io.ReadFull(c.r, c.text); err != nil {
		return err
	}
	if string(c.text[:methodSize]) != c.method {
		c.method = string(c.text[:methodSize])
	}
	*method, *failure = c.method, string(c.text[methodSize:])
	return nil
}

// readBody reads the payload, or skips it if body is nil.
func (c *netrpcCodec) readBody(body any) error {
	if body == nil {
		_, err := c.r.Discard(c.size)
		return err
	}
	b, ok := body.(*blob.Blob)
	if !ok {
		return fmt.Errorf("cannot decode a %T", body)
	}
	if cap(b.Data) < c.size {
		b.Data = make([]byte, c.size)
	}
	b.Data = b.Data[:c.size]
	_, err := io.ReadFull(c.r, b.Data)
	return err
}
