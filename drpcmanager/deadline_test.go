package drpcmanager_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"storj.io/drpc"
	"storj.io/drpc/drpcerr"
	"storj.io/drpc/drpcmetadata"

	"braid/drpcmanager"
	"braid/drpcstream"
	"braid/drpcwire"
	"braid/internal/drpctest"
)

// timeout is the sentence for a Timeout frame.
func timeout(id string, left time.Duration) string {
	data := drpcwire.AppendTimeout(nil, left)
	return id + drpctest.Describe(drpcwire.Frame{Kind: drpcwire.KindTimeout, Control: true, Done: true, Data: data})[len("s0 m0"):]
}

// knownServer starts a server that knows its peer: stream 1, for whose Settings
// nobody gave a window, is open.
func knownServer(t *testing.T, opts drpcmanager.Options) (*drpcmanager.Manager, *drpctest.Peer, *accepted) {
	t.Helper()
	man, peer, acc := newServer(t, opts)
	peer.Send(`s1 m1 Invoke "/first"`, `s1 m2 Settings "\x01\x01" ctl`)
	if answer, _ := peer.Next(); !strings.HasPrefix(answer, `s1 m1 Settings `) {
		t.Fatalf("got %s, want Settings", answer)
	}
	synctest.Wait()
	return man, peer, acc
}

// endedBy checks that the connection ends because the peer has gone over a limit, and
// that the peer is told.
func endedBy(t *testing.T, man *drpcmanager.Manager, peer *drpctest.Peer, why string) {
	t.Helper()
	got, _ := peer.Next()
	if fr, err := drpctest.Parse(got); err != nil || fr.Kind != drpcwire.KindGoAway {
		t.Errorf("got %s, want GoAway", got)
	} else if g, err := drpcwire.ParseGoAway(fr.Data); err != nil || g.Code != drpcwire.CodeResourceExhausted || !strings.Contains(g.Text, why) {
		t.Errorf("the peer was told %+v, want %q", g, why)
	}
	peer.ExpectClosed()
	<-man.Closed()
	if err := man.Err(); !strings.Contains(err.Error(), why) {
		t.Errorf("the connection ended by %v, want %q", err, why)
	}
}

// linked starts a client and a server on the two ends of a pipe, which know each
// other. The server's handlers are called in goroutines of their own.
func linked(t *testing.T, handle func(*drpcstream.Stream)) (client, server *drpcmanager.Manager) {
	t.Helper()
	a, b := drpctest.Pipe()
	server = drpcmanager.NewServer(t.Context(), b, drpcmanager.Options{}, drpcmanager.Hooks{
		Handle: func(s *drpcstream.Stream, rpc string) {
			if rpc == "/first" {
				_ = s.Return(nil)
				return
			}
			go handle(s)
		},
	})
	client = drpcmanager.NewClient(a, drpcmanager.Options{})
	t.Cleanup(func() {
		_ = client.Close()
		_ = server.Close()
	})
	_, _ = drpctest.Recv(open(t, client, t.Context(), "/first"))
	if !client.PeerKnown() || !server.PeerKnown() {
		t.Fatal("the ends do not know each other")
	}
	return client, server
}

func TestAKnownPeerIsToldOfTheDeadlineBeforeTheInvoke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		man, peer, _ := newClient(t, drpcmanager.Options{})
		known(t, man, peer)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()

		s := open(t, man, ctx, "/stream")
		peer.Expect(timeout(`s3 m1`, time.Second), `s3 m2 Invoke "/stream"`)

		metadata, err := drpcmetadata.Encode(nil, map[string]string{"k": "v"})
		if err != nil {
			t.Fatal(err)
		}
		unary, err := man.NewUnaryStream(ctx, "/unary", metadata, []byte("in"))
		if err != nil {
			t.Fatal(err)
		}
		peer.Expect(`s5 m1 InvokeMetadata "\n\x06\n\x01k\x12\x01v"`, timeout(`s5 m2`, time.Second),
			`s5 m3 Invoke "/unary"`, `s5 m4 Message "in"`, `s5 m5 CloseSend`)

		time.Sleep(400*time.Millisecond + 1) // what is left is rounded up
		third := open(t, man, ctx, "/later")
		peer.Expect(timeout(`s7 m1`, 600*time.Millisecond), `s7 m2 Invoke "/later"`)

		open(t, man, t.Context(), "/no deadline")
		peer.Expect(`s9 m1 Invoke "/no deadline"`)

		if _, err := drpctest.Recv(unary); err != context.DeadlineExceeded {
			t.Errorf("unary: %v", err)
		}
		synctest.Wait()
		for _, s := range []*drpcstream.Stream{s, third} {
			if err := drpctest.Send(s, "x"); err != context.DeadlineExceeded {
				t.Errorf("send: %v", err)
			}
			if _, err := drpctest.Recv(s); err != context.DeadlineExceeded {
				t.Errorf("recv: %v", err)
			}
			if err := s.Context().Err(); err != context.DeadlineExceeded {
				t.Errorf("context: %v", err)
			}
		}
		got := make(map[string]bool) // they end at the same moment
		for range 3 {
			sentence, _ := peer.Next()
			got[sentence] = true
		}
		for _, want := range []string{`s3 m3 Cancel "\x01" ctl`, `s5 m6 Cancel "\x01" ctl`, `s7 m3 Cancel "\x01" ctl`} {
			if !got[want] {
				t.Errorf("no %s in %v", want, got)
			}
		}
	})
}

// Towards a peer that is not known there is no kind above 7 but the Settings, however
// the client multiplexes and whether or not the peer is stock.
func TestAPeerThatIsNotKnownIsNotToldOfDeadlines(t *testing.T) {
	for _, mode := range []drpcmanager.Multiplex{
		drpcmanager.MultiplexAuto, drpcmanager.MultiplexAlways, drpcmanager.MultiplexNever,
	} {
		for _, speaks := range []bool{false, true} {
			t.Run(fmt.Sprint(mode, " stock ", speaks), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					man, peer, end := newClient(t, drpcmanager.Options{Multiplex: mode})
					for range 4 {
						ctx, cancel := context.WithTimeout(t.Context(), time.Second)
						defer cancel()
						s := open(t, man, ctx, "/rpc")
						if speaks {
							peer.Send(fmt.Sprintf(`s%d m1 Message "x"`, s.ID()))
						}
						synctest.Wait()
						_ = s.Close()
						unary, err := man.NewUnaryStream(ctx, "/unary", nil, []byte("in"))
						if err != nil {
							t.Fatal(err)
						}
						if _, err := drpctest.Recv(unary); err != context.DeadlineExceeded {
							t.Error(err)
						}
					}
					announced := 0
					rem := bytes.Join(end.Writes(), nil)
					for len(rem) > 0 {
						var fr drpcwire.Frame
						var err error
						if rem, fr, _, err = drpcwire.ParseFrame(rem); err != nil {
							t.Fatal(err)
						}
						switch {
						case fr.Kind == drpcwire.KindSettings:
							announced++
						case fr.Kind > drpcwire.KindInvokeMetadata:
							t.Errorf("sent %v", fr)
						}
					}
					if (announced == 0) != (mode == drpcmanager.MultiplexNever) || speaks && announced > 1 {
						t.Errorf("announced %d times", announced)
					}
				})
			})
		}
	}
}

// The client never sends a Cancel: its deadline alone ends the handler's context.
func TestTheHandlersContextEndsAtTheDeadlineOfTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		man, peer, acc := knownServer(t, drpcmanager.Options{})
		peer.Send(timeout(`s3 m1`, time.Second), `s3 m2 Invoke "/rpc"`, `s3 m3 Message "unread"`)
		synctest.Wait()
		s := acc.get(t, 1)
		deadline, ok := s.Context().Deadline()
		if !ok || time.Until(deadline) != time.Second {
			t.Errorf("deadline %v, %v", time.Until(deadline), ok)
		}
		if _, ok := acc.get(t, 0).Context().Deadline(); ok {
			t.Error("a call without a deadline has one")
		}
		derived, cancel := context.WithCancel(s.Context())
		defer cancel()
		time.Sleep(time.Second - 1)
		synctest.Wait()
		if err := s.Context().Err(); err != nil {
			t.Fatalf("it ended early: %v", err)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		_, recvErr := drpctest.Recv(s)
		for what, err := range map[string]error{
			"context": s.Context().Err(), "derived": derived.Err(), "send": drpctest.Send(s, "x"), "recv": recvErr,
		} {
			if err != context.DeadlineExceeded {
				t.Errorf("%s: %v", what, err)
			}
		}
		peer.Expect(`s3 m1 Cancel "\x01" ctl`)
		_ = s.Return(errors.New("too late"))
		synctest.Wait()
		peer.ExpectNothing()
		if n := man.Streams(); n != 1 {
			t.Errorf("%d streams are open, want the first one", n)
		}
	})
}

// A call that is over has no timer left, whichever way it ended.
func TestACallThatEndsBeforeItsDeadlineEndsAsItDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, peer, acc := knownServer(t, drpcmanager.Options{})
		peer.Send(timeout(`s3 m1`, time.Second), `s3 m2 Invoke "/rpc"`,
			timeout(`s5 m1`, time.Second), `s5 m2 Invoke "/rpc"`)
		synctest.Wait()
		_ = acc.get(t, 1).Return(nil)
		peer.Expect(`s3 m1 Close`)
		peer.Send(`s5 m3 Cancel ctl`)
		time.Sleep(time.Minute)
		synctest.Wait()
		peer.ExpectNothing()
		for i := 1; i <= 2; i++ {
			if err := acc.get(t, i).Context().Err(); err != context.Canceled {
				t.Errorf("context of stream %d: %v", i, err)
			}
		}
	})
}

func TestBothSidesOfACallGetDeadlineExceeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error, 1)
		client, server := linked(t, func(s *drpcstream.Stream) {
			_, err := drpctest.Recv(s)
			<-s.Context().Done()
			if s.Context().Err() != context.DeadlineExceeded {
				t.Errorf("the handler's context: %v", s.Context().Err())
			}
			ended <- err
			_ = s.Return(err)
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := drpctest.Recv(open(t, client, ctx, "/rpc"))
		if err != context.DeadlineExceeded {
			t.Errorf("the client got %v", err)
		}
		if err := <-ended; err != context.DeadlineExceeded {
			t.Errorf("the handler got %v", err)
		}
		synctest.Wait()
		if client.Streams()+server.Streams() != 0 {
			t.Errorf("%d and %d streams are open", client.Streams(), server.Streams())
		}
	})
}

// The clocks of the two ends do not agree: where the server's comes first, its Cancel
// says why.
func TestADeadlineThatTheServerNoticesFirstIsADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		man, peer, _ := newClient(t, drpcmanager.Options{})
		known(t, man, peer)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		s := open(t, man, ctx, "/rpc")
		peer.Send(`s3 m1 Cancel "\x01" ctl`)
		if _, err := drpctest.Recv(s); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

// It ends in another goroutine while the stream is still being opened: it must not
// stay in the connection's books.
func TestCallsWithNoTimeLeftLeaveNothingBehind(t *testing.T) {
	const calls = 20_000
	a, b := drpctest.Pipe()
	defer a.Close()
	go func() { // what the server answers
		buf := make([]byte, 64<<10)
		for {
			if _, err := a.Read(buf); err != nil {
				return
			}
		}
	}()
	man := drpcmanager.NewServer(t.Context(), b, drpcmanager.Options{}, drpcmanager.Hooks{
		Handle: func(s *drpcstream.Stream, _ string) { _ = s.Return(nil) },
	})
	defer man.Close()
	send := func(sentences ...string) {
		var buf []byte
		for _, sentence := range sentences {
			fr, err := drpctest.Parse(sentence)
			if err != nil {
				t.Fatal(err)
			}
			buf = drpcwire.AppendFrame(buf, fr)
		}
		if _, err := a.Write(buf); err != nil {
			t.Fatalf("%v: %v", err, man.Err())
		}
	}
	send(`s1 m1 Invoke "/first"`, `s1 m2 Settings "\x01\x01" ctl`)
	for id := 3; id < 3+2*calls; id += 2 {
		send(timeout(fmt.Sprintf(`s%d m1`, id), 0), fmt.Sprintf(`s%d m2 Invoke "/rpc"`, id))
	}
	// A server that waits for all of them to end does not wait for ever.
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- man.Shutdown(ctx) }()
	if err := <-done; err != nil {
		t.Errorf("Shutdown: %v, %d streams are open", err, man.Streams())
	}
}

func TestACallWithNoTimeLeftIsOverAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, peer, acc := knownServer(t, drpcmanager.Options{})
		peer.Send(`s3 m1 Timeout "\x00" ctl`, `s3 m2 Invoke "/rpc"`)
		peer.Expect(`s3 m1 Cancel "\x01" ctl`)
		synctest.Wait()
		if err := acc.get(t, 1).Context().Err(); err != context.DeadlineExceeded {
			t.Errorf("context: %v", err)
		}
	})
}

func TestAnAbsurdTimeoutIsALongTime(t *testing.T) {
	for _, us := range []uint64{math.MaxInt64 / 1000, math.MaxInt64/1000 + 1, math.MaxInt64, math.MaxUint64} {
		synctest.Test(t, func(t *testing.T) {
			man, peer, acc := knownServer(t, drpcmanager.Options{Keepalive: drpcmanager.Keepalive{Interval: -1}})
			peer.SendRaw(drpcwire.AppendFrame(nil, drpcwire.Frame{
				ID: drpcwire.ID{Stream: 3, Message: 1}, Kind: drpcwire.KindTimeout, Control: true, Done: true,
				Data: drpcwire.AppendVarint(nil, us),
			}))
			peer.Send(`s3 m2 Invoke "/rpc"`)
			time.Sleep(10 * 365 * 24 * time.Hour)
			synctest.Wait()
			s := acc.get(t, 1)
			deadline, ok := s.Context().Deadline()
			if left := time.Until(deadline); !ok || left < 200*365*24*time.Hour {
				t.Errorf("deadline %v (%v), %v", deadline, left, ok)
			}
			if s.Context().Err() != nil || man.Err() != nil {
				t.Errorf("context: %v, connection: %v", s.Context().Err(), man.Err())
			}
		})
	}
}

func TestAMalformedTimeoutEndsTheConnection(t *testing.T) {
	for _, data := range []string{``, ` "\x80"`, ` "\x01\x01"`, ` "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"`} {
		synctest.Test(t, func(t *testing.T) {
			man, peer, acc := knownServer(t, drpcmanager.Options{})
			peer.Send(`s3 m1 Timeout` + data + ` ctl`)
			if got, _ := peer.Next(); !strings.HasPrefix(got, `s0 m0 GoAway`) || !strings.Contains(got, "timeout") {
				t.Errorf("%q: got %s", data, got)
			}
			peer.ExpectClosed()
			protocolError(t, man)
			_, err := drpctest.Recv(acc.get(t, 0))
			if !drpc.ProtocolError.Has(err) {
				t.Errorf("%q: the other stream got %v", data, err)
			}
		})
	}
}

func TestATimeoutWithoutAnInvokeIsAnIncompleteInvoke(t *testing.T) {
	t.Run("too many", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			man, peer, _ := knownServer(t, drpcmanager.Options{Limits: drpcmanager.Limits{IncompleteInvokes: 4}})
			for id := 3; id < 11; id += 2 {
				peer.Send(timeout(fmt.Sprintf(`s%d m1`, id), time.Second))
			}
			synctest.Wait()
			if man.Err() != nil {
				t.Fatalf("four ended the connection: %v", man.Err())
			}
			peer.Send(timeout(`s11 m1`, time.Second))
			endedBy(t, man, peer, "more than 4 incomplete invokes")
		})
	})
	t.Run("too long", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			man, peer, acc := knownServer(t, drpcmanager.Options{})
			start := time.Now()
			peer.Send(timeout(`s3 m1`, time.Hour))
			got, _ := peer.Next()
			fr, err := drpctest.Parse(got)
			if err != nil || fr.Kind != drpcwire.KindError || fr.ID.Stream != 3 ||
				drpcerr.Code(drpcwire.UnmarshalError(fr.Data)) != drpcwire.CodeDeadlineExceeded {
				t.Errorf("got %s", got)
			}
			if took := time.Since(start); took != 10*time.Second {
				t.Errorf("after %v", took)
			}
			peer.Send(`s3 m2 Invoke "/rpc"`) // it comes after all, and is dropped
			synctest.Wait()
			if n := len(acc.names()); n != 1 || man.Err() != nil {
				t.Errorf("%d streams were handed on, %v", n, man.Err())
			}
		})
	})
}

// A Timeout that belongs to nothing is ignored, as far as there are few of them.
func TestAStrayTimeoutIsIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := drpcmanager.Limits{IdleFrames: 3, IdleFramesPerSecond: 1}
		server, peer, acc := knownServer(t, drpcmanager.Options{Limits: limits})
		peer.Send(timeout(`s1 m3`, 0), timeout(`s1 m4`, 0), timeout(`s0 m0`, 0))
		synctest.Wait()
		if err := acc.get(t, 0).Context().Err(); err != nil || server.Err() != nil {
			t.Fatalf("context: %v, connection: %v", err, server.Err())
		}
		peer.Send(timeout(`s1 m5`, 0))
		endedBy(t, server, peer, "more than 3 frames that achieve nothing")

		client, peer, _ := newClient(t, drpcmanager.Options{Limits: limits})
		s := known(t, client, peer)
		peer.Send(timeout(`s1 m2`, 0), timeout(`s2 m1`, 0))
		synctest.Wait()
		if s.IsTerminated() || client.Err() != nil {
			t.Errorf("the client took it: %v", client.Err())
		}
	})
}

func TestTheEarlierOneOfTheServersAndTheCallsDeadlineCounts(t *testing.T) {
	for call, want := range map[time.Duration]time.Duration{time.Second: time.Second, time.Hour: time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			a, b := drpctest.Pipe()
			peer := drpctest.NewPeer(t, b)
			acc := new(accepted)
			man := drpcmanager.NewServer(ctx, a, drpcmanager.Options{}, drpcmanager.Hooks{Handle: acc.handle})
			defer man.Close()
			peer.Send(`s1 m1 Invoke "/first"`, `s1 m2 Settings "\x01\x01" ctl`)
			peer.Send(timeout(`s3 m1`, call), `s3 m2 Invoke "/rpc"`)
			synctest.Wait()
			s := acc.get(t, 1)
			if deadline, ok := s.Context().Deadline(); !ok || time.Until(deadline) != want {
				t.Errorf("deadline of %v: %v, %v", call, time.Until(deadline), ok)
			}
			time.Sleep(2 * time.Second)
			if err := s.Context().Err(); (err == context.DeadlineExceeded) != (call == time.Second) {
				t.Errorf("deadline of %v: %v", call, err)
			}
		})
	}
}
