package drpcstream_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"storj.io/drpc"

	"braid/drpcmanager"
	"braid/drpcstream"
	"braid/drpcwire"
	"braid/internal/drpctest"
)

func TestAWriteBeyondTheWindowParksUntilWhatIsMissingIsGranted(t *testing.T) { // M31
	synctest.Test(t, func(t *testing.T) {
		r := knownClient(t, small, drpcmanager.Options{})
		sent := write(r.stream, room+1)
		r.Expect(message(1, 3, room, false))
		still(t, sent)
		r.Send(credit(1, drpcwire.FrameCost)) // one byte less than is missing
		still(t, sent)
		r.ExpectNothing()
		r.Send(credit(1, 1))
		succeeds(t, sent)
		r.Expect(message(1, 3, 1, true))
		if _, left := r.stream.Window(); left != 0 {
			t.Errorf("%d bytes of credit are left", left)
		}
	})
}

func TestMessagesWithoutDataCostCredit(t *testing.T) { // T6
	synctest.Test(t, func(t *testing.T) {
		r := knownClient(t, small, drpcmanager.Options{})
		const fit = small / drpcwire.FrameCost
		for i := range uint64(fit) {
			succeeds(t, write(r.stream, 0))
			r.Expect(message(1, 3+i, 0, true))
		}
		sent := write(r.stream, 0)
		still(t, sent)
		r.Send(credit(1, drpcwire.FrameCost-1))
		still(t, sent)
		r.Send(credit(1, 1))
		succeeds(t, sent)
		r.Expect(message(1, 3+fit, 0, true))
	})
}

// A large message is not sent in crumbs: a frame carries an eighth of the window,
// or the rest.
func TestLittleCreditIsSavedUpForAFrameThatIsWorthIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := knownClient(t, small, drpcmanager.Options{})
		r.fillWindow(t, r.stream, 3)
		sent := write(r.stream, 1000)
		r.Send(credit(1, drpcwire.FrameCost+small/8-1))
		still(t, sent)
		r.ExpectNothing()
		r.Send(credit(1, 1))
		r.Expect(message(1, 4, small/8, false))
		still(t, sent)
		r.Send(credit(1, 2000))
		succeeds(t, sent)
		r.Expect(message(1, 4, 1000-small/8, true))
	})
}

// last is how a stream, or its sending side, is ended, and what the peer is told.
var last = map[string]struct {
	do   func(s *drpcstream.Stream)
	tell string
}{
	"CloseSend": {func(s *drpcstream.Stream) { _ = s.CloseSend() }, "CloseSend"},
	"raw":       {func(s *drpcstream.Stream) { _ = s.RawWrite(drpcwire.KindCloseSend, nil) }, "CloseSend"},
	"Error":     {func(s *drpcstream.Stream) { _ = s.SendError(errors.New("no")) }, `Error "\x00\x00\x00\x00\x00\x00\x00\x00no"`},
	"Cancel":    {func(s *drpcstream.Stream) { s.Cancel(context.Canceled) }, "Cancel ctl"},
	"Close":     {func(s *drpcstream.Stream) { _ = s.Close() }, "Close"},
}

func TestOnlyMessagesCostCredit(t *testing.T) { // M33
	for name, end := range last {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := knownClient(t, small, drpcmanager.Options{})
				r.fillWindow(t, r.stream, 3)
				end.do(r.stream)
				r.Expect("s1 m4 " + end.tell)
				if _, left := r.stream.Window(); left != 0 {
					t.Errorf("then there are %d bytes of credit", left)
				}
				r.open(t) // Invoke
				r.Expect(`s3 m1 Invoke "/rpc"`)

				srv := knownServer(t, small, drpcmanager.Options{})
				srv.fillWindow(t, srv.stream, 2)
				end.do(srv.stream)
				srv.Expect("s1 m3 " + end.tell)
			})
		})
	}
}

// What ends a stream wakes who waits for credit on it, although the peer never
// gives any, and nothing more of the message leaves.
func TestAParkedSendWakesAtTheEndOfItsStream(t *testing.T) { // M34
	is := func(target error) func(error) bool {
		return func(err error) bool { return errors.Is(err, target) }
	}
	lost := func(err error) bool {
		var lost *drpcmanager.LostError
		return errors.As(err, &lost)
	}
	for name, c := range map[string]struct {
		end  func(r *driven)
		err  func(error) bool
		only string // "client" or "server"; both if empty
	}{
		"context":             {end: func(r *driven) { r.cancel() }, err: is(context.Canceled), only: "client"},
		"Cancel of the peer":  {end: func(r *driven) { r.Send(`s1 m9 Cancel ctl`) }, err: is(io.EOF)},
		"Error of the peer":   {end: func(r *driven) { r.Send(`s1 m9 Error "\x00\x00\x00\x00\x00\x00\x00\x00no"`) }, err: is(io.EOF)},
		"Close of the peer":   {end: func(r *driven) { r.Send(`s1 m9 Close`) }, err: is(io.EOF)},
		"loss":                {end: func(r *driven) { r.Close() }, err: lost},
		"own Close":           {end: func(r *driven) { _ = r.stream.Close() }, err: drpc.Error.Has},
		"own Cancel":          {end: func(r *driven) { r.stream.Cancel(context.Canceled) }, err: is(context.Canceled)},
		"own SendError":       {end: func(r *driven) { _ = r.stream.SendError(errBoom) }, err: is(io.EOF)},
		"close of connection": {end: func(r *driven) { _ = r.man.CloseNow(drpcmanager.ErrClosed) }, err: lost},
		"return": {end: func(r *driven) { _ = r.stream.Return(nil) }, only: "server",
			err: func(err error) bool { return drpc.ClosedError.Has(err) }},
	} {
		test := func(t *testing.T, r *driven, id uint64) {
			r.fillWindow(t, r.stream, id)
			sent := write(r.stream, 1)
			still(t, sent)
			start := time.Now()
			c.end(r)
			done, err := sent()
			if !done || err == nil || !c.err(err) {
				t.Errorf("the parked send returned %v, %v", done, err)
			}
			if took := time.Since(start); took > 0 {
				t.Errorf("it took %v", took)
			}
		}
		if c.only != "server" {
			t.Run("client/"+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := knownClient(t, small, drpcmanager.Options{})
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					if name == "context" { // on a stream of its own
						r.stream.Cancel(context.Canceled)
						r.Expect(`s1 m3 Cancel ctl`)
						var err error
						if r.stream, err = r.man.NewClientStream(ctx, "/rpc", nil); err != nil {
							t.Fatal(err)
						}
						r.cancel = cancel
						r.Expect(`s3 m1 Invoke "/rpc"`)
						test(t, r, 2)
						return
					}
					test(t, r, 3)
				})
			})
		}
		if c.only != "client" {
			t.Run("server/"+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { test(t, knownServer(t, small, drpcmanager.Options{}), 2) })
			})
		}
	}
}

// A stream that waits for credit does not hold up another one.
func TestAStreamWithoutCreditDoesNotHoldUpOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := knownClient(t, small, drpcmanager.Options{})
		other := r.open(t)
		r.Expect(`s3 m1 Invoke "/rpc"`)
		r.fillWindow(t, r.stream, 3)
		sent := write(r.stream, 100_000)
		still(t, sent)
		r.fillWindow(t, other, 2)
		r.Send(credit(3, small))
		r.fillWindow(t, other, 3)
		still(t, sent)
	})
}

// What was gathered leaves before the sender waits for credit: the peer cannot
// consume what it has not got.
func TestWhatIsGatheredLeavesBeforeTheWaitForCredit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := drpcmanager.Options{Stream: drpcstream.Options{ManualFlush: true}}
		r := knownClient(t, small, opts)
		succeeds(t, write(r.stream, 500))
		r.ExpectNothing()
		sent := write(r.stream, 500)
		r.Expect(message(1, 3, 500, true), message(1, 4, small-500-2*drpcwire.FrameCost, false))
		still(t, sent)
		r.Send(credit(1, small))
		succeeds(t, sent)
		if err := r.stream.RawFlush(); err != nil {
			t.Fatal(err)
		}
		r.Expect(message(1, 4, 2*500+2*drpcwire.FrameCost-small, true))
	})
}

func TestNobodyWaitsForAPeerWithoutAWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := knownClient(t, 0, constant(small, 0))
		sent := write(r.stream, 1_000_000)
		succeeds(t, sent)
		for id := range uint64(100) { // 100 KB to an end with a window of 1 KiB
			received := receive(r.stream, 1000)
			r.Send(message(1, 2+id, 1000, true))
			succeeds(t, received)
		}
		r.alive(t)
		for left := 1_000_000; left > 0; { // the peer reads large frames in pieces
			got, _ := r.Next()
			fr, err := drpctest.Parse(got)
			if left -= len(fr.Data); err != nil || fr.Kind != drpcwire.KindMessage || fr.Done != (left == 0) {
				t.Fatalf("got %.60s, %v with %d bytes to come", got, err, left)
			}
		}
		synctest.Wait()
		r.ExpectNothing() // and nothing is granted
	})
}

// Grants beyond all use are counted as frames that achieve nothing (T8).
func TestAFloodOfTinyGrantsEndsTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const idle = 5
		opts := drpcmanager.Options{Limits: drpcmanager.Limits{IdleFrames: idle, IdleFramesPerSecond: 1}}
		r := knownClient(t, small, opts)
		r.fillWindow(t, r.stream, 3)
		for range 2*10 + idle { // ten for each frame, ten to begin with
			r.Send(credit(1, 1))
		}
		r.alive(t)
		r.Send(credit(1, 1))
		synctest.Wait()
		if err := r.man.Err(); err == nil || !strings.Contains(err.Error(), "frames that achieve nothing") {
			t.Errorf("the connection ended by %v", err)
		}
	})
}
