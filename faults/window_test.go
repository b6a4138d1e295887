package faults_test

import (
	"testing"
	"time"

	"storj.io/drpc"

	"braid/drpcconn"
	"braid/drpcmux"
	"braid/drpcserver"
	"braid/internal/drpctest"
	"braid/internal/faultproxy"
)

// A single stream through a proxy process with a round trip of 50 ms and 1 Gbit/s:
// with a window that stays at 64 KiB it would get 1.3 MB/s. In virtual time, where
// nothing else takes the processor, it gets all of the link (drpcmanager,
// TestASingleStreamFillsALongLink); here proxy, client and server share it with
// whatever else runs, so only a third of the link is asked for.
func TestAWindowGrowsOverARealLink(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	const rate = 125_000_000
	received := make(chan int, 1<<16)
	service := &drpctest.Service{UpFn: func(stream drpc.Stream) error {
		for {
			var in drpctest.Msg
			if err := stream.MsgRecv(&in, drpctest.Enc{}); err != nil {
				return err
			}
			received <- len(in.Data)
		}
	}}
	server := drpcserver.New(drpctest.Register(t, drpcmux.New(), service))
	long := faultproxy.Faults{Delay: 25 * time.Millisecond, Rate: rate}
	addr := faultproxy.Start(t, faultproxy.Config{
		Target:  drpctest.Serve(t, server),
		Scripts: []faultproxy.Script{{ToTarget: long, ToClient: long}},
	})
	conn := drpcconn.New(drpctest.Dial(t, addr))
	defer conn.Close()
	if _, err := drpctest.Call(t.Context(), conn, "hello"); err != nil {
		t.Fatal(err)
	}
	stream, err := conn.NewStream(t.Context(), drpctest.Up, drpctest.Enc{})
	if err != nil {
		t.Fatal(err)
	}
	sender := make(chan struct{})
	go func() {
		defer close(sender)
		for stream.MsgSend(&drpctest.Msg{Data: make([]byte, 32<<10)}, drpctest.Enc{}) == nil {
		}
	}()
	best, sum, start := 0.0, 0, time.Now()
	for second := 0; second < 6; {
		sum += <-received
		if took := time.Since(start); took > time.Second {
			best = max(best, float64(sum)/took.Seconds())
			second, sum, start = second+1, 0, time.Now()
		}
	}
	t.Logf("the best of six seconds: %.1f MB/s of %d", best/1e6, rate/1_000_000)
	least := rate / 3.0
	if drpctest.Race { // with one processor, and others beside it, that is what it can do
		least = rate / 8.0
	}
	if best < least {
		t.Errorf("%.1f MB/s", best/1e6)
	}
	_ = stream.Close()
	<-sender
}
