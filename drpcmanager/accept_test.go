package drpcmanager_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"braid/drpcmanager"
	"braid/drpcstream"
	"braid/drpcwire"
	"braid/internal/drpctest"
)

// encode returns the bytes of frames.
func encode(t *testing.T, sentences ...string) (buf []byte) {
	t.Helper()
	for _, s := range sentences {
		fr, err := drpctest.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		buf = drpcwire.AppendFrame(buf, fr)
	}
	return buf
}

// begun is how the streams are when their handlers begin.
func begun(t *testing.T, opts drpcmanager.Options) (peer *drpctest.Peer, states *[]drpcstream.State) {
	t.Helper()
	a, b := drpctest.Pipe()
	states = new([]drpcstream.State)
	var acc accepted
	man := drpcmanager.NewServer(t.Context(), a, opts, drpcmanager.Hooks{Handle: func(s *drpcstream.Stream, rpc string) {
		*states = append(*states, s.State())
		acc.handle(s, rpc)
	}})
	t.Cleanup(func() { _ = man.CloseNow(drpcmanager.ErrClosed) })
	return drpctest.NewPeer(t, b), states
}

// A handler is started when what has come with its call is there, and does not wait for
// what has not.
func TestAHandlerIsStartedWithWhatHasCome(t *testing.T) {
	const open, closed = drpcstream.Open, drpcstream.ClientClosed
	for name, tc := range map[string]struct {
		frames []string
		cut    int // bytes that are still to come
		want   []drpcstream.State
	}{
		"the Invoke alone":  {[]string{`s3 m1 Invoke "/a"`}, 0, []drpcstream.State{open}},
		"the whole call":    {[]string{`s3 m1 Invoke "/a"`, `s3 m2 Message "x"`, `s3 m3 CloseSend`}, 0, []drpcstream.State{closed}},
		"without a message": {[]string{`s3 m1 Invoke "/a"`, `s3 m2 CloseSend`}, 0, []drpcstream.State{closed}},
		"two calls": {[]string{
			`s3 m1 Invoke "/a"`, `s3 m2 Message "x"`, `s3 m3 CloseSend`,
			`s5 m1 Invoke "/b"`, `s5 m2 Message "x"`, `s5 m3 CloseSend`,
		}, 0, []drpcstream.State{closed, closed}},
		"two calls, one in the other": {[]string{
			`s3 m1 Invoke "/a"`, `s5 m1 Invoke "/b"`, `s3 m2 CloseSend`, `s5 m2 CloseSend`,
		}, 0, []drpcstream.State{open, open}},
		"several messages": {[]string{
			`s3 m1 Invoke "/a"`, `s3 m2 Message "x"`, `s3 m3 Message "x"`, `s3 m4 CloseSend`,
		}, 0, []drpcstream.State{open}},
		"a message in two frames": {[]string{
			`s3 m1 Invoke "/a"`, `s3 m2 Message "x" more`, `s3 m2 Message "x"`, `s3 m3 CloseSend`,
		}, 0, []drpcstream.State{open}},
		"the end by the client":   {[]string{`s3 m1 Invoke "/a"`, `s3 m2 Cancel ctl`}, 0, []drpcstream.State{open}},
		"the rest of the message": {[]string{`s3 m1 Invoke "/a"`, `s3 m2 Message "xyz"`}, 1, []drpcstream.State{open}},
		"the rest of the CloseSend": {[]string{
			`s3 m1 Invoke "/a"`, `s3 m2 Message "x"`, `s3 m3 CloseSend`,
		}, 1, []drpcstream.State{open}},
		"the rest of another call": {[]string{`s3 m1 Invoke "/a"`, `s5 m1 Invoke "/b"`}, 1, []drpcstream.State{open}},
		"a large message": {[]string{
			`s3 m1 Invoke "/a"`, `s3 m2 Message "` + strings.Repeat("x", 100_000) + `"`, `s3 m3 CloseSend`,
		}, 0, []drpcstream.State{open}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				peer, got := begun(t, drpcmanager.Options{})
				peer.Send(`s1 m1 Invoke "/first"`, `s1 m2 CloseSend`)
				synctest.Wait()
				buf := encode(t, tc.frames...)
				peer.SendRaw(buf[:len(buf)-tc.cut])
				synctest.Wait()
				if want := append([]drpcstream.State{closed}, tc.want...); !slices.Equal(*got, want) {
					t.Errorf("handlers began with streams that are %v, want %v", *got, want)
				}
			})
		})
	}
}

// Behind the first call comes what the client announces: its handler waits for the rest.
func TestTheFirstHandlerWaitsForTheRestOfAFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer, got := begun(t, drpcmanager.Options{})
		buf := encode(t, `s1 m1 Invoke "/first"`, `s1 m2 `+settings)
		peer.SendRaw(buf[:len(buf)-1])
		synctest.Wait()
		if len(*got) > 0 {
			t.Error("the handler was started before the client had announced itself")
		}
		peer.SendRaw(buf[len(buf)-1:])
		synctest.Wait()
		if len(*got) != 1 {
			t.Errorf("%d handlers were started", len(*got))
		}
	})
}

// Without credit the reader waits while the queue of a stream is full: its handler must be
// there to receive.
func TestAHandlerIsStartedBeforeItsQueueIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		man, peer, acc := newServer(t, drpcmanager.Options{})
		sentences := []string{`s1 m1 Invoke "/first"`}
		for range 5000 {
			sentences = append(sentences, `s1 m2 Message`)
		}
		for i := range sentences[1:] {
			sentences[i+1] = strings.Replace(sentences[i+1], "m2", fmt.Sprint("m", i+2), 1)
		}
		peer.SendRaw(encode(t, sentences...))
		synctest.Wait()
		s := acc.get(t, 0)
		for range 5000 {
			if _, err := s.RawRecv(); err != nil {
				t.Fatal(err)
			}
		}
		if man.Err() != nil {
			t.Error(man.Err())
		}
	})
}
