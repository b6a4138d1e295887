package drpcserver_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"braid/drpcconn"
	"braid/drpcmanager"
	"braid/drpcmux"
	"braid/drpcserver"
	"braid/drpcstream"
	"braid/internal/drpctest"
)

// ran counts how often each call was handled, by any server.
type ran struct{ times sync.Map }

func (r *ran) unary(_ context.Context, in *drpctest.Msg) (*drpctest.Msg, error) {
	n, _ := r.times.LoadOrStore(in.String(), new(atomic.Int64))
	n.(*atomic.Int64).Add(1)
	return in, nil
}

func (r *ran) of(call string) int64 {
	if n, ok := r.times.Load(call); ok {
		return n.(*atomic.Int64).Load()
	}
	return 0
}

// herdsman starts one server after another on the same address.
type herdsman struct {
	t    *testing.T
	ran  *ran
	addr string
	done sync.WaitGroup
}

func (h *herdsman) start() *drpcserver.Server {
	h.t.Helper()
	lis, err := net.Listen("tcp", h.addr)
	if err != nil {
		h.t.Fatal(err)
	}
	if addr := lis.Addr().String(); addr != h.addr { // the first one chooses it, before there are clients
		h.addr = addr
	}
	server := drpcserver.New(drpctest.Register(h.t, drpcmux.New(), &drpctest.Service{UnaryFn: h.ran.unary}))
	h.done.Go(func() {
		if err := server.Serve(context.Background(), lis); err != nil {
			h.t.Errorf("Serve: %v", err)
		}
	})
	return server
}

// client makes calls until ctx ends, on a new connection whenever one has ended. It
// returns how many were answered and how many were refused.
func (h *herdsman) client(ctx context.Context, id int) (answered, refused int) {
	for n := 0; ctx.Err() == nil; {
		nc, err := net.Dial("tcp", h.addr)
		if err != nil {
			continue // no server listens at the moment
		}
		conn := drpcconn.New(nc)
		for once := true; err == nil && (once || ctx.Err() == nil); once = false {
			call := fmt.Sprintf("call %d of client %d", n, id)
			n++
			_, err = drpctest.Call(context.Background(), conn, call)
			var lost *drpcmanager.LostError
			switch times := h.ran.of(call); {
			case err == nil && times == 1:
				answered++
			case errors.Is(err, drpcstream.ErrRefused) && times == 0:
				refused++
			case errors.As(err, &lost) && times <= 1 && !errors.Is(err, drpcstream.ErrRefused):
			default:
				h.t.Errorf("%s was handled %d times: %v", call, times, err)
			}
		}
		_ = conn.Close()
	}
	return answered, refused
}

// A thousand clients that make calls without pause lose their server again and again,
// and all come back to the next one at once. No call is handled twice, and none that
// was refused is handled at all.
func TestAHerdOfClientsFollowsARestart(t *testing.T) { // T25
	clients, restarts := 1000, 4
	if testing.Short() {
		clients, restarts = 100, 2
	}
	h := &herdsman{t: t, ran: new(ran), addr: "127.0.0.1:0"}
	server := h.start()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	var answered, refused atomic.Int64
	for id := range clients {
		wg.Go(func() {
			a, r := h.client(ctx, id)
			answered.Add(int64(a))
			refused.Add(int64(r))
			if a == 0 {
				t.Errorf("client %d had no answer", id)
			}
		})
	}
	gather := func() { // waits until all clients have come
		t.Helper()
		conns := 0
		if !drpctest.Eventually(func() bool { conns, _ = server.Gauges(); return conns == clients }) {
			t.Errorf("there are %d connections of %d clients", conns, clients)
		}
	}
	for range restarts {
		gather()
		shutdown, stop := context.WithTimeout(context.Background(), 10*time.Second)
		if err := server.Shutdown(shutdown); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		stop()
		server = h.start()
	}
	gather()
	cancel()
	wg.Wait()
	if err := server.Shutdown(context.Background()); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	h.done.Wait()
	t.Logf("%d calls were answered, %d refused", answered.Load(), refused.Load())
}
