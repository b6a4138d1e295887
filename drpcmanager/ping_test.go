package drpcmanager_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
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

// ends is a client and a server that know each other over a simulated link. Their
// handlers echo; one stream is open.
type ends struct {
	client, server *drpcmanager.Manager
	nc, ns         *simnet.Conn
	stream         *drpcstream.Stream
	handlers       chan *drpcstream.Stream
	quiet          time.Time // when the last byte has moved
}

func echoAll(s *drpcstream.Stream) {
	for {
		got, err := drpctest.Recv(s)
		if err != nil {
			_ = s.Return(nil)
			return
		}
		_ = drpctest.Send(s, got)
	}
}

// newEnds starts the two ends in a bubble.
func newEnds(t *testing.T, up, down simnet.Path, c, s drpcmanager.Options) *ends {
	t.Helper()
	e := &ends{handlers: make(chan *drpcstream.Stream, 1000)}
	e.nc, e.ns = simnet.Link(up, down)
	e.server = drpcmanager.NewServer(t.Context(), e.ns, s, drpcmanager.Hooks{
		Handle: func(s *drpcstream.Stream, rpc string) {
			if rpc == "/echo" {
				go echoAll(s)
				return
			}
			e.handlers <- s
		},
	})
	e.client = drpcmanager.NewClient(e.nc, c)
	t.Cleanup(func() {
		_ = e.client.CloseNow(drpcmanager.ErrClosed)
		_ = e.server.CloseNow(drpcmanager.ErrClosed)
	})
	e.stream = open(t, e.client, t.Context(), "/echo")
	if err := drpctest.Send(e.stream, "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := drpctest.Recv(e.stream); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	if !e.client.PeerKnown() || !e.server.PeerKnown() {
		t.Fatal("the ends do not know each other")
	}
	e.quiet = time.Now()
	return e
}

func keepalive(interval, timeout time.Duration) drpcmanager.Options {
	return drpcmanager.Options{Keepalive: drpcmanager.Keepalive{Interval: interval, Timeout: timeout}}
}

var never = keepalive(-1, 0)

// endsAfter waits for the end of a connection and checks when and why it came.
func endsAfter(t *testing.T, man *drpcmanager.Manager, since time.Time, want time.Duration, cause error) {
	t.Helper()
	<-man.Closed()
	if got := time.Since(since); got < want-100*time.Millisecond || got > want+100*time.Millisecond {
		t.Errorf("the connection ended after %v, want %v", got, want)
	}
	lostTo(t, man.Err(), cause)
	if drpcerr.Code(man.Err()) != drpcwire.CodeUnavailable {
		t.Errorf("code %d", drpcerr.Code(man.Err()))
	}
}

func TestASilentPeerThatIsDeadIsFound(t *testing.T) { // F4
	for name, tc := range map[string]struct {
		client, server drpcmanager.Options
		find           time.Duration // by the client, else by the server
	}{
		"by a client":                      {drpcmanager.Options{}, never, 45 * time.Second},
		"by a server":                      {never, drpcmanager.Options{}, 75 * time.Second},
		"by a client, configured":          {keepalive(10*time.Second, time.Second), never, 11 * time.Second},
		"by a server, configured":          {never, keepalive(2*time.Minute, 3*time.Second), 123 * time.Second},
		"by a client, a long time to wait": {keepalive(10*time.Second, time.Hour), never, time.Hour + 10*time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEnds(t, simnet.Path{}, simnet.Path{}, tc.client, tc.server)
				man := e.client
				if tc.client == never {
					man = e.server
				}
				e.nc.Blackhole()
				e.ns.Blackhole()
				endsAfter(t, man, e.quiet, tc.find, drpcmanager.ErrKeepalive)
			})
		})
	}
}

func TestAllCallsOfADeadConnectionLearnWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnds(t, simnet.Path{}, simnet.Path{}, drpcmanager.Options{}, drpcmanager.Options{})
		second := open(t, e.client, t.Context(), "/rpc")
		handler := <-e.handlers
		e.nc.Blackhole()
		e.ns.Blackhole()
		<-e.client.Closed()
		for _, s := range []*drpcstream.Stream{e.stream, second} {
			_, err := drpctest.Recv(s)
			lostTo(t, err, drpcmanager.ErrKeepalive)
			lostTo(t, drpctest.Send(s, "x"), drpcmanager.ErrKeepalive)
		}
		_, err := e.client.NewClientStream(t.Context(), "/later", nil)
		lostTo(t, err, drpcmanager.ErrKeepalive)
		if handler.Context().Err() != nil {
			t.Fatal("the server has noticed already")
		}
		<-e.server.Closed()
		_, err = drpctest.Recv(handler)
		lostTo(t, err, drpcmanager.ErrKeepalive)
		if !errors.Is(err, context.Canceled) || handler.Context().Err() != context.Canceled {
			t.Errorf("the handler got %v, its context %v", err, handler.Context().Err())
		}
	})
}

func TestKeepaliveCanBeTurnedOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnds(t, simnet.Path{}, simnet.Path{}, never, never)
		before := e.nc.Written() + e.ns.Written()
		e.nc.Blackhole()
		e.ns.Blackhole()
		time.Sleep(1000 * time.Hour)
		synctest.Wait()
		if e.client.Err() != nil || e.server.Err() != nil {
			t.Errorf("ended by %v and %v", e.client.Err(), e.server.Err())
		}
		if after := e.nc.Written() + e.ns.Written(); after != before {
			t.Errorf("%d bytes were written", after-before)
		}
	})
}

// An idle connection whose peer lives lives, for months.
func TestAnIdleConnectionStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := simnet.Path{Delay: 30 * time.Millisecond}
		e := newEnds(t, path, path, drpcmanager.Options{}, drpcmanager.Options{})
		_ = e.stream.Close()
		time.Sleep(1000 * time.Hour)
		synctest.Wait()
		if e.client.Err() != nil || e.server.Err() != nil {
			t.Errorf("ended by %v and %v", e.client.Err(), e.server.Err())
		}
	})
}

// An answer that comes at the very moment of the question, as far as the clock can
// tell, is an answer: some clocks tick every 15 ms.
func TestAnAnswerAtOnceIsAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := linked(t, func(*drpcstream.Stream) {})
		time.Sleep(time.Hour)
		synctest.Wait()
		if client.Err() != nil || server.Err() != nil {
			t.Errorf("ended by %v and %v", client.Err(), server.Err())
		}
	})
}

func TestAPeerThatIsNotKnownIsNeverPinged(t *testing.T) {
	for _, mode := range []drpcmanager.Multiplex{drpcmanager.MultiplexAuto, drpcmanager.MultiplexAlways, drpcmanager.MultiplexNever} {
		synctest.Test(t, func(t *testing.T) {
			opts := keepalive(10*time.Second, time.Second)
			opts.Multiplex = mode
			client, peer, _ := newClient(t, opts)
			peer.All()
			open(t, client, t.Context(), "/rpc")
			peer.Expect(`s1 m1 Invoke "/rpc"`)
			if mode != drpcmanager.MultiplexNever {
				peer.Expect(`s1 m2 ` + settings)
			}
			peer.Send(`s1 m1 Message "stock"`)
			server, stock, _ := newServer(t, keepalive(10*time.Second, time.Second))
			stock.All()
			stock.Send(`s1 m1 Invoke "/rpc"`)
			time.Sleep(100 * time.Hour)
			synctest.Wait()
			peer.ExpectNothing()
			stock.ExpectNothing()
			if client.Err() != nil || server.Err() != nil {
				t.Errorf("ended by %v and %v", client.Err(), server.Err())
			}
		})
	}
}

const firstPing = `s0 m0 Ping "\x00\x00\x00\x00\x00\x00\x00\x01" ctl`

// Whatever comes is a sign of life: frames of live streams, late ones, unknown ones,
// and a part of a frame.
func TestTrafficOfAnyKindDefersThePing(t *testing.T) {
	const n = 100
	var pieces []byte
	for i := range n {
		pieces = append(pieces, data(drpcwire.KindMessage, 1, uint64(i+900), 10, true)...)
	}
	for name, send := range map[string]func(peer *drpctest.Peer, i int){
		"messages":      func(peer *drpctest.Peer, i int) { peer.Send(fmt.Sprintf(`s1 m%d Message "x"`, i+2)) },
		"late frames":   func(peer *drpctest.Peer, _ int) { peer.Send(`s2 m1 Message "x"`) },
		"unknown kinds": func(peer *drpctest.Peer, _ int) { peer.Send(`s0 m0 Kind(40) ctl`) },
		"pings":         func(peer *drpctest.Peer, i int) { peer.Send(fmt.Sprintf(`s0 m0 Ping "1234567%d" ctl`, i%10)) },
		"single bytes":  func(peer *drpctest.Peer, i int) { peer.SendRaw(pieces[i : i+1]) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				opts := drpcmanager.Options{Limits: drpcmanager.Limits{FrameTimeout: -1}}
				man, peer, _ := newClient(t, opts)
				known(t, man, peer) // it has measured the round trip, which the peer does not answer
				peer.All()
				for i := range n {
					time.Sleep(29 * time.Second)
					synctest.Wait()
					if name != "pings" {
						peer.ExpectNothing()
					}
					send(peer, i)
				}
				synctest.Wait()
				if name == "pings" {
					for range n {
						if got, _ := peer.Next(); !strings.HasPrefix(got, `s0 m0 Pong "1234567`) {
							t.Fatalf("got %s", got)
						}
					}
				}
				time.Sleep(30*time.Second - 1)
				synctest.Wait()
				peer.ExpectNothing()
				time.Sleep(time.Nanosecond)
				synctest.Wait()
				peer.Expect(`s0 m0 Ping "\x00\x00\x00\x00\x00\x00\x00\x02" ctl`)
				time.Sleep(15*time.Second - 1)
				if man.Err() != nil {
					t.Errorf("it ended early: %v", man.Err())
				}
				send(peer, n) // at the last moment
				time.Sleep(time.Second)
				if man.Err() != nil {
					t.Errorf("it ended in spite of a sign of life: %v", man.Err())
				}
			})
		})
	}
}

// Both directions of 64 kbit/s are busy for an hour: nobody takes the other for dead,
// nor a frame for stuck (F7).
func TestASlowLinkIsNotTakenForADeadOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := simnet.Path{Delay: 100 * time.Millisecond, Rate: 8000}
		opts := keepalive(10*time.Second, 5*time.Second)
		e := newEnds(t, path, path, opts, opts)
		var wg sync.WaitGroup
		for range 6 {
			s := open(t, e.client, t.Context(), "/echo")
			wg.Go(func() {
				for s.RawWrite(drpcwire.KindMessage, make([]byte, 20_000)) == nil {
				}
			})
			wg.Go(func() {
				for {
					if _, err := s.RawRecv(); err != nil {
						return
					}
				}
			})
		}
		minutes := 20
		if testing.Short() {
			minutes = 4
		}
		time.Sleep(time.Duration(minutes) * time.Minute)
		if e.client.Err() != nil || e.server.Err() != nil {
			t.Errorf("ended by %v and %v", e.client.Err(), e.server.Err())
		}
		if got, most := e.ns.Delivered(), int64(minutes*60*8000); got < most/2 {
			t.Errorf("only %d bytes of at most %d came: the link was not busy", got, most)
		}
		_ = e.client.CloseNow(drpcmanager.ErrClosed)
		wg.Wait()
	})
}

// A link dies while it is written to: the first of the two that notice ends it, and
// whoever closes it before that does not wait for the dead (F5).
func TestALinkThatDiesWhileWritingEnds(t *testing.T) {
	for name, tc := range map[string]struct {
		write     time.Duration // Limits.WriteTimeout
		keepalive drpcmanager.Keepalive
		want      time.Duration // 0: somebody closes it
		cause     error
	}{
		"by the write timeout": {0, drpcmanager.Keepalive{}, 10 * time.Second, drpcwire.ErrWriteTimeout},
		"by the keepalive":     {-1, drpcmanager.Keepalive{}, 45 * time.Second, drpcmanager.ErrKeepalive},
		"by the keepalive, which is first": {
			time.Minute, drpcmanager.Keepalive{Interval: 10 * time.Second, Timeout: time.Second},
			11 * time.Second, drpcmanager.ErrKeepalive,
		},
		"by Close": {-1, drpcmanager.Keepalive{Interval: -1}, 0, drpcmanager.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				path := simnet.Path{Buffer: 32 << 10, Window: 32 << 10}
				opts := drpcmanager.Options{Keepalive: tc.keepalive, Limits: drpcmanager.Limits{WriteTimeout: tc.write}}
				e := newEnds(t, path, path, opts, never)
				e.nc.Blackhole()
				e.ns.Blackhole()
				var wg sync.WaitGroup
				for range 20 {
					s := open(t, e.client, t.Context(), "/echo")
					wg.Go(func() {
						var err error
						for err == nil {
							err = s.RawWrite(drpcwire.KindMessage, make([]byte, 30_000))
						}
						lostTo(t, err, tc.cause)
					})
				}
				if tc.want == 0 {
					time.Sleep(time.Minute)
					start := time.Now()
					_ = e.client.Close()
					if took := time.Since(start); took > time.Second {
						t.Errorf("Close took %v", took)
					}
				} else {
					endsAfter(t, e.client, e.quiet, tc.want, tc.cause)
				}
				wg.Wait()
			})
		})
	}
}

// Where one direction is dead, the end that hears nothing goes first; what it says to
// the other arrives, or that one finds out by itself (F6).
func TestOneDeadDirectionIsADeadLink(t *testing.T) {
	t.Run("to the server", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			e := newEnds(t, simnet.Path{}, simnet.Path{}, drpcmanager.Options{}, drpcmanager.Options{})
			e.nc.Blackhole()
			endsAfter(t, e.client, e.quiet, 45*time.Second, drpcmanager.ErrKeepalive)
			endsAfter(t, e.server, e.quiet, 75*time.Second, drpcmanager.ErrKeepalive)
		})
	})
	t.Run("to the client", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			e := newEnds(t, simnet.Path{}, simnet.Path{}, drpcmanager.Options{}, drpcmanager.Options{})
			e.ns.Blackhole()
			endsAfter(t, e.client, e.quiet, 45*time.Second, drpcmanager.ErrKeepalive)
			endsAfter(t, e.server, e.quiet, 45*time.Second, io.ErrUnexpectedEOF)
		})
	})
}

// The first ping that comes too soon is not answered, and neither is the second; the
// third in a row ends the connection (T4).
func TestAPingFloodEndsTheConnection(t *testing.T) {
	for name, tc := range map[string]struct {
		idle  bool
		least time.Duration
	}{"busy": {false, 5 * time.Second}, "idle": {true, 10 * time.Second}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				man, peer, acc := knownServer(t, drpcmanager.Options{})
				if tc.idle {
					_ = acc.get(t, 0).Return(nil)
					peer.Expect(`s1 m2 Close`)
				}
				ping := func(answered bool) {
					t.Helper()
					peer.Send(`s0 m0 Ping "12345678" ctl`)
					synctest.Wait()
					if answered {
						peer.Expect(`s0 m0 Pong "12345678" ctl`)
					} else if man.Err() == nil {
						peer.ExpectNothing()
					}
				}
				ping(true)
				for range 3 { // two strikes, and then a good one, are forgiven
					time.Sleep(tc.least - 1)
					ping(false)
					ping(false)
					time.Sleep(tc.least)
					ping(true)
				}
				ping(false)
				time.Sleep(tc.least - 1)
				ping(false)
				if man.Err() != nil {
					t.Fatalf("two are too many: %v", man.Err())
				}
				peer.Send(`s0 m0 Ping "12345678" ctl`)
				endedBy(t, man, peer, "3 pings in less than "+tc.least.String()+" each")
			})
		})
	}
	t.Run("at a client", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			man, peer, _ := newClient(t, drpcmanager.Options{})
			s := known(t, man, peer)
			for range 1000 {
				peer.Send(`s0 m0 Ping "12345678" ctl`)
				synctest.Wait()
				if man.Err() != nil {
					break
				}
			}
			peer.Expect(`s0 m0 Pong "12345678" ctl`)
			endedBy(t, man, peer, "3 pings in less than 5s each")
			_, err := drpctest.Recv(s)
			lostTo(t, err, err)
		})
	})
}

// Whoever is told off learns why, with a call open or without (T4).
func TestTheEndThatIsToldOffLearnsWhy(t *testing.T) {
	for _, code := range []uint64{drpcwire.CodeResourceExhausted, drpcwire.CodeInternal} {
		for _, idle := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				man, peer, _ := newClient(t, drpcmanager.Options{})
				s := known(t, man, peer)
				if idle {
					_ = s.Close()
					synctest.Wait()
				}
				peer.SendRaw(drpcwire.AppendFrame(nil, drpcwire.GoAwayFrame(drpcwire.GoAway{Last: 1, Code: code, Text: "because"})))
				synctest.Wait()
				peer.Close()
				<-man.Closed()
				var why *drpcmanager.GoAwayError
				if !errors.As(man.Err(), &why) || why.Code != code || why.Text != "because" {
					t.Errorf("code %d, idle %v: the connection ended by %v", code, idle, man.Err())
				}
			})
		}
	}
}

func TestBadPingsAndUnaskedPongsAreCounted(t *testing.T) {
	for _, frame := range []string{
		`s0 m0 Ping "1234567" ctl`, `s0 m0 Ping "123456789" ctl`, `s0 m0 Ping ctl`,
		`s0 m0 Pong "12345678" ctl`, `s0 m0 Pong "1" ctl`, `s0 m0 Pong "\x00\x00\x00\x00\x00\x00\x00\x02" ctl`,
	} {
		synctest.Test(t, func(t *testing.T) {
			man, peer, _ := newClient(t, drpcmanager.Options{Limits: drpcmanager.Limits{IdleFrames: 5, IdleFramesPerSecond: 1}})
			known(t, man, peer)
			for range 5 {
				peer.Send(frame)
			}
			synctest.Wait()
			if man.Err() != nil || man.RoundTrip() != 0 {
				t.Fatalf("%s: %v, a round trip of %v", frame, man.Err(), man.RoundTrip())
			}
			peer.Send(frame)
			endedBy(t, man, peer, "more than 5 frames that achieve nothing")
		})
	}
}

func TestAPongMeasuresTheRoundTripOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		man, peer, _ := newClient(t, drpcmanager.Options{Limits: drpcmanager.Limits{IdleFrames: 1, IdleFramesPerSecond: 1}})
		peer.All()
		open(t, man, t.Context(), "/rpc")
		peer.Expect(`s1 m1 Invoke "/rpc"`, `s1 m2 `+settings)
		peer.Send(`s1 m1 Settings "\x01\x01" ctl`)
		if got, _ := peer.Next(); got == firstPing {
			_, _ = peer.Next() // the acknowledgement
		} else {
			peer.Expect(firstPing)
		}
		time.Sleep(50 * time.Millisecond)
		peer.Send(`s0 m0 Pong "\x00\x00\x00\x00\x00\x00\x00\x01" ctl`)
		synctest.Wait()
		if got := man.RoundTrip(); got != 50*time.Millisecond {
			t.Errorf("measured %v", got)
		}
		peer.Send(`s0 m0 Pong "\x00\x00\x00\x00\x00\x00\x00\x01" ctl`) // once more: nobody has asked
		peer.Send(`s0 m0 Pong "\x00\x00\x00\x00\x00\x00\x00\x01" ctl`)
		endedBy(t, man, peer, "more than 1 frames that achieve nothing")
	})
}

// The peer counts the time between pings as they arrive, and the way of each may take
// another time. So one leaves ten seconds after the answer to the one before.
func TestAPingLeavesLongAfterTheAnswerToTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		man, peer, _ := newClient(t, never)
		peer.All()
		open(t, man, t.Context(), "/rpc")
		peer.Expect(`s1 m1 Invoke "/rpc"`, `s1 m2 `+settings)
		peer.Send(`s1 m1 Settings "\x01\x01" ctl`)
		want := func(d time.Duration) { // the round trip, all the time
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
				_ = man.RoundTrip()
			}
			synctest.Wait()
		}
		got, _ := peer.Next()
		if !strings.HasPrefix(got, `s0 m0 Ping`) {
			peer.Expect(firstPing)
			got = firstPing
		} else {
			_, _ = peer.Next() // the acknowledgement
		}
		for range 20 {
			want(19 * time.Second) // it is on its way for long
			peer.ExpectNothing()
			peer.Send(strings.Replace(got, "Ping", "Pong", 1))
			want(10*time.Second - 1)
			peer.ExpectNothing()
			want(time.Second)
			got, _ = peer.Next()
			if !strings.HasPrefix(got, `s0 m0 Ping`) {
				t.Fatalf("got %s", got)
			}
		}
	})
}

// The smallest interval there is, a way that takes up to two seconds longer each
// time, and round trips that are measured as often as it goes: for hours nobody is
// punished for it.
func TestHonestPingsAreNeverPunished(t *testing.T) {
	for seed := range uint64(3) {
		for _, busy := range []bool{false, true} {
			t.Run(fmt.Sprint("seed ", seed, " busy ", busy), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					rng := rand.New(rand.NewPCG(seed, 1))   //nolint:gosec // not for secrets
					delay := rand.New(rand.NewPCG(seed, 2)) //nolint:gosec // likewise; of the link
					path := simnet.Path{Delay: 10 * time.Millisecond, Jitter: func() time.Duration {
						return time.Duration(delay.Int64N(int64(2 * time.Second)))
					}}
					opts := keepalive(10*time.Second, 5*time.Second)
					e := newEnds(t, path, path, opts, opts)
					if !busy {
						_ = e.stream.Close()
					}
					for start := time.Now(); time.Since(start) < 6*time.Hour && e.client.Err() == nil && e.server.Err() == nil; {
						// Now and then nobody measures, and the silence does.
						for end := time.Now().Add(time.Duration(rng.Int64N(int64(time.Minute)))); time.Now().Before(end); {
							time.Sleep(time.Second)
							_, _ = e.client.RoundTrip(), e.server.RoundTrip()
						}
						time.Sleep(time.Duration(rng.Int64N(int64(time.Minute))))
					}
					if e.client.Err() != nil || e.server.Err() != nil {
						t.Errorf("ended by %v and %v", e.client.Err(), e.server.Err())
					}
					if rtt := e.client.RoundTrip(); rtt < 20*time.Millisecond || rtt > 5*time.Second {
						t.Errorf("a round trip of %v", rtt)
					}
				})
			})
		}
	}
}
