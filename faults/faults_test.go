package faults_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"storj.io/drpc"

	"braid/drpcconn"
	"braid/drpcmanager"
	"braid/drpcmux"
	"braid/drpcserver"
	"braid/internal/drpctest"
	"braid/internal/faultproxy"
)

// How many histories run at once. Silent ones mostly wait for their deadlines.
const (
	atOnce       = 16
	silentAtOnce = 64
)

func TestEveryCallSucceedsExactlyOrFailsClearlyWhateverTheConnectionDoes(t *testing.T) {
	first, n := histories(t)
	t.Logf("%d histories from -faults.seed=%d on", n, first)
	svc := &service{t: t}
	w := &world{t: t}
	server := serve(t, svc, nil)
	secure, client := certificate(t)
	secured := serve(t, svc, secure)
	w.addr, w.client = [2]string{server.addr, secured.addr}, client

	var lanes sync.WaitGroup
	for _, lane := range []struct {
		width  int
		silent bool
	}{{atOnce, false}, {silentAtOnce, true}} {
		lanes.Go(func() {
			var running sync.WaitGroup
			defer running.Wait()
			slots := make(chan struct{}, lane.width)
			for seed := first; seed < first+uint64(n) && !w.failed(); seed++ {
				if (classOf(seed) == silent) != lane.silent {
					continue
				}
				slots <- struct{}{}
				running.Go(func() {
					w.run(newPlan(seed))
					<-slots
				})
			}
		})
	}
	lanes.Wait()
	for _, s := range []*listener{server, secured} {
		if !drpctest.Eventually(func() bool { return s.open.Load() == 0 }) {
			t.Errorf("the server has %d connections whose clients are gone", s.open.Load())
		}
	}
	if !drpctest.Eventually(func() bool { return svc.running.Load() == 0 }) {
		t.Errorf("%d handlers are running without a connection", svc.running.Load())
	}
	w.summary(n)
}

// summary prints how the calls have ended, and fails if the faults were too
// tame to show anything.
func (w *world) summary(n int) {
	for c := range classes {
		for o := range outcomes {
			if count := w.outcomes[c][o]; count > 0 {
				w.t.Logf("%-8v %-10v %7d", c, o, count)
			}
		}
	}
	if n < 200 {
		return
	}
	for _, must := range []struct {
		class   class
		outcome outcome
	}{
		{harmless, succeeded}, {harmless, failed}, {harmless, quit},
		{cut, succeeded}, {cut, lost}, {hurried, late}, {hurried, lost},
		{silent, succeeded}, {silent, late},
	} {
		if w.outcomes[must.class][must.outcome] == 0 {
			w.t.Errorf("no call has %v in a %v history", must.outcome, must.class)
		}
	}
}

// A proxy that is a process of its own has its own scheduler, as a network has.
func TestCallsSucceedOverTheLatencyOfANetwork(t *testing.T) {
	server := serve(t, &service{t: t}, nil)
	late := faultproxy.Faults{Delay: 25 * time.Millisecond}
	addr := faultproxy.Start(t, faultproxy.Config{
		Target:  server.addr,
		Scripts: []faultproxy.Script{{ToTarget: late, ToClient: late}},
	})
	w := &world{t: t}
	for _, mode := range []drpcmanager.Multiplex{drpcmanager.MultiplexAuto, drpcmanager.MultiplexAlways} {
		p := plan{}
		p.opts.Manager.Multiplex = mode
		conn := drpcconn.NewWithOptions(drpctest.Dial(t, addr), p.opts)
		var calls sync.WaitGroup
		for i := range 64 {
			c := call{shape: shape(i % 4), timeout: far, quit: -1}
			c.order = order{ID: uint64(1 + i), Count: 1, Size: maxSize / 8, Fail: -1}
			if c.shape != unary {
				c.Count = 8
			}
			calls.Go(func() { w.call(p, c, conn) })
		}
		calls.Wait()
		w.close(p, conn)
	}
}

// listener counts the connections that the server has not closed.
type listener struct {
	net.Listener
	addr string
	open atomic.Int64
}

func (l *listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.open.Add(1)
	return &accepted{Conn: conn, listener: l}, nil
}

// accepted is a connection of the server.
type accepted struct {
	net.Conn
	listener *listener
	once     sync.Once
}

func (a *accepted) Close() error {
	err := a.Conn.Close()
	a.once.Do(func() { a.listener.open.Add(-1) })
	return err
}

// serve serves until the end of the test, over TLS if there is a config.
func serve(t *testing.T, svc *service, secure *tls.Config) *listener {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	counted := &listener{Listener: tcp, addr: tcp.Addr().String()}
	lis := net.Listener(counted)
	if secure != nil {
		lis = tls.NewListener(counted, secure)
	}
	mux := drpctest.Register(t, drpcmux.New(), svc.rpcs())
	server := drpcserver.NewWithOptions(mux, drpcserver.Options{Log: func(err error) {
		// A fault ends connections, but makes nobody break the protocol.
		var lostErr *drpcmanager.LostError
		if !errors.As(err, &lostErr) || drpc.ProtocolError.Has(lostErr.Cause) {
			t.Errorf("the server says: %v", err)
		}
	}})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, lis) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Serve: %v", err)
			}
		case <-time.After(margin): // say so while the rest can still be reported
			t.Errorf("Serve has not returned %v after the end of its context", margin)
		}
	})
	return counted
}

// certificate returns what a server and its clients need for TLS.
func certificate(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		DNSNames:     []string{"localhost"},
		NotAfter:     time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	server = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	return server, &tls.Config{RootCAs: roots, ServerName: "localhost"}
}
