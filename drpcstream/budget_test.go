package drpcstream_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"braid/drpcstream"
	"braid/drpcwire"
	"braid/internal/drpctest"
)

// half is half of the window: so much of a message is sent, and the peer needs more
// credit than that to go on.
const half = small/2 - drpcwire.FrameCost

// headEnds is how the stream at the head of a budget comes to let others have it,
// which has received half a window of a large message.
var headEnds = map[string]func(t *testing.T, d *driven){
	"the peer completes its message": func(t *testing.T, d *driven) {
		if unsent, _ := d.feed(1, 2, 5*small-half, small); unsent > 0 {
			t.Fatalf("%d bytes could not be sent", unsent)
		}
	},
	"the peer sends another message": func(_ *testing.T, d *driven) { d.Send(message(1, 3, 0, true)) },
	"the peer sends CloseSend":       func(_ *testing.T, d *driven) { d.Send(`s1 m3 CloseSend`) },
	"the peer begins a CloseSend":    func(_ *testing.T, d *driven) { d.Send(`s1 m3 CloseSend "x" more`) },
	"the peer cancels":               func(_ *testing.T, d *driven) { d.Send(`s1 m3 Cancel ctl`) },
	"the peer fails":                 func(_ *testing.T, d *driven) { d.Send(`s1 m3 Error "\x00\x00\x00\x00\x00\x00\x00\x00no"`) },
	"the peer closes":                func(_ *testing.T, d *driven) { d.Send(`s1 m3 Close`) },
	"this end cancels":               func(_ *testing.T, d *driven) { d.stream.Cancel(context.Canceled) },
	"this end closes":                func(_ *testing.T, d *driven) { _ = d.stream.Close() },
	"this end fails":                 func(_ *testing.T, d *driven) { _ = d.stream.SendError(errBoom) },
}

// Without any budget one large message at a time gets on, and however that ends, the
// next one does.
func TestALargeMessageGetsOnWhenTheOneBeforeItHasEnded(t *testing.T) {
	for name, end := range headEnds {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := knownClient(t, small, constant(small, -1))
				next := r.open(t)
				r.Expect(`s3 m1 Invoke "/rpc"`)
				_, waits := receive(r.stream, 5*small), receive(next, 5*small)
				r.Send(message(1, 2, half, false))
				if got := r.granted(1); len(got) != 1 || got[0] != half+drpcwire.FrameCost {
					t.Fatalf("the first stream was granted %d", got)
				}
				r.Send(message(3, 2, half, false))
				if got := r.granted(3); len(got) > 0 {
					t.Fatalf("the second stream was granted %d beyond the budget", got)
				}
				end(t, r)
				synctest.Wait()
				for r.pending() > 0 { // what the peer was told of the end
					got, _ := r.Next()
					if strings.HasPrefix(got, "s3 m0 WindowUpdate") {
						still(t, waits)
						return
					}
				}
				t.Fatal("the second stream was granted nothing")
			})
		})
	}
}

// A stream that has waited for budget and turned away does not hold up the one
// behind it, which needs less.
func TestWhoTurnsAwayFromTheBudgetLetsTheNextOneHaveIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := knownClient(t, small, constant(small, 700))
		streams := []*drpcstream.Stream{r.stream}
		for range 3 {
			streams = append(streams, r.open(t))
		}
		r.Expect(`s3 m1 Invoke "/rpc"`, `s5 m1 Invoke "/rpc"`, `s7 m1 Invoke "/rpc"`)
		streams[2].SetRecvTimeout(time.Second)
		sizes := []int{500, 300, 700, 200}
		for i, s := range streams {
			_ = receive(s, 5000)
			synctest.Wait()
			r.Send(message(s.ID(), 2, sizes[i], false))
			if got := r.granted(s.ID()); (len(got) > 0) != (i < 2) {
				t.Fatalf("stream %d was granted %d", s.ID(), got)
			}
		}
		// The first one returns its part. The third needs more than is free, and the
		// fourth waits behind it.
		_ = streams[0].Close()
		r.Expect(`s1 m3 Close`)
		if got := r.granted(7); len(got) > 0 {
			t.Fatalf("the last stream was granted %d out of turn", got)
		}
		time.Sleep(time.Second)
		if got := r.granted(7); len(got) != 1 {
			t.Errorf("the last stream was granted %d", got)
		}
	})
}

// A place in the line that its stream has no use for any more holds up nobody.
func TestAnOldPlaceInTheLineDoesNotHoldUpOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := knownClient(t, small, constant(small, 700))
		streams := []*drpcstream.Stream{r.stream}
		for range 3 {
			streams = append(streams, r.open(t))
		}
		r.Expect(`s3 m1 Invoke "/rpc"`, `s5 m1 Invoke "/rpc"`, `s7 m1 Invoke "/rpc"`)
		sizes := []int{500, 300, 700, 200}
		for i, s := range streams[:3] {
			if i == 2 {
				s.SetRecvTimeout(time.Second)
			}
			_ = receive(s, 5000)
			synctest.Wait()
			r.Send(message(s.ID(), 2, sizes[i], false))
			_ = r.granted(s.ID())
		}
		_ = streams[0].Close()
		r.Expect(`s1 m3 Close`)
		time.Sleep(time.Second) // the third one turns away
		r.Send(message(7, 2, sizes[3], false))
		synctest.Wait()
		_ = receive(streams[3], 5000)
		if got := r.granted(7); len(got) != 1 {
			t.Errorf("the last stream was granted %d", got)
		}
	})
}

// What is thrown away is on the books once, whatever comes after the end.
func TestTheBooksBalanceAfterFramesBehindTheEnd(t *testing.T) {
	for name, frames := range map[string][]string{
		"a message behind CloseSend": {`s1 m2 CloseSend`, message(1, 3, 100, false), message(1, 3, 50, true)},
		"an abandoned message":       {message(1, 2, 100, false), message(1, 3, 50, true), `s1 m4 CloseSend`},
		"a message cut off":          {message(1, 2, 100, false), `s1 m3 CloseSend`, message(1, 4, 50, false)},
		"a message above the limit":  {message(1, 2, 1000, false), message(1, 2, 500, false), message(1, 2, 1, true)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				opts := constant(4*small, -1)
				opts.Reader = drpcwire.ReaderOptions{MaximumBufferSize: 1400}
				r := knownClient(t, small, opts)
				sent := int64(0)
				for _, frame := range frames {
					r.Send(frame)
					sent += messageCost(t, frame)
				}
				synctest.Wait()
				_ = r.stream.Close()
				used, books := r.man.Flow()
				if books.Received != books.Consumed+books.Dropped || books.Received+books.Late != sent || used != 0 {
					t.Errorf("%d was sent, and the books say %+v", sent, books)
				}
			})
		})
	}
}

// messageCost is what a frame costs in credit.
func messageCost(t *testing.T, sentence string) int64 {
	t.Helper()
	fr, err := drpctest.Parse(sentence)
	if err != nil {
		t.Fatal(err)
	}
	if fr.Kind != drpcwire.KindMessage {
		return 0
	}
	return int64(len(fr.Data)) + drpcwire.FrameCost
}
