package hostile_test

import (
	"context"
	"errors"
	"net"
	"runtime"
	"runtime/metrics"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"storj.io/drpc/drpcerr"

	"braid/drpcconn"
	"braid/drpcmux"
	"braid/drpcserver"
	"braid/internal/drpctest"
)

// target is a server that is attacked.
type target struct {
	addr   string
	victim *victim
	open   atomic.Int64 // connections

	mu    sync.Mutex
	lines map[string]int // what was logged, and how often; guarded by mu
}

// counting counts the connections of a listener.
type counting struct {
	net.Listener
	open *atomic.Int64
}

func (l counting) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.open.Add(1)
	return &counted{TCPConn: nc.(*net.TCPConn), open: l.open}, nil
}

type counted struct {
	*net.TCPConn
	once sync.Once
	open *atomic.Int64
}

func (c *counted) Close() error {
	err := c.TCPConn.Close()
	c.once.Do(func() { c.open.Add(-1) })
	return err
}

// newTarget starts a server, which ends with the test.
func newTarget(t *testing.T, change func(*drpcserver.Options)) *target {
	t.Helper()
	tg := &target{victim: new(victim), lines: map[string]int{}}
	mux := drpctest.Register(t, drpcmux.New(), &drpctest.Service{DownFn: down, UnaryFn: large})
	if err := mux.Register(tg.victim, desc{}); err != nil {
		t.Fatal(err)
	}
	opts := drpcserver.Options{Log: tg.log}
	if change != nil {
		change(&opts)
	}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tg.addr = lis.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- drpcserver.NewWithOptions(mux, opts).Serve(ctx, counting{lis, &tg.open}) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Serve: %v", err)
			}
		case <-time.After(patience):
			t.Error("Serve does not return")
		}
	})
	return tg
}

// log counts a line, without the numbers and addresses that make each one different.
func (tg *target) log(err error) {
	line, _, _ := strings.Cut(err.Error(), "\n")
	line = strings.Map(func(r rune) rune {
		if '0' <= r && r <= '9' {
			return -1
		}
		return r
	}, line)
	if len(line) > 160 {
		line = line[:160]
	}
	tg.mu.Lock()
	tg.lines[line]++
	tg.mu.Unlock()
}

// logged returns how many lines there are, how many have the text, and one of those
// that have neither that, nor the other text, nor one of a connection that the
// attacker has just dropped.
func (tg *target) logged(text, may string) (all, with int, other string) {
	tg.mu.Lock()
	defer tg.mu.Unlock()
	for line, n := range tg.lines {
		all += n
		switch {
		case text != "" && strings.Contains(line, text):
			with += n
		case may != "" && strings.Contains(line, may):
		case strings.Contains(line, "unexpected EOF"), strings.Contains(line, "connection reset"),
			strings.Contains(line, "broken pipe"):
		default:
			other = line
		}
	}
	return all, with, other
}

// panics returns how many lines tell of a handler that panicked.
func (tg *target) panics() (n int) {
	_, n, _ = tg.logged("did not return", "")
	return n
}

// honest are the clients that the attack must not harm.
type honest struct {
	conns   []*drpcconn.Conn
	calls   atomic.Int64
	slowest atomic.Int64 // in nanoseconds, from when the call was due
	stop    context.CancelFunc
	wg      sync.WaitGroup
	failed  atomic.Pointer[error]
}

const (
	honestConns   = 2
	honestCallers = 2 // for each, without a rate
	pacedCallers  = 8 // for each, with one

	// lateness is how late a call may be made at a rate. What was due before that and
	// had to wait for another call is not made at all.
	lateness = 50 * time.Millisecond
)

// newHonest starts them.
func newHonest(t *testing.T, tg *target) *honest {
	t.Helper()
	h := &honest{}
	ctx, cancel := context.WithCancel(context.Background())
	h.stop = cancel
	callers, interval := honestCallers, time.Duration(0)
	if *rate > 0 {
		callers = pacedCallers
		interval = time.Second * honestConns * pacedCallers / time.Duration(*rate)
	}
	for range honestConns {
		conn := drpcconn.New(drpctest.Dial(t, tg.addr))
		h.conns = append(h.conns, conn)
		for range callers {
			h.wg.Go(func() { h.call(ctx, conn, interval) })
		}
	}
	t.Cleanup(func() { h.end(t) })
	return h
}

// call makes a call when one is due: each interval, or as soon as the last one has
// returned if that is zero.
func (h *honest) call(ctx context.Context, conn *drpcconn.Conn, interval time.Duration) {
	request := strings.Repeat("x", 64)
	due := time.Now()
	for ctx.Err() == nil {
		if now := time.Now(); interval == 0 {
			due = now
		} else {
			due = due.Add(interval)
			for now.Sub(due) > lateness {
				due = due.Add(interval)
			}
			<-time.After(due.Sub(now))
		}
		got, err := drpctest.Call(context.Background(), conn, request)
		if took := int64(time.Since(due)); took > h.slowest.Load() {
			h.slowest.Store(took)
		}
		if err == nil && got != request {
			err = errors.New("another answer")
		}
		if err != nil {
			h.failed.CompareAndSwap(nil, &err)
			return
		}
		h.calls.Add(1)
	}
}

// end stops them.
func (h *honest) end(t *testing.T) {
	h.stop()
	h.wg.Wait()
	for _, conn := range h.conns {
		_ = conn.Close()
	}
	if err := h.failed.Load(); err != nil {
		t.Errorf("an honest call failed: %v (code %d)", *err, drpcerr.Code(*err))
	}
	if slowest := time.Duration(h.slowest.Load()); slowest > patience/2 {
		t.Errorf("an honest call took %v", slowest)
	}
}

// during returns how many calls were made in a second, while d passes.
func (h *honest) during(d time.Duration) float64 {
	begin, calls := time.Now(), h.calls.Load()
	<-time.After(d)
	return float64(h.calls.Load()-calls) / time.Since(begin).Seconds()
}

// served waits for a call to return, and reports whether one has.
func (h *honest) served() bool {
	calls := h.calls.Load()
	return drpctest.Eventually(func() bool { return h.calls.Load() > calls })
}

// memory returns what the heap and the stacks hold, in bytes, garbage included.
func memory() int64 {
	samples := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"},
	}
	metrics.Read(samples)
	return int64(samples[0].Value.Uint64() + samples[1].Value.Uint64())
}

// settled returns memory without garbage, and what pools keep.
func settled() int64 {
	for range 3 { // pools give up what they have in two
		runtime.GC()
	}
	return memory()
}

// peak looks for the most that memory is, until stop is called.
type peak struct {
	most, goroutines atomic.Int64
	quit, done       chan struct{}
}

func newPeak() *peak {
	p := &peak{quit: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(p.done)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			p.most.Store(max(p.most.Load(), memory()))
			p.goroutines.Store(max(p.goroutines.Load(), int64(runtime.NumGoroutine())))
			select {
			case <-tick.C:
			case <-p.quit:
				return
			}
		}
	}()
	return p
}

func (p *peak) stop() (most, goroutines int64) {
	close(p.quit)
	<-p.done
	return p.most.Load(), p.goroutines.Load()
}
