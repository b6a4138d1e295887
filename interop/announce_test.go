package interop_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"

	"storj.io/drpc"
	"storj.io/drpc/drpcmetadata"

	"braid/drpcmanager"
	"braid/drpcwire"
	"braid/internal/drpctest"
)

// The kinds that the tests below look for in a write.
const (
	invoke    = drpcwire.KindInvoke
	message   = drpcwire.KindMessage
	closeSend = drpcwire.KindCloseSend
	metadata  = drpcwire.KindInvokeMetadata
	announce  = drpcwire.KindSettings
	drpcClose = drpcwire.KindClose
)

// TestNothingIsSaidBeforeThereIsAStream: a stock server that gets a frame before
// an Invoke never reads again, and a stock client cancels its call (W6).
func TestNothingIsSaidBeforeThereIsAStream(t *testing.T) {
	for _, mode := range []drpcmanager.Multiplex{
		drpcmanager.MultiplexAuto, drpcmanager.MultiplexAlways, drpcmanager.MultiplexNever,
	} {
		clientBubble(t, braid, options{Multiplex: mode}, func(_ *testing.T, c side) { c.silent() })
	}
	serverBubble(t, braid, &drpctest.Service{}, options{}, func(_ *testing.T, c side) { c.silent() })
}

// TestAnnouncementLeavesInOneWriteWithItsInvoke: W4 holds for it only right
// behind the Invoke.
func TestAnnouncementLeavesInOneWriteWithItsInvoke(t *testing.T) {
	with := drpcmetadata.Add(context.Background(), "k", "v")
	tests := []struct {
		name string
		call func(c side)
		want []drpcwire.Kind
	}{
		{"stream", func(c side) { c.open(bg) }, []drpcwire.Kind{invoke, announce}},
		{"stream with metadata", func(c side) { c.open(with) }, []drpcwire.Kind{metadata, invoke, announce}},
		{"unary", func(c side) { go drpctest.Call(bg, c.conn, "x") }, //nolint:errcheck // it ends with the test
			[]drpcwire.Kind{invoke, announce, message, closeSend}},
		{"unary with metadata", func(c side) { go drpctest.Call(with, c.conn, "x") }, //nolint:errcheck // likewise
			[]drpcwire.Kind{metadata, invoke, announce, message, closeSend}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			clientBubble(t, braid, options{}, func(t *testing.T, c side) {
				test.call(c)
				synctest.Wait()
				if got := c.kinds(0); !slices.Equal(got, test.want) {
					t.Errorf("got %v want %v", got, test.want)
				}
				checkClientBytes(t, c.end.Writes(), 1)
			})
		})
	}
}

// TestAnnouncementIsRepeatedUntilSomethingComesBack: where a stream ended before
// the peer has said anything, nothing is known of the peer.
func TestAnnouncementIsRepeatedUntilSomethingComesBack(t *testing.T) {
	clientBubble(t, braid, options{}, func(t *testing.T, c side) {
		for _, id := range []uint64{1, 3, 5} {
			ctx, cancel := context.WithCancel(bg)
			stream := c.open(ctx)
			c.expect(id, 1, invoke)
			c.expectSettings(id, 2)
			cancel()
			c.expect(id, 3, drpcwire.KindCancel)
			await(t, stream.Context().Done(), "the end of the stream")
		}
		stream := c.open(bg)
		c.expect(7, 1, invoke)
		c.expectSettings(7, 2)
		c.peer.Send(`s7 m1 Message "a"`, `s7 m2 CloseSend`)
		if got := recv(stream); got != `"a"` {
			t.Errorf("got %s", got)
		}
		must(t, stream.CloseSend())
		c.expect(7, 3, closeSend)

		// The peer has spoken without announcing itself: it is stock, and is not
		// asked again.
		c.open(bg)
		c.expect(9, 1, invoke)
		c.expectNothing()
		checkClientBytes(t, c.end.Writes(), 4)
	})
}

// expect waits for a whole frame with this id and kind.
func (c side) expect(stream, message uint64, kind drpcwire.Kind) {
	c.t.Helper()
	fr := c.frame()
	if fr.ID != (drpcwire.ID{Stream: stream, Message: message}) || fr.Kind != kind || !fr.Done {
		c.t.Fatalf("got %s\nwant s%d m%d %v", drpctest.Describe(fr), stream, message, kind)
	}
}

// TestLateAnswerCounts: the peer may have sent other frames before it, and the
// stream that announced may be over.
func TestLateAnswerCounts(t *testing.T) {
	tests := []struct {
		name   string
		before func(c side, first drpc.Stream)
	}{
		{"at once", func(side, drpc.Stream) {}},
		{"after a message", func(c side, first drpc.Stream) {
			c.peer.Send(`s1 m1 Message "a"`)
			if got := recv(first); got != `"a"` {
				c.t.Errorf("got %s", got)
			}
		}},
		{"in the middle of a message", func(c side, _ drpc.Stream) { c.peer.Send(`s1 m1 Message "a" more`) }},
		{"after the stream", func(c side, first drpc.Stream) {
			must(c.t, first.Close())
			c.expect(1, 3, drpcwire.KindClose)
			c.peer.Send(`s1 m1 Error "\x00\x00\x00\x00\x00\x00\x00\x07late"`)
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			clientBubble(t, braid, options{}, func(_ *testing.T, c side) {
				first := c.open(bg)
				c.expect(1, 1, invoke)
				c.expectSettings(1, 2)
				test.before(c, first)
				c.peer.Send(settings("s1 m2"))
				synctest.Wait()

				// Three streams at once.
				for _, id := range []uint64{3, 5, 7} {
					c.open(bg)
					c.expect(id, 1, invoke)
				}
				c.expectNothing()
			})
		})
	}
}

// TestNeverNeitherAnnouncesNorListens: what the peer says of itself changes nothing.
func TestNeverNeitherAnnouncesNorListens(t *testing.T) {
	clientBubble(t, braid, options{Multiplex: drpcmanager.MultiplexNever}, func(_ *testing.T, c side) {
		c.open(bg)
		c.expect(1, 1, invoke)
		c.peer.Send(settings("s1 m1"))
		ctx, cancel := context.WithCancel(bg)
		waiter := later(func() error {
			_, err := c.conn.NewStream(ctx, "rpc", drpctest.Enc{})
			return err
		})
		c.expectNothing()
		cancel()
		if err := await(c.t, waiter, "the waiter"); outcome(err) != "canceled" {
			c.t.Errorf("got %v", err)
		}
		c.expectNothing()
	})
}

// TestServerAnswersWhoHasAnnouncedItselfAndNobodyElse: first of all that it
// sends on the stream, if the announcement came with the Invoke (M4).
func TestServerAnswersWhoHasAnnouncedItselfAndNobodyElse(t *testing.T) {
	const call = `s1 m1 Invoke "/test.Service/Bidi"`
	t.Run("with the Invoke", func(t *testing.T) {
		serverBubble(t, braid, &drpctest.Service{}, options{}, func(_ *testing.T, c side) {
			c.peer.Send(call, settings("s1 m2"), `s1 m3 Message "a"`)
			c.expectSettings(1, 1)
			c.peer.Expect(`s1 m2 Message "a"`)
			c.expectNothing()
		})
	})
	t.Run("after the answer", func(t *testing.T) {
		serverBubble(t, braid, &drpctest.Service{}, options{}, func(_ *testing.T, c side) {
			c.peer.Send(call, `s1 m2 Message "a"`)
			c.peer.Expect(`s1 m1 Message "a"`)
			c.peer.Send(settings("s1 m3"))
			c.expectSettings(1, 2)
			c.expectNothing()
		})
	})
	t.Run("never", func(t *testing.T) {
		serverBubble(t, braid, &drpctest.Service{}, options{}, func(t *testing.T, c side) {
			c.peer.Send(call, `s1 m2 Message "a"`, `s1 m3 CloseSend`)
			c.peer.Expect(`s1 m1 Message "a"`, `s1 m2 CloseSend`)
			c.peer.Send(`s2 m1 Invoke "/test.Service/Bidi"`, `s2 m2 CloseSend`)
			c.peer.Expect(`s2 m1 CloseSend`)
			c.expectNothing()
			checkReadable(t, c.end.Writes())
		})
	})
}
