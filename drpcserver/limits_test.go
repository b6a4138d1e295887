package drpcserver_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"storj.io/drpc"
	"storj.io/drpc/drpcerr"

	"braid/drpcconn"
	"braid/drpcmux"
	"braid/drpcserver"
	"braid/drpcwire"
	"braid/internal/drpctest"
)

// pipes is a listener whose connections are pipes in memory.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

// Accept implements net.Listener.
func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

// Addr implements net.Listener.
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes", Net: "unix"} }

func (p *pipes) dial() net.Conn {
	a, b := net.Pipe()
	p.conns <- b
	return a
}

// turnedAway reports whether the server has closed the connection without a word.
func turnedAway(nc net.Conn) bool {
	_, err := nc.Read(make([]byte, 1))
	return errors.Is(err, io.EOF)
}

// Connections above the limit are closed at once; those that are there do not feel it,
// and one that ends makes room. Whatever their number, there is one line a second.
func TestConnectionsAboveTheLimitAreTurnedAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l logs
		server := drpcserver.NewWithOptions(drpctest.Register(t, drpcmux.New(), &drpctest.Service{}),
			drpcserver.Options{MaximumConnections: 2, Log: l.log})
		lis := newPipes()
		done := make(chan error, 1)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { done <- server.Serve(ctx, lis) }()
		call := func(conn *drpcconn.Conn) {
			t.Helper()
			if got, err := drpctest.Call(t.Context(), conn, "x"); got != "x" || err != nil {
				t.Errorf("got %q, %v", got, err)
			}
		}
		first, second := drpcconn.New(lis.dial()), drpcconn.New(lis.dial())
		defer first.Close()
		call(first)
		call(second)
		for range 3 {
			for range 100 {
				if !turnedAway(lis.dial()) {
					t.Fatal("a third connection was served")
				}
			}
			synctest.Wait()
			time.Sleep(time.Second)
		}
		call(first)
		lines := strings.Split(l.all(), "\n")
		if len(lines) != 3 || !strings.Contains(lines[0], "1 connections turned away") ||
			!strings.Contains(lines[1], "100 connections turned away") || !strings.Contains(lines[2], "too many connections: 2 are open") {
			t.Errorf("logged %d lines: %s", len(lines), l.all())
		}
		_ = second.Close()
		synctest.Wait()
		third := drpcconn.New(lis.dial())
		defer third.Close()
		call(third)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestServeOneSaysThatThereAreTooManyConnections(t *testing.T) {
	server := drpcserver.NewWithOptions(drpctest.Register(t, drpcmux.New(), &drpctest.Service{}),
		drpcserver.Options{MaximumConnections: 1})
	conn, _ := serveOne(t, t.Context(), server)
	if _, err := drpctest.Call(t.Context(), conn, "x"); err != nil {
		t.Fatal(err)
	}
	_, done := serveOne(t, t.Context(), server)
	err := <-done
	if drpcerr.Code(err) != drpcwire.CodeResourceExhausted || !strings.Contains(err.Error(), "too many connections: 1 are open") {
		t.Errorf("got %v with code %d", err, drpcerr.Code(err))
	}
	if _, err := drpctest.Call(t.Context(), conn, "x"); err != nil {
		t.Errorf("the one that is served: %v", err)
	}
}

func TestANegativeLimitOfConnectionsIsNone(t *testing.T) {
	server := drpcserver.NewWithOptions(drpctest.Register(t, drpcmux.New(), &drpctest.Service{}),
		drpcserver.Options{MaximumConnections: -1, MaximumHandlers: -1})
	for range 100 {
		conn, _ := serveOne(t, t.Context(), server)
		if _, err := drpctest.Call(t.Context(), conn, "x"); err != nil {
			t.Fatal(err)
		}
	}
}

// The limit is that of all connections together. A call above it fails alone, and
// says that it was not started.
func TestCallsAboveTheLimitOfHandlersAreRefused(t *testing.T) {
	const limit = 5
	release := make(chan struct{})
	var started atomic.Int64
	service := &drpctest.Service{
		UpFn: func(stream drpc.Stream) error {
			started.Add(1)
			_ = drpctest.Send(stream, "started")
			<-release
			return drpctest.Send(stream, "done")
		},
	}
	server := drpcserver.NewWithOptions(drpctest.Register(t, drpcmux.New(), service), drpcserver.Options{MaximumHandlers: limit})
	var conns []*drpcconn.Conn
	var running []drpc.Stream
	for i := range 2 {
		conn, _ := serveOne(t, t.Context(), server)
		conns = append(conns, conn)
		for len(running) < limit*(i+1)/2 {
			stream, err := conn.NewStream(t.Context(), drpctest.Up, drpctest.Enc{})
			if err != nil {
				t.Fatal(err)
			}
			if got, err := drpctest.Recv(stream); got != "started" || err != nil {
				t.Fatalf("got %q, %v", got, err)
			}
			running = append(running, stream)
		}
	}
	for range 2 { // each waits for a second first
		for _, conn := range conns {
			_, err := drpctest.Call(t.Context(), conn, "x")
			if drpcerr.Code(err) != drpcwire.CodeResourceExhausted || !strings.Contains(err.Error(), "5 handlers are running") ||
				!strings.Contains(err.Error(), "not started") {
				t.Fatalf("got %v with code %d", err, drpcerr.Code(err))
			}
		}
	}
	close(release)
	for _, stream := range running {
		if got, err := drpctest.Recv(stream); got != "done" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
		if _, err := drpctest.Recv(stream); err != io.EOF {
			t.Errorf("ended by %v", err)
		}
	}
	if n := started.Load(); n != limit {
		t.Errorf("%d handlers have run", n)
	}
	for _, conn := range conns {
		if got, err := drpctest.Call(t.Context(), conn, "x"); got != "x" || err != nil {
			t.Errorf("afterwards: %q, %v", got, err)
		}
	}
}

// However calls end, their handlers' places are free afterwards, and no more than there
// are. A client may see the answer a moment before that, and its next call be refused,
// which it repeats.
func TestNoPlaceOfAHandlerIsLost(t *testing.T) {
	const limit, calls = 3, 5000
	var all sync.WaitGroup
	all.Add(limit)
	service := &drpctest.Service{UnaryFn: func(_ context.Context, in *drpctest.Msg) (*drpctest.Msg, error) {
		switch in.String() {
		case "fail":
			return nil, errors.New("failed")
		case "panic":
			panic("at once")
		case "all":
			all.Done()
			all.Wait() // for as many as there may be
		}
		return in, nil
	}}
	server := drpcserver.NewWithOptions(drpctest.Register(t, drpcmux.New(), service), drpcserver.Options{MaximumHandlers: limit})
	conn, _ := serveOne(t, t.Context(), server)
	var wg sync.WaitGroup
	for range limit {
		wg.Go(func() {
			for i := range calls {
				in := []string{"x", "x", "x", "fail", "panic"}[i%5]
				if i == calls-1 {
					in = "all"
				}
				_, err := drpctest.Call(t.Context(), conn, in)
				for drpcerr.Code(err) == drpcwire.CodeResourceExhausted {
					_, err = drpctest.Call(t.Context(), conn, in)
				}
				if (err == nil) != (in == "x" || in == "all") {
					t.Errorf("call %d, %s: %v", i, in, err)
				}
			}
		})
	}
	wg.Wait()
}

// A client knows of the end of its call a little before the handler has returned: the
// next one waits for that moment, and is not refused.
func TestAsManyCallsAsHandlersMayRunAreNeverRefused(t *testing.T) {
	const limit = 4
	server := drpcserver.NewWithOptions(drpctest.Register(t, drpcmux.New(), &drpctest.Service{}),
		drpcserver.Options{MaximumHandlers: limit})
	conn, _ := serveOne(t, t.Context(), server)
	var wg sync.WaitGroup
	for range limit {
		wg.Go(func() {
			for range 3000 {
				if _, err := drpctest.Call(t.Context(), conn, "x"); err != nil {
					t.Errorf("refused: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
}
