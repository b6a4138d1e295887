package drpcmanager_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"storj.io/drpc/drpcerr"

	"braid/drpcmanager"
	"braid/drpcstream"
	"braid/drpcwire"
	"braid/internal/drpctest"
	"braid/internal/simnet"
)

// goAway is the sentence by which an end says that it takes no more streams.
func goAway(last uint64) string {
	return drpctest.Describe(drpcwire.GoAwayFrame(drpcwire.GoAway{Last: last, Text: "shutting down"}))
}

// shutdown calls Shutdown in a goroutine of its own and reports when it is through.
func shutdown(man *drpcmanager.Manager, ctx context.Context) (done func() (bool, error)) {
	var returned bool
	var err error
	go func() {
		err = man.Shutdown(ctx)
		returned = true
	}()
	return func() (bool, error) {
		synctest.Wait()
		return returned, err
	}
}

// refused checks that err is that of a call which was not begun.
func refused(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, drpcstream.ErrRefused) || drpcerr.Code(err) != drpcwire.CodeUnavailable {
		t.Errorf("%s: %v with code %d, want that it was refused", what, err, drpcerr.Code(err))
	}
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

func TestADrainingServerFinishesWhatItHasTaken(t *testing.T) { // F18
	synctest.Test(t, func(t *testing.T) {
		man, peer, acc := knownServer(t, drpcmanager.Options{})
		peer.Send(`s3 m1 Invoke "/rpc"`)
		synctest.Wait()
		first, second := acc.get(t, 0), acc.get(t, 1)
		if isClosed(first.Draining()) || isClosed(man.Draining()) {
			t.Fatal("it is draining from the start")
		}
		done := shutdown(man, t.Context())
		peer.Expect(goAway(3))
		synctest.Wait()
		fromCtx, ok := drpcstream.FromContext(second.Context())
		if !ok || !isClosed(first.Draining()) || !isClosed(fromCtx.Draining()) || !isClosed(man.Draining()) {
			t.Error("the streams were not told")
		}

		// Nothing new, and what is there goes on.
		peer.Send(`s5 m1 Invoke "/new"`, `s7 m1 InvokeMetadata "" `, `s7 m2 Invoke "/new"`, `s3 m2 Message "question"`)
		peer.Expect(`s5 m1 Cancel "\x02" ctl`, `s7 m1 Cancel "\x02" ctl`)
		if got, err := drpctest.Recv(second); got != "question" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
		if err := drpctest.Send(second, "answer"); err != nil {
			t.Error(err)
		}
		_ = second.Return(nil)
		_ = first.Return(errors.New("last words"))
		peer.Expect(`s3 m1 Message "answer"`, `s3 m2 Close`)
		if got, _ := peer.Next(); !strings.Contains(got, "last words") {
			t.Errorf("got %s", got)
		}
		if ok, _ := done(); ok {
			t.Error("it did not give the peer time to read")
		}
		peer.Close()
		if ok, err := done(); !ok || err != nil {
			t.Errorf("Shutdown: %v, %v", ok, err)
		}
		if n := len(acc.names()); n != 2 {
			t.Errorf("%d streams were handed on", n)
		}
		if err := man.Shutdown(t.Context()); err != nil {
			t.Errorf("the second time: %v", err)
		}
	})
}

// A peer that is not known, as stock, is told nothing; its new calls get an error.
func TestADrainingServerRefusesTheCallsOfStock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		man, peer, acc := newServer(t, drpcmanager.Options{})
		peer.Send(`s1 m1 Invoke "/rpc"`)
		synctest.Wait()
		done := shutdown(man, t.Context())
		done()
		peer.Send(`s2 m1 Invoke "/new"`)
		got, _ := peer.Next()
		fr, err := drpctest.Parse(got)
		if err != nil || fr.Kind != drpcwire.KindError || fr.ID.Stream != 2 ||
			drpcerr.Code(drpcwire.UnmarshalError(fr.Data)) != drpcwire.CodeUnavailable {
			t.Errorf("got %s", got)
		}
		_ = acc.get(t, 0).Return(nil)
		peer.Expect(`s1 m1 CloseSend`)
		peer.ExpectClosed()
		if ok, err := done(); !ok || err != nil {
			t.Errorf("Shutdown: %v, %v", ok, err)
		}
	})
}

// A client that announces itself while the server drains is told then.
func TestAClientThatBecomesKnownLateLearnsOfTheDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		man, peer, _ := newServer(t, drpcmanager.Options{})
		peer.Send(`s1 m1 Invoke "/rpc"`)
		synctest.Wait()
		shutdown(man, t.Context())
		synctest.Wait()
		peer.ExpectNothing()
		peer.Send(`s1 m2 Settings "\x01\x01" ctl`)
		peer.Expect(`s1 m1 `+serverSettings, goAway(1))
	})
}

// The first call of a client, and its announcement right behind it, arrive too late.
func TestTheFirstCallIsRefusedAsAnyOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		man, peer, acc := newServer(t, drpcmanager.Options{})
		shutdown(man, t.Context())()
		peer.Send(`s1 m1 Invoke "/rpc"`, `s1 m2 Settings "\x01\x01" ctl`)
		peer.Expect(`s1 m1 `+serverSettings, goAway(0), `s1 m1 Cancel "\x02" ctl`)
		if n := len(acc.names()); n != 0 {
			t.Errorf("%d streams were handed on", n)
		}
	})
}

func TestAClientIsRefusedWhatTheServerHasNotTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		man, peer, _ := newClient(t, drpcmanager.Options{})
		first := open(t, man, t.Context(), "/rpc")
		peer.Expect(`s1 m1 Invoke "/rpc"`, `s1 m2 `+settings)
		peer.Send(`s1 m1 Settings "\x01\x01\x03\x03" ctl`) // three streams
		synctest.Wait()
		second, third := open(t, man, t.Context(), "/rpc"), open(t, man, t.Context(), "/rpc")
		waiting := openAsync(t, man, t.Context())
		if ok, _ := waiting(); ok {
			t.Fatal("a fourth stream was opened")
		}
		peer.Expect(`s3 m1 Invoke "/rpc"`, `s5 m1 Invoke "/rpc"`)

		peer.Send(goAway(3), `s5 m1 Cancel "\x02" ctl`) // and it says so on the stream, too
		ok, err := waiting()
		if !ok {
			t.Fatal("the one in line still waits")
		}
		refused(t, "the one in line", err)
		_, err = drpctest.Recv(third)
		refused(t, "above the last", err)
		if err := drpctest.Send(third, "x"); err != io.EOF {
			t.Errorf("send above the last: %v", err)
		}
		_, err = man.NewClientStream(t.Context(), "/later", nil)
		refused(t, "later", err)
		_, err = man.NewUnaryStream(t.Context(), "/later", nil, []byte("x"))
		refused(t, "later", err)
		if !isClosed(first.Draining()) || !isClosed(man.Draining()) {
			t.Error("the streams were not told")
		}

		peer.Send(`s3 m1 Message "answer"`, `s3 m2 Close`)
		if got, err := drpctest.Recv(second); got != "answer" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
		if err := drpctest.Send(first, "goes on"); err != nil {
			t.Error(err)
		}
		peer.Expect(`s1 m3 Message "goes on"`)
		peer.Send(`s1 m2 Close`)
		peer.ExpectClosed()
		<-man.Closed()
		lostTo(t, man.Err(), drpcmanager.ErrShutdown)
		_, err = man.NewClientStream(t.Context(), "/after the end", nil)
		refused(t, "after the end", err)
		lostTo(t, err, drpcmanager.ErrShutdown)
	})
}

func TestADrainingClientFinishesItsCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		man, peer, _ := newClient(t, drpcmanager.Options{})
		s := known(t, man, peer)
		done := shutdown(man, t.Context())
		peer.Expect(goAway(0))
		_, err := man.NewClientStream(t.Context(), "/new", nil)
		refused(t, "a new call", err)
		peer.Send(`s1 m2 Message "answer"`, `s1 m3 CloseSend`)
		if got, err := drpctest.Recv(s); got != "answer" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
		if ok, _ := done(); ok {
			t.Fatal("it did not wait for the call")
		}
		_ = s.CloseSend()
		peer.Expect(`s1 m3 CloseSend`)
		peer.ExpectClosed()
		if ok, err := done(); !ok || err != nil {
			t.Errorf("Shutdown: %v, %v", ok, err)
		}
		_, err = man.NewClientStream(t.Context(), "/after the end", nil)
		refused(t, "after the end", err)
	})
}

// A server's handlers are told that their client is draining, and the server goes on
// taking what comes.
func TestHandlersLearnThatTheirClientDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		man, peer, acc := knownServer(t, drpcmanager.Options{})
		peer.Send(goAway(0))
		synctest.Wait()
		if !isClosed(acc.get(t, 0).Draining()) {
			t.Error("the handler was not told")
		}
		_ = acc.get(t, 0).Return(nil)
		synctest.Wait()
		if man.Err() != nil {
			t.Errorf("it hung up: %v", man.Err())
		}
		peer.Expect(`s1 m2 Close`)
		peer.Close()
		<-man.Closed()
		lostTo(t, man.Err(), drpcmanager.ErrShutdown)
	})
}

// Neither a handler that does not heed its context nor a call that never ends holds
// up Shutdown beyond its own context.
func TestShutdownCutsWhenItsContextEnds(t *testing.T) {
	for name, start := range map[string]func(t *testing.T) (*drpcmanager.Manager, *drpcstream.Stream){
		"server": func(t *testing.T) (*drpcmanager.Manager, *drpcstream.Stream) {
			man, _, acc := knownServer(t, drpcmanager.Options{})
			return man, acc.get(t, 0)
		},
		"client": func(t *testing.T) (*drpcmanager.Manager, *drpcstream.Stream) {
			man, peer, _ := newClient(t, drpcmanager.Options{})
			return man, known(t, man, peer)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				man, s := start(t)
				begin := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				if err := man.Shutdown(ctx); err != context.DeadlineExceeded {
					t.Errorf("Shutdown: %v", err)
				}
				if took := time.Since(begin); took != 3*time.Second {
					t.Errorf("it took %v", took)
				}
				_, err := drpctest.Recv(s)
				lostTo(t, err, drpcmanager.ErrShutdown)
				ctx, cancel = context.WithCancel(t.Context())
				cancel()
				_ = man.Shutdown(ctx) // it has ended: whatever it returns, it returns
			})
		})
	}
}

// A call that gives up in line, at the moment when the line is dissolved, is not
// waited for.
func TestShutdownDoesNotWaitForACallThatGaveUpInLine(t *testing.T) {
	for range 200 {
		synctest.Test(t, func(t *testing.T) {
			man, peer, _ := newClient(t, drpcmanager.Options{Multiplex: drpcmanager.MultiplexNever})
			s := open(t, man, t.Context(), "/rpc")
			peer.Expect(`s1 m1 Invoke "/rpc"`)
			ctx, cancel := context.WithCancel(t.Context())
			waiting := openAsync(t, man, ctx)
			waiting()
			done := make(chan error, 1)
			cancel()
			_ = s.Close() // its turn goes to one who does not want it any more
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				done <- man.Shutdown(ctx)
			}()
			if err := <-done; err != nil {
				t.Fatalf("Shutdown: %v", err)
			}
		})
	}
}

// The peer makes the server answer and does not read it. Nothing is in progress, so
// Shutdown comes to an end soon, with a context that has none.
func TestShutdownDoesNotWaitForAPeerThatDoesNotRead(t *testing.T) {
	for known := range 2 {
		for more := range 2 {
			t.Run(fmt.Sprint("known ", known == 1, " more to write ", more == 1), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					nc, ns := simnet.Link(simnet.Path{}, simnet.Path{Buffer: 64, Window: 64})
					defer nc.Close()
					man := drpcmanager.NewServer(t.Context(), ns, drpcmanager.Options{}, drpcmanager.Hooks{Handle: answerAtOnce})
					defer man.CloseNow(drpcmanager.ErrClosed)
					id := uint64(1)
					refusals := func() {
						for range 3 { // a name over the limit costs a refusal
							if _, err := nc.Write(data(drpcwire.KindInvoke, id, 1, 1025, true)); err != nil {
								t.Fatal(err)
							}
							id += 2
						}
						synctest.Wait()
					}
					refusals()
					if known == 1 {
						fr, _ := drpctest.Parse(`s1 m2 Settings "\x01\x01" ctl`)
						_, _ = nc.Write(drpcwire.AppendFrame(nil, fr))
						synctest.Wait()
					}
					begin := time.Now()
					done := shutdown(man, t.Context())
					if ok, _ := done(); ok {
						t.Fatal("it did not wait at all")
					}
					refusals() // what is queued now is not waited for, and is in the way
					if more == 1 {
						// The peer reads as much as was there before Shutdown, and no more.
						buf := make([]byte, 16)
						for range 40 {
							_, _ = nc.Read(buf)
							synctest.Wait()
						}
					}
					// Nothing gets on for the WriteTimeout; then comes closeLinger.
					time.Sleep(11500*time.Millisecond - time.Since(begin))
					if ok, err := done(); !ok || err != nil {
						t.Errorf("Shutdown: %v, %v", ok, err)
					}
				})
			})
		}
	}
}

func TestASecondGoAwayIsCountedAndABadOneEndsTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		man, peer, _ := newClient(t, drpcmanager.Options{Limits: drpcmanager.Limits{IdleFrames: 2, IdleFramesPerSecond: 1}})
		s := known(t, man, peer)
		peer.Send(goAway(1), goAway(0), goAway(0)) // the first one counts: the stream was taken
		synctest.Wait()
		if man.Err() != nil || s.IsTerminated() {
			t.Fatalf("ended by %v", man.Err())
		}
		peer.Send(goAway(1))
		endedBy(t, man, peer, "more than 2 frames that achieve nothing")
	})
	for _, bad := range []string{`s0 m0 GoAway ctl`, `s0 m0 GoAway "\x01" ctl`, `s0 m0 GoAway "\x80" ctl`} {
		synctest.Test(t, func(t *testing.T) {
			man, peer, _ := newClient(t, drpcmanager.Options{})
			known(t, man, peer)
			peer.Send(bad)
			<-man.Closed()
			protocolError(t, man)
		})
	}
}

// All that ends a connection, and calls, at the same moment, from many goroutines: no
// hang, no panic, and every call fails as refused or lost, or comes to its end.
func TestShutdownConcurrentWithEverything(t *testing.T) {
	for round := range 100 {
		a, b := drpctest.Pipe()
		server := drpcmanager.NewServer(t.Context(), b, drpcmanager.Options{}, drpcmanager.Hooks{
			Handle: func(s *drpcstream.Stream, _ string) { go echoAll(s) },
		})
		client := drpcmanager.NewClient(a, drpcmanager.Options{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		var wg sync.WaitGroup
		for g := range 12 {
			wg.Go(func() {
				for i := range 10 {
					s, err := client.NewClientStream(ctx, "/rpc", nil)
					if err == nil {
						_ = drpctest.Send(s, "x")
						_, err = drpctest.Recv(s)
						_ = s.Close()
					}
					var lost *drpcmanager.LostError
					if err != nil && !errors.Is(err, drpcstream.ErrRefused) && !errors.As(err, &lost) {
						t.Errorf("got %v", err)
					}
					if i != round%10 {
						continue
					}
					switch (g + round/10) % 12 {
					case 0, 1:
						err = server.Shutdown(ctx)
					case 2, 3:
						err = client.Shutdown(ctx)
					case 4:
						_ = client.Close()
					case 5:
						short, cancel := context.WithTimeout(ctx, time.Millisecond)
						_ = server.Shutdown(short)
						cancel()
					default:
						continue
					}
					if err != nil && ctx.Err() != nil {
						t.Errorf("Shutdown took a minute: %v", err)
					}
				}
			})
		}
		wg.Wait()
		if err := server.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		_ = client.Close()
		_ = server.Close()
		cancel()
		if client.Streams() != 0 || server.Streams() != 0 {
			t.Fatalf("%d and %d streams are left", client.Streams(), server.Streams())
		}
	}
}
