package interop_test

import (
	"slices"
	"testing"
	"testing/synctest"

	"storj.io/drpc"

	"braid/drpcwire"
	"braid/internal/drpctest"
)

// flusher is how a program reaches what drpc.Stream does not have.
type flusher interface {
	RawFlush() error
	SetManualFlush(bool)
}

// writesWith returns the writes of one end that hold frames of this kind, each
// as the number of them.
func (c side) writesWith(kind drpcwire.Kind) (counts []int) {
	c.t.Helper()
	synctest.Wait()
	for i := range c.end.Writes() {
		n := 0
		for _, k := range c.kinds(i) {
			if k == kind {
				n++
			}
		}
		if n > 0 {
			counts = append(counts, n)
		}
	}
	return counts
}

// flushed fails unless the messages have left in writes of these sizes.
func (c side) flushed(when string, want ...int) {
	c.t.Helper()
	if got := c.writesWith(message); !slices.Equal(got, want) {
		c.t.Errorf("%s: messages left in writes of %v, want %v", when, got, want)
	}
}

// burst sends n messages.
func burst(t *testing.T, stream drpc.Stream, n int) {
	t.Helper()
	for range n {
		must(t, drpctest.Send(stream, "message"))
	}
}

// forEachFlush runs a test over a client of each stack with an open stream,
// with manual flushing by option and by method.
func forEachFlush(t *testing.T, test func(c side, stream drpc.Stream)) {
	for _, s := range stacks {
		for _, o := range []options{{ManualFlush: true}, {}} {
			name := s.name + "/by method"
			if o.ManualFlush {
				name = s.name + "/by option"
			}
			t.Run(name, func(t *testing.T) {
				clientBubble(t, s, o, func(_ *testing.T, c side) {
					stream := c.open(bg)
					if !o.ManualFlush {
						stream.(flusher).SetManualFlush(true)
					}
					test(c, stream)
				})
			})
		}
	}
}

// TestBurstLeavesInOneWrite when it is flushed, and not before.
func TestBurstLeavesInOneWrite(t *testing.T) {
	forEachFlush(t, func(c side, stream drpc.Stream) {
		burst(c.t, stream, 10)
		c.flushed("before the flush")
		must(c.t, stream.(flusher).RawFlush())
		c.flushed("after the flush", 10)
		must(c.t, stream.(flusher).RawFlush())
		burst(c.t, stream, 5)
		c.flushed("before the second", 10)
		must(c.t, stream.(flusher).RawFlush())
		c.flushed("after the second", 10, 5)
	})
}

// TestNextSendFlushesBoth is the example that stock documents at SetManualFlush.
func TestNextSendFlushesBoth(t *testing.T) {
	forEachFlush(t, func(c side, stream drpc.Stream) {
		must(c.t, drpctest.Send(stream, "hello, "))
		stream.(flusher).SetManualFlush(false)
		c.flushed("after turning it off")
		must(c.t, drpctest.Send(stream, "world!"))
		c.flushed("after the next send", 2)
		must(c.t, drpctest.Send(stream, "at once"))
		c.flushed("after one more", 2, 1)
	})
}

// TestBurstLeavesWithWhatFollows: the end of sending, and a receive.
func TestBurstLeavesWithWhatFollows(t *testing.T) {
	t.Run("CloseSend", func(t *testing.T) {
		forEachFlush(t, func(c side, stream drpc.Stream) {
			burst(c.t, stream, 10)
			must(c.t, stream.CloseSend())
			c.flushed("after CloseSend", 10)
			last := len(c.end.Writes()) - 1
			if kinds := c.kinds(last); kinds[len(kinds)-1] != closeSend {
				c.t.Errorf("the last write is %v", kinds)
			}
		})
	})
	t.Run("receive", func(t *testing.T) {
		forEachFlush(t, func(c side, stream drpc.Stream) {
			burst(c.t, stream, 10)
			c.peer.Send(`s1 m1 Message "answer"`)
			if got := recv(stream); got != `"answer"` {
				c.t.Errorf("got %s", got)
			}
			c.flushed("after a receive", 10)
		})
	})
}

// TestHandlersBurstLeavesInOneWrite at the latest when it returns.
func TestHandlersBurstLeavesInOneWrite(t *testing.T) {
	for _, s := range stacks {
		t.Run(s.name, func(t *testing.T) {
			service := &drpctest.Service{BidiFn: func(stream drpc.Stream) error {
				burst(t, stream, 10)
				return nil
			}}
			serverBubble(t, s, service, options{ManualFlush: true}, func(_ *testing.T, c side) {
				c.peer.Send(`s1 m1 ` + invokeBidi)
				c.flushed("after the handler", 10)
				if got := c.writesWith(closeSend); len(got) != 1 {
					c.t.Errorf("CloseSend is in writes of %v", got)
				}
			})
		})
	}
}
