package stack

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"storj.io/drpc"
	"storj.io/drpc/drpcconn"
	"storj.io/drpc/drpcpool"

	"braid/bench/internal/blob"
)

// Pool returns storj.io/drpc as its users have it for concurrency: a connection
// for every caller, out of drpcpool.
func Pool() Stack {
	return Stack{
		Name:   "pool",
		Module: "storj.io/drpc",
		Settings: append([]string{
			"a connection per caller out of storj.io/drpc's drpcpool (no capacity limit, no expiration), all of them dialed and used once beforehand",
			"callers share as many connections as the limit of open files allows",
		}, stockSettings...),
		Lacks: map[Feature]string{
			Cancel:  stockNoCancel,
			Several: "it has one for every caller",
		},
		MaxStreams: MaxConns(),
		Serve:      serveStock,
		Client:     newPool,
	}
}

// Noter is implemented by a Client that readers of its figures have to know
// something of.
type Noter interface {
	// Note returns what that is, or "".
	Note() string
}

// poolClient is a pool and the connection that stands for it.
type poolClient struct {
	drpcClient
	pool *drpcpool.Pool[string, *drpcconn.Conn]
	note string
}

// Note implements Noter.
func (c *poolClient) Note() string { return c.note }

// Close implements Client.
func (c *poolClient) Close() error { return errors.Join(c.drpcClient.Close(), c.pool.Close()) }

// newPool fills a pool with connections that are ready for use.
func newPool(ctx context.Context, dial Dial, setup Setup) (Client, error) {
	const key = "server"
	dialOne := func(ctx context.Context, _ string) (*drpcconn.Conn, error) {
		raw, err := dial(ctx)
		if err != nil {
			return nil, err
		}
		conn := newStockConn(raw, setup)
		if err := FirstCall(ctx, drpcClient{conn}); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		return conn, nil
	}
	c := &poolClient{pool: drpcpool.New[string, *drpcconn.Conn](drpcpool.Options{})}
	conns := min(max(setup.Callers, 1), MaxConns())
	for range conns {
		conn, err := dialOne(ctx, key)
		if err != nil {
			return nil, errors.Join(err, c.pool.Close())
		}
		c.pool.Put(key, conn)
	}
	c.conn = c.pool.Get(context.WithoutCancel(ctx), key, dialOne)
	if conns < setup.Callers {
		c.note = fmt.Sprintf("stack pool: %d callers share %d connections, as many as the descriptor limit allows",
			setup.Callers, conns)
		c.conn = &limitedConn{Conn: c.conn, tokens: make(chan struct{}, conns)}
	}
	return c, nil
}

// FirstCall makes a call and compares every byte of the answer.
func FirstCall(ctx context.Context, client Client) error {
	in, out := blob.New(1<<10, 1), new(blob.Blob)
	if err := client.Echo(ctx, in, out); err != nil {
		return fmt.Errorf("first call: %w", err)
	}
	if !bytes.Equal(in.Data, out.Data) {
		return errors.New("first call: echo differs from what was sent")
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

// unknownLimit is how many connections to open at most where the system does
// not say how many it allows.
const unknownLimit = 4096
