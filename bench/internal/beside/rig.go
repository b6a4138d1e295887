package beside

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"braid/bench/internal/blob"
	"braid/bench/internal/link"
)

// Rig is a running server and one connection to it, over loopback TCP, with a
// slow link in between if there is one.
type Rig struct {
	service Service
	client  Client
	lis     *keepingListener
	proxy   *link.Proxy // nil without a link
	dialed  keeper
	cancel  context.CancelFunc
	served  chan error
}

// Start serves with the stack, connects, and compares every byte of the answer
// to a first call. The context bounds the start, and the rig lives without it.
func Start(ctx context.Context, st Stack, l link.Link) (_ *Rig, err error) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	serveCtx, cancel := context.WithCancel(context.Background())
	r := &Rig{lis: &keepingListener{Listener: lis, link: l}, cancel: cancel, served: make(chan error, 1)}
	go func() { r.served <- st.Serve(serveCtx, r.lis, &r.service) }() // ends with Close or Kill
	defer func() {
		if err != nil {
			r.Kill()
		}
	}()
	addr := lis.Addr()
	if l.Enabled() {
		if r.proxy, err = link.Listen(addr.String(), l); err != nil {
			return nil, err
		}
		addr = r.proxy.Addr()
	}
	r.client, err = st.Client(ctx, func(ctx context.Context) (net.Conn, error) {
		var dialer net.Dialer
		conn, err := dialer.DialContext(ctx, "tcp", addr.String())
		if err != nil {
			return nil, err
		}
		r.dialed.keep(conn)
		return conn, bound(conn, l)
	})
	if err != nil {
		return nil, err
	}
	in, out := blob.New(1<<10, 1), new(blob.Blob)
	if err := r.client.Echo(ctx, in, out); err != nil {
		return nil, fmt.Errorf("first call: %w", err)
	}
	if !bytes.Equal(in.Data, out.Data) {
		return nil, errors.New("first call: echo differs from what was sent")
	}
	return r, nil
}

// Client returns the client side of the connection.
func (r *Rig) Client() Client { return r.client }

// Conns returns how many connections the server has accepted.
func (r *Rig) Conns() int { return r.lis.accepted.count() }

// Received returns how many bytes of payload the upload handlers have read.
func (r *Rig) Received() int64 { return r.service.Received() }

// Close ends the connection and the server, and waits for both.
func (r *Rig) Close() error {
	errs := []error{r.client.Close()}
	r.cancel()
	errs = append(errs, <-r.served)
	if r.proxy != nil {
		errs = append(errs, r.proxy.Close())
	}
	return errors.Join(errs...)
}

// Kill takes the sockets away from both sides and waits for nothing of the
// stack. It may be called while Close waits.
func (r *Rig) Kill() {
	r.cancel()
	_ = r.lis.Close() // the server may have closed it
	r.dialed.close()
	r.lis.accepted.close()
	if r.proxy != nil {
		_ = r.proxy.Close() // Close may have done so
	}
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

// keepingListener remembers what it accepts.
type keepingListener struct {
	net.Listener
	link     link.Link
	accepted keeper
}

// Accept implements net.Listener.
func (l *keepingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.accepted.keep(conn)
	return conn, bound(conn, l.link)
}

// bound gives an end of a connection the send buffer that it would have on a
// link of that kind.
func bound(conn net.Conn, l link.Link) error {
	if size := l.SendBuffer(); size > 0 {
		return conn.(*net.TCPConn).SetWriteBuffer(size)
	}
	return nil
}
