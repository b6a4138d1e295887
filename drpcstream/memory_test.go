package drpcstream_test

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"testing"
	"time"

	"braid/drpcwire"
)

// heap returns what is in use after a collection, in bytes.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what pools held goes with the second one
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// waitUntil waits for what the goroutines of a connection will do.
func waitUntil(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("it does not happen")
		}
	}
}

// A stream that is not received from takes little more memory than its window,
// whatever its messages are like (T6).
func TestUnreadMessagesTakeLittleMoreThanTheirCredit(t *testing.T) {
	const (
		window  = 8 << 20
		slack   = 256 << 10 // for what grows with the connection, and not with the window
		largest = 64 << 10
	)
	for _, size := range []int{0, 1, 16, 513, 4097, largest, 10 * largest} {
		t.Run(fmt.Sprintf("%d bytes", size), func(t *testing.T) {
			opts := constant(window, -1)
			opts.Limits.Streams = 8
			a, b := net.Pipe() // holds nothing
			client, server, _ := pairOn(t, a, b, opts)
			waitUntil(t, func() bool {
				_, credit := client.Window()
				return credit > 0 && server.Outstanding() > 0
			})
			msg := make([]byte, size)
			before := heap()
			for fits := true; fits; {
				if err := client.RawWrite(drpcwire.KindMessage, msg); err != nil {
					t.Fatal(err)
				}
				_, left := client.Window()
				fits = left >= int64(size+(size/largest+1)*drpcwire.FrameCost)
			}
			waitUntil(t, func() bool {
				_, left := client.Window()
				return server.Outstanding() == left
			})
			grown := heap() - before
			t.Logf("a window of %d KiB took %d KiB, %.2f times that", window>>10, grown>>10, float64(grown)/window)
			if grown > window*5/2+slack {
				t.Errorf("a window of %d bytes took %d", window, grown)
			}
			runtime.KeepAlive(server)
			runtime.KeepAlive(client)
		})
	}
}

// Nor does a message that is incomplete and larger than the window, while nobody
// waits for it.
func TestAnIncompleteMessageTakesLittleMoreThanItsCredit(t *testing.T) {
	const (
		window   = 5 << 20
		slack    = 256 << 10
		smallest = 1000 // the smaller of the split sizes: with less credit the sender waits
	)
	for _, split := range []int{0, smallest} {
		t.Run(fmt.Sprintf("frames of %d bytes", split), func(t *testing.T) {
			opts := constant(window, -1)
			opts.Limits.Streams = 8
			opts.Reader.MaximumBufferSize = 4 * window
			opts.Stream.SplitSize = split
			a, b := net.Pipe()
			client, server, _ := pairOn(t, a, b, opts)
			waitUntil(t, func() bool {
				_, credit := client.Window()
				return credit > 0 && server.Outstanding() > 0
			})
			msg, sent := make([]byte, 2*window), make(chan error, 1)
			before := heap()
			go func() { sent <- client.RawWrite(drpcwire.KindMessage, msg) }()
			waitUntil(t, func() bool {
				// All of it has arrived, and not only most: until then a buffer may just
				// have been outgrown and still count.
				_, left := client.Window()
				return left < smallest && server.Outstanding() == left
			})
			grown := heap() - before
			t.Logf("a window of %d KiB took %d KiB, %.2f times that", window>>10, grown>>10, float64(grown)/window)
			if grown > window*5/2+slack {
				t.Errorf("a window of %d bytes took %d", window, grown)
			}
			client.Cancel(context.Canceled)
			if err := <-sent; err != context.Canceled {
				t.Error(err)
			}
		})
	}
}
