package blob

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"storj.io/drpc"
)

// The names of the four methods.
const (
	MethodEcho     = "/bench.Bench/Echo"
	MethodUpload   = "/bench.Bench/Upload"
	MethodDownload = "/bench.Bench/Download"
	MethodPingPong = "/bench.Bench/PingPong"
)

// Server is what the description below dispatches to: one method of each
// shape that drpc has.
type Server interface {
	// Echo returns its argument.
	Echo(ctx context.Context, in *Blob) (*Blob, error)
	// Upload counts what it receives and answers with a tally.
	Upload(stream drpc.Stream) error
	// Download sends as many messages as the tally it is given asks for.
	Download(in *Blob, stream drpc.Stream) error
	// PingPong answers every message with the same message.
	PingPong(stream drpc.Stream) error
}

// Service implements Server.
type Service struct{}

var _ Server = Service{}

// Echo implements Server.
func (Service) Echo(_ context.Context, in *Blob) (*Blob, error) { return in, nil }

// Upload implements Server. It expects the messages of one sender in order, so
// that a stack that drops or reorders messages fails instead of looking fast.
func (Service) Upload(stream drpc.Stream) error {
	var in Blob
	var tally Tally
	for {
		err := stream.MsgRecv(&in, Encoding{})
		if errors.Is(err, io.EOF) {
			return stream.MsgSend(tally.Blob(), Encoding{})
		}
		if err != nil {
			return err
		}
		if err := in.Check(len(in.Data), 0, tally.Messages); err != nil {
			return err
		}
		tally.Messages++
		tally.Bytes += uint64(len(in.Data))
	}
}

// Download implements Server.
func (Service) Download(in *Blob, stream drpc.Stream) error {
	ask, err := TallyOf(in)
	if err != nil {
		return err
	}
	if ask.Messages == 0 {
		return nil
	}
	out := New(int(ask.Bytes/ask.Messages), 0)
	for seq := range ask.Messages {
		out.Stamp(0, seq)
		if err := stream.MsgSend(out, Encoding{}); err != nil {
			return err
		}
	}
	return nil
}

// PingPong implements Server.
func (Service) PingPong(stream drpc.Stream) error {
	var msg Blob
	for {
		err := stream.MsgRecv(&msg, Encoding{})
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.MsgSend(&msg, Encoding{}); err != nil {
			return err
		}
	}
}

// Tally is a number of messages and their bytes together.
type Tally struct {
	Messages, Bytes uint64
}

// Blob returns the tally as a message.
func (t Tally) Blob() *Blob {
	b := &Blob{Data: make([]byte, MinSize)}
	b.Stamp(t.Messages, t.Bytes)
	return b
}

// TallyOf reads a tally from a message.
func TallyOf(b *Blob) (Tally, error) {
	if len(b.Data) != MinSize {
		return Tally{}, fmt.Errorf("tally of %d bytes, want %d", len(b.Data), MinSize)
	}
	return Tally{
		Messages: binary.LittleEndian.Uint64(b.Data[0:8]),
		Bytes:    binary.LittleEndian.Uint64(b.Data[8:16]),
	}, nil
}

// Description tells a mux how to dispatch to a Server. It is what the code
// generator of drpc would write for the four methods.
type Description struct{}

var _ drpc.Description = Description{}

// NumMethods implements drpc.Description.
func (Description) NumMethods() int { return 4 }

// Method implements drpc.Description.
func (Description) Method(n int) (string, drpc.Encoding, drpc.Receiver, any, bool) {
	switch n {
	case 0:
		return MethodEcho, Encoding{}, receiveEcho, Server.Echo, true
	case 1:
		return MethodUpload, Encoding{}, receiveUpload, Server.Upload, true
	case 2:
		return MethodDownload, Encoding{}, receiveDownload, Server.Download, true
	case 3:
		return MethodPingPong, Encoding{}, receivePingPong, Server.PingPong, true
	default:
		return "", nil, nil, nil, false
	}
}

func receiveEcho(srv any, ctx context.Context, in1, _ any) (drpc.Message, error) {
	return srv.(Server).Echo(ctx, in1.(*Blob))
}

func receiveUpload(srv any, _ context.Context, in1, _ any) (drpc.Message, error) {
	return nil, srv.(Server).Upload(in1.(drpc.Stream))
}

func receiveDownload(srv any, _ context.Context, in1, in2 any) (drpc.Message, error) {
	return nil, srv.(Server).Download(in1.(*Blob), in2.(drpc.Stream))
}

func receivePingPong(srv any, _ context.Context, in1, _ any) (drpc.Message, error) {
	return nil, srv.(Server).PingPong(in1.(drpc.Stream))
}
