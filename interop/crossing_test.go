package interop_test

import (
	"context"
	"errors"
	"io"
	"runtime"
	"testing"
	"testing/synctest"

	"storj.io/drpc"

	"braid/drpcconn"
	"braid/drpcwire"
	"braid/internal/drpctest"
)

// What a stock server does with a Cancel that arrives while it is writing the
// CloseSend of the same stream: it takes the end of the stream for a failure of
// its write, and hangs up. A Close that arrives then does no harm. The tests here
// hold both facts, and what they mean for the calls of a braid client.

// closeGate is a transport whose Write waits when it is to write a CloseSend.
type closeGate struct {
	*drpctest.End
	release chan struct{}
}

// Write implements drpc.Transport.
func (g closeGate) Write(p []byte) (int, error) {
	if _, fr, ok, err := drpcwire.ParseFrame(p); ok && err == nil && fr.Kind == closeSend {
		<-g.release
	}
	return g.End.Write(p)
}

// TestStockHangsUpOnACancelThatCrossesItsCloseSend, whoever has sent it.
func TestStockHangsUpOnACancelThatCrossesItsCloseSend(t *testing.T) {
	for end, hangsUp := range map[string]bool{`s1 m3 Cancel ctl`: true, `s1 m3 Close`: false} {
		t.Run(end, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := drpctest.Pipe()
				peer := drpctest.NewPeer(t, b)
				gate := closeGate{End: a, release: make(chan struct{})}
				done := stock.serveOne(t, bg, gate, &drpctest.Service{}, options{})
				peer.Send(`s1 m1 Invoke "/test.Service/Unary"`, `s1 m2 Message "x"`)
				peer.Expect(`s1 m1 Message "x"`)
				synctest.Wait() // the CloseSend is being written
				peer.Send(end)
				synctest.Wait()
				close(gate.release)
				peer.Expect(`s1 m2 CloseSend`)
				synctest.Wait()
				if !hangsUp {
					peer.ExpectNothing()
					return
				}
				peer.ExpectClosed()
				if err := <-done; !errors.Is(err, context.Canceled) || errors.Is(err, io.EOF) {
					t.Errorf("ServeOne: %v", err)
				}
			})
		})
	}
}

// TestBraidTakesACancelThatCrossesItsCloseSend for what it is.
func TestBraidTakesACancelThatCrossesItsCloseSend(t *testing.T) {
	service := &drpctest.Service{
		BidiFn: func(drpc.Stream) error { return nil },
		UpFn:   func(stream drpc.Stream) error { return drpctest.Send(stream, "alive") },
	}
	serverBubble(t, braid, service, options{}, func(_ *testing.T, c side) {
		c.end.Limit(0)
		c.peer.Send(`s1 m1 ` + invokeBidi)
		synctest.Wait()
		c.peer.Send(`s1 m2 Cancel ctl`)
		synctest.Wait()
		c.end.Limit(-1)
		c.peer.Send(`s2 m1 Invoke "/test.Service/Up"`)
		c.peer.Expect(`s1 m1 CloseSend`, `s2 m1 Message "alive"`, `s2 m2 CloseSend`)
		c.expectNothing()
	})
}

// TestCancelAtAnyMomentHarmsNothingButTheCall: the next one on the same connection
// works, and none gets an answer that is not its own. Towards stock that is so
// because a unary call, which has sent CloseSend, is canceled by Close.
func TestCancelAtAnyMomentHarmsNothingButTheCall(t *testing.T) {
	for _, s := range stacks {
		t.Run(s.name, func(t *testing.T) {
			addr := s.serve(t, &drpctest.Service{}, options{})
			for range 5 {
				c := braid.dial(t, addr, options{})
				for range 400 {
					ctx, cancel := context.WithCancel(bg)
					result := later(func() string { return answer(drpctest.Call(ctx, c, "x")) })
					runtime.Gosched()
					cancel()
					if got := await(t, result, "the call"); got != "canceled" && got != `"x"` {
						t.Fatalf("got %s", got)
					}
					if text, err := drpctest.Call(bg, c, "next"); err != nil || text != "next" {
						t.Fatalf("next: got %s", answer(text, err))
					}
				}
			}
		})
	}
}

// TestCancelIsSentAsCloseOnceASideHasClosed, towards a peer that is not known, and
// as Cancel otherwise: a canceled upload must not look like a complete one.
func TestCancelIsSentAsCloseOnceASideHasClosed(t *testing.T) {
	for name, c := range map[string]struct {
		known, closed bool
		want          string
	}{
		"unknown peer, closed": {false, true, `s1 m4 Close`},
		"unknown peer, open":   {false, false, `s1 m3 Cancel ctl`},
		"known peer, closed":   {true, true, `s1 m4 Cancel ctl`},
		"known peer, open":     {true, false, `s1 m3 Cancel ctl`},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := drpctest.Pipe()
				peer := drpctest.NewPeer(t, b)
				conn := drpcconn.New(a)
				defer conn.Close()
				ctx, cancel := context.WithCancel(bg)
				defer cancel()
				stream, err := conn.NewStream(ctx, drpctest.Bidi, drpctest.Enc{})
				if err != nil {
					t.Fatal(err)
				}
				_, _ = peer.Next() // Invoke
				settings, _ := peer.Next()
				if c.known {
					peer.Send(settings)
					synctest.Wait()
				}
				if c.closed {
					_ = stream.CloseSend()
					peer.Expect(`s1 m3 CloseSend`)
				}
				cancel()
				peer.Expect(c.want)
				if _, err := drpctest.Recv(stream); err != context.Canceled {
					t.Errorf("Recv: %v", err)
				}
			})
		})
	}
}
