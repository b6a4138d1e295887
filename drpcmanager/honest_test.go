package drpcmanager_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"braid/drpcmanager"
	"braid/drpcstream"
	"braid/drpcwire"
	"braid/internal/drpctest"
)

// ack is the client's second announcement: it knows the server.
const ack = `s0 m0 Settings "\x01\x01\x02\x80\x80\x04\x04\x80\x80\x80\x02\x05\x02" ctl`

// Two uploads were on their way when the GoAway left; each keeps to its credit, and
// neither costs the call that is in progress.
func TestUploadsThatMeetADrainCostNobodyTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		man, peer, acc := newServer(t, drpcmanager.Options{})
		peer.Send(`s1 m1 Invoke "/rpc"`, `s1 m2 `+settings, ack)
		synctest.Wait()
		done := make(chan error, 1)
		go func() { done <- man.Shutdown(t.Context()) }()
		synctest.Wait()
		for _, id := range []int{3, 5} {
			peer.Send(fmt.Sprintf(`s%d m1 Invoke "/rpc"`, id))
			for i := range 900 {
				peer.Send(fmt.Sprintf(`s%d m%d Message "x"`, id, i+2))
			}
		}
		synctest.Wait()
		if err := man.Err(); err != nil {
			t.Errorf("the connection ended: %v", err)
		}
		_ = acc.get(t, 0).Return(nil)
		peer.Close()
		if err := <-done; err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
}

// slowClose is a transport that takes long to close, as TLS does towards a peer that
// does not read.
type slowClose struct{ net.Conn }

func (s slowClose) Close() error {
	time.Sleep(5 * time.Second)
	return s.Conn.Close()
}

func TestShutdownDoesNotOutliveItsContextWhereClosingTakesLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, b) }()
		man := drpcmanager.NewServer(t.Context(), slowClose{a}, drpcmanager.Options{},
			drpcmanager.Hooks{Handle: func(*drpcstream.Stream, string) {}})
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		start := time.Now()
		if err := man.Shutdown(ctx); err != nil || time.Since(start) > 2*time.Second {
			t.Errorf("Shutdown returned %v after %v", err, time.Since(start))
		}
		_ = man.Close()
		_ = b.Close()
	})
}

func TestTheTextOfAGoAwayStaysOnOneLine(t *testing.T) { // T23
	synctest.Test(t, func(t *testing.T) {
		man, peer, _ := newServer(t, drpcmanager.Options{})
		peer.Send(`s1 m1 Invoke "/rpc"`, `s1 m2 `+settings, ack, `s0 m0 GoAway "\x00\x01x\nFAKE LOG LINE" ctl`)
		synctest.Wait()
		peer.Close()
		synctest.Wait()
		if text := man.Err().Error(); strings.Contains(text, "\n") || !strings.Contains(text, `x\nFAKE`) {
			t.Errorf("the error is %q", text)
		}
	})
}

// Frames that achieve nothing are counted also where the stream is half over, or not
// yet there.
func TestUselessFramesAreCountedWhereverTheyCome(t *testing.T) {
	for name, flood := range map[string]string{
		"grants after the CloseSend":     `s1 m0 WindowUpdate "\x01" ctl`,
		"timeouts of a call":             `s3 m2 Timeout "\x01" ctl`,
		"messages before the Invoke":     `s3 m2 Message "x"`,
		"the ends of sending before it ": `s3 m2 CloseSend`,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				man, peer, acc := newServer(t, drpcmanager.Options{})
				peer.Send(`s1 m1 Invoke "/rpc"`, `s1 m2 `+settings, ack)
				synctest.Wait()
				_ = acc.get(t, 0).CloseSend()
				peer.Send(`s3 m1 InvokeMetadata "" more`)
				fr, err := drpctest.Parse(flood)
				if err != nil {
					t.Fatal(err)
				}
				var buf []byte
				for range 1100 {
					buf = drpcwire.AppendFrame(buf, fr)
				}
				peer.SendRaw(buf)
				synctest.Wait()
				time.Sleep(time.Second)
				if err := man.Err(); err == nil || !strings.Contains(err.Error(), "frames that achieve nothing") {
					t.Errorf("the connection ended by %v", err)
				}
			})
		})
	}
}
