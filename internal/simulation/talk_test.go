package simulation_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"storj.io/drpc"
	"storj.io/drpc/drpcerr"

	"braid/drpcmanager"
	"braid/drpcstream"
	"braid/drpcwire"
)

// talk is one stream of a history.
type talk struct {
	h              *history
	plan           *streamPlan
	name           string // rpc
	client, server side
	openErr        error // why it was not opened
	handled        atomic.Bool

	mu    sync.Mutex
	acted []ender // what may have ended it; guarded by mu
}

func newTalk(h *history, p *streamPlan) *talk {
	t := &talk{h: h, plan: p, name: fmt.Sprintf("/%d", p.index)}
	for k, x := range []*side{&t.client, &t.server} {
		x.h, x.talk, x.plan, x.server = h, t, p.sides[k], k == 1
		x.name = [...]string{"client", "server"}[k]
		x.log.stream, x.log.dir = p.index, "cs"[k]
		x.drained, x.done = make(chan struct{}), make(chan struct{})
	}
	t.client.peer, t.server.peer = &t.server.log, &t.client.log
	return t
}

// act notes that somebody is about to end the stream.
func (t *talk) act(e ender) {
	t.h.logf("%s: %v", t.name, e)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.acted = append(t.acted, e)
}

func (t *talk) actions() []ender {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.acted)
}

// errPeer is what a side ends a stream with.
var errPeer = drpcerr.WithCode(errors.New("as planned"), 4711)

// runClient is the client's part.
func (t *talk) runClient() {
	time.Sleep(t.plan.start)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var over moment
	switch t.plan.ender {
	case deadline:
		t.act(deadline)
		ctx, cancel = context.WithTimeout(ctx, max(t.plan.at, 1))
		defer cancel()
	case cancelContext:
		timer := time.AfterFunc(t.plan.at, func() { t.act(cancelContext); cancel() })
		defer timer.Stop()
	}
	defer context.AfterFunc(ctx, over.now)()
	t.open(ctx, &over)
	x := &t.client
	if x.stream == nil {
		t.h.logf("%s: not opened: %v", t.name, t.openErr)
		return
	}
	t.endLater(x)
	x.run()
	_ = x.op("Close", x.stream.Close)
	close(x.done)
}

func (t *talk) open(ctx context.Context, over *moment) {
	x := &t.client
	var s *drpcstream.Stream
	t.openErr = t.h.op(t.name+" open", func() (err error) {
		man := t.h.client.man
		if t.plan.order != unary {
			s, err = man.NewClientStream(ctx, t.name, nil)
			return err
		}
		seq, msg := x.log.begin(t.plan.sides[0].sizes[0], man.PeerKnown())
		s, err = man.NewUnaryStream(ctx, t.name, nil, msg)
		if err != nil {
			x.log.end(seq, failed)
			return err
		}
		clear(msg)
		x.log.end(seq, sent)
		x.log.closing()
		x.log.closeSend()
		return nil
	}, over, &t.h.client.ended)
	if t.openErr != nil {
		return
	}
	t.h.logf("%s: %v", t.name, s)
	if t.plan.manual {
		s.SetManualFlush(true)
	}
	x.use(s)
}

// runServer is the handler.
func (t *talk) runServer(s *drpcstream.Stream) {
	x := &t.server
	if t.plan.manual {
		s.SetManualFlush(true)
	}
	x.use(s)
	t.endLater(x)
	ran := make(chan struct{})
	t.h.wg.Go(func() { x.run(); close(ran) })
	var result error
	early := t.plan.ender == returnsNil || t.plan.ender == returnsError
	if early {
		timer := time.NewTimer(t.plan.at)
		defer timer.Stop()
		select {
		case <-ran:
			early = false
		case <-timer.C:
			t.act(t.plan.ender)
			if t.plan.ender == returnsError {
				result = errPeer
			}
		}
	} else {
		<-ran
	}
	time.Sleep(t.plan.linger)
	_ = x.op("Return", func() error {
		t.h.returning()
		return s.Return(result)
	})
	close(x.done)
}

// endLater ends the stream when it is time to, if that is planned for this side.
func (t *talk) endLater(x *side) {
	e, s := t.plan.ender, x.stream
	var end func() error
	switch {
	case e == clientCloses && !x.server, e == serverCloses && x.server:
		end = s.Close
	case e == clientCancels && !x.server, e == serverCancels && x.server:
		end = func() error { s.Cancel(context.Canceled); return nil }
	case e == clientErrs && !x.server, e == serverErrs && x.server:
		end = func() error { return s.SendError(errPeer) }
	default:
		return
	}
	t.h.wg.Go(func() {
		timer := time.NewTimer(t.plan.at)
		defer timer.Stop()
		select {
		case <-x.done:
		case <-timer.C:
			t.act(e)
			_ = x.op(e.String(), end) // that of a connection that is lost
		}
	})
}

// classify says what an error is that a receive has returned.
func classify(err error) class {
	var lostErr *drpcmanager.LostError
	switch {
	case err == nil:
		return none
	case errors.As(err, &lostErr):
		return lost
	case err == io.EOF: //nolint:errorlint // a clean end is io.EOF itself
		return eof
	case errors.Is(err, drpcstream.ErrRefused), drpcerr.Code(err) == drpcwire.CodeUnavailable:
		return refused
	case drpcerr.Code(err) == 4711:
		return failure
	case drpcerr.Code(err) == drpcwire.CodeResourceExhausted:
		return large
	case errors.Is(err, context.DeadlineExceeded):
		return expired
	case errors.Is(err, context.Canceled):
		return canceled
	case strings.Contains(err.Error(), "the handler has returned"):
		return returned
	case drpc.Error.Has(err):
		return local
	}
	return class(err.Error())
}

// outcomes is what the receivers of the two sides may see when somebody has ended a
// stream; io.EOF besides, if their peer had finished before.
var outcomes = map[ender][2]class{
	cancelContext: {canceled, canceled},
	deadline:      {expired, expired},
	clientCloses:  {local, eof},
	clientCancels: {canceled, canceled},
	clientErrs:    {local, failure},
	serverCloses:  {eof, local},
	serverCancels: {canceled, canceled},
	serverErrs:    {failure, local},
	returnsNil:    {eof, returned},
	returnsError:  {failure, returned},
	tooLarge:      {large, large},
}

// check checks how the stream has ended.
func (t *talk) check() {
	acted := t.actions()
	lossy := t.h.plan.lossy()
	if t.client.stream == nil {
		t.checkUnopened(acted, lossy)
		return
	}
	got := [2]class{classify(t.client.outcome), classify(t.server.outcome)}
	t.tally(acted, got)
	for k, x := range []*side{&t.client, &t.server} {
		c := got[k]
		switch {
		case k == 1 && !t.handled.Load():
			if c := got[0]; len(acted) == 0 && !lossy && c != refused && !t.maybeTooMany(c) && !t.maybeUntold(c) && !t.maybeTooSlow(c) {
				t.h.errorf("%s was not handled; the client got %v", t.name, t.client.outcome)
			}
			continue
		case !x.stream.IsFinished():
			t.h.errorf("%s: %v is not finished", t.name, x.stream)
		case c == eof, c == lost && lossy:
			continue
		case c == refused && t.h.plan.finish.what == shutdown && !t.handled.Load(),
			t.maybeTooMany(c), t.maybeUntold(c), t.maybeTooSlow(c), t.uncredited():
			continue
		}
		ok := slices.ContainsFunc(acted, func(e ender) bool { return c == outcomes[e][k] })
		// A handler that does not exist any more has nothing to receive.
		if ok || c == returned && len(acted) > 0 || c == returned && lossy {
			continue
		}
		if t.h.plan.client.Multiplex == drpcmanager.MultiplexNever && len(acted) > 0 {
			continue // a Cancel may be sent as Close
		}
		t.h.errorf("%s %s: ended with %q (%v) by %v, the other side with %q", t.name, x.name, c, x.outcome, acted, got[1-k])
	}
	t.checkLogs(acted, got)
}

// maybeTooMany reports whether the server may have refused the stream because too
// many were open: a client that does not know of the limit yet opens more.
func (t *talk) maybeTooMany(c class) bool {
	return c == large && !t.handled.Load() && t.h.plan.client.Multiplex == drpcmanager.MultiplexAlways
}

// uncredited reports whether a side has ended the stream because of what has come on
// it before there was credit: budgets are small here.
func (t *talk) uncredited() bool {
	for _, x := range []*side{&t.client, &t.server} {
		if x.outcome != nil && strings.Contains(x.outcome.Error(), "without flow control") {
			return true
		}
	}
	return false
}

// maybeUntold reports whether the server may have been shut down without a word: a
// client that is not known cannot be told.
func (t *talk) maybeUntold(c class) bool {
	return c == lost && !t.handled.Load() && t.h.plan.finish.what == shutdown && !t.h.client.man.PeerKnown()
}

// maybeTooSlow reports whether a connection that was shut down may have been closed
// on what was still on its way: this is not waited for longer than for a second.
func (t *talk) maybeTooSlow(c class) bool {
	return c == lost && t.h.plan.finish.what == shutdown && t.h.plan.slow()
}

// checkLogs checks what was received against what was sent.
func (t *talk) checkLogs(acted []ender, got [2]class) {
	for k, log := range []*sendLog{&t.client.log, &t.server.log} {
		// What the receiver sees is that of the other side.
		clean := len(acted) == 0 && got[1-k] == eof
		if err := log.check(clean); err != nil {
			t.h.errorf("%s from %s: %v", t.name, [...]string{"client", "server"}[k], err)
		}
	}
}

func (t *talk) checkUnopened(acted []ender, lossy bool) {
	c := classify(t.openErr)
	switch {
	case t.handled.Load() && t.plan.order != unary:
		t.h.errorf("%s was handled, and not opened", t.name)
	case (c == lost || c == refused) && (lossy || t.h.plan.finish.what != noFinish):
	case len(acted) > 0 && (c == canceled || c == expired || c == local):
	case t.plan.order == unary && len(acted) > 0:
	default:
		t.h.errorf("%s was not opened: %v", t.name, t.openErr)
	}
}

func (t *talk) tally(acted []ender, got [2]class) {
	t.h.count(func(sum *tally) {
		switch {
		case got[0] == refused:
			sum.refused++
		case got[0] == lost:
			sum.lost++
		case len(acted) > 0:
			sum.ended++
		default:
			sum.clean++
		}
		if t.plan.order == unary {
			sum.unary++
		}
		sum.streams++
		for _, log := range []*sendLog{&t.client.log, &t.server.log} {
			n, size, abandoned := log.totals()
			sum.messages += n
			sum.bytes += size
			sum.abandoned += abandoned
		}
	})
}
