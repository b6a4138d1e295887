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
		// Stream 1 may still be live for a moment after its answer.
		{name: "T9 beyond credit on closed streams", ends: "achieve nothing", may: "more sent than there is credit", held: 48, attack: func(a *attacker) {
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
		unpaid("T10 one stalled stream, without flow control", messages(64, full)),
		unpaid("T6 empty messages, without flow control", messages(5000, "")),
	}
}

// unpaid is a stream that is filled without credit. The reader waits for its handler,
// which never receives, but not without end: a call behind it is answered.
func unpaid(name string, next func(id uint64) []byte) play {
	return play{name: name, says: uncredited, held: 64, server: func(o *drpcserver.Options) {
		o.Manager.Limits.QueueTimeout = 20 * time.Millisecond
	}, attack: func(a *attacker) {
		a.again(func(c *raw) {
			stalled(c, waitRPC, 1, next)
			c.write(c.appendCall(nil))
		})
	}}
}

// uncredited is what a server says of a stream that has sent too much without credit.
const uncredited = "too much has come without flow control"

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
			server: func(o *drpcserver.Options) { o.Manager.Limits.WriteTimeout = 2 * soon() },
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
		unfinished("unfinished messages on all streams, peer not known", anyone),
		unfinished("unfinished messages on all streams, credit not known", (*raw).announce),
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
	whole := c.uploadWithin(patience, id, func() (drpcwire.Frame, bool) {
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
	if !whole && c.a.ctx.Err() != nil { // the attack was over before all of the call had left
		c.mu.Lock()
		c.short = true
		c.mu.Unlock()
	}
}

// unfinished sends 63 KiB of a message on each of many streams, without credit, and then
// almost all of it on every second one. The server holds 64 KiB of each, and what its
// budget allows and one message together, in storage of up to twice that size: 40 MiB.
// The other streams end.
func unfinished(name string, greet func(c *raw) bool) play {
	return play{name: name, says: uncredited, held: 120, each: 40 << 10, long: true, server: func(o *drpcserver.Options) {
		o.Manager.Limits.Streams, o.Manager.Window.Budget, o.Manager.Reader.MaximumBufferSize = 128, 8<<20, 4<<20
	}, attack: func(a *attacker) {
		a.again(func(c *raw) {
			if !greet(c) {
				return
			}
			first, free := c.next, strings.Repeat("x", 63<<10)
			for range 120 {
				id := c.id()
				if !c.send(frame(drpcwire.KindInvoke, id, 1, drpctest.Up), part(drpcwire.KindMessage, id, 2, free)) {
					return
				}
			}
			most := strings.Repeat("x", 4<<20-len(free))
			for id := first; id < c.next && c.send(part(drpcwire.KindMessage, id, 2, most)); id += 4 {
			}
			c.rest()
		})
	}}
}
