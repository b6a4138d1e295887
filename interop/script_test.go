package interop_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"storj.io/drpc"
	"storj.io/drpc/drpcmetadata"

	"braid/internal/drpctest"
)

// step is a part of the script: it makes calls one after the other and says
// what came of them.
type step struct {
	name string
	run  func(p *play)
}

// play runs steps over one combination of stacks. The lines that a step says
// are its outcome; they hold nothing that depends on who is faster.
type play struct {
	t     *testing.T
	stage stage
	dial  func() conn
	conn  conn

	// The client is stock with SoftCancel, which hangs up all the same if it is
	// still sending, and how far that is nobody outside can know.
	moody  bool
	unsaid bool // the step does not depend on it

	lines   []string
	started chan struct{} // a handler says that it runs
	reports chan string   // what handlers have seen
}

func newPlay(t *testing.T) *play {
	return &play{t: t, started: make(chan struct{}, 1), reports: make(chan string, 16)}
}

// run plays all steps and returns the outcome of each.
func (p *play) run(steps []step) map[string][]string {
	outcomes := make(map[string][]string)
	p.conn = p.dial()
	for _, s := range steps {
		p.lines, p.unsaid = nil, false
		p.stage.play(drpctest.Service{})
		s.run(p)
		p.next()
		if len(p.reports)+len(p.started) > 0 {
			p.t.Fatalf("%s: a handler ran that the step did not wait for", s.name)
		}
		outcomes[s.name] = p.lines
	}
	return outcomes
}

// next makes a call to find out whether the connection has survived the step,
// and connects again if it has not.
func (p *play) next() {
	p.stage.play(drpctest.Service{})
	got, err := drpctest.Call(context.Background(), p.conn, "next")
	switch {
	case p.unsaid:
		p.say("next call: either")
	case err == nil:
		p.say("next call: %s", answer(got, err))
	default:
		p.say("next call: fails")
	}
	if err != nil {
		_ = p.conn.Close()
		p.conn = p.dial()
	}
}

func (p *play) say(format string, args ...any) {
	p.lines = append(p.lines, fmt.Sprintf(format, args...))
}

// report is how a handler says something.
func (p *play) report(format string, args ...any) { p.reports <- fmt.Sprintf(format, args...) }

// served waits for the report of a handler and says it.
func (p *play) served() {
	p.t.Helper()
	p.say("server: %s", await(p.t, p.reports, "the handler's report"))
}

func (p *play) call(ctx context.Context, text string) {
	p.say("call: %s", answer(drpctest.Call(ctx, p.conn, text)))
}

// open opens a stream and says so if that fails.
func (p *play) open(ctx context.Context, rpc string) (drpc.Stream, bool) {
	stream, err := p.conn.NewStream(ctx, rpc, drpctest.Enc{})
	if err != nil {
		p.say("open: %s", outcome(err))
		return nil, false
	}
	return stream, true
}

// stream opens a stream that must open.
func (p *play) stream(ctx context.Context, rpc string) drpc.Stream {
	p.t.Helper()
	return mustStream(p.t, ctx, p.conn, rpc)
}

// drain says what the stream gives until it gives an error.
func (p *play) drain(stream drpc.Stream) {
	for {
		text, err := drpctest.Recv(stream)
		p.say("recv: %s", answer(text, err))
		if err != nil {
			return
		}
	}
}

// finish ends the stream on this side and says how its context has ended.
func (p *play) finish(stream drpc.Stream) {
	p.say("close: %s", outcome(stream.Close()))
	await(p.t, stream.Context().Done(), "the end of the stream's context")
	p.say("context: %s", outcome(stream.Context().Err()))
}

// describeMetadata lists the metadata of a context in order.
func describeMetadata(ctx context.Context) string {
	pairs, ok := drpcmetadata.Get(ctx)
	if !ok {
		return "none"
	}
	var list []string
	for key, value := range pairs {
		list = append(list, fmt.Sprintf("%q=%q", key, value))
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

// stubborn is a context whose end the test decides, with the error of a
// deadline if that is what it is told.
type stubborn struct {
	context.Context
	end  context.CancelCauseFunc
	with error
}

func newStubborn(with error) *stubborn {
	ctx, cancel := context.WithCancelCause(context.Background())
	return &stubborn{Context: ctx, end: cancel, with: with}
}

// expire ends the context.
func (s *stubborn) expire() { s.end(s.with) }

// Err implements context.Context.
func (s *stubborn) Err() error {
	if s.Context.Err() == nil {
		return nil
	}
	return s.with
}

// Value hides from the context package that there is a context inside, which
// would make it take that one's error.
func (s *stubborn) Value(any) any { return nil }
