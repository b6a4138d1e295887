package hostile_test

import (
	"math"
	"sync"
	"testing"
	"time"

	"braid/drpcserver"
	"braid/drpcwire"
)

// short says that there is little time. An attacker is told.
var short bool

// scaled is a number of connections, or a tenth of it where there is little time.
func scaled(n int) int {
	if short {
		return max(n/10, 1)
	}
	return n
}

// dribbles are connections that send a byte now and then (T19).
func dribbles() []play {
	n := scaled(most())
	// dribble writes the bytes one by one.
	dribble := func(c *raw, data []byte) {
		c.a.note(func(r *report) { r.Frames++ })
		for i := 0; c.a.ctx.Err() == nil && c.write(data[i%len(data):i%len(data)+1]); i++ {
			c.a.pause(100 * time.Millisecond)
			select {
			case <-c.gone:
				return
			default:
			}
		}
	}
	return []play{
		{
			name: "T19 2,000 connections that dribble one frame", ends: "a frame has come in part", held: 200, long: true, half: true,
			server: func(o *drpcserver.Options) { o.Manager.Limits.FrameTimeout = soon() },
			attack: func(a *attacker) {
				endless := append([]byte{byte(drpcwire.KindInvoke << 1), 1, 1}, drpcwire.AppendVarint(nil, 1<<30)...)
				a.crowd(min(n, scaled(2000)), true, func(c *raw) { dribble(c, append(endless, make([]byte, 1<<10)...)) })
			},
		},
		{
			name: "T19 2,000 connections that dribble whole frames", ends: "deadline exceeded", held: 200, long: true, half: true,
			server: func(o *drpcserver.Options) { o.Manager.InactivityTimeout = soon() },
			attack: func(a *attacker) {
				ignored := encode(drpcwire.Frame{Kind: 40, Control: true, Done: true})
				a.crowd(min(n, scaled(2000)), true, func(c *raw) { dribble(c, ignored) })
			},
		},
	}
}

// crowds are many connections (T20, T22, T23, T25).
func crowds() []play {
	n := scaled(most())
	storm := func(f func(c *raw)) func(a *attacker) {
		return func(a *attacker) {
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() { a.again(f) })
			}
			wg.Wait()
		}
	}
	return []play{
		{name: "T20 9,000 connections that do nothing", held: 400, each: 40, long: true, rest: n, attack: func(a *attacker) {
			a.note(func(r *report) { r.Frames++ })
			a.crowd(n, false, (*raw).rest)
		}},
		{
			name: "T20 connections above the limit", ends: "turned away", held: 64,
			server: func(o *drpcserver.Options) { o.MaximumConnections = 50 },
			attack: func(a *attacker) {
				a.note(func(r *report) { r.Frames++ })
				a.crowd(math.MaxInt, true, func(c *raw) {
					select {
					case <-c.gone:
					case <-a.ctx.Done():
					}
				})
			},
			check: func(t *testing.T, rep report) {
				if rep.Ended == 0 {
					t.Errorf("nobody was turned away: %+v", rep)
				}
			},
		},
		{name: "T20 400 connections that had 64 calls at once", held: 300, each: 160, long: true, rest: scaled(400), attack: func(a *attacker) {
			a.crowd(scaled(400), true, func(c *raw) {
				if !c.hello() {
					return
				}
				stalled(c, waitRPC, 64, messages(0, ""))
				var cancels []drpcwire.Frame
				for id := uint64(3); id < c.next; id += 2 {
					cancels = append(cancels, frame(drpcwire.KindCancel, id, 2, ""))
				}
				c.send(cancels...)
				c.rest()
			})
		}},
		{name: "T22 handlers that panic", ends: "did not return", may: "achieve nothing", says: "panicked", held: 64, attack: func(a *attacker) {
			a.known(func(c *raw) {
				c.flood(func(buf []byte) []byte {
					return append(buf, encode(frame(drpcwire.KindInvoke, c.id(), 1, panicRPC))...)
				})
			})
		}},
		{name: "T23 connections of rubbish", ends: "connection lost", held: 64, attack: storm(func(c *raw) {
			c.send(frame(0, 1, 1, "rubbish"))
			<-c.gone
		})},
		{name: "T25 clients that come and go", held: 64, attack: storm(func(c *raw) {
			if c.hello() {
				c.send(frame(drpcwire.KindGoAway, 0, 0, "\x00\x00bye"))
			}
		})},
	}
}
