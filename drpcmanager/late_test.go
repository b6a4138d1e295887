package drpcmanager_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"braid/drpcmanager"
	"braid/drpcstream"
	"braid/drpcwire"
)

// Two honest ends, two hundred thousand streams that are canceled or closed while
// messages are on their way in both directions: what comes late is nobody's fault, and
// few frames that achieve nothing are forgiven here.
func TestLateFramesOfStreamsThatEndedAreForgiven(t *testing.T) {
	total := int64(200_000)
	if testing.Short() {
		total = 20_000
	}
	opts := drpcmanager.Options{Limits: drpcmanager.Limits{IdleFrames: 20, IdleFramesPerSecond: 1}}
	a, b := net.Pipe()
	server := drpcmanager.NewServer(t.Context(), b, opts, drpcmanager.Hooks{
		Handle: func(s *drpcstream.Stream, _ string) {
			go func() {
				for i := 0; ; i++ {
					if s.RawWrite(drpcwire.KindMessage, make([]byte, 100)) != nil || i == int(s.ID()%16) {
						break
					}
				}
				if s.ID()%3 == 0 {
					_, _ = s.RawRecv()
				}
				_ = s.Return(nil)
			}()
		},
	})
	defer server.Close()
	client := drpcmanager.NewClient(a, opts)
	defer client.Close()
	var left atomic.Int64
	left.Store(total)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for n := left.Add(-1); n >= 0; n = left.Add(-1) {
				ctx, cancel := context.WithCancel(t.Context())
				s, err := client.NewClientStream(ctx, "/rpc", nil)
				if err != nil {
					t.Errorf("%d streams before the last: %v", n, err)
					cancel()
					return
				}
				for range n % 8 {
					_ = s.RawWrite(drpcwire.KindMessage, make([]byte, 100))
				}
				if n%2 == 0 {
					_, _ = s.RawRecv()
				}
				switch n % 4 {
				case 0:
					_ = s.Close()
				case 1:
					_ = s.SendError(context.Canceled)
				}
				cancel()
				_ = s.Close()
			}
		})
	}
	wg.Wait()
	if client.Err() != nil || server.Err() != nil {
		t.Errorf("ended by %v and %v", client.Err(), server.Err())
	}
}

// What a peer sends for streams that have ended is forgiven as far as it may have been
// on its way, and counted from there on.
func TestFramesThatCannotBeLateAreCounted(t *testing.T) {
	const allowed, idle = 16, 10
	synctest.Test(t, func(t *testing.T) {
		man, peer, acc := newServer(t, drpcmanager.Options{Limits: drpcmanager.Limits{IdleFrames: idle, IdleFramesPerSecond: 1}})
		peer.Send(`s1 m1 Invoke "/rpc"`)
		synctest.Wait()
		_ = acc.get(t, 0).Return(nil)
		for i := range allowed + idle {
			peer.Send(fmt.Sprintf(`s1 m%d Close`, i+2))
			peer.Send(fmt.Sprintf(`s1 m%d Message "a peer without credit may have many on their way"`, i+2))
		}
		synctest.Wait()
		if man.Err() != nil {
			t.Fatalf("ended by %v", man.Err())
		}
		peer.Send(`s1 m99 Close`)
		peer.Expect(`s1 m1 CloseSend`)
		peer.ExpectClosed()
		if err := man.Err(); err == nil {
			t.Error("it goes on for ever")
		}
	})
}
