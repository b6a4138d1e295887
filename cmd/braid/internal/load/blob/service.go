package blob

import (
	"context"
	"errors"
	"fmt"
	"io"

	"storj.io/drpc"

	"braid/cmd/braid/internal/wire"
)

// The names of the methods.
const (
	Echo     = "/braid.bench.Bench/Echo"
	Upload   = "/braid.bench.Bench/Upload"
	Download = "/braid.bench.Bench/Download"
	PingPong = "/braid.bench.Bench/PingPong"
)

// Server is what a [Description] dispatches to.
type Server interface {
	// Echo returns its argument.
	Echo(ctx context.Context, in *Message) (*Message, error)
	// Upload counts what it receives.
	Upload(stream drpc.Stream) error
	// Download sends until the client has closed its side.
	Download(stream drpc.Stream) error
	// PingPong sends every message back.
	PingPong(stream drpc.Stream) error
}

// Service implements Server. It keeps nothing from one call to the next.
type Service struct{}

var _ Server = Service{}

// Echo implements Server.
func (Service) Echo(_ context.Context, in *Message) (*Message, error) { return in, nil }

// Upload implements Server. The messages have to be all of one size, and numbered from
// 0, so that a connection that loses or reorders any fails instead of looking fast.
func (Service) Upload(stream drpc.Stream) error {
	var in Message
	var tally Tally
	size := -1 // that of the first one
	for {
		err := stream.MsgRecv(&in, Encoding{})
		if errors.Is(err, io.EOF) {
			in.Data = tally.AppendTo(in.Data[:0])
			return stream.MsgSend(&in, Encoding{})
		}
		if err != nil {
			return err
		}
		if size < 0 {
			size = len(in.Data)
		}
		if err := Check(in.Data, size, tally.Messages); err != nil {
			return wire.WithCode(err, wire.BadOrder)
		}
		tally.Messages++
		tally.Bytes += uint64(len(in.Data))
	}
}

// Download implements Server.
func (Service) Download(stream drpc.Stream) error {
	var in Message
	if err := stream.MsgRecv(&in, Encoding{}); err != nil {
		return err
	}
	ask, ok := AskOf(in.Data)
	if !ok {
		return wire.WithCode(fmt.Errorf("a download begins with how large the messages are to be, at most %d bytes", MaxSize), wire.BadOrder)
	}
	closed := make(chan error, 1)
	go func() {
		var in Message
		closed <- stream.MsgRecv(&in, Encoding{})
	}()

	out := Message{Data: make([]byte, ask.Size)}
	Fill(out.Data)
	var tally Tally
	for {
		select {
		case err := <-closed:
			if err == nil {
				return wire.WithCode(errors.New("a second message came on a download"), wire.BadOrder)
			}
			if !errors.Is(err, io.EOF) {
				return err
			}
			out.Data = tally.AppendTo(out.Data[:0])
			return stream.MsgSend(&out, Encoding{})
		default:
		}
		Stamp(out.Data, tally.Messages)
		if err := stream.MsgSend(&out, Encoding{}); err != nil {
			<-closed // the receive ends as the stream has
			return err
		}
		tally.Messages++
		tally.Bytes += ask.Size
	}
}

// PingPong implements Server.
func (Service) PingPong(stream drpc.Stream) error {
	var m Message
	for {
		err := stream.MsgRecv(&m, Encoding{})
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.MsgSend(&m, Encoding{}); err != nil {
			return err
		}
	}
}

// Description tells a drpc mux how to call a [Server].
type Description struct{}

var _ drpc.Description = Description{}

// NumMethods returns how many methods there are.
func (Description) NumMethods() int { return 4 }

// Method returns the nth of them.
func (Description) Method(n int) (rpc string, enc drpc.Encoding, recv drpc.Receiver, method any, ok bool) {
	stream := func(call func(Server, drpc.Stream) error) drpc.Receiver {
		return func(srv any, _ context.Context, in1, _ any) (drpc.Message, error) {
			return nil, call(srv.(Server), in1.(drpc.Stream))
		}
	}
	switch n {
	case 0:
		return Echo, Encoding{}, func(srv any, ctx context.Context, in1, _ any) (drpc.Message, error) {
			return srv.(Server).Echo(ctx, in1.(*Message))
		}, Server.Echo, true
	case 1:
		return Upload, Encoding{}, stream(Server.Upload), Server.Upload, true
	case 2:
		return Download, Encoding{}, stream(Server.Download), Server.Download, true
	case 3:
		return PingPong, Encoding{}, stream(Server.PingPong), Server.PingPong, true
	}
	return "", nil, nil, nil, false
}
