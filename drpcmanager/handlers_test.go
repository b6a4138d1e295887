package drpcmanager_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
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

func streams(n int) drpcmanager.Options {
	return drpcmanager.Options{Limits: drpcmanager.Limits{Streams: n}}
}

// expectTooMany waits for the refusal of a stream that is over the limit.
func expectTooMany(t *testing.T, peer *drpctest.Peer, stream uint64) {
	t.Helper()
	got, _ := peer.Next()
	fr, err := drpctest.Parse(got)
	if err != nil || fr.Kind != drpcwire.KindError || fr.ID.Stream != stream {
		t.Fatalf("got %s, want an error on stream %d", got, stream)
	}
	tooMany(t, drpcwire.UnmarshalError(fr.Data))
}

func tooMany(t *testing.T, err error) {
	t.Helper()
	if !resourceExhausted(err) || !strings.Contains(err.Error(), "concurrent streams") {
		t.Errorf("got %v with code %d", err, drpcerr.Code(err))
	}
}

func TestAStreamOverTheLimitIsRefusedAlone(t *testing.T) { // M40
	synctest.Test(t, func(t *testing.T) {
		man, peer, acc := newServer(t, streams(1))
		peer.Send(`s1 m1 Invoke "/first"`, `s2 m1 InvokeMetadata ""`, `s2 m2 Invoke "/second"`)
		expectTooMany(t, peer, 2)
		peer.Send(`s2 m3 Message "late"`, `s2 m4 CloseSend`, `s1 m2 Message "question"`)
		first := acc.get(t, 0)
		if got, err := drpctest.Recv(first); got != "question" || err != nil {
			t.Errorf("the first got %q, %v", got, err)
		}
		_ = drpctest.Send(first, "answer")
		_ = first.Return(nil)
		peer.Expect(`s1 m1 Message "answer"`, `s1 m2 CloseSend`)
		for id := 3; id < 100; id++ { // and its place is free
			peer.Send(fmt.Sprintf(`s%d m1 Invoke "/next"`, id))
			synctest.Wait()
			_ = acc.get(t, id-2).Return(nil)
			peer.Expect(fmt.Sprintf(`s%d m1 CloseSend`, id))
		}
		if man.Err() != nil {
			t.Error(man.Err())
		}
	})
}

func TestIncompleteInvokesTakePlaces(t *testing.T) { // M40
	synctest.Test(t, func(t *testing.T) {
		_, peer, acc := newServer(t, streams(2))
		peer.Send(`s1 m1 Invoke "/one" more`, `s2 m1 Invoke "/two" more`, `s3 m1 Invoke "/three"`)
		expectTooMany(t, peer, 3)
		peer.Send(`s1 m1 Invoke "/first"`, `s4 m1 Invoke "/four"`)
		expectTooMany(t, peer, 4)
		peer.Send(`s2 m2 Cancel ctl`, `s5 m1 Invoke "/five"`) // gives its place back
		synctest.Wait()
		if got := fmt.Sprint(acc.names()); got != "[/one/first /five]" {
			t.Errorf("handed on: %v", got)
		}
	})
}

func TestANegativeLimitOfStreamsIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := streams(-1)
		_, peer, acc := newServer(t, opts)
		for id := 1; id <= 5000; id++ {
			peer.Send(fmt.Sprintf(`s%d m1 Invoke "/rpc"`, id))
		}
		synctest.Wait()
		if n := len(acc.names()); n != 5000 {
			t.Errorf("%d streams were handed on", n)
		}
		peer.ExpectNothing()
	})
}

// A client that multiplexes before it knows its server does not know of the limit.
func TestACallTooManyFailsAloneAtTheClient(t *testing.T) { // M40
	synctest.Test(t, func(t *testing.T) {
		path := simnet.Path{Delay: 50 * time.Millisecond}
		nc, ns := simnet.Link(path, path)
		server := drpcmanager.NewServer(t.Context(), ns, streams(1), drpcmanager.Hooks{
			Handle: func(s *drpcstream.Stream, _ string) { go echoAll(s) },
		})
		defer server.CloseNow(drpcmanager.ErrClosed)
		client := drpcmanager.NewClient(nc, drpcmanager.Options{Multiplex: drpcmanager.MultiplexAlways})
		defer client.CloseNow(drpcmanager.ErrClosed)
		first, second := open(t, client, t.Context(), "/rpc"), open(t, client, t.Context(), "/rpc")
		_, err := drpctest.Recv(second)
		tooMany(t, err)
		_ = drpctest.Send(first, "x")
		if got, err := drpctest.Recv(first); got != "x" || err != nil {
			t.Errorf("the first got %q, %v", got, err)
		}
		_ = first.Close()
		third := open(t, client, t.Context(), "/rpc")
		_ = drpctest.Send(third, "y")
		if got, err := drpctest.Recv(third); got != "y" || err != nil {
			t.Errorf("the next got %q, %v", got, err)
		}
	})
}

// clientOf starts a client whose server takes n streams at once; one is open.
func clientOf(t *testing.T, n int) (*drpcmanager.Manager, *drpctest.Peer, *drpcstream.Stream) {
	t.Helper()
	man, peer, _ := newClient(t, drpcmanager.Options{})
	s := open(t, man, t.Context(), "/rpc")
	peer.Expect(`s1 m1 Invoke "/rpc"`, `s1 m2 `+settings)
	peer.Send(`s1 m1 ` + taking(n))
	synctest.Wait()
	return man, peer, s
}

func taking(n int) string {
	return drpctest.Describe(drpcwire.SettingsFrame(drpcwire.ID{}, drpcwire.AppendSettings(nil,
		drpcwire.Settings{Version: 1, Streams: uint64(n)})))[len("s0 m0 "):]
}

func TestCallersWaitInLineForAPlaceAtTheServer(t *testing.T) { // F20
	synctest.Test(t, func(t *testing.T) {
		man, peer, first := clientOf(t, 2)
		second := open(t, man, t.Context(), "/rpc")
		peer.Expect(`s3 m1 Invoke "/rpc"`)
		if isClosed(man.Unblocked()) {
			t.Error("Unblocked is closed while both places are taken")
		}
		unblocked := man.Unblocked()
		errGone := errors.New("gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		var line []func() (bool, error)
		for i := range 5 {
			c := t.Context()
			if i == 1 || i == 3 {
				c = ctx
			}
			line = append(line, openAsync(t, man, c))
			if done, _ := line[i](); done {
				t.Fatalf("number %d did not wait", i)
			}
		}
		expect := func(want string) {
			t.Helper()
			got := ""
			for i, w := range line {
				switch done, err := w(); {
				case done && err == nil:
					got += fmt.Sprint(i)
				case done && err != context.Canceled:
					t.Errorf("number %d: %v", i, err)
				case done:
					got += "-"
				}
			}
			if got != want {
				t.Fatalf("in line: %q, want %q", got, want)
			}
		}
		expect("")
		_ = first.Close()
		expect("0")
		cancel(errGone)
		expect("0--")
		peer.Send(`s3 m1 Close`) // by whichever end
		<-second.Terminated()
		expect("0-2-")
		if isClosed(unblocked) {
			t.Error("Unblocked was closed while others were in line")
		}
		peer.Send(`s5 m1 Close`)
		expect("0-2-4")
		peer.Send(`s7 m1 Close`)
		synctest.Wait()
		if !isClosed(unblocked) {
			t.Error("Unblocked is not closed")
		}
		if n := man.Streams(); n != 1 {
			t.Errorf("%d streams are open", n)
		}
		open(t, man, t.Context(), "/rpc") // no place was lost
	})
}

// A limit that is lowered holds for what is opened from then on; one that is raised
// lets those in line go on (F21).
func TestTheServersLimitMayChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		man, peer, first := clientOf(t, 3)
		second := open(t, man, t.Context(), "/rpc")
		third := open(t, man, t.Context(), "/rpc")
		peer.Send(`s0 m0 ` + taking(1))
		synctest.Wait()
		one := openAsync(t, man, t.Context())
		one()
		two := openAsync(t, man, t.Context())
		for i, s := range []*drpcstream.Stream{first, second} {
			if s.IsTerminated() {
				t.Errorf("stream %d has ended", i)
			}
			_ = s.Close()
			if done, _ := one(); done {
				t.Fatalf("a stream was opened beside %d others", 2-i)
			}
		}
		_ = third.Close()
		if done, err := one(); !done || err != nil {
			t.Errorf("the first in line: %v, %v", done, err)
		}
		if done, _ := two(); done {
			t.Error("two streams are open")
		}
		peer.Send(`s0 m0 ` + taking(2))
		if done, err := two(); !done || err != nil {
			t.Errorf("after raising it: %v, %v", done, err)
		}
	})
}

// Streams that were canceled have ended, but their handlers run: others wait for
// these, in line, and those which end meanwhile never start.
func TestARunningHandlerHoldsItsPlaceWhateverBecomesOfItsStream(t *testing.T) { // T1
	synctest.Test(t, func(t *testing.T) {
		man, peer, acc := newServer(t, streams(3))
		for id := 1; id <= 3; id++ {
			peer.Send(fmt.Sprintf(`s%d m1 Invoke "/deaf %d"`, id, id), fmt.Sprintf(`s%d m2 Cancel ctl`, id))
		}
		for id := 4; id <= 6; id++ {
			peer.Send(fmt.Sprintf(`s%d m1 Invoke "/rpc %d"`, id, id), fmt.Sprintf(`s%d m2 Message "x"`, id))
		}
		peer.Send(`s7 m1 Invoke "/too many"`)
		expectTooMany(t, peer, 7)
		peer.Send(`s5 m3 Cancel ctl`, `s8 m1 Invoke "/rpc 8"`)
		synctest.Wait()
		if n := len(acc.names()); n != 3 {
			t.Fatalf("%d handlers run", n)
		}
		var got []string
		for i := range 3 {
			_ = acc.get(t, i).Return(nil)
			got = acc.names()
		}
		if want := "[/deaf 1 /deaf 2 /deaf 3 /rpc 4 /rpc 6 /rpc 8]"; fmt.Sprint(got) != want {
			t.Errorf("started %v, want %v", got, want)
		}
		if in, err := drpctest.Recv(acc.get(t, 3)); in != "x" || err != nil {
			t.Errorf("what had come before it started: %q, %v", in, err)
		}
		for i := 3; i < 6; i++ {
			_ = acc.get(t, i).Return(nil)
		}
		if err := man.Shutdown(t.Context()); err != nil { // which waits for all handlers
			t.Error(err)
		}
	})
}

// Frames of many calls, made as fast as it goes.
func frames(sentences ...string) (buf []byte) {
	for _, sentence := range sentences {
		fr, err := drpctest.Parse(sentence)
		if err != nil {
			panic(err)
		}
		buf = drpcwire.AppendFrame(buf, fr)
	}
	return buf
}

// A hundred thousand calls that are canceled at once, to handlers that do not care
// (T1, CVE-2023-44487).
func TestRapidResetRunsNoMoreHandlersThanThereMayBe(t *testing.T) {
	const limit, pairs = 16, 100_000
	var running, most, started atomic.Int64
	release := make(chan struct{})
	a, b := net.Pipe()
	go func() { _, _ = io.Copy(io.Discard, a) }()
	man := drpcmanager.NewServer(t.Context(), b, streams(limit), drpcmanager.Hooks{
		Handle: func(s *drpcstream.Stream, _ string) {
			started.Add(1)
			for n := running.Add(1); n > most.Load(); {
				most.Store(n)
			}
			go func() {
				<-release
				running.Add(-1)
				_ = s.Return(nil)
			}()
		},
	})
	defer man.Close()
	defer a.Close()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for id := 1; id <= pairs && man.Err() == nil; id++ {
		buf := frames(fmt.Sprintf(`s%d m1 Invoke "/rpc"`, id), fmt.Sprintf(`s%d m2 Message "x"`, id), fmt.Sprintf(`s%d m3 Cancel ctl`, id))
		if _, err := a.Write(buf); err != nil {
			break
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 8<<20 {
		t.Errorf("the heap has grown by %d bytes", grown)
	}
	if err := man.Err(); err != nil && !strings.Contains(err.Error(), "more than") {
		t.Errorf("ended by %v", err)
	}
	if n := started.Load(); n > limit {
		t.Errorf("%d handlers were started while %d were running", n, limit)
	}
	close(release)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := man.Shutdown(ctx); err != nil { // none is counted that does not run
		t.Errorf("Shutdown: %v, %d handlers run", err, running.Load())
	}
	if n := most.Load(); n > limit {
		t.Errorf("%d handlers ran at once", n)
	}
}

// A client that is not known and has as many calls open as it may, always: it opens
// the next one upon the last frame of the one before, and is never refused.
func TestWhoKeepsToTheLimitIsNeverRefused(t *testing.T) {
	const limit, calls = 8, 100_000
	a, b := net.Pipe()
	man := drpcmanager.NewServer(t.Context(), b, streams(limit), drpcmanager.Hooks{
		Handle: func(s *drpcstream.Stream, _ string) { go func() { _ = s.Return(nil) }() },
	})
	defer man.Close()
	defer a.Close()
	call := func(id int) {
		var buf []byte
		for i, kind := range []drpcwire.Kind{drpcwire.KindInvoke, drpcwire.KindCloseSend} {
			buf = drpcwire.AppendFrame(buf, drpcwire.Frame{
				ID: drpcwire.ID{Stream: uint64(id), Message: uint64(i + 1)}, Kind: kind, Done: true,
			})
		}
		_, _ = a.Write(buf)
	}
	next := 1
	for ; next <= limit; next++ {
		call(next)
	}
	rd := drpcwire.NewReader(a)
	for range calls {
		fr, err := rd.ReadFrame()
		if err != nil || fr.Kind != drpcwire.KindCloseSend {
			t.Fatalf("got %v %q, %v", fr, fr.Data, err)
		}
		call(next)
		next++
	}
}

// The same between two ends that know each other, where the client knows the limit.
func TestCallersInLineAreNeverRefused(t *testing.T) {
	const limit, calls = 8, 100_000
	a, b := net.Pipe()
	var running, most atomic.Int64
	server := drpcmanager.NewServer(t.Context(), b, streams(limit), drpcmanager.Hooks{
		Handle: func(s *drpcstream.Stream, _ string) {
			go func() {
				if n := running.Add(1); n > most.Load() {
					most.Store(n)
				}
				in, err := s.RawRecv()
				if err == nil {
					err = s.RawWrite(drpcwire.KindMessage, in)
				}
				running.Add(-1)
				_ = s.Return(err)
			}()
		},
	})
	defer server.Close()
	client := drpcmanager.NewClient(a, drpcmanager.Options{})
	defer client.Close()
	var left atomic.Int64
	left.Store(calls)
	var wg sync.WaitGroup
	for range 3 * limit {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				s, err := client.NewUnaryStream(t.Context(), "/rpc", nil, []byte("x"))
				if err == nil {
					_, err = s.RawRecv()
					_ = s.Close()
				}
				if err != nil {
					t.Errorf("a call failed: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	if n := most.Load(); n > limit {
		t.Errorf("%d handlers ran at once", n)
	}
}
