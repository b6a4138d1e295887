package interop_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"storj.io/drpc"
	"storj.io/drpc/drpcerr"
	"storj.io/drpc/drpcmetadata"

	"braid/internal/drpctest"
)

// script is what a program may do with a connection, call by call.
func script() []step {
	var steps []step
	steps = append(steps, shapeSteps...)
	steps = append(steps, metadataSteps...)
	steps = append(steps, errorSteps...)
	steps = append(steps, endSteps...)
	return append(steps, contextSteps...)
}

var bg = context.Background()

// large is a message of several frames.
var large = strings.Repeat("0123456789abcdef", 20<<10)

// The four shapes of call.
var shapeSteps = []step{
	{"unary", func(p *play) {
		p.call(bg, "hello")
		p.call(bg, "")
		p.call(bg, large)
	}},
	{"client stream", func(p *play) {
		stream := p.stream(bg, drpctest.Up)
		for _, text := range []string{"a", "", large, "c"} {
			p.say("send: %s", send(stream, text))
		}
		p.say("close send: %s", outcome(stream.CloseSend()))
		p.drain(stream)
		p.finish(stream)
	}},
	{"client stream without a message", func(p *play) {
		stream := p.stream(bg, drpctest.Up)
		p.say("close send: %s", outcome(stream.CloseSend()))
		p.drain(stream)
		p.finish(stream)
	}},
	{"server stream", func(p *play) {
		for _, text := range []string{"abc", ""} {
			stream := p.stream(bg, drpctest.Down)
			p.say("send: %s", send(stream, text))
			p.say("close send: %s", outcome(stream.CloseSend()))
			p.drain(stream)
			p.finish(stream)
		}
	}},
	{"both stream", func(p *play) {
		stream := p.stream(bg, drpctest.Bidi)
		for _, text := range []string{"a", "", large, "c"} {
			p.say("send: %s, recv: %s", send(stream, text), recv(stream))
		}
		p.say("close send: %s", outcome(stream.CloseSend()))
		p.drain(stream)
		p.finish(stream)
	}},
}

// What a client attaches to a call arrives at the handler.
var metadataSteps = []step{
	{"metadata", func(p *play) {
		p.stage.play(drpctest.Service{
			UnaryFn: func(ctx context.Context, _ *drpctest.Msg) (*drpctest.Msg, error) {
				return drpctest.Text(describeMetadata(ctx)), nil
			},
			BidiFn: func(stream drpc.Stream) error {
				return drpctest.Send(stream, describeMetadata(stream.Context()))
			},
		})
		p.call(bg, "")
		with := drpcmetadata.AddPairs(context.Background(), map[string]string{"k": "v", "": "", "é\x00": "\xff"})
		p.call(with, "")
		p.call(bg, "") // nothing is left of the call before
		for _, ctx := range []context.Context{with, bg} {
			stream := p.stream(ctx, drpctest.Bidi)
			p.drain(stream)
			p.finish(stream)
		}
	}},
}

// An error that a handler returns is told with text and code.
var errorSteps = []step{
	{"handler returns an error", func(p *play) {
		for _, err := range []error{
			errors.New("plain"),
			errors.New(""),
			drpcerr.WithCode(errors.New("coded"), 7),
			drpcerr.WithCode(errors.New("largest code"), 1<<64-1),
			fmt.Errorf("around: %w", drpcerr.WithCode(errors.New("coded"), 12)),
			context.Canceled,
			io.EOF,
		} {
			p.stage.play(drpctest.Service{
				UnaryFn: func(context.Context, *drpctest.Msg) (*drpctest.Msg, error) { return nil, err },
				BidiFn:  func(drpc.Stream) error { return err },
			})
			p.call(bg, "")
			stream := p.stream(bg, drpctest.Bidi)
			p.say("recv: %s", recv(stream))
			p.say("send: %s", send(stream, "late"))
			p.say("again: %s", recv(stream))
			p.finish(stream)
		}
	}},
	{"messages before an error arrive", func(p *play) {
		p.stage.play(drpctest.Service{DownFn: func(_ *drpctest.Msg, stream drpc.Stream) error {
			for _, text := range []string{"a", "b", "c"} {
				if err := drpctest.Send(stream, text); err != nil {
					return err
				}
			}
			return drpcerr.WithCode(errors.New("after three"), 3)
		}})
		stream := p.stream(bg, drpctest.Down)
		p.say("send: %s", send(stream, "go"))
		p.say("close send: %s", outcome(stream.CloseSend()))
		p.drain(stream)
		p.finish(stream)
	}},
	{"handler sends an error", func(p *play) {
		p.stage.play(drpctest.Service{BidiFn: func(stream drpc.Stream) error {
			_ = drpctest.Send(stream, "first")
			err := stream.(interface{ SendError(error) error }).SendError(drpcerr.WithCode(errors.New("sent"), 9))
			p.report("send error: %s, send: %s", outcome(err), send(stream, "late"))
			return nil
		}})
		stream := p.stream(bg, drpctest.Bidi)
		p.drain(stream)
		p.served()
		p.finish(stream)
	}},
	{"client sends an error", func(p *play) {
		p.stage.play(drpctest.Service{BidiFn: func(stream drpc.Stream) error {
			got := recv(stream)
			p.report("recv: %s, again: %s, send: %s", got, recv(stream), send(stream, "late"))
			return nil
		}})
		stream := p.stream(bg, drpctest.Bidi)
		err := stream.(interface{ SendError(error) error }).SendError(drpcerr.WithCode(errors.New("sent"), 9))
		p.say("send error: %s", outcome(err))
		p.say("send: %s, recv: %s", send(stream, "late"), recv(stream))
		p.served()
		p.finish(stream)
	}},
	{"unknown rpc", func(p *play) {
		err := p.conn.Invoke(bg, "/nobody/knows", drpctest.Enc{}, drpctest.Text("x"), drpctest.Text(""))
		p.say("call: %s", outcome(err))
		if stream, ok := p.open(bg, "/nobody/knows"); ok {
			p.drain(stream)
			p.finish(stream)
		}
	}},
	{"handler returns no answer", func(p *play) {
		p.stage.play(drpctest.Service{
			UnaryFn: func(context.Context, *drpctest.Msg) (*drpctest.Msg, error) { return nil, nil },
		})
		p.call(bg, "")
	}},
	{"encoding fails", func(p *play) {
		enc := brokenEnc{errors.New("cannot encode")}
		stream := p.stream(bg, drpctest.Bidi)
		p.say("send: %s", outcome(stream.MsgSend(drpctest.Text("x"), enc)))
		p.say("send: %s, recv: %s", send(stream, "good"), recv(stream))
		p.finish(stream)
	}},
	{"decoding fails", func(p *play) {
		enc := brokenDec{err: errors.New("cannot decode")}
		p.say("call: %s", outcome(p.conn.Invoke(bg, drpctest.Unary, enc, drpctest.Text("x"), drpctest.Text(""))))
		stream := p.stream(bg, drpctest.Bidi)
		p.say("send: %s", send(stream, "x"))
		p.say("recv: %s", outcome(stream.MsgRecv(drpctest.Text(""), enc)))
		p.say("send: %s, recv: %s", send(stream, "good"), recv(stream))
		p.finish(stream)
	}},
}

// brokenEnc is an encoding that cannot encode, brokenDec one that cannot decode.
type (
	brokenEnc struct{ err error }
	brokenDec struct {
		drpctest.Enc
		err error
	}
)

func (b brokenEnc) Marshal(drpc.Message) ([]byte, error) { return nil, b.err }
func (b brokenEnc) Unmarshal([]byte, drpc.Message) error { return b.err }
func (b brokenDec) Unmarshal([]byte, drpc.Message) error { return b.err }
