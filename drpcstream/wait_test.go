package drpcstream_test

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"storj.io/drpc"
	"storj.io/drpc/drpcerr"

	"braid/drpcmanager"
	"braid/drpcstream"
	"braid/drpcwire"
	"braid/internal/drpctest"
)

// timedOut checks that an operation has failed with ErrTimeout, and after how long.
func timedOut(t *testing.T, err error, since time.Time, want time.Duration) {
	t.Helper()
	var timeout net.Error
	switch {
	case err != drpcstream.ErrTimeout:
		t.Errorf("got %v, want ErrTimeout", err)
	case !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout():
		t.Errorf("%v is no timeout to others", err)
	case errors.Is(err, context.DeadlineExceeded):
		t.Errorf("%v is the end of a context", err)
	case drpcerr.Code(err) != drpcwire.CodeDeadlineExceeded:
		t.Errorf("%v has code %d", err, drpcerr.Code(err))
	}
	if took := time.Since(since); took != want {
		t.Errorf("it took %v, want %v", took, want)
	}
}

func TestASendTimesOutForWantOfCreditAndTheStreamLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := knownClient(t, small, drpcmanager.Options{})
		r.fillWindow(t, r.stream, 3)
		r.stream.SetSendTimeout(time.Second)
		start := time.Now()
		timedOut(t, r.stream.RawWrite(drpcwire.KindMessage, []byte("x")), start, time.Second)
		start = time.Now()
		timedOut(t, drpctest.Send(r.stream, "x"), start, time.Second)
		r.alive(t)
		r.ExpectNothing()
		// A grant that comes then is not lost.
		r.Send(credit(1, drpcwire.FrameCost+1))
		synctest.Wait()
		succeeds(t, write(r.stream, 1))
		r.Expect(message(1, 4, 1, true)) // nothing of the others had left
		r.stream.SetSendTimeout(-1)
		sent := write(r.stream, 1)
		time.Sleep(5 * time.Second)
		still(t, sent)
	})
}

// The time is that of the operation: credit that comes bit by bit does not prolong it.
func TestASendTimeoutIsForTheWholeOperation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := knownClient(t, small, drpcmanager.Options{})
		r.fillWindow(t, r.stream, 3)
		r.stream.SetSendTimeout(time.Second)
		start := time.Now()
		sent := write(r.stream, 10*small)
		for range 3 {
			still(t, sent)
			time.Sleep(300 * time.Millisecond)
			r.Send(credit(1, small))
			r.Expect(message(1, 4, room, false))
		}
		time.Sleep(100 * time.Millisecond)
		_, err := sent()
		timedOut(t, err, start, time.Second)
		// The next message has the next id, by which the peer drops the part.
		r.Send(credit(1, small))
		r.stream.SetSendTimeout(0)
		succeeds(t, write(r.stream, 1))
		r.Expect(message(1, 5, 1, true))
	})
}

func TestASendTimesOutForWantOfRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := knownClient(t, drpcwire.MaxCredit, drpcmanager.Options{})
		r.own.Limit(0)
		succeeds(t, write(r.stream, 10)) // the drain is stuck with that
		succeeds(t, write(r.stream, 60_000))
		r.stream.SetSendTimeout(time.Second)
		start := time.Now()
		timedOut(t, r.stream.RawWrite(drpcwire.KindMessage, make([]byte, 60_000)), start, time.Second)
		r.own.Limit(-1)
		r.Expect(message(1, 3, 10, true), message(1, 4, 60_000, true))
		succeeds(t, write(r.stream, 60_000)) // the room it waited for is not taken
		if got, _ := r.Next(); got != message(1, 6, 60_000, true) && got != message(1, 5, 60_000, true) {
			t.Errorf("got %.80s", got)
		}
	})
}

// The end of the stream comes before the timeout in what a send returns.
func TestAnEndDuringASendTimeoutIsToldAsTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := knownClient(t, small, drpcmanager.Options{})
		r.fillWindow(t, r.stream, 3)
		r.stream.SetSendTimeout(time.Second)
		sent := write(r.stream, 1)
		time.Sleep(time.Second / 2)
		r.stream.Cancel(context.Canceled)
		if done, err := sent(); !done || !errors.Is(err, context.Canceled) {
			t.Errorf("the send returned %v, %v", done, err)
		}
	})
}

func TestAReceiveTimesOutAndWhatComesLaterIsReceivedNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := knownClient(t, small, drpcmanager.Options{})
		r.stream.SetRecvTimeout(time.Second)
		for id := range uint64(3) {
			start := time.Now()
			_, err := r.stream.RawRecv()
			timedOut(t, err, start, time.Second)
			start = time.Now()
			timedOut(t, r.stream.MsgRecv(&drpctest.Msg{}, drpctest.Enc{}), start, time.Second)
			r.Send(drpctest.Describe(drpcwire.Frame{
				ID: drpcwire.ID{Stream: 1, Message: 2 + id}, Kind: drpcwire.KindMessage, Done: true, Data: []byte("later"),
			}))
			if got, err := drpctest.Recv(r.stream); got != "later" || err != nil {
				t.Errorf("received %q, %v", got, err)
			}
		}
		r.alive(t)
		r.stream.SetRecvTimeout(0)
		received := receive(r.stream, 0)
		time.Sleep(5 * time.Second)
		still(t, received)
	})
}

// A message that is there is received however short the timeout, and the timer of
// a receive that was served does not strike the next.
func TestAReceiveTimeoutStrikesOnlyWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := knownClient(t, small, drpcmanager.Options{})
		r.stream.SetRecvTimeout(time.Second)
		for id := range uint64(5) {
			start := time.Now()
			received := receive(r.stream, 1)
			still(t, received)
			time.Sleep(900 * time.Millisecond)
			r.Send(message(1, 2+id, 1, true))
			succeeds(t, received)
			if took := time.Since(start); took != 900*time.Millisecond {
				t.Errorf("it took %v", took)
			}
		}
		r.stream.SetRecvTimeout(1)
		r.Send(message(1, 7, 1, true))
		synctest.Wait()
		succeeds(t, receive(r.stream, 1))
	})
}

// pair is the two ends of a stream.
func pair(t *testing.T, opts drpcmanager.Options) (client, server *drpcstream.Stream, books func() [2]drpcstream.Totals) {
	t.Helper()
	a, b := drpctest.Pipe()
	return pairOn(t, a, b, opts)
}

// pairOn is pair on this transport.
func pairOn(t *testing.T, a, b drpc.Transport, opts drpcmanager.Options) (
	client, server *drpcstream.Stream, books func() [2]drpcstream.Totals,
) {
	t.Helper()
	streams := make(chan *drpcstream.Stream, 1)
	srv := drpcmanager.NewServer(t.Context(), b, opts, drpcmanager.Hooks{
		Handle: func(s *drpcstream.Stream, _ string) { streams <- s },
	})
	cli := drpcmanager.NewClient(a, opts)
	t.Cleanup(func() {
		_ = cli.CloseNow(drpcmanager.ErrClosed)
		_ = srv.CloseNow(drpcmanager.ErrClosed)
	})
	client, err := cli.NewClientStream(t.Context(), "/rpc", nil)
	if err != nil {
		t.Fatal(err)
	}
	server = <-streams
	return client, server, func() [2]drpcstream.Totals {
		_, c := cli.Flow()
		_, s := srv.Flow()
		return [2]drpcstream.Totals{c, s}
	}
}

// The part of a message that was sent before its sender gave up fills the whole
// window. The message behind it arrives all the same, alone, and no credit is lost.
func TestAMessageThatWasGivenUpIsDroppedForTheNextOne(t *testing.T) {
	for name, budget := range map[string]int{"with budget": 1 << 20, "without": -1} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				opts := constant(small, budget)
				opts.Limits.Streams = 100
				client, server, books := pair(t, opts)
				synctest.Wait()
				for range 20 {
					client.SetSendTimeout(time.Second)
					start := time.Now()
					timedOut(t, client.RawWrite(drpcwire.KindMessage, make([]byte, 5*small)), start, time.Second)
					client.SetSendTimeout(0)
					sent := write(client, 3*small)
					succeeds(t, receive(server, 3*small))
					succeeds(t, sent)
				}
				if _, left := client.Window(); left < small*3/4 || left > small {
					t.Errorf("%d bytes of credit are left", left)
				}
				_ = client.Close()
				synctest.Wait()
				_ = server.Return(nil)
				b := books()
				if sent, got := b[0].Sent, b[1]; got.Received+got.Late != sent || got.Consumed+got.Dropped != got.Received {
					t.Errorf("%d was sent, and the books say %+v", sent, got)
				}
			})
		})
	}
}

// Timeouts that strike at the very moment when what is waited for comes lose neither
// a message nor a wake-up.
func TestTimeoutsThatCrossWithCreditLoseNothing(t *testing.T) {
	opts := constant(small, 0)
	opts.Limits.Streams = 100
	client, server, _ := pair(t, opts)
	server.SetRecvTimeout(20 * time.Microsecond)
	const messages = 2000
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range messages {
			size := i % (2 * small)
			// Twice as long each time: where there is one processor, a message of
			// several windows never gets through within the first timeout.
			for timeout := 20 * time.Microsecond; ; timeout *= 2 {
				client.SetSendTimeout(timeout)
				err := client.RawWrite(drpcwire.KindMessage, make([]byte, size))
				if err == nil {
					break
				} else if err != drpcstream.ErrTimeout {
					t.Error(err)
					return
				}
			}
		}
	})
	for i := 0; i < messages; {
		data, err := server.RawRecv()
		switch {
		case err == drpcstream.ErrTimeout:
			continue
		case err != nil:
			t.Fatal(err)
		case len(data) != i%(2*small):
			t.Fatalf("message %d has %d bytes", i, len(data))
		}
		i++
	}
	wg.Wait()
}
