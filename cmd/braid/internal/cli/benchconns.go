package cli

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
	"storj.io/drpc"
	stockconn "storj.io/drpc/drpcconn"
	"storj.io/drpc/drpcpool"

	"braid/cmd/braid/internal/endpoint"
	"braid/cmd/braid/internal/load/run"
	"braid/cmd/braid/internal/load/summary"
	"braid/drpcconn"
)

// dialsAtOnce is how many connections are made at the same time.
const dialsAtOnce = 32

// benchConns are the connections of a load.
type benchConns struct {
	addr     string
	trust    endpoint.Trust
	foreign  bool // a server without the bench service is fine
	client   string
	conns    []drpc.Conn // what workers use
	count    int         // of connections that were made for them
	shares   bool        // calls share a connection
	protocol string      // of the first one

	mu   sync.Mutex
	open []drpc.Conn // guarded by mu; all that may be open
}

// openBenchConns connects, and makes sure that there is a server which can be measured.
func openBenchConns(ctx context.Context, addr string, f *benchFlags) (*benchConns, error) {
	b := &benchConns{addr: addr, trust: f.trust, foreign: f.method != ""}
	connect := b.connectBraid
	b.count = f.conns
	if f.client == "stock" {
		connect = b.connectStock
		b.count, _ = f.workers()
	}
	if err := connect(ctx); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

func (b *benchConns) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, conn := range b.open {
		_ = conn.Close() // nothing is under way
	}
	b.open = nil
}

// each makes all connections. The first one comes first: where it fails, the others
// would, too.
func (b *benchConns) each(ctx context.Context, connect func(context.Context, int) error) error {
	if err := connect(ctx, 0); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(dialsAtOnce)
	for i := 1; i < b.count; i++ {
		group.Go(func() error { return connect(ctx, i) })
	}
	return group.Wait()
}

// dialBench makes a connection, of the library that wrap stands for.
func dialBench[C drpc.Conn](ctx context.Context, b *benchConns, wrap func(net.Conn) C) (conn C, err error) {
	tr, err := endpoint.Dial(ctx, b.addr, b.trust)
	if err != nil {
		return conn, &run.DialError{Err: err}
	}
	conn = wrap(tr)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.protocol = endpoint.Protocol(tr)
	if len(b.open) >= 2*b.count {
		// A client that loses connections to timeouts makes many.
		b.open = slices.DeleteFunc(b.open, func(c drpc.Conn) bool {
			select {
			case <-c.Closed():
				return true
			default:
				return false
			}
		})
	}
	b.open = append(b.open, conn)
	return conn, nil
}

// hello makes sure that there is a server at the other end.
func (b *benchConns) hello(ctx context.Context, conn drpc.Conn) error {
	err := run.Hello(ctx, conn)
	var missing *run.NoServiceError
	if b.foreign && errors.As(err, &missing) {
		return nil
	}
	return err
}

func (b *benchConns) connectBraid(ctx context.Context) error {
	b.client = summary.ClientBraid
	conns := make([]*drpcconn.Conn, b.count)
	err := b.each(ctx, func(ctx context.Context, i int) (err error) {
		conns[i], err = dialBench(ctx, b, func(tr net.Conn) *drpcconn.Conn { return drpcconn.New(tr) })
		if err != nil {
			return err
		}
		return b.hello(ctx, conns[i])
	})
	if err != nil {
		return err
	}
	for _, conn := range conns {
		b.conns = append(b.conns, conn)
	}
	b.shares, err = run.Shares(ctx, conns[0])
	return err
}

// connectStock fills a pool of stock's with a connection for each worker. It makes
// another one where a call that was canceled has cost one.
func (b *benchConns) connectStock(ctx context.Context) error {
	b.client = summary.ClientStock
	const key = "server"
	pool := drpcpool.New[string, *stockconn.Conn](drpcpool.Options{})
	dial := func(ctx context.Context, _ string) (*stockconn.Conn, error) {
		return dialBench(ctx, b, func(tr net.Conn) *stockconn.Conn { return stockconn.New(tr) })
	}
	b.conns = []drpc.Conn{pool.Get(ctx, key, dial)}
	return b.each(ctx, func(ctx context.Context, _ int) error {
		conn, err := dial(ctx, key)
		if err != nil {
			return err
		}
		err = b.hello(ctx, conn)
		pool.Put(key, conn)
		return err
	})
}
