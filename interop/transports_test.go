package interop_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"storj.io/drpc"

	"braid/drpcwire"
	"braid/internal/drpctest"
)

// transports make the two ends of a connection, of every kind that programs use.
// Some have deadlines and some have not; none of these are needed (F27).
var transports = []struct {
	name string
	pipe func(t *testing.T) (client, server drpc.Transport)
}{
	{"tcp", func(t *testing.T) (drpc.Transport, drpc.Transport) {
		lis, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		return accepted(t, lis)
	}},
	{"tls", func(t *testing.T) (drpc.Transport, drpc.Transport) {
		lis, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		client, server := accepted(t, lis)
		cert, roots := certificate(t)
		return tls.Client(client, &tls.Config{RootCAs: roots, ServerName: "localhost"}),
			tls.Server(server, &tls.Config{Certificates: []tls.Certificate{cert}})
	}},
	{"unix", func(t *testing.T) (drpc.Transport, drpc.Transport) {
		dir, err := os.MkdirTemp("", "unix") // t.TempDir may be too long for an address
		must(t, err)
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		lis, err := net.Listen("unix", filepath.Join(dir, "s"))
		must(t, err)
		return accepted(t, lis)
	}},
	{"net.Pipe", func(*testing.T) (drpc.Transport, drpc.Transport) { return net.Pipe() }},
	{"buffered pipe", func(*testing.T) (drpc.Transport, drpc.Transport) {
		a, b := drpctest.Pipe()
		a.Limit(64 << 10)
		b.Limit(64 << 10)
		return a, b
	}},
	{"os.Pipe", func(t *testing.T) (drpc.Transport, drpc.Transport) {
		var ends [2]files
		for i := range ends {
			r, w, err := os.Pipe()
			must(t, err)
			ends[i].Reader, ends[i].r = r, r
			ends[1-i].Writer, ends[1-i].w = w, w
		}
		return ends[0], ends[1]
	}},
}

// accepted connects to the listener.
func accepted(t *testing.T, lis net.Listener) (client, server net.Conn) {
	t.Helper()
	defer func() { _ = lis.Close() }()
	type result struct {
		nc  net.Conn
		err error
	}
	dialed := later(func() result {
		nc, err := net.Dial(lis.Addr().Network(), lis.Addr().String())
		return result{nc, err}
	})
	server, err := lis.Accept()
	must(t, err)
	r := await(t, dialed, "the connection")
	must(t, r.err)
	return r.nc, server
}

// files is a transport of two pipes, one each way, as a process has to its parent.
type files struct {
	io.Reader
	io.Writer
	r, w *os.File
}

// Close implements drpc.Transport.
func (f files) Close() error {
	_ = f.w.Close()
	return f.r.Close()
}

// certificate makes a certificate for localhost, and the roots to trust it.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		DNSNames:     []string{"localhost"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	must(t, err)
	leaf, err := x509.ParseCertificate(der)
	must(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

// forEachTransport runs a test over every kind of transport, for every pair with
// braid in it.
func forEachTransport(t *testing.T, test func(t *testing.T, p pair, nc, ns drpc.Transport)) {
	for _, tr := range transports {
		t.Run(tr.name, func(t *testing.T) {
			for _, p := range pairs[1:] {
				t.Run(p.String(), func(t *testing.T) {
					nc, ns := tr.pipe(t)
					test(t, p, nc, ns)
				})
			}
		})
	}
}

// TestEveryTransportServes the shapes of call, large messages and a canceled one
// (F27).
func TestEveryTransportServes(t *testing.T) {
	forEachTransport(t, func(t *testing.T, p pair, nc, ns drpc.Transport) {
		c := &canceler{t: t, started: make(chan struct{}, 1)}
		service := &drpctest.Service{UpFn: c.service().UpFn, UnaryFn: c.service().UnaryFn}
		done := p.server.serveOne(t, bg, ns, service, options{})
		c.conn = p.client.open(t, nc, options{SoftCancel: true})
		for range 3 {
			for _, s := range shapes {
				if s.name == "client stream" {
					continue // it waits to be canceled
				}
				must(t, s.call(bg, c.conn, "text"))
			}
			echo(t, c.conn, large)
			for _, moment := range cancels {
				if moment.name == "while receiving" {
					moment.run(c)
				}
			}
			echo(t, c.conn, "next")
		}
		must(t, c.conn.Close())
		await(t, done, "ServeOne")
	})
}

// settle waits until a number stays the same for a while. Nothing depends on its
// being right: it makes it likely that both loops are blocked.
func settle(n *atomic.Int64) {
	for before := int64(-1); before != n.Load(); {
		before = n.Load()
		for range 1000 {
			runtime.Gosched()
		}
	}
}

// flood sends until it cannot any more.
func flood(stream drpc.Stream, n *atomic.Int64) (err error) {
	for err == nil {
		err = drpctest.Send(stream, large)
		n.Add(1)
	}
	return err
}

// TestCloseUnblocksBothLoops of a client whose peer neither reads nor writes: the
// one that reads, and the one that writes (F27).
func TestCloseUnblocksBothLoops(t *testing.T) {
	for _, tr := range transports {
		t.Run(tr.name, func(t *testing.T) {
			nc, ns := tr.pipe(t)
			defer func() { _ = ns.Close() }()
			shaken := shakeHands(ns)
			c := braid.open(t, nc, options{})
			stream := mustStream(t, bg, c, drpctest.Bidi)
			must(t, await(t, shaken, "the handshake"))

			var n atomic.Int64
			sent := later(func() error { return flood(stream, &n) })
			received := later(func() string { return recv(stream) })
			settle(&n)
			await(t, later(c.Close), "Close")
			if err := await(t, sent, "the sender"); outcome(err) != "closed" {
				t.Errorf("send: %v", err)
			}
			if got := await(t, received, "the receiver"); got != "closed" {
				t.Errorf("recv: %s", got)
			}
		})
	}
}

// TestServeOneUnblocksBothLoops when its context ends, likewise.
func TestServeOneUnblocksBothLoops(t *testing.T) {
	for _, tr := range transports {
		t.Run(tr.name, func(t *testing.T) {
			nc, ns := tr.pipe(t)
			defer func() { _ = nc.Close() }()
			var n atomic.Int64
			started := make(chan struct{})
			ctx, cancel := context.WithCancel(bg)
			done := braid.serveOne(t, ctx, ns, &drpctest.Service{BidiFn: func(stream drpc.Stream) error {
				close(started)
				return flood(stream, &n)
			}}, options{})
			fr, err := drpctest.Parse(`s1 m1 ` + invokeBidi)
			must(t, err)
			_, err = nc.Write(drpcwire.AppendFrame(nil, fr))
			must(t, err)
			await(t, started, "the handler")
			settle(&n)
			cancel()
			if err := await(t, done, "ServeOne"); !errors.Is(err, context.Canceled) {
				t.Errorf("ServeOne: %v", err)
			}
		})
	}
}

// shakeHands does the server's part of a handshake, if the transport has one.
func shakeHands(tr drpc.Transport) <-chan error {
	return later(func() error {
		if c, ok := tr.(*tls.Conn); ok {
			return c.Handshake()
		}
		return nil
	})
}
