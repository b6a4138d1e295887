package drpcmanager_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"storj.io/drpc"
	"storj.io/drpc/drpcmetadata"

	"braid/drpcmanager"
	"braid/drpcstream"
	"braid/drpcwire"
	"braid/internal/drpctest"
)

func TestASplitInvokeWithMetadataOpensOneStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, peer, acc := newServer(t, drpcmanager.Options{})
		peer.Send(`s1 m1 InvokeMetadata "\n\x06\n\x01" more`, `s1 m1 InvokeMetadata "k\x12\x01v"`,
			`s1 m2 Invoke "/a" more`, `s1 m2 Invoke "/b"`)
		synctest.Wait()
		got, _ := drpcmetadata.Get(acc.get(t, 0).Context())
		if strings.Join(acc.names(), " ") != "/a/b" || len(got) != 1 || got["k"] != "v" {
			t.Errorf("opened %v with %v", acc.names(), got)
		}
	})
}

// Between an Invoke and its metadata, or in their middle, frames of other
// streams may come, and each gets its own.
func TestIncompleteInvokesAreKeptApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, peer, acc := newServer(t, drpcmanager.Options{})
		peer.Send(`s1 m1 Invoke "/a" more`, `s2 m1 Invoke "/b" more`, `s2 m1 Invoke "/2"`, `s1 m1 Invoke "/1"`)
		synctest.Wait()
		if got := strings.Join(acc.names(), " "); got != "/b/2 /a/1" {
			t.Errorf("opened %s", got)
		}
	})
}

func TestAnIncompleteInvokeVanishesWithItsStream(t *testing.T) {
	for _, end := range []string{"Cancel ctl", "Close", `Error "\x00\x00\x00\x00\x00\x00\x00\x00x"`} {
		synctest.Test(t, func(t *testing.T) {
			man, peer, acc := newServer(t, drpcmanager.Options{})
			// Far more than may be incomplete at once, one after the other.
			for id := 1; id <= 100; id++ {
				peer.Send(fmt.Sprintf(`s%d m1 InvokeMetadata "abc"`, id), fmt.Sprintf(`s%d m2 Invoke "/r" more`, id))
				peer.Send(fmt.Sprintf(`s%d m3 %s`, id, end))
			}
			peer.Send(`s101 m1 Invoke "/after"`)
			synctest.Wait()
			if got := strings.Join(acc.names(), " "); got != "/after" || man.Err() != nil {
				t.Errorf("%s: opened %s (%v)", end, got, man.Err())
			}
			peer.ExpectNothing()
		})
	}
}

func TestTooManyIncompleteInvokesEndTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		man, peer, _ := newServer(t, drpcmanager.Options{})
		for id := 1; id <= 16; id++ {
			peer.Send(fmt.Sprintf(`s%d m1 Invoke "" more`, id))
		}
		synctest.Wait()
		if man.Err() != nil {
			t.Fatalf("16 are too many: %v", man.Err())
		}
		peer.Send(`s17 m1 Invoke "" more`)
		peer.ExpectClosed()
		if !strings.Contains(man.Err().Error(), "more than 16 incomplete invokes") {
			t.Errorf("the connection ended by %v", man.Err())
		}
	})
}

// data makes a frame with n bytes of data.
func data(kind drpcwire.Kind, stream, message uint64, n int, done bool) []byte {
	return drpcwire.AppendFrame(nil, drpcwire.Frame{
		ID: drpcwire.ID{Stream: stream, Message: message}, Kind: kind, Done: done, Data: []byte(strings.Repeat("x", n)),
	})
}

func TestALongMethodNameOrMetadataIsRefusedOnItsStream(t *testing.T) {
	for name, c := range map[string]struct {
		frames [][]byte
		ok     bool
	}{
		"name at the limit":        {[][]byte{data(drpcwire.KindInvoke, 1, 1, 1<<10, true)}, true},
		"name over the limit":      {[][]byte{data(drpcwire.KindInvoke, 1, 1, 1<<10+1, true)}, false},
		"name over it, two frames": {[][]byte{data(drpcwire.KindInvoke, 1, 1, 600, false), data(drpcwire.KindInvoke, 1, 1, 600, true)}, false},
		"metadata over the limit":  {[][]byte{data(drpcwire.KindInvokeMetadata, 1, 1, 16<<10+1, true), data(drpcwire.KindInvoke, 1, 2, 5, true)}, false},
		"metadata, many frames":    {[][]byte{data(drpcwire.KindInvokeMetadata, 1, 1, 10<<10, false), data(drpcwire.KindInvokeMetadata, 1, 1, 10<<10, true), data(drpcwire.KindInvoke, 1, 2, 5, true)}, false},
		"metadata far over":        {[][]byte{data(drpcwire.KindInvokeMetadata, 1, 1, 1<<20, true), data(drpcwire.KindInvoke, 1, 2, 5, true)}, false},
		"metadata that is none":    {[][]byte{data(drpcwire.KindInvokeMetadata, 1, 1, 10, true), data(drpcwire.KindInvoke, 1, 2, 5, true)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				man, peer, acc := newServer(t, drpcmanager.Options{})
				for _, fr := range c.frames {
					peer.SendRaw(fr)
				}
				peer.Send(`s1 m9 Message "late"`, `s2 m1 Invoke "/after"`)
				synctest.Wait()
				if man.Err() != nil {
					t.Fatalf("the connection ended: %v", man.Err())
				}
				names := acc.names()
				if names[len(names)-1] != "/after" || (len(names) == 2) != c.ok {
					t.Errorf("opened %d streams, want the first: %v", len(names), c.ok)
				}
				if !c.ok {
					if got, _ := peer.Next(); !strings.HasPrefix(got, "s1 m1 Error") {
						t.Errorf("the peer got %s", got)
					}
				}
				peer.ExpectNothing()
			})
		})
	}
}

func TestAnInvokeThatStaysIncompleteIsRefusedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		man, peer, acc := newServer(t, drpcmanager.Options{})
		peer.Send(`s1 m1 Invoke "/slo" more`)
		time.Sleep(6 * time.Second)
		peer.Send(`s2 m1 Invoke "/lat" more`)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		peer.ExpectNothing()
		time.Sleep(1 * time.Second)
		got, _ := peer.Next()
		if !strings.HasPrefix(got, `s1 m1 Error "\x00\x00\x00\x00\x00\x00\x00\x04invoke incomplete`) {
			t.Errorf("got %s", got)
		}
		// The rest of it does not pass for an Invoke of its own.
		peer.Send(`s1 m1 Invoke "w"`, `s2 m1 Invoke "er"`)
		synctest.Wait()
		if got := strings.Join(acc.names(), " "); got != "/later" || man.Err() != nil {
			t.Errorf("opened %s (%v)", got, man.Err())
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		peer.ExpectNothing()
	})
}

// Each of several has its own ten seconds.
func TestEachIncompleteInvokeExpiresAtItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, peer, _ := newServer(t, drpcmanager.Options{})
		start := time.Now()
		begin := []time.Duration{0, time.Second, 9 * time.Second, 9500 * time.Millisecond}
		for i, at := range begin {
			time.Sleep(at - time.Since(start))
			peer.Send(fmt.Sprintf(`s%d m1 Invoke "/x" more`, i+1))
		}
		for i, at := range begin {
			got, _ := peer.Next()
			if !strings.HasPrefix(got, fmt.Sprintf("s%d m1 Error", i+1)) || time.Since(start) != at+10*time.Second {
				t.Errorf("%.15s after %v, want stream %d after %v", got, time.Since(start), i+1, at+10*time.Second)
			}
		}
	})
}

// The reader may still be at what it has read when the connection ends: nothing
// of that is kept, and no timer runs on. The bubble would wait for it.
func TestNothingIsSetUpOnAConnectionThatHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := drpctest.Pipe()
		peer := drpctest.NewPeer(t, b)
		var man *drpcmanager.Manager
		man = drpcmanager.NewServer(t.Context(), a, drpcmanager.Options{}, drpcmanager.Hooks{
			Handle: func(s *drpcstream.Stream, _ string) {
				if s.ID() == 2 {
					go man.CloseNow(drpcmanager.ErrClosed)
					<-man.Closed()
				}
			},
		})
		start := time.Now()
		peer.Send(`s1 m1 Invoke "/a"`, `s2 m1 Invoke "/b"`, `s3 m1 Invoke "/c" more`)
		synctest.Wait()
		_ = man.Close()
		time.Sleep(time.Minute)
		if !drpc.ClosedError.Has(man.Err()) || time.Since(start) != time.Minute {
			t.Errorf("the connection ended by %v", man.Err())
		}
	})
}
