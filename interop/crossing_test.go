package interop_test

import (
	"context"
	"errors"
	"io"
	"runtime"
	"testing"
	"testing/synctest"

	"storj.io/drpc"

	"braid/drpcmanager"
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

// TestCancelAtAnyMomentHarmsNothingButTheCall, unless it crosses the CloseSend of
// a stock server: then the next call says that the connection is lost, and a new
// connection works. No call hangs, and none gets an answer that is not its own.
func TestCancelAtAnyMomentHarmsNothingButTheCall(t *testing.T) {
	for _, s := range stacks {
		t.Run(s.name, func(t *testing.T) {
			addr := s.serve(t, &drpctest.Service{}, options{})
			c := braid.dial(t, addr, options{})
			for range 400 {
				ctx, cancel := context.WithCancel(bg)
				result := later(func() string { return answer(drpctest.Call(ctx, c, "x")) })
				runtime.Gosched()
				cancel()
				got := await(t, result, "the call")
				text, err := drpctest.Call(bg, c, "next")
				lost := isLost(err) && s.name == "stock"
				if got != "canceled" && got != `"x"` && !(got == "closed" && lost) {
					t.Fatalf("got %s", got)
				}
				switch {
				case err == nil && text == "next":
				case lost:
					c = braid.dial(t, addr, options{})
				default:
					t.Fatalf("next: got %s", answer(text, err))
				}
			}
		})
	}
}

// isLost reports whether the connection was lost because the peer hung up.
func isLost(err error) bool {
	var lost *drpcmanager.LostError
	return errors.As(err, &lost) && drpc.ClosedError.Has(err)
}
