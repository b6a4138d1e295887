package hostile_test

import (
	"strings"
	"testing"
	"time"

	"storj.io/drpc/drpcmetadata"

	"braid/drpcserver"
	"braid/drpcwire"
	"braid/internal/drpctest"
)

// TestHonestClientsAreServedWhileAnotherAttacks, and all that the attacker has
// caused is gone when it is.
func TestHonestClientsAreServedWhileAnotherAttacks(t *testing.T) {
	short = testing.Short()
	for _, p := range plays() {
		t.Run(p.name, p.run)
	}
}

// answered reports whether an Error frame that came has the text.
func answered(rep report, text string) bool {
	for got := range rep.Errors {
		if strings.Contains(got, text) {
			return true
		}
	}
	return false
}

// plays are all of them.
func plays() (all []play) {
	for _, some := range [][]play{resets(), setups(), floods(), flows(), slow(), ids(), lengths(), dribbles(), crowds(), hoards()} {
		all = append(all, some...)
	}
	return all
}

// streams makes a server take fewer streams on a connection than by default.
func streams(n int) func(*drpcserver.Options) {
	return func(o *drpcserver.Options) { o.Manager.Limits.Streams = n }
}

// resets are streams that end before their handlers do (T1, T2).
func resets() []play {
	const most = 64
	// made makes a play of streams whose handlers do not heed their contexts, and
	// that end by what next appends behind the Invoke.
	made := func(name string, ends, says string, next func(buf []byte, id uint64) []byte) play {
		return play{
			name: name, server: streams(most), ends: ends, may: "achieve nothing", says: says, held: 48, handlers: most,
			attack: func(a *attacker) {
				a.known(func(c *raw) {
					c.flood(func(buf []byte) []byte {
						id := c.id()
						return next(append(buf, encode(frame(drpcwire.KindInvoke, id, 1, ignoreRPC))...), id)
					})
				})
			},
		}
	}
	credit := func(n uint64) string { return string(drpcwire.AppendVarint(nil, n)) }
	with := func(frames func(id uint64) []drpcwire.Frame) func([]byte, uint64) []byte {
		return func(buf []byte, id uint64) []byte { return append(buf, encode(frames(id)...)...) }
	}
	type fr = []drpcwire.Frame
	return []play{
		made("T1 invoke and cancel", "", "", with(func(id uint64) fr {
			return fr{frame(drpcwire.KindCancel, id, 2, "")}
		})),
		made("T2 invoke and credit overflow", "", "credit of", with(func(id uint64) fr {
			return fr{
				frame(drpcwire.KindWindowUpdate, id, 0, credit(drpcwire.MaxCredit)),
				frame(drpcwire.KindWindowUpdate, id, 0, credit(drpcwire.MaxCredit)),
			}
		})),
		made("T2 invoke and no credit", "", "credit of", with(func(id uint64) fr {
			return fr{frame(drpcwire.KindWindowUpdate, id, 0, credit(0))}
		})),
		made("T2 invoke and data after CloseSend", "", "", with(func(id uint64) fr {
			return fr{frame(drpcwire.KindCloseSend, id, 2, ""), frame(drpcwire.KindMessage, id, 3, "x")}
		})),
		made("T2 invoke twice", "Invoke on a live stream", "", with(func(id uint64) fr {
			return fr{frame(drpcwire.KindInvoke, id, 2, ignoreRPC)}
		})),
		made("T2 invoke and change of kind", "kind changed within a packet", "", with(func(id uint64) fr {
			return fr{part(drpcwire.KindMessage, id, 2, "x"), frame(drpcwire.KindClose, id, 2, "")}
		})),
		made("T2 invoke and Error", "", "", with(func(id uint64) fr {
			return fr{frame(drpcwire.KindError, id, 2, "12345678x")}
		})),
		made("T2 invoke and Close", "", "", with(func(id uint64) fr {
			return fr{frame(drpcwire.KindClose, id, 2, "")}
		})),
		{name: "T2 invoke and message above the limit", says: "exceeds the limit", held: 64, attack: func(a *attacker) {
			a.again(func(c *raw) { // without flow control, or credit would be the limit
				for a.ctx.Err() == nil {
					id := c.id()
					if !c.send(frame(drpcwire.KindInvoke, id, 1, waitRPC), frame(drpcwire.KindMessage, id, 2, strings.Repeat("x", 5<<20))) {
						return
					}
				}
			})
		}},
	}
}

// setups are Invokes that do not complete, or are refused (T2, T3, T14, T15).
func setups() []play {
	malformed := "\x0a\x05\x0a\xff"
	pairs := map[string]string{}
	for i := range 129 {
		pairs[string(rune('a'+i%26))+strings.Repeat("k", i)] = ""
	}
	many, _ := drpcmetadata.Encode(nil, pairs)
	control, _ := drpcmetadata.Encode(nil, map[string]string{"a\x00b\r\nc": "\x00\r\nd: e"})
	twice, _ := drpcmetadata.Encode(nil, map[string]string{"key": "value"})

	// opened makes a play of streams that are opened by what frames returns.
	opened := func(name, ends, says string, frames func(id uint64) []drpcwire.Frame) play {
		// Those that come faster than they are answered are more than may be open.
		return play{name: name, ends: ends, may: "achieve nothing", says: says, held: 64, attack: func(a *attacker) {
			a.known(func(c *raw) {
				c.flood(func(buf []byte) []byte { return append(buf, encode(frames(c.id())...)...) })
			})
		}}
	}
	type fr = []drpcwire.Frame
	// withMetadata opens a stream with it and closes it, so that it counts no longer.
	withMetadata := func(data string) func(id uint64) fr {
		return func(id uint64) fr {
			return fr{
				frame(drpcwire.KindInvokeMetadata, id, 1, data),
				frame(drpcwire.KindInvoke, id, 2, drpctest.Unary),
				frame(drpcwire.KindMessage, id, 3, "x"), frame(drpcwire.KindCloseSend, id, 4, ""),
			}
		}
	}
	named := func(name string) func(id uint64) fr {
		return func(id uint64) fr {
			return fr{frame(drpcwire.KindInvoke, id, 1, name), frame(drpcwire.KindCloseSend, id, 2, "")}
		}
	}
	return []play{
		opened("T3 invokes that do not complete", "incomplete invokes", "", func(id uint64) fr {
			return fr{part(drpcwire.KindInvoke, id, 1, "/")}
		}),
		opened("T3 metadata without an invoke", "incomplete invokes", "", func(id uint64) fr {
			return fr{frame(drpcwire.KindInvokeMetadata, id, 1, string(twice))}
		}),
		{name: "T3 empty parts of an invoke", ends: "achieve nothing", held: 48, attack: func(a *attacker) {
			a.again(func(c *raw) { c.floodAlone(same(part(drpcwire.KindInvoke, 1, 1, ""))) })
		}},
		{name: "T3 endless metadata on sixteen streams", says: "of more than", held: 48, attack: func(a *attacker) {
			a.known(func(c *raw) {
				ids, data := make([]uint64, 16), strings.Repeat("m", 1000)
				for i := range ids {
					ids[i] = c.id()
				}
				n := 0
				c.floodAlone(func(buf []byte) []byte {
					n++
					return append(buf, encode(part(drpcwire.KindInvokeMetadata, ids[(n-1)%16], 1, data))...)
				})
			})
		}},
		opened("T2 malformed metadata", "", "metadata", withMetadata(malformed)),
		opened("T14 too many pairs", "", "more than", withMetadata(string(many))),
		opened("T14 metadata above the limit", "", "of more than", withMetadata(strings.Repeat("m", 16<<10+1))),
		opened("T14 key given a thousand times", "", "pairs", withMetadata(strings.Repeat(string(twice), 1000))),
		opened("T14 key given twice", "", "", withMetadata(string(twice)+string(twice))),
		opened("T14 control characters", "", "", withMetadata(string(control))),
		opened("T15 empty name", "", "unknown rpc", named("")),
		opened("T15 name without a slash", "", "unknown rpc", named(drpctest.Unary[1:])),
		opened("T15 name with dots", "", "unknown rpc", named("/test.Service/../test.Service/Unary")),
		opened("T15 name with a null", "", "unknown rpc", named(drpctest.Unary+"\x00")),
		opened("T15 name above the limit", "", "of more than", named("/"+strings.Repeat("n", 1<<10))),
	}
}

// floods are frames that are cheap to send (T4, T12).
func floods() []play {
	flood := func(name, ends string, frames ...drpcwire.Frame) play {
		return play{name: name, ends: ends, held: 48, attack: func(a *attacker) {
			a.known(func(c *raw) { c.flood(same(frames...)) })
		}}
	}
	ping := frame(drpcwire.KindPing, 0, 0, "12345678")
	all := []play{
		flood("T4 pings", "pings in less than", ping),
		flood("T4 pings of a wrong length", "achieve nothing", frame(drpcwire.KindPing, 0, 0, "1")),
		flood("T4 pongs", "achieve nothing", frame(drpcwire.KindPong, 0, 0, "12345678")),
		flood("T4 settings", "achieve nothing", frame(drpcwire.KindSettings, 0, 0, settings(0))),
		flood("T4 bad settings", "settings", frame(drpcwire.KindSettings, 0, 0, "\x01")),
		{name: "T4 pings, not reading", ends: "pings in less than", held: 48, attack: func(a *attacker) {
			a.deaf(func(c *raw) { c.floodAlone(same(ping)) })
		}},
		{name: "T4 settings, not reading", ends: "achieve nothing", held: 48, attack: func(a *attacker) {
			a.deaf(func(c *raw) { c.floodAlone(same(frame(drpcwire.KindSettings, 0, 0, settings(0)))) })
		}},
		flood("T5 Error for no stream", "achieve nothing", frame(drpcwire.KindError, 1<<40, 1, "12345678")),
		flood("T5 Cancel for no stream", "achieve nothing", frame(drpcwire.KindCancel, 1<<40, 1, "")),
		flood("T5 Close for no stream", "achieve nothing", frame(drpcwire.KindClose, 1<<40, 1, "")),
		flood("T5 Message for no stream", "achieve nothing", frame(drpcwire.KindMessage, 1<<40, 1, "x")),
		{name: "T5 Message for a finished stream", ends: "achieve nothing", may: "message id used again", held: 48, attack: func(a *attacker) {
			a.known(func(c *raw) { c.flood(same(frame(drpcwire.KindMessage, 1, 9, "x"))) }) // live for a moment after its answer
		}},
		flood("T25 goaway", "achieve nothing", drpcwire.GoAwayFrame(drpcwire.GoAway{Last: 1, Text: "x"})),
	}
	unknown := func(control bool) func(buf []byte) []byte {
		n := 0
		return func(buf []byte) []byte {
			n++
			fr := frame(drpcwire.Kind(14+n%50), uint64(n%3), uint64(n%5), strings.Repeat("u", n%3*30))
			fr.Control, fr.Done = control, n%2 == 0
			return append(buf, encode(fr)...)
		}
	}
	return append(all,
		play{name: "T12 unknown kinds", ends: "achieve nothing", held: 48, attack: func(a *attacker) {
			a.known(func(c *raw) { c.flood(unknown(true)) })
		}},
		play{name: "T12 unknown kinds without the control bit", ends: "unknown kind", held: 48, attack: func(a *attacker) {
			a.known(func(c *raw) { c.flood(unknown(false)) })
		}},
	)
}

// ids are games with ids (T11).
func ids() []play {
	once := func(name, ends string, frames ...drpcwire.Frame) play {
		// Stream 1 may still be live for a moment after its answer.
		return play{name: name, ends: ends, may: "message id went back", held: 48, attack: func(a *attacker) {
			a.known(func(c *raw) {
				c.send(frames...)
				c.rest()
			})
		}}
	}
	invoke := func(id uint64) drpcwire.Frame { return frame(drpcwire.KindInvoke, id, 1, drpctest.Unary) }
	return []play{
		once("T11 id used again", "used again or out of order", invoke(1)),
		once("T11 decreasing id", "used again or out of order", invoke(1001), invoke(999)),
		once("T11 even id", "even id", invoke(2)),
		once("T11 stream id 0", "id ", frame(drpcwire.KindInvoke, 0, 1, drpctest.Unary)),
		once("T11 message id 0", "id ", frame(drpcwire.KindInvoke, 99, 0, drpctest.Unary)),
		once("T11 message id goes back", "message id went back", frame(drpcwire.KindInvoke, 99, 5, waitRPC),
			frame(drpcwire.KindMessage, 99, 4, "x")),
		once("T11 no id is left", "used again or out of order", invoke(1<<64-1), invoke(3)),
	}
}

// lengths are lies about lengths (T13).
func lengths() []play {
	bytes := func(name, ends string, data []byte) play {
		return play{name: name, ends: ends, held: 48, attack: func(a *attacker) {
			a.known(func(c *raw) {
				c.a.note(func(r *report) { r.Frames++ })
				c.write(data)
				if ends == "" { // the frame may go on, and the connection with it
					c.a.pause(50 * time.Millisecond)
					return
				}
				c.rest()
			})
		}}
	}
	declares := func(kind drpcwire.Kind, length uint64) []byte {
		return drpcwire.AppendVarint([]byte{byte(kind << 1), 5, 1}, length)
	}
	long := strings.Repeat("\xff", 10)
	return []play{
		bytes("T13 varint of more than 64 bits", "varint", []byte("\x05"+long+"\x7f")),
		bytes("T13 length of 2^63", "declares", declares(drpcwire.KindInvoke, 1<<63)),
		bytes("T13 length of 2^64-1", "declares", declares(drpcwire.KindInvoke, 1<<64-1)),
		bytes("T13 length above 2^30", "declares", declares(drpcwire.KindInvoke, 1<<30+1)),
		bytes("T13 length of 2^30 that never comes", "", declares(drpcwire.KindInvoke, 1<<30)),
		bytes("T13 truncated frame", "", []byte{3, 5, 1, 100, 'x'}),
	}
}
