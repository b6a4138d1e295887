package simulation_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"braid/drpcmanager"
	"braid/drpcstream"
	"braid/internal/simnet"
)

// patience is the most virtual time that a history may take.
const patience = 10 * time.Minute

// prompt is how soon a blocked call returns when what it waits for cannot come.
const prompt = time.Second

// history is a plan that is carried out.
type history struct {
	t       *testing.T
	plan    *plan
	verbose bool
	began   time.Time

	client, server end
	talks          []*talk
	running        atomic.Int64 // handlers
	over           chan struct{}
	wg             sync.WaitGroup // all that the application does

	mu     sync.Mutex
	tally  tally
	ops    map[int]string // calls in progress; guarded by mu, like all below
	lastOp int
	sides  []*side // those that have a stream
}

// end is one end of the connection.
type end struct {
	man   *drpcmanager.Manager
	tr    *simnet.Conn
	opts  drpcmanager.Options
	ended moment
}

func newHistory(t *testing.T, p *plan, verbose bool) *history {
	h := &history{t: t, plan: p, verbose: verbose, began: time.Now(), over: make(chan struct{}), ops: map[int]string{}}
	h.client.opts, h.server.opts = p.client, p.server
	h.client.tr, h.server.tr = simnet.Link(p.toServer, p.toClient)
	h.tally.histories = 1
	if verbose {
		t.Logf("seed %d: %v", p.seed, p)
	}
	return h
}

func (h *history) run() {
	for i := range h.plan.streams {
		h.talks = append(h.talks, newTalk(h, &h.plan.streams[i]))
	}
	h.server.man = drpcmanager.NewServer(context.Background(), h.server.tr, h.server.opts, drpcmanager.Hooks{Handle: h.handle})
	h.client.man = drpcmanager.NewClient(h.client.tr, h.client.opts)
	var watches sync.WaitGroup
	for _, e := range []*end{&h.client, &h.server} {
		watches.Go(func() {
			<-e.man.Closed()
			e.ended.now()
			h.logf("a connection has ended: %v", e.man.Err())
		})
	}
	stuck := time.AfterFunc(patience, h.stuck)
	giveUp := time.AfterFunc(patience/2, h.giveUp)
	h.wg.Add(1) // for handlers that are yet to start
	var clients sync.WaitGroup
	for _, talk := range h.talks {
		clients.Go(talk.runClient)
	}
	clients.Go(h.strike)
	clients.Go(h.finish)
	watches.Go(h.sample)
	clients.Wait()
	time.Sleep(10 * time.Second) // for calls that are on their way, and given up
	h.wg.Done()
	h.wg.Wait()
	stuck.Stop()
	giveUp.Stop()
	close(h.over)
	time.Sleep(5 * time.Second) // for what is on its way
	h.checkConnection()
	_ = h.op("client.Close", h.client.man.Close)
	_ = h.op("server.Close", h.server.man.Close)
	watches.Wait()
	h.checkFlow()
	for _, talk := range h.talks {
		talk.check()
	}
}

// handle is the server's hook.
func (h *history) handle(s *drpcstream.Stream, rpc string) {
	var i int
	if _, err := fmt.Sscanf(rpc, "/%d", &i); err != nil || i >= len(h.talks) {
		h.errorf("there is no rpc %q", rpc)
		i = 0
	}
	talk := h.talks[i]
	if talk.handled.Swap(true) {
		h.errorf("%s is handled twice", rpc)
	}
	if n := h.running.Add(1); n > int64(h.plan.server.Limits.Streams) {
		h.errorf("%d handlers are running, of %d", n, h.plan.server.Limits.Streams)
	}
	h.wg.Go(func() { talk.runServer(s) })
}

func (h *history) returning() { h.running.Add(-1) }

// man returns the side's own end of the connection.
func (h *history) man(x *side) *drpcmanager.Manager {
	if x.server {
		return h.server.man
	}
	return h.client.man
}

func (h *history) register(x *side) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sides = append(h.sides, x)
}

// op runs a call that may block. It has to be back promptly after each of the
// moments, if they come.
func (h *history) op(what string, f func() error, until ...*moment) error {
	began := time.Now()
	h.mu.Lock()
	h.lastOp++
	id := h.lastOp
	h.ops[id] = fmt.Sprintf("%s, since %v", what, began.Sub(h.began))
	h.mu.Unlock()
	err := f()
	h.mu.Lock()
	delete(h.ops, id)
	h.mu.Unlock()
	now := time.Now()
	if h.verbose {
		h.logf("%s: %v (%v)", what, err, now.Sub(began))
	}
	for _, m := range until {
		if at := m.at.Load(); at != 0 {
			if late := now.Sub(time.Unix(0, max(at, began.UnixNano()))); late > prompt {
				h.errorf("%s has returned %v after it could", what, late)
			}
		}
	}
	return err
}

// strike does to the link what is planned.
func (h *history) strike() {
	f := h.plan.fault
	if f.what == noFault {
		return
	}
	one, other := h.client.tr, h.server.tr
	if !f.toServer {
		one, other = other, one
	}
	if f.what == cutAfter {
		one.CutAfter(f.after, nil)
		return
	}
	time.Sleep(f.at)
	h.logf("fault %+v", f)
	switch f.what {
	case cut:
		one.Cut(nil)
	case shortPause, longPause:
		one.Pause()
		if f.both {
			other.Pause()
		}
		time.Sleep(f.lasts)
		one.Resume()
		other.Resume()
	case blackhole:
		one.Blackhole()
	case blackholeAll:
		one.Blackhole()
		other.Blackhole()
	}
}

// finish ends the connection on one side as planned.
func (h *history) finish() {
	f := h.plan.finish
	if f.what == noFinish {
		return
	}
	time.Sleep(f.at)
	h.logf("finish %+v", f)
	e := &h.client
	if f.server {
		e = &h.server
	}
	if f.what == closeIt {
		_ = h.op("Close", e.man.Close)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), f.within)
	defer cancel()
	err := h.op("Shutdown", func() error { return e.man.Shutdown(ctx) })
	if e.man.Err() == nil {
		h.errorf("Shutdown has returned %v, and the connection lives", err)
	}
	if end, _ := ctx.Deadline(); time.Now().After(end.Add(prompt)) {
		h.errorf("Shutdown has returned %v after its context", time.Since(end))
	}
}

// giveUp closes a connection whose peer has vanished before it was known, as an
// application would: nobody can be asked for a sign of life.
func (h *history) giveUp() {
	if h.plan.fault.what < longPause || h.client.man.Err() == nil && h.client.man.PeerKnown() ||
		h.server.man.Err() == nil && h.server.man.PeerKnown() {
		return
	}
	h.logf("given up")
	go func() { _ = h.client.man.Close() }()
	go func() { _ = h.server.man.Close() }()
}

// stuck is called when the history takes too long.
func (h *history) stuck() {
	h.mu.Lock()
	ops := slices.Sorted(maps.Values(h.ops))
	h.mu.Unlock()
	h.errorf("after %v these calls have not returned: %q", patience, ops)
	for _, e := range []*end{&h.client, &h.server} {
		used, totals := e.man.Flow()
		h.errorf("known %v, error %v, %d streams, %d of the budget, %+v", e.man.PeerKnown(), e.man.Err(), e.man.Streams(), used, totals)
	}
	h.mu.Lock()
	sides := slices.Clone(h.sides)
	h.mu.Unlock()
	for _, x := range sides {
		own, credit := x.stream.Window()
		h.errorf("%s %s: %v, window %d, peer has left %d, credit %d", x.talk.name, x.name, x.stream, own, x.stream.Outstanding(), credit)
	}
	go func() { _ = h.client.man.CloseNow(drpcmanager.ErrClosed) }()
	go func() { _ = h.server.man.CloseNow(drpcmanager.ErrClosed) }()
}

// sample looks at the connection from time to time, when nothing moves.
func (h *history) sample() {
	for every := h.plan.sampleEvery; ; every += every / 4 {
		timer := time.NewTimer(every)
		select {
		case <-h.over:
			timer.Stop()
			return
		case <-timer.C:
		}
		synctest.Wait()
		h.checkPromise(&h.client, false)
		h.checkPromise(&h.server, true)
	}
}

func (h *history) count(f func(*tally)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f(&h.tally)
}

func (h *history) errorf(format string, args ...any) {
	h.t.Errorf("%10v "+format, append([]any{time.Since(h.began)}, args...)...)
}

func (h *history) logf(format string, args ...any) {
	if h.verbose {
		h.t.Logf("%10v "+format, append([]any{time.Since(h.began)}, args...)...)
	}
}
