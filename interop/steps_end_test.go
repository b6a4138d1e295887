package interop_test

import (
	"context"

	"storj.io/drpc"

	"braid/internal/drpctest"
)

// Who ends a stream, and what the other side gets to see of it.
var endSteps = []step{
	{"client sends after close send", func(p *play) {
		stream := p.stream(bg, drpctest.Bidi)
		p.say("send: %s, recv: %s", send(stream, "a"), recv(stream))
		p.say("close send: %s, again: %s", outcome(stream.CloseSend()), outcome(stream.CloseSend()))
		p.say("send: %s", send(stream, "late"))
		p.drain(stream)
		p.finish(stream)
		p.say("send: %s, recv: %s", send(stream, "late"), recv(stream))
	}},
	{"client closes", func(p *play) {
		p.stage.play(drpctest.Service{BidiFn: func(stream drpc.Stream) error {
			_, _ = drpctest.Recv(stream)
			_ = drpctest.Send(stream, "b")
			got := recv(stream)
			<-stream.Context().Done()
			p.report("recv: %s, again: %s, send: %s, context: %s",
				got, recv(stream), send(stream, "late"), outcome(stream.Context().Err()))
			return nil
		}})
		stream := p.stream(bg, drpctest.Bidi)
		p.say("send: %s, recv: %s", send(stream, "a"), recv(stream))
		p.finish(stream)
		p.say("send: %s, recv: %s", send(stream, "late"), recv(stream))
		p.served()
	}},
	{"server goes on after the client has closed its side", func(p *play) {
		p.stage.play(drpctest.Service{BidiFn: func(stream drpc.Stream) error {
			text, err := drpctest.Recv(stream)
			for err == nil {
				text, err = drpctest.Recv(stream)
			}
			p.report("recv: %s, again: %s", answer(text, err), recv(stream))
			for _, text := range []string{"x", "y"} {
				if err := drpctest.Send(stream, text); err != nil {
					return err
				}
			}
			return nil
		}})
		stream := p.stream(bg, drpctest.Bidi)
		p.say("send: %s", send(stream, "a"))
		p.say("close send: %s", outcome(stream.CloseSend()))
		p.drain(stream)
		p.served()
		p.finish(stream)
	}},
	{"server closes its side first", func(p *play) {
		p.stage.play(drpctest.Service{BidiFn: func(stream drpc.Stream) error {
			closed := outcome(stream.CloseSend())
			got := recv(stream)
			p.report("close send: %s, recv: %s, send: %s", closed, got, send(stream, "late"))
			return nil
		}})
		stream := p.stream(bg, drpctest.Bidi)
		p.say("recv: %s", recv(stream))
		p.say("send: %s", send(stream, "after"))
		p.served()
		p.say("close send: %s", outcome(stream.CloseSend()))
		p.finish(stream)
	}},
	{"handler returns before the client has closed its side", func(p *play) {
		p.stage.play(drpctest.Service{BidiFn: func(drpc.Stream) error { return nil }})
		stream := p.stream(bg, drpctest.Bidi)
		p.say("recv: %s", recv(stream))
		p.say("close send: %s", outcome(stream.CloseSend()))
		p.finish(stream)
	}},
	{"handler's stream is over when it has returned", func(p *play) {
		p.stage.play(drpctest.Service{BidiFn: func(stream drpc.Stream) error {
			go func() {
				<-stream.Context().Done()
				p.report("context: %s", outcome(stream.Context().Err()))
			}()
			_, err := drpctest.Recv(stream)
			return err
		}})
		stream := p.stream(bg, drpctest.Bidi)
		p.say("send: %s", send(stream, "a"))
		p.say("close send: %s", outcome(stream.CloseSend()))
		p.drain(stream)
		p.finish(stream)
		p.served()
	}},
	{"client ignores the answer", func(p *play) {
		stream := p.stream(bg, drpctest.Down)
		p.say("send: %s", send(stream, "abcdef"))
		p.say("close send: %s", outcome(stream.CloseSend()))
		p.say("recv: %s", recv(stream))
		p.finish(stream)
	}},
}

// The end of a client's context ends the call, on both sides.
var contextSteps = []step{
	{"context is over before the call", func(p *play) {
		for _, with := range []error{context.Canceled, context.DeadlineExceeded} {
			ctx := newStubborn(with)
			ctx.expire()
			p.call(ctx, "never")
			p.open(ctx, drpctest.Bidi)
		}
	}},
	{"unary call is canceled", func(p *play) { p.endUnary(context.Canceled) }},
	{"unary call's deadline passes", func(p *play) { p.endUnary(context.DeadlineExceeded) }},
	{"stream is canceled", func(p *play) { p.endStream(context.Canceled) }},
	{"stream's deadline passes", func(p *play) { p.endStream(context.DeadlineExceeded) }},
	{"stream is canceled after it has ended", func(p *play) {
		ctx := newStubborn(context.Canceled)
		stream := p.stream(ctx, drpctest.Bidi)
		p.say("close send: %s", outcome(stream.CloseSend()))
		p.drain(stream)
		p.finish(stream)
		ctx.expire()
	}},
	{"handler sees the deadline", func(p *play) {
		p.stage.play(drpctest.Service{
			UnaryFn: func(ctx context.Context, in *drpctest.Msg) (*drpctest.Msg, error) {
				_, ok := ctx.Deadline()
				p.report("deadline: %v", ok)
				return in, nil
			},
		})
		ctx, cancel := context.WithTimeout(bg, patience)
		defer cancel()
		p.call(ctx, "x")
		p.served()
	}},
}

// endUnary ends the context of a unary call while its handler runs, which may be
// before the client has sent its CloseSend.
func (p *play) endUnary(with error) {
	p.unsaid = p.moody
	p.stage.play(drpctest.Service{
		UnaryFn: func(ctx context.Context, in *drpctest.Msg) (*drpctest.Msg, error) {
			p.started <- struct{}{}
			<-ctx.Done()
			p.report("context: %s", outcome(ctx.Err()))
			return in, nil
		},
	})
	ctx := newStubborn(with)
	result := later(func() string { return answer(drpctest.Call(ctx, p.conn, "x")) })
	await(p.t, p.started, "the handler")
	ctx.expire()
	p.say("call: %s", await(p.t, result, "the call to end"))
	p.served()
}

// endStream ends the context of a stream while its client receives.
func (p *play) endStream(with error) {
	p.stage.play(drpctest.Service{
		BidiFn: func(stream drpc.Stream) error {
			_, _ = drpctest.Recv(stream)
			_ = drpctest.Send(stream, "b")
			got := recv(stream)
			<-stream.Context().Done()
			p.report("recv: %s, context: %s, send: %s",
				got, outcome(stream.Context().Err()), send(stream, "late"))
			return nil
		},
	})
	ctx := newStubborn(with)
	stream := p.stream(ctx, drpctest.Bidi)
	p.say("send: %s, recv: %s", send(stream, "a"), recv(stream))
	result := later(func() string { return recv(stream) })
	ctx.expire()
	p.say("recv: %s", await(p.t, result, "the receive to end"))
	p.served()
	p.say("again: %s", recv(stream))
	p.say("send: %s", send(stream, "late"))
	p.finish(stream)
}
