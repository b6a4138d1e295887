package drpcmanager_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"

	"storj.io/drpc"

	"braid/drpcmanager"
	"braid/drpcwire"
	"braid/internal/drpctest"
)

// What the peer sends on stream 1, which is open, ends the connection (M6, M7).
func TestBrokenFrameRulesEndTheConnection(t *testing.T) {
	for name, frames := range map[string][]string{
		"a message id goes back":                      {`s1 m5 Message "a"`, `s1 m4 Message "b"`},
		"a message id is used again after done":       {`s1 m5 Message "a"`, `s1 m5 Message "b"`},
		"the kind changes within a packet":            {`s1 m5 Message "a" more`, `s1 m5 Error "b"`},
		"an Invoke comes on a live stream":            {`s1 m5 Invoke "/again"`},
		"metadata comes on a live stream":             {`s1 m5 InvokeMetadata "x"`},
		"message id 0":                                {`s1 m0 Message "a"`},
		"stream id 0":                                 {`s0 m1 Message "a"`},
		"an unknown kind without the control bit":     {`s1 m5 Kind(40) "a"`},
		"kind 0 without the control bit":              {`s1 m5 Kind(0) "a"`},
		"one of our own kinds without the bit":        {`s1 m5 Settings "\x01\x01"`},
		"a stream id is used again":                   {`s3 m1 Invoke "/rpc"`, `s3 m2 Cancel ctl`, `s3 m3 Invoke "/rpc"`},
		"a stream id below the window is opened":      {`s5000 m1 Invoke "/rpc"`, `s3 m1 Invoke "/rpc"`},
		"a frame for a stream not live breaks a rule": {`s9 m0 Message "a"`},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				man, peer, acc := newServer(t, drpcmanager.Options{})
				peer.Send(`s1 m1 Invoke "/rpc"`)
				peer.Send(frames...)
				peer.ExpectClosed()
				protocolError(t, man)
				_, err := drpctest.Recv(acc.get(t, 0))
				for err == nil { // what had arrived comes first
					_, err = drpctest.Recv(acc.get(t, 0))
				}
				var protocol = drpc.ProtocolError.Has(err)
				if !protocol {
					t.Errorf("the stream got %v", err)
				}
			})
		})
	}
}

// From a client that has announced itself ids only rise, and are odd.
func TestTheIdsOfAKnownClientRiseAndAreOdd(t *testing.T) {
	for name, frames := range map[string][]string{
		"the id goes back":   {`s5 m1 Invoke "/rpc"`, `s3 m1 Invoke "/rpc"`},
		"the id is even":     {`s4 m1 Invoke "/rpc"`},
		"the id comes again": {`s3 m1 Invoke "/rpc"`, `s3 m2 Cancel ctl`, `s3 m3 Invoke "/rpc"`},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				man, peer, _ := newServer(t, drpcmanager.Options{})
				peer.Send(`s1 m1 Invoke "/rpc"`, `s1 m2 `+settings)
				peer.Expect(`s1 m1 ` + serverSettings)
				peer.Send(frames...)
				if why, _ := peer.Next(); !strings.HasPrefix(why, "s0 m0 GoAway") || !strings.Contains(why, "protocol error") {
					t.Errorf("the peer is told %s", why)
				}
				peer.ExpectClosed()
				protocolError(t, man)
			})
		})
	}
}

func TestAHigherMessageIdDropsTheUnfinishedPacket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, peer, acc := newServer(t, drpcmanager.Options{})
		peer.Send(`s1 m1 Invoke "/rpc"`, `s1 m2 Message "dropped" more`, `s1 m7 Message "kept, " more`, `s1 m7 Message "whole"`)
		synctest.Wait()
		if got, err := drpctest.Recv(acc.get(t, 0)); got != "kept, whole" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

func TestFramesOfOtherStreamsComeBetweenThoseOfAPacket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, peer, acc := newServer(t, drpcmanager.Options{})
		// As CockroachDB's fork does: no announcement, window updates with message
		// id 0, ids that overtake each other (M3).
		peer.Send(`s1 m1 Invoke "/a"`, `s3 m1 Invoke "/c"`, `s2 m1 Invoke "/b"`,
			`s1 m2 Message "a1" more`, `s2 m2 Message "b1" more`, `s1 m0 WindowUpdate "\x80\x01" ctl`,
			`s2 m2 Message "b2"`, `s1 m2 Message "a2"`, `s3 m2 CloseSend`)
		synctest.Wait()
		for i, want := range []string{"a1a2", "", "b1b2"} {
			if want == "" {
				continue
			}
			if got, err := drpctest.Recv(acc.get(t, i)); got != want || err != nil {
				t.Errorf("stream %d: got %q, %v", i, got, err)
			}
		}
		if got := acc.names(); strings.Join(got, "") != "/a/c/b" {
			t.Errorf("opened %v", got)
		}
	})
}

// Every kind, with and without each bit, with data of several lengths, in every
// state a stream can be in: the outcome is one of three, and never a panic
// (T12). What matters is in the switch; the rest is enumeration, of which -short leaves
// out most kinds that nobody knows.
func TestEveryKindInEveryState(t *testing.T) {
	states := map[string][]string{
		"no stream":  nil,
		"half open":  {`s1 m1 InvokeMetadata "" more`},
		"open":       {`s1 m1 Invoke "/rpc"`},
		"mid packet": {`s1 m1 Invoke "/rpc"`, `s1 m2 Message "a" more`},
		"half close": {`s1 m1 Invoke "/rpc"`, `s1 m2 CloseSend`},
		"finished":   {`s1 m1 Invoke "/rpc"`, `s1 m2 Cancel ctl`},
	}
	for state, before := range states {
		for kind := drpcwire.Kind(0); kind < 64; kind++ {
			if testing.Short() && kind > drpcwire.KindTrailer+1 && kind < 63 {
				continue
			}
			for bits := range 4 {
				for _, size := range []int{0, 1, 70_000} {
					fr := drpcwire.Frame{
						ID:      drpcwire.ID{Stream: 1, Message: 3},
						Kind:    kind,
						Control: bits&1 != 0,
						Done:    bits&2 != 0,
						Data:    make([]byte, size),
					}
					synctest.Test(t, func(t *testing.T) { testKind(t, state, before, fr) })
				}
			}
		}
	}
}

func testKind(t *testing.T, state string, before []string, fr drpcwire.Frame) {
	man, peer, _ := newServer(t, drpcmanager.Options{})
	peer.Send(before...)
	peer.SendRaw(drpcwire.AppendFrame(nil, fr))
	synctest.Wait()

	stream := fr.Kind >= drpcwire.KindInvoke && fr.Kind <= drpcwire.KindInvokeMetadata
	opens := fr.Kind == drpcwire.KindInvoke || fr.Kind == drpcwire.KindInvokeMetadata
	fatal := false
	switch {
	case !stream && !fr.Control:
		fatal = true
	case fr.Kind == drpcwire.KindSettings:
		fatal = true // its data is not a version
	case !stream:
	case opens && state == "finished":
		fatal = true
	case opens && fr.Done:
		fatal = state != "no stream" && state != "half open"
	case opens:
		// An unfinished packet of these kinds on a live stream is noticed when it
		// is done; until then it only takes the place of the one before it.
	}
	if ended := man.Err() != nil; ended != fatal {
		t.Errorf("%s, %v, control %v: the connection ended: %v (%v), want %v", state, fr, fr.Control, ended, man.Err(), fatal)
	}
}

// Ids of streams in any order against a model (T11): the first Invoke of an id
// within reach opens it, a second one ends the connection.
func TestStreamIdsAgainstAModel(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 0))
		synctest.Test(t, func(t *testing.T) {
			man, peer, acc := newServer(t, drpcmanager.Options{})
			seen := map[uint64]bool{}
			highest, opened := uint64(0), 0
			for range 200 {
				var id uint64
				switch rng.IntN(10) {
				case 0:
					id = highest + uint64(rng.IntN(3000))
				case 1:
					id = uint64(rng.IntN(int(highest) + 2))
				default:
					id = highest + uint64(rng.IntN(4))
				}
				ok := id > 0 && !seen[id] && id+1024 > highest
				peer.Send(fmt.Sprintf(`s%d m1 Invoke "/rpc"`, id))
				synctest.Wait()
				if !ok {
					if man.Err() == nil {
						t.Fatalf("seed %d: id %d was taken after %d (seen %v)", seed, id, highest, seen[id])
					}
					return
				}
				seen[id], highest, opened = true, max(highest, id), opened+1
				if len(acc.names()) != opened || man.Err() != nil {
					t.Fatalf("seed %d: id %d was not taken after %d: %v", seed, id, highest, man.Err())
				}
			}
		})
	}
}

func TestAServersStreamIsRefusedByAClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		man, peer, _ := newClient(t, drpcmanager.Options{})
		s := open(t, man, t.Context(), "/rpc")
		peer.Expect(`s1 m1 Invoke "/rpc"`, `s1 m2 `+settings)
		peer.Send(`s2 m1 Invoke "/back"`) // from who knows whom: dropped
		peer.Send(`s1 m1 `+settings, `s4 m1 Invoke "/back"`, `s4 m2 Message "late"`)
		peer.Expect(`s4 m1 Cancel "\x02" ctl`)
		peer.Send(`s1 m2 Message "fine"`)
		if got, err := drpctest.Recv(s); got != "fine" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
		peer.ExpectNothing()
	})
}

// A message over the limit costs its stream, whether it comes in many frames or
// in one; nothing is stored for it, and the rest of it is dropped (M39).
func TestAMessageOverTheLimitCostsItsStreamOnly(t *testing.T) {
	opts := drpcmanager.Options{Reader: drpcwire.ReaderOptions{MaximumBufferSize: 100_000}}
	frame := func(more bool, n int) []byte {
		return drpcwire.AppendFrame(nil, drpcwire.Frame{
			ID: drpcwire.ID{Stream: 1, Message: 2}, Kind: drpcwire.KindMessage, Done: !more, Data: make([]byte, n),
		})
	}
	for name, data := range map[string][]byte{
		"one frame":        frame(false, 1_000_000),
		"just over":        frame(false, 100_001),
		"frames that grow": append(append(frame(true, 60_000), frame(true, 60_000)...), frame(false, 60_000)...),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, peer, acc := newServer(t, opts)
				peer.Send(`s1 m1 Invoke "/a"`, `s2 m1 Invoke "/b"`)
				peer.SendRaw(data)
				peer.Send(`s2 m2 Message "fine"`)
				synctest.Wait()
				if _, err := drpctest.Recv(acc.get(t, 0)); !resourceExhausted(err) {
					t.Errorf("got %v", err)
				}
				got, _ := peer.Next()
				if !strings.HasPrefix(got, `s1 m1 Error "\x00\x00\x00\x00\x00\x00\x00\b`) {
					t.Errorf("the peer got %s", got)
				}
				if got, err := drpctest.Recv(acc.get(t, 1)); got != "fine" || err != nil {
					t.Errorf("the other stream got %q, %v", got, err)
				}
			})
		})
	}
	t.Run("at the limit", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			_, peer, acc := newServer(t, opts)
			peer.Send(`s1 m1 Invoke "/a"`)
			peer.SendRaw(frame(false, 100_000))
			synctest.Wait()
			if got, err := drpctest.Recv(acc.get(t, 0)); len(got) != 100_000 || err != nil {
				t.Errorf("got %d bytes, %v", len(got), err)
			}
		})
	})
}
