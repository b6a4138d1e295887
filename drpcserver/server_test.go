package drpcserver_test

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"storj.io/drpc"
	"storj.io/drpc/drpccache"
	"storj.io/drpc/drpcerr"
	"storj.io/drpc/drpcmetadata"

	"braid/drpcconn"
	"braid/drpcmanager"
	"braid/drpcmux"
	"braid/drpcserver"
	"braid/drpcwire"
	"braid/internal/drpctest"
)

// handler is a drpc.Handler that is a function: it cannot tell which names exist.
type handler func(stream drpc.Stream, rpc string) error

func (h handler) HandleRPC(stream drpc.Stream, rpc string) error { return h(stream, rpc) }

// logs collects what a server logs.
type logs struct {
	mu    sync.Mutex
	lines []string
}

func (l *logs) log(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, err.Error())
}

func (l *logs) all() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "\n")
}

// serveOne serves one end of a pipe and returns a client on the other, and what
// ServeOne returns.
func serveOne(t *testing.T, ctx context.Context, server *drpcserver.Server) (*drpcconn.Conn, <-chan error) {
	a, b := drpctest.Pipe()
	done := make(chan error, 1)
	go func() { done <- server.ServeOne(ctx, b) }()
	conn := drpcconn.New(a)
	t.Cleanup(func() { _ = conn.Close() })
	return conn, done
}

func TestAHandlerThatDoesNotReturnGivesInternalAndItsStackIsLogged(t *testing.T) {
	for name, end := range map[string]func(){
		"panic":       func() { panic("boom") },
		"panic error": func() { panic(io.ErrUnexpectedEOF) },
		"nil pointer": func() { var m *drpctest.Msg; m.Data = nil },
		"Goexit":      runtime.Goexit,
	} {
		t.Run(name, func(t *testing.T) {
			var l logs
			service := &drpctest.Service{UnaryFn: func(_ context.Context, in *drpctest.Msg) (*drpctest.Msg, error) {
				if in.String() == "bad" {
					end()
				}
				return in, nil
			}}
			server := drpcserver.NewWithOptions(drpctest.Register(t, drpcmux.New(), service), drpcserver.Options{Log: l.log})
			conn, _ := serveOne(t, t.Context(), server)
			for range 100 { // worker goroutines are used again, or replaced
				_, err := drpctest.Call(t.Context(), conn, "bad")
				if drpcerr.Code(err) != drpcwire.CodeInternal || strings.Contains(err.Error(), "boom") {
					t.Fatalf("got %v, code %d", err, drpcerr.Code(err))
				}
				if got, err := drpctest.Call(t.Context(), conn, "good"); got != "good" || err != nil {
					t.Fatalf("the next call: %q, %v", got, err)
				}
			}
			_ = conn.Close()
			if all := l.all(); !strings.Contains(all, "/test.Service/Unary") || !strings.Contains(all, "server_test.go") {
				t.Errorf("the log has neither the rpc nor the stack: %.300s", all)
			}
		})
	}
}

// A client that makes a handler panic in a loop fills neither the log nor the time of
// the server; but every panic is counted.
func TestOfManyPanicsFewAreLoggedAndAllCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l logs
		service := &drpctest.Service{UnaryFn: func(context.Context, *drpctest.Msg) (*drpctest.Msg, error) { panic("boom") }}
		server := drpcserver.NewWithOptions(drpctest.Register(t, drpcmux.New(), service), drpcserver.Options{Log: l.log})
		conn, _ := serveOne(t, t.Context(), server)
		call := func(n int) {
			for range n {
				if _, err := drpctest.Call(t.Context(), conn, "x"); drpcerr.Code(err) != drpcwire.CodeInternal {
					t.Fatal(err)
				}
			}
			synctest.Wait() // the last is logged after its client has the answer
		}
		logged := func() int {
			l.mu.Lock()
			defer l.mu.Unlock()
			return len(l.lines)
		}
		call(1000)
		if n := logged(); n != 32 {
			t.Errorf("%d of 1,000 panics in no time were logged, not 32", n)
		}
		time.Sleep(time.Second)
		call(2)
		if n, all := logged(), l.all(); n != 33 || !strings.Contains(all, "(and 968 before it, not logged)") {
			t.Errorf("%d lines after a second, the last %.100s", n, all[strings.LastIndex(all, "handler of"):])
		}
		time.Sleep(time.Minute)
		call(1)
		if n, all := logged(), l.all(); n != 34 || !strings.Contains(all, "(and 1 before it, not logged)") {
			t.Errorf("%d lines after a minute", n)
		}
		_ = conn.Close()
	})
}

// What follows on a name that is not registered: an error, no handler, no
// counters, whatever the name looks like (T15).
func TestOnlyExactNamesReachHandlersAndCounters(t *testing.T) {
	server := drpcserver.NewWithOptions(drpctest.Register(t, drpcmux.New(), &drpctest.Service{}),
		drpcserver.Options{CollectStats: true})
	conn, _ := serveOne(t, t.Context(), server)
	for _, rpc := range []string{
		"", "/", "test.Service/Unary", "/test.Service/Unary/", "//test.Service/Unary", "/test.service/unary",
		"/test.Service/../test.Service/Unary", "/test.Service/Unary\x00", " /test.Service/Unary", strings.Repeat("x", 1024),
	} {
		err := conn.Invoke(t.Context(), rpc, drpctest.Enc{}, drpctest.Text("x"), new(drpctest.Msg))
		if err == nil || !strings.Contains(err.Error(), "unknown rpc") {
			t.Errorf("%.30q: %v", rpc, err)
		}
	}
	if stats := server.Stats(); len(stats) != 0 {
		t.Errorf("counted %v", stats)
	}
	if _, err := drpctest.Call(t.Context(), conn, "12345"); err != nil {
		t.Fatal(err)
	}
	// What was sent is counted when it is queued, which the client may notice first.
	drpctest.Eventually(func() bool { return server.Stats()[drpctest.Unary].Written > 0 })
	stats := server.Stats()[drpctest.Unary]
	if stats.Written != 5 || stats.Read < 5 || len(server.Stats()) != 1 {
		t.Errorf("counted %+v", server.Stats())
	}
}

// A handler that accepts any name gets any name; the counters stay bounded.
func TestCountersAreBoundedForAnyHandler(t *testing.T) {
	server := drpcserver.NewWithOptions(handler(func(stream drpc.Stream, _ string) error {
		_, err := drpctest.Recv(stream)
		return err
	}), drpcserver.Options{CollectStats: true})
	conn, _ := serveOne(t, t.Context(), server)
	for i := range 5000 {
		name := strings.Repeat("x", i%1000) + string(rune('a'+i/1000))
		_ = conn.Invoke(t.Context(), name, drpctest.Enc{}, drpctest.Text("x"), new(drpctest.Msg))
	}
	stats := server.Stats()
	if len(stats) != 4097 || stats[""].Read == 0 {
		t.Errorf("%d names are counted, %d bytes for the rest", len(stats), stats[""].Read)
	}
}

// While a handler runs, others of its connection do too.
func TestHandlersOfAConnectionRunConcurrently(t *testing.T) {
	const n = 200
	var all sync.WaitGroup
	all.Add(n)
	service := &drpctest.Service{UnaryFn: func(_ context.Context, in *drpctest.Msg) (*drpctest.Msg, error) {
		all.Done()
		all.Wait() // for every other one
		return in, nil
	}}
	server := drpcserver.New(drpctest.Register(t, drpcmux.New(), service))
	a, b := drpctest.Pipe()
	go func() { _ = server.ServeOne(t.Context(), b) }()
	conn := drpcconn.NewWithOptions(a, drpcconn.Options{Manager: drpcmanager.Options{Multiplex: drpcmanager.MultiplexAlways}})
	defer conn.Close()
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			if _, err := drpctest.Call(t.Context(), conn, "x"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// Metadata that the server's own context has reaches every handler, and what a
// client adds stays with its call. The map is shared by all streams: the race
// detector watches.
func TestMetadataOfTheServersContextIsNotMixedWithTheClients(t *testing.T) {
	service := &drpctest.Service{UnaryFn: func(ctx context.Context, in *drpctest.Msg) (*drpctest.Msg, error) {
		md, _ := drpcmetadata.Get(ctx)
		if md["server"] != "s" || md["client"] != in.String() || len(md) != 2 {
			return nil, errors.New("wrong metadata")
		}
		return in, nil
	}}
	server := drpcserver.New(drpctest.Register(t, drpcmux.New(), service))
	conn, _ := serveOne(t, drpcmetadata.Add(t.Context(), "server", "s"), server)
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			in := strings.Repeat("i", i)
			if _, err := drpctest.Call(drpcmetadata.Add(t.Context(), "client", in), conn, in); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestTheCacheIsThatOfTheConnection(t *testing.T) {
	service := &drpctest.Service{UnaryFn: func(ctx context.Context, in *drpctest.Msg) (*drpctest.Msg, error) {
		first := drpccache.FromContext(ctx).LoadOrCreate("key", func() any { return in.String() })
		return drpctest.Text(first.(string)), nil
	}}
	server := drpcserver.New(drpctest.Register(t, drpcmux.New(), service))
	for _, name := range []string{"one", "two"} {
		conn, _ := serveOne(t, t.Context(), server)
		for _, in := range []string{name, "later"} {
			if got, err := drpctest.Call(t.Context(), conn, in); got != name || err != nil {
				t.Errorf("got %q, %v, want %q", got, err, name)
			}
		}
	}
}

func TestWhatServeOneReturns(t *testing.T) {
	t.Run("nil when the client hangs up", func(t *testing.T) { // F1
		var l logs
		server := drpcserver.NewWithOptions(drpctest.Register(t, drpcmux.New(), &drpctest.Service{}), drpcserver.Options{Log: l.log})
		conn, done := serveOne(t, t.Context(), server)
		if _, err := drpctest.Call(t.Context(), conn, "x"); err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
		if err := <-done; err != nil || l.all() != "" {
			t.Errorf("returned %v, logged %q", err, l.all())
		}
	})
	t.Run("the context's error", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		server := drpcserver.New(drpctest.Register(t, drpcmux.New(), &drpctest.Service{}))
		conn, done := serveOne(t, ctx, server)
		stream, err := conn.NewStream(t.Context(), drpctest.Bidi, drpctest.Enc{})
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		if err := <-done; err != context.Canceled {
			t.Errorf("returned %v", err)
		}
		if _, err := drpctest.Recv(stream); !drpc.ClosedError.Has(err) {
			t.Errorf("the stream got %v", err)
		}
	})
	t.Run("a lost connection with a call open", func(t *testing.T) {
		started := make(chan struct{})
		service := &drpctest.Service{UpFn: func(s drpc.Stream) error { close(started); <-s.Context().Done(); return nil }}
		server := drpcserver.New(drpctest.Register(t, drpcmux.New(), service))
		conn, done := serveOne(t, t.Context(), server)
		if _, err := conn.NewStream(t.Context(), drpctest.Up, drpctest.Enc{}); err != nil {
			t.Fatal(err)
		}
		<-started
		_ = conn.Close()
		var lost *drpcmanager.LostError
		if err := <-done; !errors.As(err, &lost) || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("returned %v", err)
		}
	})
	t.Run("DeadlineExceeded after the inactivity timeout", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			server := drpcserver.NewWithOptions(drpcmux.New(), drpcserver.Options{
				Manager: drpcmanager.Options{InactivityTimeout: time.Minute},
			})
			_, done := serveOne(t, t.Context(), server)
			if err := <-done; err != context.DeadlineExceeded {
				t.Errorf("returned %v", err)
			}
		})
	})
}

// ServeOne returns when the last handler has, and the cache lives as long.
func TestServeOneWaitsForItsHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var cached any
		service := &drpctest.Service{UpFn: func(s drpc.Stream) error {
			cache := drpccache.FromContext(s.Context())
			cache.Store("key", "value")
			<-s.Context().Done()
			<-release
			cached = cache.Load("key")
			return nil
		}}
		server := drpcserver.New(drpctest.Register(t, drpcmux.New(), service))
		conn, done := serveOne(t, t.Context(), server)
		if _, err := conn.NewStream(t.Context(), drpctest.Up, drpctest.Enc{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		_ = conn.Close()
		synctest.Wait()
		select {
		case err := <-done:
			t.Fatalf("ServeOne returned %v while a handler runs", err)
		default:
		}
		close(release)
		<-done
		if cached != "value" {
			t.Errorf("the cache was cleared under a running handler: %v", cached)
		}
	})
}

// flaky is a listener whose Accept fails as often as it is told.
type flaky struct {
	net.Listener
	fails   chan error
	accepts chan time.Time
}

func (f *flaky) Accept() (net.Conn, error) {
	f.accepts <- time.Now()
	if err, ok := <-f.fails; ok {
		return nil, err
	}
	return nil, net.ErrClosed
}
func (f *flaky) Close() error { return nil }

type passing struct{ error }

func (passing) Temporary() bool { return true }

func TestAcceptErrorsThatPassAreRetriedWithBackoff(t *testing.T) { // F29
	synctest.Test(t, func(t *testing.T) {
		var l logs
		lis := &flaky{fails: make(chan error, 20), accepts: make(chan time.Time, 20)}
		for range 10 {
			lis.fails <- passing{errors.New("too many open files")}
		}
		close(lis.fails)
		server := drpcserver.NewWithOptions(drpcmux.New(), drpcserver.Options{Log: l.log})
		if err := server.Serve(t.Context(), lis); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Serve returned %v", err)
		}
		if n := strings.Count(l.all(), "too many open files"); n != 10 {
			t.Errorf("%d of 10 errors were logged", n)
		}
		last, pause := <-lis.accepts, 5*time.Millisecond
		for range 10 {
			next := <-lis.accepts
			if got := next.Sub(last); got != pause {
				t.Errorf("waited %v, want %v", got, pause)
			}
			last, pause = next, min(2*pause, time.Second)
		}
	})
}

func TestTheEndOfTheContextEndsAPauseOfAccepting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		lis := &flaky{fails: make(chan error, 1), accepts: make(chan time.Time, 5)}
		lis.fails <- passing{errors.New("passing")}
		go func() { synctest.Wait(); cancel() }()
		start := time.Now()
		if err := drpcserver.New(drpcmux.New()).Serve(ctx, lis); err != nil || time.Since(start) != 0 {
			t.Errorf("Serve returned %v after %v", err, time.Since(start))
		}
	})
}

// The context may end before Serve begins, and at any moment while it begins (F30).
func TestServeReturnsHoweverEarlyItsContextEnds(t *testing.T) {
	server := drpcserver.New(drpcmux.New())
	for i := range 1000 {
		lis, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		if i%2 == 0 {
			cancel()
		} else {
			go cancel()
		}
		if err := server.Serve(ctx, lis); err != nil {
			t.Fatalf("round %d: %v", i, err)
		}
		// Its port may be somebody else's already, so that dialing would not tell.
		if _, err := lis.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Fatalf("round %d: the listener is open: %v", i, err)
		}
		cancel()
	}
}

// A connection that is served while the context ends is ended with it.
func TestServeEndsItsConnections(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	server := drpcserver.New(drpctest.Register(t, drpcmux.New(), &drpctest.Service{}))
	go func() { done <- server.Serve(ctx, lis) }()
	var conns []*drpcconn.Conn
	for range 5 {
		conn := drpcconn.New(drpctest.Dial(t, lis.Addr().String()))
		defer conn.Close()
		if _, err := drpctest.Call(t.Context(), conn, "x"); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	for _, conn := range conns {
		<-conn.Closed()
	}
}

// After its handler has returned, a stream is of no use to whoever kept it (F17).
func TestAStreamThatIsKeptAfterItsHandlerReturned(t *testing.T) {
	kept := make(chan drpc.Stream, 1)
	service := &drpctest.Service{BidiFn: func(s drpc.Stream) error { kept <- s; return nil }}
	server := drpcserver.New(drpctest.Register(t, drpcmux.New(), service))
	conn, _ := serveOne(t, t.Context(), server)
	stream, err := conn.NewStream(t.Context(), drpctest.Bidi, drpctest.Enc{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := drpctest.Recv(stream); err != io.EOF {
		t.Errorf("the client got %v", err)
	}
	s := <-kept
	<-s.Context().Done()
	if err := drpctest.Send(s, "late"); err == nil {
		t.Error("a message was sent after the handler returned")
	}
	if _, err := drpctest.Recv(s); !drpc.ClosedError.Has(err) {
		t.Errorf("Recv: %v", err)
	}
}

// typedNil is an error whose methods panic on a nil pointer, as returned by a
// handler that declares its variable by the concrete type.
type typedNil struct{ text string }

func (e *typedNil) Error() string { return e.text }
func (e *typedNil) Code() uint64  { return uint64(len(e.text)) }

func TestAnErrorWhoseMethodsPanicIsAPanicOfItsHandler(t *testing.T) {
	failing := func() error { var e *typedNil; return e }
	service := &drpctest.Service{UpFn: func(drpc.Stream) error { return failing() }}
	for name, h := range map[string]drpc.Handler{
		"through the mux": drpctest.Register(t, drpcmux.New(), service),
		"by itself":       handler(func(drpc.Stream, string) error { return failing() }),
	} {
		t.Run(name, func(t *testing.T) {
			conn, _ := serveOne(t, t.Context(), drpcserver.New(h))
			err := conn.Invoke(t.Context(), drpctest.Up, drpctest.Enc{}, drpctest.Text("x"), new(drpctest.Msg))
			if drpcerr.Code(err) != drpcwire.CodeInternal {
				t.Errorf("got %v, code %d", err, drpcerr.Code(err))
			}
		})
	}
}

// embedding serves a name of its own beside those of a mux.
type embedding struct{ *drpcmux.Mux }

func (e embedding) HandleRPC(stream drpc.Stream, rpc string) error {
	if rpc == "/health" {
		return drpctest.Send(stream, "well")
	}
	return e.Mux.HandleRPC(stream, rpc)
}

func TestAHandlerThatEmbedsAMuxServesNamesOfItsOwn(t *testing.T) {
	mux := drpctest.Register(t, drpcmux.New(), &drpctest.Service{})
	conn, _ := serveOne(t, t.Context(), drpcserver.NewWithOptions(embedding{mux}, drpcserver.Options{CollectStats: true}))
	var out drpctest.Msg
	if err := conn.Invoke(t.Context(), "/health", drpctest.Enc{}, drpctest.Text("?"), &out); err != nil || out.String() != "well" {
		t.Errorf("got %q, %v", out.String(), err)
	}
	if got, err := drpctest.Call(t.Context(), conn, "x"); got != "x" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

// Handlers that add metadata for calls onward do so on a copy of what the
// server's context has, also where the client has sent none.
func TestHandlersMayAddMetadataToTheirContext(t *testing.T) {
	service := &drpctest.Service{UnaryFn: func(ctx context.Context, in *drpctest.Msg) (*drpctest.Msg, error) {
		if md, _ := drpcmetadata.Get(ctx); len(md) != 1 {
			return nil, errors.New("another call's metadata")
		}
		ctx = drpcmetadata.Add(ctx, "trace", in.String())
		if md, _ := drpcmetadata.Get(ctx); md["trace"] != in.String() || md["host"] != "h" {
			return nil, errors.New("wrong metadata")
		}
		return in, nil
	}}
	server := drpcserver.New(drpctest.Register(t, drpcmux.New(), service))
	conn, _ := serveOne(t, drpcmetadata.Add(t.Context(), "host", "h"), server)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			if _, err := drpctest.Call(t.Context(), conn, strings.Repeat("x", i)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
