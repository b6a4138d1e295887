package rig

import (
	"context"
	"net"
	"sync"

	"braid/bench/internal/link"
	"braid/bench/internal/stack"
)

// local is a server in this process.
type local struct {
	service stack.Service
	lis     *keepingListener
	cancel  context.CancelFunc

	served chan struct{} // closed when Serve has returned
	err    error         // what it has returned; to be read after served
}

// startLocal serves with a stack on a loopback address.
func startLocal(st stack.Stack, cfg Config) (*local, error) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &local{
		lis:    &keepingListener{Listener: lis, link: cfg.Link, tls: cfg.Transport == TLS},
		cancel: cancel,
		served: make(chan struct{}),
	}
	go func() { // ends with close or kill
		defer close(l.served)
		l.err = st.Serve(ctx, l.lis, &l.service, cfg.Setup)
	}()
	return l, nil
}

func (l *local) addr() string   { return l.lis.Addr().String() }
func (l *local) separate() bool { return false }

func (l *local) counts() (Counts, error) {
	return Counts{Conns: l.lis.accepted.count(), Received: l.service.Received()}, nil
}

func (l *local) footprint() (Footprint, error) { return takeFootprint(), nil }

func (l *local) close() error {
	l.cancel()
	<-l.served
	return l.err
}

func (l *local) kill() {
	l.cancel()
	_ = l.lis.Close() // the server may have closed it
	l.lis.accepted.close()
}

// keeper remembers connections.
type keeper struct {
	mu    sync.Mutex
	conns []net.Conn // guarded by mu
}

// keep adds a connection.
func (k *keeper) keep(conn net.Conn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.conns = append(k.conns, conn)
}

// count returns how many there have been.
func (k *keeper) count() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.conns)
}

// close closes all of them.
func (k *keeper) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, conn := range k.conns {
		_ = conn.Close() // whoever uses it learns of it
	}
}

// keepingListener remembers what it accepts, and puts TLS over it if asked to.
type keepingListener struct {
	net.Listener
	link     link.Link
	tls      bool
	accepted keeper
}

// Accept implements net.Listener.
func (l *keepingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.accepted.keep(conn)
	if err := bound(conn, l.link); err != nil {
		return nil, err
	}
	if l.tls {
		return serverTLS(conn)
	}
	return conn, nil
}

// bound gives an end of a connection the send buffer that it would have on a
// link of that kind.
func bound(conn net.Conn, l link.Link) error {
	if size := l.SendBuffer(); size > 0 {
		return conn.(*net.TCPConn).SetWriteBuffer(size)
	}
	return nil
}
