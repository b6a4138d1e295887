package hostile_test

import (
	"strings"
	"time"

	"braid/drpcserver"
	"braid/drpcwire"
	"braid/internal/drpctest"
)

// stalled opens streams whose handlers receive nothing, and gives each one what
// next makes, in one write.
func stalled(c *raw, rpc string, streams int, next func(id uint64) []byte) {
	for i := 0; i < streams && c.a.ctx.Err() == nil; i++ {
		id := c.id()
		c.a.note(func(r *report) { r.Frames++ })
		if !c.write(append(encode(frame(drpcwire.KindInvoke, id, 1, rpc)), next(id)...)) {
			return
		}
	}
}

// messages makes n messages with the data, of a stream.
func messages(n int, data string) func(id uint64) []byte {
	return func(id uint64) (buf []byte) {
		for i := range n {
			buf = drpcwire.AppendFrame(buf, frame(drpcwire.KindMessage, id, uint64(2+i), data))
		}
		return buf
	}
}

// downloads opens streams on which the server has much to send.
func downloads(c *raw, streams int) {
	var buf []byte
	for range streams {
		id := c.id()
		buf = append(buf, encode(
			frame(drpcwire.KindInvoke, id, 1, drpctest.Down), frame(drpcwire.KindMessage, id, 2, strings.Repeat("x", 512)),
			frame(drpcwire.KindCloseSend, id, 3, ""),
		)...)
	}
	c.a.note(func(r *report) { r.Frames += 3 * streams })
	c.write(buf)
}

// flows are abuses of flow control (T6 to T10).
func flows() []play {
	fillWith := func(name string, n int, data string, held int64) play {
		return play{name: name, held: held, long: true, attack: func(a *attacker) {
			a.known(func(c *raw) {
				stalled(c, waitRPC, 1000, messages(n, data))
				for a.ctx.Err() == nil && c.write(c.appendCall(nil)) {
					a.pause(time.Millisecond)
				}
			})
		}}
	}
	overrun := func(name string, frames func(id uint64) []byte) play {
		return play{name: name, ends: "more sent than there is credit", held: 48, attack: func(a *attacker) {
			a.known(func(c *raw) {
				stalled(c, waitRPC, 1, frames)
				c.rest()
			})
		}}
	}
	full := strings.Repeat("x", window-drpcwire.FrameCost)
	const credit = window / drpcwire.FrameCost
	return []play{
		fillWith("T6 empty messages, as credit allows", credit, "", 128),
		fillWith("T6 one-byte messages, as credit allows", window/(drpcwire.FrameCost+1), "x", 160),
		overrun("T6 empty messages, beyond credit", messages(credit+1, "")),
		overrun("T9 beyond credit by 1 on the first frame", messages(1, full+"x")),
		overrun("T9 beyond credit by 64 KiB on the first frame", messages(1, full+strings.Repeat("x", window))),
		overrun("T9 beyond credit by 1 later", func(id uint64) []byte {
			return encode(frame(drpcwire.KindMessage, id, 2, full[:window/2]),
				frame(drpcwire.KindMessage, id, 3, full[:window/2-2*drpcwire.FrameCost+1]))
		}),
		{name: "T9 beyond credit on closed streams", ends: "achieve nothing", held: 48, attack: func(a *attacker) {
			a.known(func(c *raw) {
				c.floodAlone(same(frame(drpcwire.KindMessage, 1, 9, full)))
			})
		}},
		{name: "T10 one stalled stream", held: 48, attack: func(a *attacker) {
			a.known(func(c *raw) {
				stalled(c, waitRPC, 1, messages(1, full))
				for a.ctx.Err() == nil && c.write(c.appendCall(nil)) {
				}
			})
		}},
		// Without flow control the reader waits for the handler, and does not see that
		// its peer has gone. So these handlers have an end of their own.
		{name: "T10 one stalled stream, without flow control", held: 250, attack: func(a *attacker) {
			a.again(func(c *raw) { stalled(c, ignoreRPC, 1, messages(64, full)) })
		}},
		{name: "T6 empty messages, without flow control", held: 250, attack: func(a *attacker) {
			a.again(func(c *raw) { stalled(c, ignoreRPC, 1, messages(5000, "")) })
		}},
	}
}

// slow are peers that take nothing, or next to nothing (T7, T8).
func slow() []play {
	overflow := "write queue overflow"
	if short {
		overflow = "" // it takes more than a hundred thousand refusals
	}
	grants := func(name, ends string, n uint64) play {
		return play{name: name, ends: ends, held: 64, attack: func(a *attacker) {
			a.known(func(c *raw) {
				id := c.next
				downloads(c, 1)
				c.flood(same(frame(drpcwire.KindWindowUpdate, id, 0, string(drpcwire.AppendVarint(nil, n)))))
			})
		}}
	}
	return []play{
		{name: "T7 10,000 downloads without a grant", held: 900, long: true, attack: func(a *attacker) {
			a.crowd(scaled(10), true, func(c *raw) {
				if c.hello() && c.send(frame(drpcwire.KindSettings, 0, 0, settingsWith(0, drpcwire.MinWindow))) {
					downloads(c, 1000)
					for a.ctx.Err() == nil && c.write(c.appendCall(nil)) {
						a.pause(time.Millisecond)
					}
				}
			})
		}},
		{
			name: "T7 4,000 downloads, not reading", ends: "write timeout", held: 600, long: true,
			server: func(o *drpcserver.Options) { o.Manager.Limits.WriteTimeout = 300 * time.Millisecond },
			attack: func(a *attacker) {
				a.crowd(scaled(40), false, func(c *raw) {
					_ = c.nc.SetReadBuffer(4 << 10)
					downloads(c, 100)
					c.rest()
				})
			},
		},
		{
			name: "T5 refusals that are not read", ends: overflow, may: "write queue overflow", held: 200, long: true,
			server: func(o *drpcserver.Options) { o.Manager.Limits.WriteTimeout = time.Minute },
			attack: func(a *attacker) {
				a.deaf(func(c *raw) {
					c.floodAlone(func(buf []byte) []byte {
						id := c.id() // with metadata that is malformed
						return append(buf, encode(frame(drpcwire.KindInvokeMetadata, id, 1, "\x0a\x05\x0a\xff"), frame(drpcwire.KindInvoke, id, 2, "/"))...)
					})
				})
			},
		},
		{
			name: "T7 calls whose answers are not read", held: 200,
			attack: func(a *attacker) {
				a.deaf(func(c *raw) {
					c.floodAlone(func(buf []byte) []byte {
						id := c.id()
						return append(buf, encode(frame(drpcwire.KindInvoke, id, 1, "/none"), frame(drpcwire.KindCancel, id, 2, ""))...)
					})
				})
			},
		},
		grants("T7 grants of one byte", "achieve nothing", 1),
		grants("T8 credit of 2^31-1", "achieve nothing", 1<<31-1),
		grants("T8 credit of 2^63", "achieve nothing", 1<<63),
		grants("T8 credit of nothing", "achieve nothing", 0),
	}
}

// hoards make the server hold what will never be complete.
func hoards() []play {
	anyone := func(*raw) bool { return true }
	// parts are frames of one message that does not end.
	parts := func(id uint64, total int) func() (drpcwire.Frame, bool) {
		data := strings.Repeat("x", 16<<10)
		return func() (drpcwire.Frame, bool) {
			total -= len(data)
			return part(drpcwire.KindMessage, id, 2, data), total > 0
		}
	}
	return []play{
		{name: "unfinished messages on all streams, large ones afterwards", held: 400, long: true, attack: func(a *attacker) {
			a.known(func(c *raw) {
				var ids []uint64
				for range 200 {
					id := c.id()
					ids = append(ids, id)
					if !c.send(frame(drpcwire.KindInvoke, id, 1, drpctest.Up)) {
						return
					}
					c.upload(id, parts(id, 3<<20))
				}
				for _, id := range ids {
					c.send(frame(drpcwire.KindCancel, id, 3, ""))
				}
				c.largeCall(3 << 20)
			})
		}},
		unpaid("unfinished messages on all streams, peer not known", anyone),
		unpaid("unfinished messages on all streams, credit not known", (*raw).announce),
		{name: "large messages abandoned for empty ones", held: 64, long: true, attack: func(a *attacker) {
			a.known(func(c *raw) {
				for range 4 {
					id := c.id()
					if !c.send(frame(drpcwire.KindInvoke, id, 1, waitRPC)) {
						return
					}
					n := uint64(1)
					data := strings.Repeat("x", 20<<10)
					c.upload(id, func() (drpcwire.Frame, bool) {
						if n++; n%2 == 0 {
							return part(drpcwire.KindMessage, id, n, data), n < 1400
						}
						return frame(drpcwire.KindMessage, id, n, ""), true
					})
				}
				c.rest()
			})
		}},
	}
}

// largeCall makes an honest call with a large request.
func (c *raw) largeCall(size int) {
	id := c.id()
	c.ask(id)
	c.send(frame(drpcwire.KindInvoke, id, 1, drpctest.Unary))
	data := strings.Repeat("x", 16<<10)
	sent := 0
	c.upload(id, func() (drpcwire.Frame, bool) {
		switch sent += len(data); {
		case sent < size:
			return part(drpcwire.KindMessage, id, 2, data), true
		case sent == size:
			return frame(drpcwire.KindMessage, id, 2, data), true
		case sent == size+len(data):
			return frame(drpcwire.KindCloseSend, id, 3, ""), true
		}
		return drpcwire.Frame{}, false
	})
}

// unpaid sends parts on many streams, to a server that has nothing to hold against
// that but the number of its streams and the size of their messages: 64 MiB, and
// twice that while storage grows.
func unpaid(name string, greet func(c *raw) bool) play {
	return play{name: name, says: "exceeds the limit", held: 200, long: true, server: func(o *drpcserver.Options) {
		o.Manager.Limits.Streams, o.Manager.Reader.MaximumBufferSize = 128, 512<<10
	}, attack: func(a *attacker) {
		a.again(func(c *raw) {
			if !greet(c) {
				return
			}
			data := strings.Repeat("x", 512<<10)
			first := c.next
			for i := 0; i < 120 && a.ctx.Err() == nil; i++ {
				id := c.id()
				if !c.send(frame(drpcwire.KindInvoke, id, 1, drpctest.Up), part(drpcwire.KindMessage, id, 2, data)) {
					return
				}
			}
			a.pause(100 * time.Millisecond)
			for id := first; id < c.next; id += 2 {
				c.send(part(drpcwire.KindMessage, id, 2, "x"))
			}
			c.rest()
		})
	}}
}
