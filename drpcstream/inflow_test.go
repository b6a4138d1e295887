package drpcstream_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"storj.io/drpc"
	"storj.io/drpc/drpcerr"

	"braid/drpcmanager"
	"braid/drpcwire"
)

// One grant is for a quarter of the window that was received, and none for what has
// merely arrived (M35).
func TestGrantsFollowWhatIsReceivedAndAreCoalesced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const each = small / drpcwire.FrameCost // messages in a window
		r := knownClient(t, small, constant(small, 0))
		id := uint64(2)
		send := func() {
			r.Send(message(1, id, 0, true))
			id++
		}
		for range each {
			send()
		}
		if got := r.granted(1); len(got) > 0 {
			t.Fatalf("%d was granted before anything was received", got)
		}
		for i := range 100 * each {
			succeeds(t, receive(r.stream, 0))
			got := r.granted(1)
			if (i+1)%(each/4) != 0 {
				if len(got) > 0 {
					t.Fatalf("%d was granted after %d messages", got, i+1)
				}
				continue
			}
			if len(got) != 1 || got[0] != small/4 {
				t.Fatalf("%d was granted after %d messages, want %d", got, i+1, small/4)
			}
			for range each / 4 {
				send()
			}
		}
	})
}

// A grant that makes no sense ends its stream, and nothing else (M36).
func TestACreditOutOfRangeEndsItsStream(t *testing.T) {
	for name, grants := range map[string][]uint64{
		"zero":          {0},
		"above the cap": {drpcwire.MaxCredit + 1},
		"64 bits":       {1<<64 - 1},
		"the sum":       {drpcwire.MaxCredit - small, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := knownClient(t, small, drpcmanager.Options{})
				other := r.open(t)
				r.Expect(`s3 m1 Invoke "/rpc"`)
				for i, n := range grants {
					if i > 0 {
						r.alive(t)
						if r.stream.IsTerminated() {
							t.Fatal("the stream ended too early")
						}
					}
					r.Send(credit(1, n))
				}
				r.Expect(`s1 m3 Cancel ctl`)
				if _, err := r.stream.RawRecv(); !drpc.ProtocolError.Has(err) {
					t.Errorf("the stream ended by %v", err)
				}
				r.fillWindow(t, other, 2)
				r.alive(t)

				srv := knownServer(t, small, drpcmanager.Options{})
				for _, n := range grants {
					srv.Send(credit(1, n))
				}
				if got, _ := srv.Next(); !strings.HasPrefix(got, "s1 m2 Error ") {
					t.Errorf("the client was told %s", got)
				}
				srv.alive(t)
			})
		})
	}
}

func TestTheLargestCreditIsAccepted(t *testing.T) { // M36
	synctest.Test(t, func(t *testing.T) {
		r := knownClient(t, small, drpcmanager.Options{})
		r.Send(credit(1, drpcwire.MaxCredit-small))
		r.alive(t)
		if _, left := r.stream.Window(); left != drpcwire.MaxCredit || r.stream.IsTerminated() {
			t.Errorf("%d bytes of credit, terminated %v", left, r.stream.IsTerminated())
		}
	})
}

// Frames that are no grant change nothing (M36).
func TestWhatIsNoGrantIsIgnored(t *testing.T) {
	for name, frame := range map[string]string{
		"stream 0":          `s0 m0 WindowUpdate "\x80\b" ctl`,
		"trailing bytes":    `s1 m0 WindowUpdate "\x80\b\x00" ctl`,
		"no data":           `s1 m0 WindowUpdate ctl`,
		"cut off":           `s1 m0 WindowUpdate "\x80" ctl`,
		"more than 64 bits": `s1 m0 WindowUpdate "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f" ctl`,
		"not done":          `s1 m0 WindowUpdate "\x80\b" more ctl`,
		"unknown stream":    `s99 m0 WindowUpdate "\x80\b" ctl`,
		"ended stream":      `s3 m0 WindowUpdate "\x80\b" ctl`,
		"zero for an end":   `s3 m0 WindowUpdate "\x00" ctl`,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := knownClient(t, small, drpcmanager.Options{})
				ended := r.open(t)
				r.Expect(`s3 m1 Invoke "/rpc"`)
				_ = ended.Close()
				r.Expect(`s3 m2 Close`)
				r.fillWindow(t, r.stream, 3)
				sent := write(r.stream, room)
				r.Send(frame)
				still(t, sent)
				r.alive(t)
				r.ExpectNothing()
				r.Send(credit(1, small))
				succeeds(t, sent)
			})
		})
	}
}

// A grant leaves ahead of what is queued, and waits for no room in the queue; nor
// does the reader, who is often the one to give it (M37).
func TestAGrantLeavesWhileTheQueueIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := knownClient(t, drpcwire.MaxCredit, constant(small, 0))
		r.own.Limit(0)
		succeeds(t, write(r.stream, 10)) // the drain is stuck with that
		succeeds(t, write(r.stream, 40_000))
		full := write(r.stream, 40_000)
		still(t, full)
		for id := range uint64(2 * small / drpcwire.FrameCost) { // needs two more grants to fit
			r.Send(message(1, 2+id, 0, true))
			succeeds(t, receive(r.stream, 0))
		}
		still(t, full)
		r.own.Limit(-1)
		r.Expect(message(1, 3, 10, true), credit(1, 2*small), message(1, 4, 40_000, true), message(1, 5, 40_000, true))
		succeeds(t, full)
	})
}

// A message that is larger than the window is granted credit as soon as somebody
// waits for it, and not before: until then the window is all there is (M38).
func TestAMessageLargerThanTheWindowComesWhenItIsWaitedFor(t *testing.T) {
	for name, budget := range map[string]int{"with budget": 1 << 20, "without": -1} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const size = 10 * small
				opts := constant(small, budget)
				opts.Keepalive.Interval = -1 // nobody answers
				r := knownClient(t, small, opts)
				unsent, left := r.feed(1, 2, size, small)
				if sent := size - unsent; sent != room {
					t.Fatalf("%d bytes were sent, want %d", sent, room)
				}
				time.Sleep(time.Hour)
				if got := r.granted(1); len(got) > 0 {
					t.Fatalf("%d was granted although nobody waits", got)
				}
				received := receive(r.stream, size)
				if unsent, left = r.feed(1, 2, unsent, left); unsent > 0 {
					t.Fatalf("%d bytes could not be sent to who waits for them", unsent)
				}
				succeeds(t, received)
				for _, n := range r.granted(1) {
					left += int(n)
				}
				if own, _ := r.stream.Window(); own != small || left <= small*3/4 || left > small {
					t.Errorf("then the window is %d, and the sender has %d of it", own, left)
				}
				if used, _ := r.man.Flow(); used != 0 {
					t.Errorf("%d bytes of the budget are in use", used)
				}
			})
		})
	}
}

// One byte too much ends the connection, if the peer knew (T9).
func TestAPeerThatSendsMoreThanItsCreditEndsTheConnection(t *testing.T) {
	for name, frames := range map[string][]string{
		"first frame":  {message(1, 2, room+1, true)},
		"second frame": {message(1, 2, room-drpcwire.FrameCost, true), message(1, 3, 1, true)},
		"empty frame":  {message(1, 2, room, true), message(1, 3, 0, true)},
		"in part":      {message(1, 2, room-drpcwire.FrameCost, false), message(1, 2, 1, false)},
		"by 64 KiB":    {message(1, 2, room+64<<10, true)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := knownClient(t, small, constant(small, 0))
				for i, frame := range frames {
					if i > 0 {
						r.alive(t)
					}
					r.Send(frame)
				}
				synctest.Wait()
				if err := r.man.Err(); !drpc.ProtocolError.Has(err) {
					t.Errorf("the connection ended by %v", err)
				}
			})
		})
	}
}

func TestAPeerMaySendAllOfItsCredit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := knownClient(t, small, constant(small, 0))
		r.Send(message(1, 2, room, true))
		r.alive(t)
		succeeds(t, receive(r.stream, room))
		if got := r.granted(1); len(got) != 1 || got[0] != small {
			t.Fatalf("%d was granted, want %d", got, small)
		}
		r.Send(message(1, 3, room-drpcwire.FrameCost, false), message(1, 3, 0, true))
		r.alive(t)
	})
}

// A client that has not got the server's Settings yet cannot keep to its credit.
// What it sends beyond is taken on account of the budget; from its
// acknowledgement on it must keep to it.
func TestAPeerThatDoesNotKnowOfItsCreditYetMayExceedIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := constant(small, 1<<20)
		opts.Limits.Streams = 10
		r := knownServer(t, small, opts)
		r.Send(message(1, 3, room, true), message(1, 4, room, true), message(1, 5, room, true))
		r.alive(t)
		if used, _ := r.man.Flow(); used != 2*small {
			t.Errorf("%d bytes of the budget are in use, want %d", used, 2*small)
		}
		for range 3 {
			succeeds(t, receive(r.stream, room))
		}
		if used, _ := r.man.Flow(); used != 0 {
			t.Errorf("%d bytes of the budget are in use", used)
		}
		total := uint64(0)
		for _, n := range r.granted(1) {
			total += n
		}
		if total != 3*small { // it had spent two windows that it did not have
			t.Errorf("%d was granted, want %d", total, 3*small)
		}
		r.Send(announces(drpcwire.ID{}, small, drpcwire.FlagKnowsPeer))
		r.Send(message(1, 6, room, true))
		r.alive(t)
		r.Send(message(1, 7, 0, true))
		synctest.Wait()
		if err := r.man.Err(); !drpc.ProtocolError.Has(err) {
			t.Errorf("the connection ended by %v", err)
		}
	})
}

// What is on its way to a stream that has ended is late, and nobody's fault.
func TestCreditUsedOnAnEndedStreamIsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := constant(small, 0)
		opts.Limits = drpcmanager.Limits{IdleFrames: 1, IdleFramesPerSecond: 1}
		r := knownClient(t, small, opts)
		_ = r.stream.Close()
		r.Expect(`s1 m3 Close`)
		for id := range uint64(small / drpcwire.FrameCost) {
			r.Send(message(1, 2+id, 0, true))
		}
		r.alive(t)
		if _, books := r.man.Flow(); books.Late != small || books.Received != 0 {
			t.Errorf("the books say %+v", books)
		}
	})
}

// A message of which the first frame came before credit was in force, and more of it
// than the window has: its sender has nothing to go on with.
func TestAMessageThatExceedsItsWindowWhenCreditBeginsIsGoneOnWith(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newUnknown(t, constant(small, 0))
		received := receive(r.stream, 4000)
		r.Send(message(1, 1, 3000, false))
		still(t, received)
		r.Send(announces(drpcwire.ID{Stream: 1, Message: 2}, small, 0))
		if unsent, _ := r.feed(1, 1, 1000, small-3000-drpcwire.FrameCost); unsent > 0 {
			t.Fatalf("%d bytes could not be sent", unsent)
		}
		succeeds(t, received)
	})
}

// The limit of messages holds for short ones that come in a row, too.
func TestAMessageOverTheLimitIsFoundAmongShortOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := knownClient(t, 64<<10, drpcmanager.Options{Reader: drpcwire.ReaderOptions{MaximumBufferSize: 100}})
		var buf []byte
		for i := range uint64(40) {
			size := 100
			if i == 30 {
				size = 101
			}
			buf = drpcwire.AppendFrame(buf, drpcwire.Frame{
				ID: drpcwire.ID{Stream: 1, Message: 10 + i}, Kind: drpcwire.KindMessage, Done: true, Data: make([]byte, size),
			})
		}
		d.SendRaw(buf)
		for range 30 {
			if _, err := d.stream.RawRecv(); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := d.stream.RawRecv(); drpcerr.Code(err) != drpcwire.CodeResourceExhausted {
			t.Errorf("got %v", err)
		}
	})
}

// Messages that come together are received together where the window is large. The credit
// of a small one comes back as soon as a quarter of it was consumed, whatever has come.
func TestShortMessagesThatComeTogetherGiveTheirCreditBackInTime(t *testing.T) {
	for _, tc := range []struct{ window, late int }{
		{4 << 10, 0},
		{32 << 10, 0},
		{64 << 10, 4 << 10}, // by a batch at most
	} {
		synctest.Test(t, func(t *testing.T) {
			r := knownClient(t, small, constant(tc.window, 0))
			var sentences []string
			for id := range uint64(tc.window / drpcwire.FrameCost) {
				sentences = append(sentences, message(1, 2+id, 0, true))
			}
			r.Send(sentences...)
			received := 0
			for ; len(r.granted(1)) == 0; received++ {
				succeeds(t, receive(r.stream, 0))
			}
			received *= drpcwire.FrameCost
			if quarter := tc.window / 4; received < quarter || received > quarter+tc.late {
				t.Errorf("window of %d bytes: credit came back after %d", tc.window, received)
			}
		})
	}
}
