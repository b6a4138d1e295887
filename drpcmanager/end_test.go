package drpcmanager_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"storj.io/drpc/drpcmetadata"

	"braid/drpcmanager"
	"braid/drpcstream"
	"braid/drpcwire"
	"braid/internal/drpctest"
)

// known opens a stream and answers its announcement.
func known(t *testing.T, man *drpcmanager.Manager, peer *drpctest.Peer) *drpcstream.Stream {
	t.Helper()
	s := open(t, man, t.Context(), "/rpc")
	peer.Expect(`s1 m1 Invoke "/rpc"`, `s1 m2 `+settings)
	peer.Send(`s1 m1 Settings "\x01\x01" ctl`) // without a window: nobody waits for credit
	synctest.Wait()
	return s
}

func TestAPeerThatHangsUpWithoutStreamsIsNoFailure(t *testing.T) { // F1
	synctest.Test(t, func(t *testing.T) {
		server, peer, _ := newServer(t, drpcmanager.Options{})
		peer.Send(`s1 m1 Invoke "/rpc"`, `s1 m2 Cancel ctl`)
		peer.Close()
		<-server.Closed()
		if !server.HungUp() {
			t.Errorf("the connection ended by %v", server.Err())
		}
		lostTo(t, server.Err(), drpcmanager.ErrHungUp)
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A connection that ends, at whatever byte, ends its streams as lost: what had
// arrived whole is delivered, never a part of a message, and never io.EOF (F2).
func TestCuttingTheConnectionAtEveryByte(t *testing.T) {
	var script []byte
	var ends []int // where each message is complete
	for i := range 5 {
		script = append(script, data(drpcwire.KindMessage, 1, uint64(2*i+1), 3+40*i, false)...)
		script = append(script, data(drpcwire.KindMessage, 1, uint64(2*i+1), 5, true)...)
		ends = append(ends, len(script))
	}
	for cut := range len(script) + 1 {
		synctest.Test(t, func(t *testing.T) {
			man, peer, _ := newClient(t, drpcmanager.Options{})
			s := open(t, man, t.Context(), "/rpc")
			peer.Expect(`s1 m1 Invoke "/rpc"`, `s1 m2 `+settings)
			peer.SendRaw(script[:cut])
			peer.Close()
			synctest.Wait()
			whole := 0
			var err error
			for {
				var got string
				if got, err = drpctest.Recv(s); err != nil {
					break
				}
				if len(got) != 8+40*whole {
					t.Fatalf("cut at %d: message %d has %d bytes", cut, whole, len(got))
				}
				whole++
			}
			want := 0
			for want < len(ends) && ends[want] <= cut {
				want++
			}
			if whole != want {
				t.Errorf("cut at %d: %d messages came, want %d", cut, whole, want)
			}
			lostTo(t, err, io.ErrUnexpectedEOF)
			if errors.Is(err, io.EOF) {
				t.Errorf("cut at %d: %v matches io.EOF", cut, err)
			}
		})
	}
}

// Reading and writing fail alike: the same class, the transport's own error in
// the chain, on the streams that are open and on the calls that come after (M14).
func TestReadAndWriteErrorsAreOfOneClass(t *testing.T) {
	errBroken := errors.New("broken")
	for name, end := range map[string]func(own *drpctest.End, peer *drpctest.Peer, s *drpcstream.Stream){
		"read": func(own *drpctest.End, peer *drpctest.Peer, _ *drpcstream.Stream) { peer.Fail(errBroken) },
		"write": func(own *drpctest.End, _ *drpctest.Peer, s *drpcstream.Stream) {
			own.Fail(errBroken)
			_ = drpctest.Send(s, "x")
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				man, peer, own := newClient(t, drpcmanager.Options{})
				s := known(t, man, peer)
				end(own, peer, s)
				<-man.Closed()
				synctest.Wait()
				_, err := drpctest.Recv(s)
				lostTo(t, err, errBroken)
				lostTo(t, drpctest.Send(s, "x"), errBroken)
				lostTo(t, man.Err(), errBroken)
				_, err = man.NewClientStream(t.Context(), "/late", nil)
				lostTo(t, err, errBroken)
				if s.Context().Err() != context.Canceled {
					t.Errorf("context: %v", s.Context().Err())
				}
			})
		})
	}
}

func TestAHandlerSeesALostClientAsCanceled(t *testing.T) { // M14
	synctest.Test(t, func(t *testing.T) {
		_, peer, acc := newServer(t, drpcmanager.Options{})
		peer.Send(`s1 m1 Invoke "/rpc"`)
		synctest.Wait()
		peer.Close()
		_, err := drpctest.Recv(acc.get(t, 0))
		lostTo(t, err, io.ErrUnexpectedEOF)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v does not match context.Canceled", err)
		}
	})
}

// Close with receivers that wait and senders that are blocked by a peer which
// does not read: all return, each with the error of a lost connection (M12, F16).
func TestCloseUnblocksEverybody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		man, peer, own := newClient(t, drpcmanager.Options{})
		known(t, man, peer)
		streams := openMany(t, man, 40)
		own.Limit(0)
		var wg sync.WaitGroup
		for i, s := range streams {
			wg.Go(func() {
				_, err := drpctest.Recv(s)
				lostTo(t, err, drpcmanager.ErrClosed)
			})
			wg.Go(func() {
				for {
					if err := s.RawWrite(drpcwire.KindMessage, make([]byte, 100_000+i)); err != nil {
						lostTo(t, err, drpcmanager.ErrClosed)
						return
					}
				}
			})
		}
		synctest.Wait()
		start := time.Now()
		for range 3 { // at once, and again
			wg.Go(func() { _ = man.Close() })
		}
		wg.Wait()
		if took := time.Since(start); took > time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// openMany opens streams, and returns when their Invokes have left: while one is
// queued, a full frame of its stream has to wait for it.
func openMany(t *testing.T, man *drpcmanager.Manager, n int) []*drpcstream.Stream {
	t.Helper()
	streams := make([]*drpcstream.Stream, n)
	for i := range streams {
		streams[i] = open(t, man, t.Context(), "/rpc")
	}
	synctest.Wait()
	return streams
}

// What was sent before Close arrives, although nobody waited for it.
func TestCloseWritesWhatIsQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		man, peer, _ := newClient(t, drpcmanager.Options{})
		s := known(t, man, peer)
		for range 10 {
			if err := drpctest.Send(s, "message"); err != nil {
				t.Fatal(err)
			}
		}
		_ = s.CloseSend()
		_ = man.Close()
		for i := range 10 {
			peer.Expect(fmt.Sprintf(`s1 m%d Message "message"`, i+3))
		}
		peer.Expect(`s1 m13 CloseSend`)
		peer.ExpectClosed()
	})
}

// A write that fails ends the connection from the goroutine that writes. Many
// times, with others that end it at the same moment.
func TestTerminateFromTheWritersErrorPathDoesNotDeadlock(t *testing.T) {
	for i := range 300 {
		a, b := drpctest.Pipe()
		man := drpcmanager.NewClient(a, drpcmanager.Options{Multiplex: drpcmanager.MultiplexAlways})
		var wg sync.WaitGroup
		for range 4 {
			s := open(t, man, t.Context(), "/rpc")
			wg.Go(func() {
				for drpctest.Send(s, "message") == nil {
				}
			})
		}
		if i%3 == 0 {
			wg.Go(func() { _ = man.Close() })
		}
		if i%2 == 0 {
			wg.Go(func() { _ = b.Close() })
		}
		a.Fail(io.ErrClosedPipe)
		wg.Wait()
		if err := man.Close(); err != nil {
			t.Fatal(err)
		}
		_ = b.Close()
	}
}

// Everything that may be done, by sixteen goroutines at once, while the
// connection is closed: no panic, no hang, nothing left (F16).
func TestCloseConcurrentWithEverything(t *testing.T) {
	for round := range 100 {
		a, b := drpctest.Pipe()
		server := drpcmanager.NewServer(t.Context(), b, drpcmanager.Options{}, drpcmanager.Hooks{
			Handle: func(s *drpcstream.Stream, _ string) {
				go func() {
					_, _ = drpctest.Recv(s)
					_ = drpctest.Send(s, "answer")
					_ = s.Return(nil)
				}()
			},
		})
		client := drpcmanager.NewClient(a, drpcmanager.Options{})
		var wg sync.WaitGroup
		for g := range 16 {
			wg.Go(func() {
				for i := range 20 {
					if g == 0 && i == round%20 {
						_ = client.Close()
					}
					if g == 1 && i == 19 {
						_ = server.Close()
					}
					use(t.Context(), client, g+i)
				}
			})
		}
		wg.Wait()
		_ = client.Close()
		_ = server.Close()
		if client.Streams() != 0 || server.Streams() != 0 {
			t.Fatalf("%d and %d streams are left", client.Streams(), server.Streams())
		}
	}
}

// use opens a stream and ends it in one of many ways.
func use(ctx context.Context, man *drpcmanager.Manager, how int) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := man.NewClientStream(ctx, "/rpc", nil)
	if err != nil {
		return
	}
	switch how % 5 {
	case 0:
		_ = drpctest.Send(s, "x")
		_ = s.CloseSend()
		_, _ = drpctest.Recv(s)
	case 1:
		_ = s.Close()
	case 2:
		cancel()
		_, _ = drpctest.Recv(s)
	case 3:
		_ = s.SendError(errors.New("no"))
	case 4:
		go cancel()
		_ = drpctest.Send(s, "x")
	}
}

// oneByte is a transport that reads and writes a byte at a time, and now and
// then reads nothing without an error, as io.Reader allows (F26).
type oneByte struct {
	io.ReadWriteCloser
	n int // owned by the reader
}

func (o *oneByte) Read(p []byte) (int, error) {
	if o.n++; o.n%3 == 0 {
		return 0, nil
	}
	return o.ReadWriteCloser.Read(p[:1])
}

func TestATransportThatReadsByteByByte(t *testing.T) {
	a, b := drpctest.Pipe()
	acc := make(chan *drpcstream.Stream, 1)
	server := drpcmanager.NewServer(t.Context(), &oneByte{ReadWriteCloser: b}, drpcmanager.Options{},
		drpcmanager.Hooks{Handle: func(s *drpcstream.Stream, _ string) { acc <- s }})
	defer server.Close()
	client := drpcmanager.NewClient(&oneByte{ReadWriteCloser: a}, drpcmanager.Options{})
	defer client.Close()
	s := open(t, client, t.Context(), "/rpc")
	want := bytes.Repeat([]byte("0123456789"), 20_000)
	go func() { _ = s.RawWrite(drpcwire.KindMessage, want) }()
	if got, err := (<-acc).RawRecv(); err != nil || !bytes.Equal(got, want) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
}

// shortWriter claims to have written less than it was given.
type shortWriter struct{ io.ReadWriteCloser }

func (s shortWriter) Write(p []byte) (int, error) { return len(p) - 1, nil }

func TestATransportThatWritesShortEndsTheConnection(t *testing.T) { // F26
	a, b := drpctest.Pipe()
	defer b.Close()
	man := drpcmanager.NewClient(shortWriter{a}, drpcmanager.Options{})
	s := open(t, man, t.Context(), "/rpc")
	_, err := drpctest.Recv(s)
	lostTo(t, err, io.ErrShortWrite)
	_ = man.Close()
}

func TestAServerWithoutCallsEndsAfterItsInactivityTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		man, peer, acc := newServer(t, drpcmanager.Options{InactivityTimeout: time.Minute})
		time.Sleep(50 * time.Second)
		peer.Send(`s1 m1 Invoke "/rpc"`)
		time.Sleep(time.Hour) // a call in progress is activity, however silent
		synctest.Wait()
		if man.Err() != nil {
			t.Fatalf("ended during a call: %v", man.Err())
		}
		_ = acc.get(t, 0).Return(nil)
		time.Sleep(59 * time.Second)
		synctest.Wait()
		if man.Err() != nil {
			t.Fatalf("ended too early: %v", man.Err())
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		lostTo(t, man.Err(), context.DeadlineExceeded)
	})
}

// A peer that makes us answer and does not read what we answer is cut off when
// the queue of answers reaches its cap; the reader is not held up by it (T5).
func TestAPeerThatDoesNotReadItsRefusalsIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := drpctest.Pipe()
		man := drpcmanager.NewServer(t.Context(), b, drpcmanager.Options{}, drpcmanager.Hooks{})
		defer man.Close()
		defer a.Close()
		b.Limit(0)
		// A name over the limit costs a refusal of some 50 bytes; the cap is 8 MiB.
		for id := uint64(1); man.Err() == nil; id++ {
			if id > 500_000 {
				t.Fatal("half a million refusals are queued")
			}
			if _, err := a.Write(data(drpcwire.KindInvoke, id, 1, 1025, true)); err != nil {
				break
			}
			if id%1000 == 0 {
				synctest.Wait()
			}
		}
		synctest.Wait()
		lostTo(t, man.Err(), drpcwire.ErrOverflow)
	})
}

// Whoever waits for room in the writer is woken by the end of the context, and
// the peer is told if there is room for it; the half of a message that was sent
// is not gone on with (F11, M17, M22).
func TestACancelWakesASenderThatWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		man, peer, own := newClient(t, drpcmanager.Options{})
		known(t, man, peer)
		ctx, cancel := context.WithCancel(t.Context())
		s := open(t, man, ctx, "/rpc")
		peer.Expect(`s3 m1 Invoke "/rpc"`)
		own.Limit(0)
		var err error
		returned := false
		go func() {
			err = s.RawWrite(drpcwire.KindMessage, make([]byte, 1_000_000))
			returned = true
		}()
		synctest.Wait()
		if returned {
			t.Fatalf("1 MB was queued to a peer that does not read: %v", err)
		}
		cancel()
		synctest.Wait()
		if !returned || err != context.Canceled {
			t.Fatalf("the sender returned: %v, %v", returned, err)
		}
		own.Limit(-1)
		for {
			got, ok := peer.Next()
			if !ok || got == `s3 m3 Cancel ctl` {
				break
			}
			if got[:len("s3 m2 Message")] != "s3 m2 Message" || got[len(got)-4:] != "more" {
				t.Fatalf("got %.60s", got)
			}
		}
		synctest.Wait()
		peer.ExpectNothing()
		if man.Err() != nil {
			t.Error(man.Err())
		}
	})
}

// The same for who waits to open a stream, and for another stream's Close.
func TestACancelWakesAnOpenerThatWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		man, peer, own := newClient(t, drpcmanager.Options{})
		known(t, man, peer)
		streams := openMany(t, man, 40) // the total bound is 1 MiB
		own.Limit(0)
		var wg sync.WaitGroup
		for _, s := range streams {
			wg.Go(func() { _ = s.RawWrite(drpcwire.KindMessage, make([]byte, 200_000)) })
		}
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		waiting := openAsync(t, man, ctx, make([]byte, 8<<10)...) // few bytes have room of their own
		if done, err := waiting(); done {
			t.Fatalf("a stream was opened beyond the bound: %v", err)
		}
		few := openAsync(t, man, t.Context())
		if done, err := few(); !done || err != nil {
			t.Errorf("a stream with few bytes was not opened: %v", err)
		}
		cancel()
		if done, err := waiting(); !done || err != context.Canceled {
			t.Errorf("the opener returned: %v, %v", done, err)
		}
		own.Limit(-1)
		wg.Wait()
		if n := man.Streams(); n != 42 {
			t.Errorf("%d streams are open, want 42", n)
		}
		open(t, man, t.Context(), "/rpc")
	})
}

// broken is a transport whose Read fails with an error of its own making.
type broken struct{ err error }

func (b broken) Read([]byte) (int, error)    { return 0, b.err }
func (b broken) Write(p []byte) (int, error) { return len(p), nil }
func (b broken) Close() error                { return nil }

// Some transports' errors wrap those of contexts, or io.EOF. They are neither the
// end of the caller's context nor the regular end of a stream.
func TestATransportsErrorLooksLikeNothingElse(t *testing.T) {
	for _, target := range []error{context.Canceled, context.DeadlineExceeded, io.EOF} {
		man := drpcmanager.NewClient(broken{fmt.Errorf("transport: %w", target)}, drpcmanager.Options{})
		<-man.Closed()
		_, err := man.NewClientStream(t.Context(), "/rpc", nil)
		lostTo(t, err, err)
		if errors.Is(err, target) || !strings.Contains(err.Error(), "transport: "+target.Error()) {
			t.Errorf("got %v, which matches %v", err, target)
		}
		_ = man.Close()
	}
}

// A call that announces itself needs room for that, too: the opener waits for as
// much as it needs, and neither spins nor loses its place.
func TestAnOpenerWaitsForTheRoomOfItsAnnouncement(t *testing.T) {
	metadata, err := drpcmetadata.Encode(nil, map[string]string{"key": "value"})
	if err != nil {
		t.Fatal(err)
	}
	// The room that is left when the call comes: around what it needs, which is
	// the bound of its five frames' headers and their data.
	for left := 150; left < 220; left += 7 {
		synctest.Test(t, func(t *testing.T) {
			man, peer, own := newClient(t, drpcmanager.Options{Multiplex: drpcmanager.MultiplexAlways})
			first := open(t, man, t.Context(), "/rpc")
			peer.Expect(`s1 m1 Invoke "/rpc"`, `s1 m2 `+settings)
			own.Limit(0)
			_ = first.Close() // so that the next call announces again; the drain is stuck in it
			synctest.Wait()
			for pending := 0; pending < 1<<20-left; {
				n := min(1<<20-left-pending, 1<<15)
				if err := man.WriteRaw(make([]byte, n)); err != nil {
					t.Fatal(err)
				}
				pending += n
			}
			opened := false
			go func() {
				_, err := man.NewUnaryStream(t.Context(), "/rpc", metadata, []byte("request"))
				opened = err == nil
			}()
			synctest.Wait() // would not return while the opener spins
			own.Limit(-1)
			synctest.Wait()
			if !opened {
				t.Errorf("with %d bytes of room the call was not made", left)
			}
			_ = man.CloseNow(drpcmanager.ErrClosed)
		})
	}
}
