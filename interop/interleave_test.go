package interop_test

import (
	"fmt"
	"testing"
	"testing/synctest"

	"storj.io/drpc"

	"braid/drpcmanager"
	"braid/internal/drpctest"
)

// CockroachDB's fork interleaves its streams without any handshake. Its ids are
// 1, 2, 3 and so on, and it sends window updates of kind 8 with the message id 0,
// control and done set (W7). The tests here drive a server as it does.

const (
	invokeBidi = `Invoke "/test.Service/Bidi"`
	grant      = `WindowUpdate "\x80\x04" ctl` // 512 bytes
)

// TestClientThatInterleavesUnannouncedIsServed (M3).
func TestClientThatInterleavesUnannouncedIsServed(t *testing.T) {
	serverBubble(t, braid, &drpctest.Service{}, options{}, func(_ *testing.T, c side) {
		c.peer.Send(`s1 m1 `+invokeBidi, `s2 m1 `+invokeBidi, `s3 m1 `+invokeBidi)

		// Messages in several frames, each frame between those of the others.
		c.peer.Send(
			`s1 m2 Message "a" more`, `s3 m2 Message "c" more`, `s2 m2 Message "b" more`,
			`s3 m2 Message "c"`, `s1 m0 `+grant, `s1 m2 Message "a"`)
		c.expectInAnyOrder(`s3 m1 Message "cc"`, `s1 m1 Message "aa"`)
		c.peer.Send(`s2 m2 Message "b"`, `s2 m0 `+grant)
		c.peer.Expect(`s2 m1 Message "bb"`)

		// Each ends by itself, in another order than they began.
		for _, id := range []int{2, 3, 1} {
			c.peer.Send(fmt.Sprintf(`s%d m3 Message "last"`, id), fmt.Sprintf(`s%d m4 CloseSend`, id))
			c.peer.Expect(fmt.Sprintf(`s%d m2 Message "last"`, id), fmt.Sprintf(`s%d m3 CloseSend`, id))
		}
		c.expectNothing()
	})
}

// TestInvokesMayOvertakeEachOther: the fork takes an id and writes the Invoke in
// two steps, so a higher id may come first.
func TestInvokesMayOvertakeEachOther(t *testing.T) {
	serverBubble(t, braid, &drpctest.Service{}, options{}, func(_ *testing.T, c side) {
		for _, id := range []int{4, 2, 3, 1} {
			c.peer.Send(fmt.Sprintf(`s%d m1 `+invokeBidi, id), fmt.Sprintf(`s%d m2 Message "x"`, id))
			c.peer.Expect(fmt.Sprintf(`s%d m1 Message "x"`, id))
		}
		c.expectNothing()
	})
}

// TestFramesOfStreamsThatAreNotLiveAreDropped: they are late, or never were
// anything, and the connection lives (M3).
func TestFramesOfStreamsThatAreNotLiveAreDropped(t *testing.T) {
	late := []string{
		`s%d m7 Message "late"`, `s%d m8 Message "part" more`, `s%d m9 CloseSend`, `s%d m10 Close`,
		`s%d m11 Cancel ctl`, `s%d m12 Error "\x00\x00\x00\x00\x00\x00\x00\x01x"`,
		`s%d m0 ` + grant, `s%d m13 Kind(40) "?" ctl`,
	}
	serverBubble(t, braid, &drpctest.Service{}, options{}, func(_ *testing.T, c side) {
		ends := []string{`CloseSend`, `Close`, `Cancel ctl`, `Error "\x00\x00\x00\x00\x00\x00\x00\x01x"`}
		for i, end := range ends {
			id := i + 1
			c.peer.Send(fmt.Sprintf(`s%d m1 `+invokeBidi, id), fmt.Sprintf(`s%d m2 Message "x"`, id))
			c.peer.Expect(fmt.Sprintf(`s%d m1 Message "x"`, id))
			c.peer.Send(fmt.Sprintf(`s%d m3 %s`, id, end))
			if end == `CloseSend` {
				c.peer.Expect(fmt.Sprintf(`s%d m2 CloseSend`, id))
			}
			synctest.Wait()
			for _, sentence := range late {
				c.peer.Send(fmt.Sprintf(sentence, id))
				c.expectNothing()
			}
		}
		for _, sentence := range late {
			c.peer.Send(fmt.Sprintf(sentence, 77)) // never opened
			c.expectNothing()
		}
		c.peer.Send(`s78 m1 `+invokeBidi, `s78 m2 Message "alive"`)
		c.peer.Expect(`s78 m1 Message "alive"`)
	})
}

// TestClientDropsFramesOfStreamsThatAreNotLive, and takes the window updates of
// a peer that it was told can interleave.
func TestClientDropsFramesOfStreamsThatAreNotLive(t *testing.T) {
	o := options{Multiplex: drpcmanager.MultiplexAlways}
	clientBubble(t, braid, o, func(t *testing.T, c side) {
		first, second := c.open(bg), c.open(bg)
		c.expect(1, 1, invoke)
		c.expectSettings(1, 2)
		c.expect(3, 1, invoke)
		c.peer.Send(`s3 m1 Message "b"`, `s1 m0 `+grant, `s1 m1 Message "a"`, `s9 m1 Message "nobody's"`)
		for i, stream := range []drpc.Stream{first, second} {
			if got, want := recv(stream), []string{`"a"`, `"b"`}[i]; got != want {
				t.Errorf("got %s want %s", got, want)
			}
		}
		must(t, first.Close())
		c.expect(1, 3, drpcClose)
		c.peer.Send(`s1 m2 Message "late"`, `s1 m3 CloseSend`, `s1 m0 `+grant, `s3 m2 Message "on"`)
		if got := recv(second); got != `"on"` {
			t.Errorf("got %s", got)
		}
		c.expectNothing()
	})
}

// TestUnknownKindIsIgnoredIfItSaysSo by the control bit, and costs the connection
// otherwise, on both sides (M5, W4, W5).
func TestUnknownKindIsIgnoredIfItSaysSo(t *testing.T) {
	server := func(t *testing.T, test func(c side)) {
		serverBubble(t, braid, &drpctest.Service{}, options{}, func(_ *testing.T, c side) {
			c.peer.Send(`s1 m1 ` + invokeBidi)
			test(c)
		})
	}
	client := func(t *testing.T, test func(c side)) {
		clientBubble(t, braid, options{}, func(_ *testing.T, c side) {
			c.open(bg)
			c.expect(1, 1, invoke)
			c.expectSettings(1, 2)
			test(c)
		})
	}
	for name, run := range map[string]func(*testing.T, func(side)){"server": server, "client": client} {
		t.Run(name, func(t *testing.T) {
			run(t, func(c side) {
				// Before, within and after a packet of the stream, with any id.
				c.peer.Send(`s1 m2 Kind(40) "?" ctl`, `s1 m3 Message "x" more`, `s1 m0 Kind(63) ctl`,
					`s1 m3 Kind(16) more ctl`, `s1 m3 Message "y"`, `s0 m0 Kind(20) ctl`)
				if name == "server" {
					c.peer.Expect(`s1 m1 Message "xy"`)
				}
				c.expectNothing()
			})
			for _, bad := range []string{`s1 m9 Kind(40)`, `s1 m9 WindowUpdate`, `s1 m9 Kind(0)`} {
				run(t, func(c side) {
					c.peer.Send(bad)
					if name == "client" {
						await(c.t, c.conn.Closed(), "the end of the connection")
					}
					for {
						if _, ok := c.peer.Next(); !ok {
							return
						}
					}
				})
			}
		})
	}
}
