package interop_test

import (
	"context"
	"errors"
	"testing"

	"storj.io/drpc"
	"storj.io/drpc/drpcmetadata"
	"storj.io/drpc/drpcstats"

	"braid/drpcmanager"
	"braid/internal/drpctest"
)

// counted are calls after which the servers' statistics are compared, each on a
// server of its own.
var counted = []struct {
	name string
	call func(c drpc.Conn) error
}{
	{"shapes", func(c drpc.Conn) error {
		for _, s := range shapes {
			if err := s.call(bg, c, "some text"); err != nil {
				return err
			}
		}
		return nil
	}},
	{"metadata", func(c drpc.Conn) error {
		return shapes[0].call(drpcmetadata.Add(context.Background(), "key", "value"), c, "text")
	}},
	{"large messages", func(c drpc.Conn) error { return shapes[0].call(bg, c, large) }},
	{"error", func(c drpc.Conn) error {
		if _, err := drpctest.Call(bg, c, "fail"); err == nil {
			return errors.New("did not fail")
		}
		return nil
	}},
	{"close", func(c drpc.Conn) error {
		stream, err := c.NewStream(bg, drpctest.Bidi, drpctest.Enc{})
		if err != nil {
			return err
		}
		if err := drpctest.Send(stream, "x"); err != nil {
			return err
		}
		if _, err := drpctest.Recv(stream); err != nil {
			return err
		}
		return stream.Close()
	}},
}

// TestStatsAreThoseOfStock for the same calls, whoever the client is.
func TestStatsAreThoseOfStock(t *testing.T) {
	for _, client := range stacks {
		for _, test := range counted {
			t.Run(client.name+" client/"+test.name, func(t *testing.T) {
				want := collect(t, pair{client, stock}, test.call)
				got := collect(t, pair{client, braid}, test.call)
				if len(want) == 0 || len(got) != len(want) {
					t.Errorf("got %v want %v", got, want)
				}
				for rpc := range want {
					if got[rpc] != want[rpc] {
						t.Errorf("%s: got %+v want %+v", rpc, got[rpc], want[rpc])
					}
				}
			})
		}
	}
}

// collect makes the calls and returns what the server has counted once it has
// ended.
func collect(t *testing.T, p pair, call func(drpc.Conn) error) map[string]drpcstats.Stats {
	t.Helper()
	s := p.server.server(p.server.handler(t, &drpctest.Service{
		UnaryFn: func(_ context.Context, in *drpctest.Msg) (*drpctest.Msg, error) {
			if in.String() == "fail" {
				return nil, errors.New("told to fail")
			}
			return in, nil
		},
	}), options{CollectStats: true})
	nc, ns := drpctest.Pipe()
	done := later(func() error { return s.ServeOne(bg, ns) })
	// A stock server counts the announcement's few bytes as read.
	c := p.client.conn(nc, options{Multiplex: drpcmanager.MultiplexNever})
	must(t, call(c))
	must(t, c.Close())
	await(t, done, "ServeOne")
	return s.Stats()
}

// TestStatsAreEmptyUnlessCollected.
func TestStatsAreEmptyUnlessCollected(t *testing.T) {
	s := braid.server(braid.handler(t, &drpctest.Service{}), options{})
	echo(t, braid.dial(t, drpctest.Serve(t, s), options{}), "x")
	if got := s.Stats(); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}
