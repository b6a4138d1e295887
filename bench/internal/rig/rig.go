package rig

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"

	"storj.io/drpc"
	"storj.io/drpc/drpcpool"

	"braid/bench/internal/blob"
)

// Rig is a running server and the client side that talks to it.
type Rig struct {
	stack  Stack
	conn   drpc.Conn
	closes []func() error
	lis    *countingListener
	cancel context.CancelFunc
	served chan error
	note   string
}

// Start serves the benchmark service with the stack, connects to it for the
// number of concurrent callers given, and sends one verified call over every
// connection, so that nothing that happens once per connection is measured.
func Start(st Stack, callers int) (_ *Rig, err error) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &Rig{
		stack:  st,
		lis:    &countingListener{Listener: lis},
		cancel: cancel,
		served: make(chan error, 1),
	}
	go func() {
		r.served <- st.Serve(ctx, r.lis, func(mux drpc.Mux) error {
			return mux.Register(blob.Service{}, blob.Description{})
		})
	}()
	if err := r.connect(ctx, callers); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// Conn returns what all callers call through.
func (r *Rig) Conn() drpc.Conn { return r.conn }

// Conns returns how many connections the server has accepted so far.
func (r *Rig) Conns() int { return int(r.lis.accepted.Load()) }

// Note returns what a reader of the results has to know about the rig, if
// there is anything.
func (r *Rig) Note() string { return r.note }

// Close closes the client side and stops the server.
func (r *Rig) Close() error {
	var errs []error
	for _, f := range r.closes {
		errs = append(errs, f())
	}
	r.cancel()
	errs = append(errs, <-r.served)
	return errors.Join(errs...)
}

// connect makes the client side. A multiplexed stack, and any stack with a
// single caller, uses one connection directly; otherwise there is a pool that
// holds a connection for every caller.
func (r *Rig) connect(ctx context.Context, callers int) error {
	if r.stack.Multiplexed || callers == 1 {
		conn, err := r.dial(ctx, "")
		if err != nil {
			return err
		}
		r.conn = conn
		r.closes = append(r.closes, conn.Close)
		return nil
	}
	return r.connectPool(ctx, callers)
}

// connectPool fills a pool of stock with connections that are ready for use.
func (r *Rig) connectPool(ctx context.Context, callers int) error {
	conns := min(callers, maxConns())
	const key = "server"
	pool := drpcpool.New[string, Client](drpcpool.Options{})
	r.closes = append(r.closes, pool.Close)
	for range conns {
		conn, err := r.dial(ctx, key)
		if err != nil {
			return err
		}
		pool.Put(key, conn)
	}
	r.conn = pool.Get(ctx, key, r.dial)
	if conns < callers {
		r.note = fmt.Sprintf("stack %s: %d callers share %d connections, as many as the descriptor limit allows",
			r.stack.Name, callers, conns)
		r.conn = &limitedConn{Conn: r.conn, tokens: make(chan struct{}, conns)}
	}
	return nil
}

// dial opens a connection and warms it up. It has the signature that the pool
// asks for.
func (r *Rig) dial(ctx context.Context, _ string) (Client, error) {
	var dialer net.Dialer
	raw, err := dialer.DialContext(ctx, "tcp", r.lis.Addr().String())
	if err != nil {
		return nil, err
	}
	conn := r.stack.Client(raw)
	if err := warm(ctx, conn); err != nil {
		return nil, errors.Join(fmt.Errorf("stack %s: first call: %w", r.stack.Name, err), conn.Close())
	}
	return conn, nil
}

// warm sends one call and compares every byte of the answer.
func warm(ctx context.Context, conn drpc.Conn) error {
	in := blob.New(1<<10, 1)
	var out blob.Blob
	if err := conn.Invoke(ctx, blob.MethodEcho, blob.Encoding{}, in, &out); err != nil {
		return err
	}
	if !bytes.Equal(in.Data, out.Data) {
		return errors.New("echo differs from what was sent")
	}
	return nil
}

// limitedConn keeps callers from making the pool dial more connections than
// the process may open.
type limitedConn struct {
	drpc.Conn
	tokens chan struct{}
}

// Invoke waits for its turn and calls.
func (c *limitedConn) Invoke(ctx context.Context, rpc string, enc drpc.Encoding, in, out drpc.Message) error {
	c.tokens <- struct{}{}
	defer func() { <-c.tokens }()
	return c.Conn.Invoke(ctx, rpc, enc, in, out)
}

// NewStream refuses: streams that stay open would wait for each other forever.
func (c *limitedConn) NewStream(context.Context, string, drpc.Encoding) (drpc.Stream, error) {
	return nil, fmt.Errorf("no streams over a pool that the descriptor limit holds at %d connections", cap(c.tokens))
}

// countingListener counts the connections it accepts, so that what is said
// about connections is what was seen.
type countingListener struct {
	net.Listener
	accepted atomic.Int64
}

// Accept implements net.Listener.
func (l *countingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		l.accepted.Add(1)
	}
	return conn, err
}

// unknownLimit is how many connections to open at most where the system does
// not say how many it allows.
const unknownLimit = 4096
