// Package drpctest is what braid's own tests share: a service with the four
// shapes of call, transports with controllable blocking, a peer that is driven
// frame by frame, and a check for leaked goroutines.
package drpctest

import (
	"context"
	"errors"
	"io"

	"storj.io/drpc"
)

// Msg is the message of the test service. It is its own encoding on the wire.
type Msg struct{ Data []byte }

// Text makes a message.
func Text(s string) *Msg { return &Msg{Data: []byte(s)} }

// String returns the message as text.
func (m *Msg) String() string { return string(m.Data) }

// Enc encodes Msg. It can append, like the encodings that are generated.
type Enc struct{}

// Marshal implements drpc.Encoding.
func (Enc) Marshal(msg drpc.Message) ([]byte, error) { return msg.(*Msg).Data, nil }

// MarshalAppend is used by drpcenc instead of Marshal.
func (Enc) MarshalAppend(buf []byte, msg drpc.Message) ([]byte, error) {
	return append(buf, msg.(*Msg).Data...), nil
}

// Unmarshal implements drpc.Encoding. It copies, as an encoding must.
func (Enc) Unmarshal(buf []byte, msg drpc.Message) error {
	msg.(*Msg).Data = append(msg.(*Msg).Data[:0], buf...)
	return nil
}

// The names of the rpcs of Service.
const (
	Unary = "/test.Service/Unary"
	Up    = "/test.Service/Up"
	Down  = "/test.Service/Down"
	Bidi  = "/test.Service/Bidi"
)

// Service has one rpc of each shape. A nil field is an echo: Unary returns the
// request, Up all messages joined, Down every byte of the request as a message,
// Bidi each message as it comes.
type Service struct {
	UnaryFn func(ctx context.Context, in *Msg) (*Msg, error)
	UpFn    func(stream drpc.Stream) error
	DownFn  func(in *Msg, stream drpc.Stream) error
	BidiFn  func(stream drpc.Stream) error
}

// server is the interface that generated code would have for Service.
type server interface {
	Unary(ctx context.Context, in *Msg) (*Msg, error)
	Up(stream drpc.Stream) error
	Down(in *Msg, stream drpc.Stream) error
	Bidi(stream drpc.Stream) error
}

// Unary implements the rpc of that name.
func (s *Service) Unary(ctx context.Context, in *Msg) (*Msg, error) {
	if s.UnaryFn != nil {
		return s.UnaryFn(ctx, in)
	}
	return &Msg{Data: in.Data}, nil
}

// Up implements the rpc of that name.
func (s *Service) Up(stream drpc.Stream) error {
	if s.UpFn != nil {
		return s.UpFn(stream)
	}
	var all Msg
	for {
		var in Msg
		if err := stream.MsgRecv(&in, Enc{}); errors.Is(err, io.EOF) {
			return stream.MsgSend(&all, Enc{})
		} else if err != nil {
			return err
		}
		all.Data = append(all.Data, in.Data...)
	}
}

// Down implements the rpc of that name.
func (s *Service) Down(in *Msg, stream drpc.Stream) error {
	if s.DownFn != nil {
		return s.DownFn(in, stream)
	}
	for i := range in.Data {
		if err := stream.MsgSend(&Msg{Data: in.Data[i : i+1]}, Enc{}); err != nil {
			return err
		}
	}
	return nil
}

// Bidi implements the rpc of that name.
func (s *Service) Bidi(stream drpc.Stream) error {
	if s.BidiFn != nil {
		return s.BidiFn(stream)
	}
	for {
		var in Msg
		if err := stream.MsgRecv(&in, Enc{}); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := stream.MsgSend(&in, Enc{}); err != nil {
			return err
		}
	}
}

// Desc describes Service as generated code would.
type Desc struct{}

// NumMethods implements drpc.Description.
func (Desc) NumMethods() int { return 4 }

// Method implements drpc.Description.
func (Desc) Method(n int) (string, drpc.Encoding, drpc.Receiver, any, bool) {
	switch n {
	case 0:
		return Unary, Enc{}, func(srv any, ctx context.Context, in1, _ any) (drpc.Message, error) {
			return srv.(server).Unary(ctx, in1.(*Msg))
		}, server.Unary, true
	case 1:
		return Up, Enc{}, func(srv any, _ context.Context, in1, _ any) (drpc.Message, error) {
			return nil, srv.(server).Up(in1.(drpc.Stream))
		}, server.Up, true
	case 2:
		return Down, Enc{}, func(srv any, _ context.Context, in1, in2 any) (drpc.Message, error) {
			return nil, srv.(server).Down(in1.(*Msg), in2.(drpc.Stream))
		}, server.Down, true
	case 3:
		return Bidi, Enc{}, func(srv any, _ context.Context, in1, _ any) (drpc.Message, error) {
			return nil, srv.(server).Bidi(in1.(drpc.Stream))
		}, server.Bidi, true
	}
	return "", nil, nil, nil, false
}
