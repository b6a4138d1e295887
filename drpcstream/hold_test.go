package drpcstream_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"storj.io/drpc"

	"braid/drpcmanager"
	"braid/drpcstream"
	"braid/drpcwire"
	"braid/internal/drpctest"
)

// newManual opens a stream under ManualFlush, and returns its end of the
// transport, too.
func newManual(t *testing.T, opts drpcmanager.Options) (*rig, *drpctest.End) {
	a, b := drpctest.Pipe()
	r := &rig{Peer: drpctest.NewPeer(t, b), ctx: t.Context(), cancel: func() {}}
	opts.Stream.ManualFlush = true
	r.man = drpcmanager.NewClient(a, opts)
	var err error
	if r.stream, err = r.man.NewClientStream(r.ctx, "/rpc", nil); err != nil {
		t.Fatal(err)
	}
	r.Expect(`s1 m1 Invoke "/rpc"`, `s1 m2 Settings "\x01\x01\x02\x80\x80\x04\x04\x80\x80\x80\x02" ctl`)
	return r, a
}

// fill makes the writer full for the stream, with 10 KiB more gathered.
func (r *rig) fill(t *testing.T, own *drpctest.End) {
	own.Limit(0) // the peer does not read
	r.stream.SetManualFlush(false)
	for range 2 {
		if err := drpctest.Send(r.stream, strings.Repeat("x", 60<<10)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
	}
	r.stream.SetManualFlush(true)
	if err := drpctest.Send(r.stream, strings.Repeat("y", 10<<10)); err != nil {
		t.Fatal(err)
	}
}

// A receive that flushes first delivers what has arrived whether there is room
// for the flush or not, and then what the peer has said, not what the flush has.
func TestAReceiveDoesNotWaitForItsFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, own := newManual(t, drpcmanager.Options{})
		defer r.close()
		r.fill(t, own)
		r.Send(`s1 m1 Message "has arrived"`)
		if got, err := drpctest.Recv(r.stream); got != "has arrived" || err != nil {
			t.Errorf("Recv: %q, %v", got, err)
		}
		received := make(chan error)
		go func() {
			_, err := drpctest.Recv(r.stream)
			received <- err
		}()
		synctest.Wait()
		r.Send(`s1 m9 Error "\x00\x00\x00\x00\x00\x00\x00\aboom"`)
		if err := <-received; err == nil || err.Error() != "boom" {
			t.Errorf("Recv: %v", err)
		}
	})
}

// What did not fit when the receive began leaves as soon as there is room.
func TestAReceivesFlushIsMadeUpFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, own := newManual(t, drpcmanager.Options{})
		defer r.close()
		r.fill(t, own)
		go func() { _, _ = drpctest.Recv(r.stream) }()
		synctest.Wait()
		own.Limit(-1)
		for range 3 {
			got, _ := r.Next()
			if !strings.HasPrefix(got, "s1 m") {
				t.Errorf("got %.20s", got)
			}
		}
		synctest.Wait()
		r.ExpectNothing()
	})
}

// slow is an encoding that takes until it is told to go on.
type slow struct {
	drpctest.Enc
	begun, goOn chan struct{}
}

func (e slow) MarshalAppend(buf []byte, msg drpc.Message) ([]byte, error) {
	close(e.begun)
	<-e.goOn
	return e.Enc.MarshalAppend(buf, msg)
}

// A message whose send has begun before the receive leaves with its flush.
func TestASendInProgressFlushesForTheReceiveBesideIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := newManual(t, drpcmanager.Options{})
		defer r.close()
		if err := drpctest.Send(r.stream, "one"); err != nil {
			t.Fatal(err)
		}
		enc := slow{begun: make(chan struct{}), goOn: make(chan struct{})}
		go func() { _ = r.stream.MsgSend(drpctest.Text("two"), enc) }()
		<-enc.begun
		go func() { _, _ = drpctest.Recv(r.stream) }()
		synctest.Wait()
		close(enc.goOn)
		r.Expect(`s1 m3 Message "one"`, `s1 m4 Message "two"`)
	})
}

func TestAFlushOfNothingNeverFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := newManual(t, drpcmanager.Options{})
		defer r.close()
		for name, end := range map[string]func(){
			"nothing":   func() {},
			"CloseSend": func() { _ = r.stream.CloseSend() },
			"Close":     func() { _ = r.stream.Close() },
		} {
			end()
			if err := r.stream.RawFlush(); err != nil {
				t.Errorf("after %s: %v", name, err)
			}
		}
	})
}

// However much was gathered, CloseSend waits for room for it, as a send does: it
// is not the peer's fault that there is much.
func TestCloseSendWaitsForRoomForWhatWasGathered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, own := newManual(t, drpcmanager.Options{WriterBufferSize: 16 << 20})
		defer r.close()
		own.Limit(0)
		for range 9 * 16 {
			if err := drpctest.Send(r.stream, strings.Repeat("x", 60<<10)); err != nil {
				t.Fatal(err)
			}
		}
		closed := make(chan error, 1)
		go func() { closed <- r.stream.CloseSend() }()
		synctest.Wait()
		own.Limit(-1)
		if err := <-closed; err != nil {
			t.Errorf("CloseSend: %v", err)
		}
		for range 9 * 16 {
			_, _ = r.Next()
		}
		r.Expect(fmt.Sprintf("s1 m%d CloseSend", 3+9*16))
		if err := r.man.Err(); err != nil {
			t.Error(err)
		}
	})
}

// Many handlers that answer at once under ManualFlush, while the client does not
// read: they wait, and nobody is cut off.
func TestReturningHandlersWaitForRoomForWhatTheyGathered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := drpctest.Pipe()
		peer := drpctest.NewPeer(t, b)
		var wg sync.WaitGroup
		man := drpcmanager.NewServer(t.Context(), a, drpcmanager.Options{Stream: drpcstream.Options{ManualFlush: true}},
			drpcmanager.Hooks{Handle: func(s *drpcstream.Stream, _ string) {
				wg.Go(func() {
					_ = drpctest.Send(s, strings.Repeat("x", 60_000))
					_ = s.Return(nil)
				})
			}})
		a.Limit(0)
		for i := range 300 {
			peer.Send(fmt.Sprintf(`s%d m1 Invoke "/rpc"`, i+1), fmt.Sprintf(`s%d m2 CloseSend`, i+1))
		}
		synctest.Wait()
		a.Limit(-1)
		wg.Wait()
		messages := 0
		for range 600 {
			if got, _ := peer.Next(); strings.Contains(got, "Message") {
				messages++
			}
		}
		if messages != 300 || man.Err() != nil {
			t.Errorf("%d of 300 messages came; the connection: %v", messages, man.Err())
		}
		_ = man.CloseNow(drpcmanager.ErrClosed)
	})
}

// A cancel drops what was gathered and ends the stream in one step: no later
// message gets out without those before it.
func TestACancelLeavesNoGapBehind(t *testing.T) {
	rounds := 20_000
	if testing.Short() {
		rounds = 2_000
	}
	a, b := drpctest.Pipe()
	man := drpcmanager.NewClient(a, drpcmanager.Options{Multiplex: drpcmanager.MultiplexAlways})
	read := make(chan struct{})
	go func() {
		defer close(read)
		var last drpcwire.ID
		for rd := drpcwire.NewReader(b); ; {
			fr, err := rd.ReadFrame()
			if err != nil {
				return
			}
			if string(fr.Data) == "second" && fr.ID.Message != last.Message+1 {
				t.Errorf("%v came behind %v", fr, last)
			}
			last = fr.ID
		}
	}()
	for range rounds {
		s, err := man.NewClientStream(t.Context(), "/rpc", nil)
		if err != nil {
			t.Fatal(err)
		}
		s.SetManualFlush(true)
		_ = drpctest.Send(s, "first")
		s.SetManualFlush(false)
		var wg sync.WaitGroup
		wg.Go(func() { _ = drpctest.Send(s, "second") })
		wg.Go(func() { s.Cancel(errors.New("canceled")) })
		wg.Wait()
	}
	_ = man.Close()
	<-read
	_ = b.Close()
}

// The deadline of a stream that has ended, and is still being received from.
func TestADeadlineThatPassesWhileDrainingIsTheContexts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newClient(t)
		defer r.close()
		r.Send(`s1 m1 Message "unread"`, `s1 m2 Close`)
		r.expectState(t, drpcstream.Draining)
		time.Sleep(time.Minute)
		r.expectState(t, drpcstream.Closed)
		if _, err := drpctest.Recv(r.stream); !checks["context.DeadlineExceeded"](err) {
			t.Errorf("Recv: %v", err)
		}
		if err := r.stream.Context().Err(); !checks["context.DeadlineExceeded"](err) {
			t.Errorf("context: %v", err)
		}
	})
}

// What a handler has gathered leaves with its return, whatever timeout its sends have.
func TestASendTimeoutDoesNotCutWhatAHandlerHasGathered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := drpctest.Pipe()
		var s *drpcstream.Stream
		man := drpcmanager.NewServer(t.Context(), a, drpcmanager.Options{},
			drpcmanager.Hooks{Handle: func(stream *drpcstream.Stream, _ string) { s = stream }})
		defer man.CloseNow(drpcmanager.ErrClosed)
		peer := drpctest.NewPeer(t, b)
		peer.Send(`s1 m1 Invoke "/rpc"`, `s1 m2 CloseSend`)
		synctest.Wait()
		a.Limit(0)
		for range 2 { // one is being written, the other fills the queue
			if err := drpctest.Send(s, strings.Repeat("x", 60<<10)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		s.SetManualFlush(true)
		s.SetSendTimeout(50 * time.Millisecond)
		last := strings.Repeat("y", 10<<10)
		if err := drpctest.Send(s, last); err != nil {
			t.Fatal(err)
		}
		go func() { _ = s.Return(nil) }()
		time.Sleep(time.Second)
		a.Limit(-1)
		for _, want := range []string{`s1 m1 Message "x`, `s1 m2 Message "x`, `s1 m3 Message "` + last + `"`, `s1 m4 CloseSend`} {
			if got, _ := peer.Next(); !strings.HasPrefix(got, want) {
				t.Fatalf("got %.60s, want %.60s", got, want)
			}
		}
	})
}
