package drpcserver_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"storj.io/drpc"
	"storj.io/drpc/drpcerr"

	"braid/drpcconn"
	"braid/drpcmanager"
	"braid/drpcmux"
	"braid/drpcserver"
	"braid/drpcstream"
	"braid/drpcwire"
	"braid/internal/drpctest"
)

// tlsConfigs makes what the two ends of a TLS connection need.
func tlsConfigs(t *testing.T) (client, server *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return &tls.Config{RootCAs: roots, ServerName: "localhost", MinVersion: tls.VersionTLS13},
		&tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS13}
}

// served is a server on loopback, over TCP or TLS.
type served struct {
	*drpcserver.Server
	addr   string
	tls    *tls.Config // of the clients; nil: TCP
	result <-chan error
	logs   *logs
}

// serve starts a server. Serve must have returned when the test is over.
func serve(t *testing.T, secure bool, handler drpc.Handler, opts drpcserver.Options) *served {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &served{addr: lis.Addr().String(), logs: new(logs)}
	if secure {
		var config *tls.Config
		s.tls, config = tlsConfigs(t)
		lis = tls.NewListener(lis, config)
	}
	opts.Log = s.logs.log
	s.Server = drpcserver.NewWithOptions(handler, opts)
	result := make(chan error, 1)
	s.result = result
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		result <- s.Serve(ctx, lis)
	}()
	t.Cleanup(func() {
		cancel()
		<-stopped
	})
	return s
}

// dial connects to it. The connection ends with the test.
func (s *served) dial(t *testing.T) net.Conn {
	t.Helper()
	nc := drpctest.Dial(t, s.addr)
	if s.tls != nil {
		nc = tls.Client(nc, s.tls)
	}
	t.Cleanup(func() { _ = nc.Close() })
	return nc
}

func (s *served) conn(t *testing.T) *drpcconn.Conn {
	t.Helper()
	conn := drpcconn.New(s.dial(t))
	t.Cleanup(func() { _ = conn.Close() })
	if got, err := drpctest.Call(t.Context(), conn, "hello"); got != "hello" || err != nil {
		t.Fatalf("the first call: %q, %v", got, err)
	}
	return conn
}

func bothTransports(t *testing.T, test func(t *testing.T, secure bool)) {
	for _, secure := range []bool{false, true} {
		t.Run(map[bool]string{false: "tcp", true: "tls"}[secure], func(t *testing.T) { test(t, secure) })
	}
}

// neverBegun reports whether err says that a call was not begun.
func neverBegun(err error) bool {
	return errors.Is(err, drpcstream.ErrRefused) && drpcerr.Code(err) == drpcwire.CodeUnavailable
}

// Calls are made on several connections, as fast as it goes, and the server is shut
// down at a random moment. Each call has its answer, which is the right one, or was
// never begun: nothing is lost, nothing is done twice, nothing is done and not told
// (F18).
func TestADrainLosesNoAnswer(t *testing.T) {
	const conns, callers, size = 4, 250, 2000
	rounds := 6
	if testing.Short() {
		rounds = 2
	}
	bothTransports(t, func(t *testing.T, secure bool) {
		for round := range rounds {
			var done sync.Map // requests that a handler has taken
			var begun atomic.Int64
			service := &drpctest.Service{UnaryFn: func(_ context.Context, in *drpctest.Msg) (*drpctest.Msg, error) {
				begun.Add(1)
				if _, again := done.LoadOrStore(in.String(), true); again && in.String() != "hello" {
					return nil, errors.New("done twice")
				}
				runtime.Gosched()
				return drpctest.Text(in.String() + strings.Repeat("x", size)), nil
			}}
			s := serve(t, secure, drpctest.Register(t, drpcmux.New(), service), drpcserver.Options{})
			var answered, refused atomic.Int64
			var wg sync.WaitGroup
			for c := range conns {
				conn := drpcconn.New(s.dial(t))
				t.Cleanup(func() { _ = conn.Close() })
				for i := range callers {
					wg.Go(func() {
						for j := 0; ; j++ {
							request := fmt.Sprint(c, " ", i, " ", j)
							got, err := drpctest.Call(t.Context(), conn, request)
							if err == nil && got == request+strings.Repeat("x", size) {
								answered.Add(1)
								continue
							}
							refused.Add(1)
							_, ran := done.Load(request)
							if !neverBegun(err) || ran {
								t.Errorf("call %s: %.80q, %v; its handler has run: %v", request, got, err, ran)
							}
							return
						}
					})
				}
			}
			moment := mathrand.Int64N(5000) //nolint:gosec // not for secrets
			for begun.Load() < 500+moment {
				runtime.Gosched()
			}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			if err := s.Shutdown(ctx); err != nil {
				t.Errorf("Shutdown: %v", err)
			}
			cancel()
			wg.Wait()
			if err := <-s.result; err != nil {
				t.Errorf("Serve: %v", err)
			}
			if answered.Load() != begun.Load() || refused.Load() != conns*callers {
				t.Errorf("round %d: %d calls were begun, %d answered, %d refused", round, begun.Load(), answered.Load(), refused.Load())
			}
			if all := s.logs.all(); all != "" {
				t.Errorf("logged %s", all)
			}
		}
	})
}

// A thousand streams are live when it begins. Each gets all of its answers.
func TestADrainLetsAThousandLiveStreamsFinish(t *testing.T) {
	bothTransports(t, func(t *testing.T, secure bool) {
		service := &drpctest.Service{}
		s := serve(t, secure, drpctest.Register(t, drpcmux.New(), service), drpcserver.Options{})
		conn := s.conn(t)
		var live, over sync.WaitGroup
		draining := make(chan struct{})
		live.Add(1000)
		for i := range 1000 {
			over.Go(func() {
				stream, err := conn.NewStream(t.Context(), drpctest.Bidi, drpctest.Enc{})
				if err != nil {
					t.Error(err)
					live.Done()
					return
				}
				n := 0
				say := func() {
					want := fmt.Sprint(i, " ", n)
					n++
					if err := drpctest.Send(stream, want); err != nil {
						t.Errorf("stream %d: %v", i, err)
					}
					if got, err := drpctest.Recv(stream); got != want || err != nil {
						t.Errorf("stream %d: %q, %v", i, got, err)
					}
				}
				say()
				live.Done()
				<-draining
				<-stream.(*drpcstream.Stream).Draining()
				for range i % 7 {
					say()
				}
				_ = stream.CloseSend()
				if _, err := drpctest.Recv(stream); err != io.EOF {
					t.Errorf("stream %d ended by %v", i, err)
				}
			})
		}
		live.Wait()
		close(draining)
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		over.Wait()
		<-conn.Closed()
		if err := <-s.result; err != nil || s.logs.all() != "" {
			t.Errorf("Serve: %v, logged %s", err, s.logs.all())
		}
	})
}

// The server has said all and hangs up, and the client reads it later, while it is
// still sending: a reset would destroy it.
func TestASlowReaderGetsTheLastAnswers(t *testing.T) {
	const size = 60_000
	bothTransports(t, func(t *testing.T, secure bool) {
		service := &drpctest.Service{DownFn: func(_ *drpctest.Msg, stream drpc.Stream) error {
			return stream.MsgSend(drpctest.Text(strings.Repeat("x", size)), drpctest.Enc{})
		}}
		s := serve(t, secure, drpctest.Register(t, drpcmux.New(), service), drpcserver.Options{})
		nc := s.dial(t)
		frame := func(kind drpcwire.Kind, message uint64, text string) drpcwire.Frame {
			return drpcwire.Frame{ID: drpcwire.ID{Stream: 1, Message: message}, Kind: kind, Done: true, Data: []byte(text)}
		}
		buf := drpcwire.AppendFrame(nil, frame(drpcwire.KindInvoke, 1, drpctest.Down))
		buf = drpcwire.AppendFrame(buf, frame(drpcwire.KindMessage, 2, "x"))
		if _, err := nc.Write(buf); err != nil {
			t.Fatal(err)
		}
		rd := drpcwire.NewReader(nc)
		first, err := rd.ReadFrame() // the handler has run
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- s.Shutdown(t.Context()) }()
		for i := range 50 { // what the server does not expect any more, and does not read
			_, _ = nc.Write(drpcwire.AppendFrame(nil, frame(drpcwire.KindMessage, uint64(i+3), strings.Repeat("y", 1000))))
		}
		got := len(first.Data)
		for {
			fr, err := rd.ReadFrame()
			if err != nil {
				t.Fatalf("after %d bytes: %v", got, err)
			}
			if fr.Kind == drpcwire.KindCloseSend {
				break
			}
			got += len(fr.Data)
		}
		if got != size {
			t.Errorf("got %d bytes", got)
		}
		_ = nc.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// stuck connects a client that does not read, to handlers that send all they can.
func stuck(t *testing.T, s *served, sending *atomic.Int64) net.Conn {
	t.Helper()
	nc := s.dial(t)
	buf := []byte(nil)
	for id := uint64(1); id <= 8; id++ {
		buf = drpcwire.AppendFrame(buf, drpcwire.Frame{
			ID: drpcwire.ID{Stream: id, Message: 1}, Kind: drpcwire.KindInvoke, Done: true, Data: []byte(drpctest.Bidi),
		})
	}
	if _, err := nc.Write(buf); err != nil {
		t.Fatal(err)
	}
	for last := int64(-1); sending.Load() == 0 || last != sending.Load(); {
		last = sending.Load() // until they are blocked, most likely
		for range 20_000 {
			runtime.Gosched()
		}
	}
	return nc
}

// The client does not read, the buffers are full, the handlers do not heed their
// contexts: Shutdown returns when its context ends, and so does Serve once the
// handlers have.
func TestShutdownReturnsWithItsContextWhateverThePeerDoes(t *testing.T) {
	bothTransports(t, func(t *testing.T, secure bool) {
		var sending atomic.Int64
		release := make(chan struct{})
		service := &drpctest.Service{BidiFn: func(stream drpc.Stream) error {
			for drpctest.Send(stream, strings.Repeat("x", 30_000)) == nil {
				sending.Add(1)
			}
			<-release
			return nil
		}}
		s := serve(t, secure, drpctest.Register(t, drpcmux.New(), service), drpcserver.Options{})
		stuck(t, s, &sending)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		start := time.Now()
		if err := s.Shutdown(ctx); err != context.DeadlineExceeded {
			t.Errorf("Shutdown: %v", err)
		}
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("it took %v", took)
		}
		select {
		case err := <-s.result:
			t.Errorf("Serve did not wait for the handlers: %v", err)
		default:
		}
		close(release)
		if err := <-s.result; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}

// The handlers see it coming, by their stream or by the context alone, and may end
// what would go on for ever; so may the client.
func TestHandlersAndClientsLearnOfTheDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &drpctest.Service{
			BidiFn: func(stream drpc.Stream) error {
				_ = drpctest.Send(stream, "started")
				s, ok := drpcstream.FromContext(stream.Context())
				if !ok {
					return errors.New("no stream in the context")
				}
				<-s.Draining()
				return drpctest.Send(stream, "the last one")
			},
			UnaryFn: func(ctx context.Context, in *drpctest.Msg) (*drpctest.Msg, error) {
				derived, cancel := context.WithCancel(ctx)
				defer cancel()
				if s, ok := drpcstream.FromContext(derived); ok {
					<-s.Draining()
				}
				return in, nil
			},
		}
		server := drpcserver.New(drpctest.Register(t, drpcmux.New(), service))
		conn, done := serveOne(t, t.Context(), server)
		stream, err := conn.NewStream(t.Context(), drpctest.Bidi, drpctest.Enc{})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := drpctest.Recv(stream); got != "started" || err != nil {
			t.Fatalf("got %q, %v", got, err)
		}
		go func() {
			if got, err := drpctest.Call(t.Context(), conn, "x"); got != "x" || err != nil {
				t.Errorf("the unary call: %q, %v", got, err)
			}
		}()
		synctest.Wait()
		if err := server.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		<-stream.(*drpcstream.Stream).Draining()
		<-conn.Draining()
		if got, err := drpctest.Recv(stream); got != "the last one" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
		if err := <-done; err != nil {
			t.Errorf("ServeOne: %v", err)
		}
		if _, err := drpctest.Call(t.Context(), conn, "x"); !neverBegun(err) {
			t.Errorf("a call afterwards: %v", err)
		}
	})
}

func TestAfterShutdownNothingIsServed(t *testing.T) {
	server := drpcserver.New(drpcmux.New())
	for range 2 {
		if err := server.Shutdown(t.Context()); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Serve(t.Context(), lis); err != drpcserver.ErrShutdown {
		t.Errorf("Serve: %v", err)
	}
	if _, err := lis.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener is open: %v", err)
	}
	a, b := drpctest.Pipe()
	if err := server.ServeOne(t.Context(), b); err != drpcserver.ErrShutdown {
		t.Errorf("ServeOne: %v", err)
	}
	if _, err := a.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the transport is open: %v", err)
	}
}

// Shutdown at the moment when Serve begins, or a connection does: all of them return.
func TestShutdownAsServingBegins(t *testing.T) {
	for i := range 300 {
		server := drpcserver.New(drpctest.Register(t, drpcmux.New(), &drpctest.Service{}))
		lis, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := server.Serve(t.Context(), lis); err != nil && err != drpcserver.ErrShutdown {
				t.Errorf("Serve: %v", err)
			}
		})
		if i%3 > 0 {
			wg.Go(func() {
				if nc, err := net.Dial("tcp", lis.Addr().String()); err == nil {
					conn := drpcconn.New(nc)
					_, _ = drpctest.Call(t.Context(), conn, "x")
					_ = conn.Close()
				}
			})
		}
		for range i % 20 {
			runtime.Gosched()
		}
		if err := server.Shutdown(t.Context()); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		wg.Wait()
	}
}

// slowListener accepts nothing, and takes its time to close.
type slowListener struct {
	net.Listener
	serving chan struct{} // closed when Accept is called
	closing chan struct{} // closed when Close is called
	release chan struct{} // lets it return
	once    sync.Once
}

func (l *slowListener) Accept() (net.Conn, error) {
	close(l.serving)
	<-l.release
	return nil, net.ErrClosed
}

func (l *slowListener) Close() error {
	l.once.Do(func() { close(l.closing) })
	<-l.release
	return l.Listener.Close()
}

// hooked is a connection that calls a function as it begins.
type hooked struct {
	*net.TCPConn
	begin func()
}

func (c hooked) NetConn() net.Conn {
	c.begin()
	return c.TCPConn
}

// A connection that begins as Shutdown is called may have a call before it is among those
// that Shutdown ends: the call is finished.
func TestACallOfAConnectionThatBeginsWithShutdownIsFinished(t *testing.T) {
	handled := make(chan struct{})
	server := drpcserver.New(drpctest.Register(t, drpcmux.New(), &drpctest.Service{
		UnaryFn: func(_ context.Context, in *drpctest.Msg) (*drpctest.Msg, error) {
			close(handled)
			return in, nil
		},
	}))
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	slow := &slowListener{
		Listener: lis,
		serving:  make(chan struct{}), closing: make(chan struct{}), release: make(chan struct{}),
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := server.Serve(t.Context(), slow); err != nil && err != drpcserver.ErrShutdown {
			t.Errorf("Serve: %v", err)
		}
	})
	<-slow.serving
	conn := drpcconn.New(drpctest.Dial(t, lis.Addr().String()))
	defer conn.Close()
	nc, err := lis.Accept()
	if err != nil {
		t.Fatal(err)
	}
	wg.Go(func() {
		if got, err := drpctest.Call(t.Context(), conn, "x"); got != "x" || err != nil {
			t.Errorf("the call: %q, %v", got, err)
		}
	})
	wg.Go(func() {
		<-handled
		close(slow.release)
	})
	tr := hooked{nc.(*net.TCPConn), func() {
		wg.Go(func() { _ = server.Shutdown(t.Context()) })
		<-slow.closing
	}}
	if err := server.ServeOne(t.Context(), tr); err != nil {
		t.Errorf("ServeOne: %v", err)
	}
	wg.Wait()
	if !drpctest.Eventually(func() bool { return !strings.Contains(drpctest.Stacks(), "drpcserver.(*workers).work(") }) {
		t.Errorf("a goroutine waits for more calls:\n%s", drpctest.Stacks())
	}
}

// Several at once, with contexts that end and that do not, and connections that come,
// call and go.
func TestShutdownManyTimesAtOnce(t *testing.T) {
	for round := range 20 {
		s := serve(t, false, drpctest.Register(t, drpcmux.New(), &drpctest.Service{}), drpcserver.Options{})
		var wg sync.WaitGroup
		for range 4 {
			nc := s.dial(t)
			wg.Go(func() {
				conn := drpcconn.New(nc)
				defer conn.Close()
				for {
					_, err := drpctest.Call(t.Context(), conn, "x")
					var lost *drpcmanager.LostError
					if err != nil && !neverBegun(err) && !errors.As(err, &lost) {
						t.Errorf("got %v", err)
					}
					if err != nil {
						return
					}
				}
			})
		}
		for i := range 4 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				if (round+i)%3 == 0 {
					cancel()
				}
				if err := s.Shutdown(ctx); err != nil && err != context.Canceled {
					t.Errorf("Shutdown: %v", err)
				}
				cancel()
			})
		}
		wg.Wait()
		// Shutdown may have come before Serve, as the kernel connects without it.
		if err := <-s.result; err != nil && err != drpcserver.ErrShutdown {
			t.Errorf("Serve: %v", err)
		}
	}
}
