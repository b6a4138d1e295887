package drpcmanager_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"storj.io/drpc/drpcmetadata"

	"braid/drpcmanager"
	"braid/internal/drpctest"
)

func TestNothingIsSentBeforeThereIsAStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, client, _ := newClient(t, drpcmanager.Options{})
		_, server, _ := newServer(t, drpcmanager.Options{})
		time.Sleep(time.Hour)
		synctest.Wait()
		client.ExpectNothing()
		server.ExpectNothing()
	})
}

func TestTheFirstStreamAnnouncesInTheWriteOfItsInvoke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		man, peer, end := newClient(t, drpcmanager.Options{})
		metadata, err := drpcmetadata.Encode(nil, map[string]string{"k": "v"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := man.NewClientStream(t.Context(), "/rpc", metadata); err != nil {
			t.Fatal(err)
		}
		peer.Expect(`s1 m1 InvokeMetadata "\n\x06\n\x01k\x12\x01v"`, `s1 m2 Invoke "/rpc"`, `s1 m3 `+settings)
		if n := len(end.Writes()); n != 1 {
			t.Errorf("%d writes, want 1", n)
		}
	})
}

func TestAUnaryCallLeavesInOneWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		man, peer, end := newClient(t, drpcmanager.Options{})
		if _, err := man.NewUnaryStream(t.Context(), "/rpc", nil, []byte("in")); err != nil {
			t.Fatal(err)
		}
		peer.Expect(`s1 m1 Invoke "/rpc"`, `s1 m2 `+settings, `s1 m3 Message "in"`, `s1 m4 CloseSend`)
		if n := len(end.Writes()); n != 1 {
			t.Errorf("%d writes, want 1", n)
		}
	})
}

// openAsync opens a stream in a goroutine of its own and reports when it is open.
func openAsync(t *testing.T, man *drpcmanager.Manager, ctx context.Context, metadata ...byte) (done func() (bool, error)) {
	var opened bool
	var err error
	go func() {
		_, err = man.NewClientStream(ctx, "/next", metadata)
		opened = true
	}()
	return func() (bool, error) {
		synctest.Wait()
		return opened, err
	}
}

func TestStreamsTakeTurnsUntilTheAnswerComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		man, peer, _ := newClient(t, drpcmanager.Options{})
		open(t, man, t.Context(), "/first")
		peer.Expect(`s1 m1 Invoke "/first"`, `s1 m2 `+settings)
		second, third := openAsync(t, man, t.Context()), openAsync(t, man, t.Context())
		if done, _ := second(); done {
			t.Fatal("a second stream was opened towards an unknown peer")
		}
		peer.ExpectNothing()

		peer.Send(`s1 m1 ` + settings)
		peer.Expect(`s3 m1 Invoke "/next"`, `s5 m1 Invoke "/next"`) // without announcing again
		for _, stream := range []func() (bool, error){second, third} {
			if done, err := stream(); !done || err != nil {
				t.Errorf("open: %v, %v", done, err)
			}
		}
		if !man.PeerKnown() || man.PeerLimit() != 4<<20 {
			t.Errorf("known %v, limit %d", man.PeerKnown(), man.PeerLimit())
		}
	})
}

func TestAPeerThatSpeaksWithoutAnAnswerIsStock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		man, peer, _ := newClient(t, drpcmanager.Options{})
		first := open(t, man, t.Context(), "/first")
		peer.Expect(`s1 m1 Invoke "/first"`, `s1 m2 `+settings)
		peer.Send(`s1 m1 Message "answer"`)
		second, third := openAsync(t, man, t.Context()), openAsync(t, man, t.Context())
		for _, stream := range []func() (bool, error){second, third} {
			if done, _ := stream(); done {
				t.Fatal("a second stream was opened towards stock")
			}
		}
		_ = first.Close()
		peer.Expect(`s1 m3 Close`, `s3 m1 Invoke "/next"`) // it is not asked again
		synctest.Wait()
		peer.ExpectNothing() // and the third waits for the second
		if man.PeerKnown() {
			t.Error("stock is known as braid")
		}
	})
}

func TestALateAnswerCountsFromThenOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		man, peer, _ := newClient(t, drpcmanager.Options{})
		open(t, man, t.Context(), "/first")
		peer.Expect(`s1 m1 Invoke "/first"`, `s1 m2 `+settings)
		peer.Send(`s1 m1 Message "first"`) // so it seems to be stock
		second := openAsync(t, man, t.Context())
		if done, _ := second(); done {
			t.Fatal("a second stream was opened")
		}
		peer.Send(`s1 m2 ` + settings)
		if done, err := second(); !done || err != nil {
			t.Errorf("the late answer did not count: %v", err)
		}
	})
}

func TestTheNextStreamAnnouncesAgainIfTheFirstEndedUnanswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		man, peer, _ := newClient(t, drpcmanager.Options{})
		ctx, cancel := context.WithCancel(t.Context())
		open(t, man, ctx, "/first")
		cancel()
		peer.Expect(`s1 m1 Invoke "/first"`, `s1 m2 `+settings, `s1 m3 Cancel ctl`)
		open(t, man, t.Context(), "/second")
		peer.Expect(`s3 m1 Invoke "/second"`, `s3 m2 `+settings)
		peer.Send(`s1 m1 ` + settings) // the answer to the first one
		synctest.Wait()
		open(t, man, t.Context(), "/third")
		peer.Expect(`s5 m1 Invoke "/third"`)
	})
}

func TestAlwaysInterleavesAtOnceAndAnnouncesOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		man, peer, _ := newClient(t, drpcmanager.Options{Multiplex: drpcmanager.MultiplexAlways})
		for range 3 {
			open(t, man, t.Context(), "/rpc")
		}
		peer.Expect(`s1 m1 Invoke "/rpc"`, `s1 m2 `+settings, `s3 m1 Invoke "/rpc"`, `s5 m1 Invoke "/rpc"`)
	})
}

func TestNeverTakesTurnsAndAnnouncesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		man, peer, _ := newClient(t, drpcmanager.Options{Multiplex: drpcmanager.MultiplexNever})
		first := open(t, man, t.Context(), "/rpc")
		peer.Expect(`s1 m1 Invoke "/rpc"`)
		peer.Send(`s1 m1 ` + settings) // nobody asked
		second := openAsync(t, man, t.Context())
		if done, _ := second(); done || man.PeerKnown() {
			t.Fatal("the streams do not take turns")
		}
		_ = first.Close()
		peer.Expect(`s1 m2 Close`, `s3 m1 Invoke "/next"`)
	})
}

func TestAWaiterWhoseContextEndsLeavesTheLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		man, peer, _ := newClient(t, drpcmanager.Options{})
		first := open(t, man, t.Context(), "/first")
		peer.Expect(`s1 m1 Invoke "/first"`, `s1 m2 `+settings)
		ctx, cancel := context.WithCancel(t.Context())
		second, third := openAsync(t, man, ctx), openAsync(t, man, t.Context())
		second()
		cancel()
		if done, err := second(); !done || err != context.Canceled {
			t.Errorf("the waiter returned %v, %v", done, err)
		}
		peer.ExpectNothing() // and has sent nothing
		_ = first.Close()
		if done, err := third(); !done || err != nil {
			t.Errorf("the one behind it: %v, %v", done, err)
		}
	})
}

func TestAnEndedContextSendsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		man, peer, _ := newClient(t, drpcmanager.Options{})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := man.NewClientStream(ctx, "/rpc", nil); err != context.Canceled {
			t.Errorf("got %v", err)
		}
		if _, err := man.NewUnaryStream(ctx, "/rpc", nil, nil); err != context.Canceled {
			t.Errorf("got %v", err)
		}
		synctest.Wait()
		peer.ExpectNothing()
		open(t, man, t.Context(), "/rpc") // and keeps no turn
	})
}

func TestUnblockedFollowsTheTurn(t *testing.T) {
	isClosed := func(ch <-chan struct{}) bool {
		synctest.Wait()
		select {
		case <-ch:
			return true
		default:
			return false
		}
	}
	synctest.Test(t, func(t *testing.T) {
		man, peer, _ := newClient(t, drpcmanager.Options{})
		if !isClosed(man.Unblocked()) {
			t.Error("blocked before the first stream")
		}
		s := open(t, man, t.Context(), "/rpc")
		ch := man.Unblocked()
		if isClosed(ch) {
			t.Error("not blocked by a live stream")
		}
		_ = s.Close()
		if !isClosed(ch) {
			t.Error("blocked after the end of the stream")
		}
		open(t, man, t.Context(), "/rpc")
		if ch = man.Unblocked(); isClosed(ch) {
			t.Error("not blocked by a live stream")
		}
		peer.Send(`s3 m1 ` + settings)
		if !isClosed(ch) || !isClosed(man.Unblocked()) {
			t.Error("blocked towards braid")
		}
	})
}

func TestTheServerAnswersOnTheStreamBeforeAnythingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := drpctest.Pipe()
		peer := drpctest.NewPeer(t, b)
		man := drpcmanager.NewServer(t.Context(), a, drpcmanager.Options{}, drpcmanager.Hooks{
			// A handler that answers before the reader can look at the next frame.
			Handle: answerAtOnce,
		})
		defer man.CloseNow(drpcmanager.ErrClosed)
		peer.Send(`s1 m1 Invoke "/rpc"`, `s1 m2 `+settings)
		peer.Expect(`s1 m1 `+serverSettings, `s1 m2 Message "at once"`, `s1 m3 Close`)
	})
}

// The announcement may be cut off from its Invoke by the network. It is still
// answered, and counts.
func TestTheServerAnswersAnAnnouncementThatComesLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		man, peer, acc := newServer(t, drpcmanager.Options{})
		peer.Send(`s1 m1 Invoke "/rpc"`)
		synctest.Wait()
		_ = acc.get(t, 0).Return(nil)
		peer.Expect(`s1 m1 CloseSend`) // as stock does: the client is not known
		peer.Send(`s1 m2 ` + settings)
		peer.Expect(`s1 m1 ` + serverSettings)
		if !man.PeerKnown() {
			t.Error("the client is not known")
		}
	})
}

func TestTheServerSendsNothingOfItsOwnToAClientThatDoesNotAnnounce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, peer, acc := newServer(t, drpcmanager.Options{})
		peer.Send(`s1 m1 Invoke "/rpc"`, `s2 m1 Invoke "/rpc"`, `s1 m2 Message "a"`)
		synctest.Wait()
		for i := range 2 {
			if err := drpctest.Send(acc.get(t, i), "x"); err != nil {
				t.Fatal(err)
			}
		}
		peer.Expect(`s1 m1 Message "x"`, `s2 m1 Message "x"`)
		synctest.Wait()
		peer.ExpectNothing()
	})
}

func TestBadSettingsEndTheConnection(t *testing.T) {
	for name, frame := range map[string]string{
		"without a version": `s1 m2 Settings "\x04\x01" ctl`,
		"truncated":         `s1 m2 Settings "\x01" ctl`,
		"split":             `s1 m2 Settings "\x01\x01" more ctl`,
		"zero":              `s1 m2 Settings "\x01\x01\x04\x00" ctl`,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				man, peer, _ := newServer(t, drpcmanager.Options{})
				peer.Send(`s1 m1 Invoke "/rpc"`, frame)
				peer.ExpectClosed()
				protocolError(t, man)
			})
		})
	}
}

func TestAMessageOverThePeersLimitFailsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		man, peer, _ := newClient(t, drpcmanager.Options{})
		s := open(t, man, t.Context(), "/rpc")
		peer.Send(`s1 m1 Settings "\x01\x01\x04\x05" ctl`) // five bytes
		synctest.Wait()
		if err := drpctest.Send(s, "123456"); !resourceExhausted(err) {
			t.Errorf("got %v", err)
		}
		if err := drpctest.Send(s, "12345"); err != nil { // the stream lives
			t.Error(err)
		}
		_, err := man.NewUnaryStream(t.Context(), "/unary", nil, []byte("123456"))
		if !resourceExhausted(err) {
			t.Errorf("got %v", err)
		}
		peer.Expect(`s1 m1 Invoke "/rpc"`, `s1 m2 `+settings, `s1 m3 Message "12345"`)
		synctest.Wait()
		peer.ExpectNothing()
	})
}
