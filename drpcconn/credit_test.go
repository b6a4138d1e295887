package drpcconn_test

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"storj.io/drpc"

	"braid/drpcconn"
	"braid/drpcmanager"
	"braid/drpcmux"
	"braid/drpcserver"
	"braid/drpcwire"
	"braid/internal/drpctest"
)

// heap returns the bytes of the heap that are in use.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A gibibyte is pushed at handlers that never read, on 1, 8 and 1,000 streams, and
// calls beside them go on (M30, F9). What the receiver holds is what it has promised;
// what the sender holds is what its writer is bounded by. How fast the calls are is
// printed; bench/cmd/fairness measures it.
func TestStreamsThatAreNotReadAreNotFeltByOthers(t *testing.T) {
	const (
		message = 64 << 10
		window  = 64 << 10
		writer  = 3 * drpcwire.DefaultMaximumPending
		slack   = 24 << 10 // of a stream: its structures and goroutines, on both ends
	)
	for _, streams := range []int{1, 8, 1000} {
		t.Run(fmt.Sprint(streams), func(t *testing.T) {
			release := make(chan struct{})
			service := &drpctest.Service{UpFn: func(stream drpc.Stream) error {
				<-release
				return nil
			}}
			isolated(t, service, func(conn drpc.Conn) {
				defer close(release)
				calls := func() (n int, took time.Duration) {
					start := time.Now()
					for n < 2000 && time.Since(start) < 2*time.Second {
						if got, err := drpctest.Call(t.Context(), conn, "x"); got != "x" || err != nil {
							t.Fatalf("beside streams that are not read: %q, %v", got, err)
						}
						n++
					}
					return n, time.Since(start)
				}
				perSecond := func(n int, took time.Duration) float64 { return float64(n) / took.Seconds() }
				_, _ = calls()
				alone := perSecond(calls())
				before := heap()

				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var pushed atomic.Int64
				var senders sync.WaitGroup
				data := make([]byte, message)
				for range streams {
					stream, err := conn.NewStream(ctx, drpctest.Up, drpctest.Enc{})
					if err != nil {
						t.Fatal(err)
					}
					senders.Go(func() {
						for range 1 << 30 / message / streams {
							if stream.MsgSend(&drpctest.Msg{Data: data}, drpctest.Enc{}) != nil {
								return
							}
							pushed.Add(message)
						}
						t.Error("all of it was sent, and nobody reads")
					})
				}
				_, _ = calls() // while they push
				beside := perSecond(calls())
				held := heap() - before
				bound := int64(streams)*(2*window+slack) + writer
				t.Logf("%d streams: %d KiB taken, %d KiB held, bound %d KiB; %.0f calls a second alone, %.0f beside (%.2f)",
					streams, pushed.Load()>>10, held>>10, bound>>10, alone, beside, beside/alone)
				if held > bound {
					t.Errorf("%d bytes are held, more than %d", held, bound)
				}
				cancel()
				senders.Wait()
			})
		})
	}
}

// Messages of many windows, both ways at once, on many streams at once, with less
// budget than a few of them need (M32, M38).
func TestMessagesLargerThanTheWindowComplete(t *testing.T) {
	const size, streams = 8 << 20, 12
	man := drpcmanager.Options{
		Reader: drpcwire.ReaderOptions{MaximumBufferSize: 2 * size},
		Window: drpcmanager.Window{Budget: 3 * size},
	}
	server := drpcserver.NewWithOptions(drpctest.Register(t, drpcmux.New(), &drpctest.Service{BidiFn: func(stream drpc.Stream) error {
		return exchange(stream, size)
	}}), drpcserver.Options{Manager: man})
	conn := drpcconn.NewWithOptions(drpctest.Dial(t, drpctest.Serve(t, server)), drpcconn.Options{Manager: man})
	defer conn.Close()
	var wg sync.WaitGroup
	for range streams {
		stream := openStream(t, conn, drpctest.Bidi)
		wg.Go(func() {
			if err := exchange(stream, size); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// exchange sends three large messages and receives three at the same time.
func exchange(stream drpc.Stream, size int) error {
	want := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	sent := make(chan error, 1)
	go func() {
		for range 3 {
			if err := stream.MsgSend(&drpctest.Msg{Data: want}, drpctest.Enc{}); err != nil {
				sent <- err
				return
			}
		}
		sent <- stream.CloseSend()
	}()
	for range 3 {
		var in drpctest.Msg
		if err := stream.MsgRecv(&in, drpctest.Enc{}); err != nil {
			return err
		}
		if !bytes.Equal(in.Data, want) {
			return fmt.Errorf("%d bytes have come, not the %d that were sent", len(in.Data), size)
		}
	}
	return <-sent
}
