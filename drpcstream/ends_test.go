package drpcstream_test

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"storj.io/drpc"
	"storj.io/drpc/drpcerr"

	"braid/drpcmanager"
	"braid/drpcstream"
	"braid/drpcwire"
	"braid/internal/drpctest"
)

// rig is one stream with a peer that is driven by hand.
type rig struct {
	*drpctest.Peer
	stream *drpcstream.Stream
	man    *drpcmanager.Manager
	ctx    context.Context
	cancel context.CancelFunc
}

const limit = 1000 // bytes of a message

// newClient opens a stream whose context has a deadline of a minute.
func newClient(t *testing.T) *rig {
	a, b := drpctest.Pipe()
	r := &rig{Peer: drpctest.NewPeer(t, b)}
	r.ctx, r.cancel = context.WithTimeout(t.Context(), time.Minute)
	opts := drpcmanager.Options{Reader: drpcwire.ReaderOptions{MaximumBufferSize: limit}}
	r.man = drpcmanager.NewClient(a, opts)
	var err error
	if r.stream, err = r.man.NewClientStream(r.ctx, "/rpc", nil); err != nil {
		t.Fatal(err)
	}
	r.Expect(`s1 m1 Invoke "/rpc"`, `s1 m2 Settings "\x01\x01\x02\x80\x80\x04\x04\xe8\a" ctl`)
	return r
}

// newServer accepts a stream.
func newServer(t *testing.T) *rig {
	a, b := drpctest.Pipe()
	r := &rig{Peer: drpctest.NewPeer(t, b), cancel: func() {}}
	opts := drpcmanager.Options{Reader: drpcwire.ReaderOptions{MaximumBufferSize: limit}}
	r.man = drpcmanager.NewServer(t.Context(), a, opts, drpcmanager.Hooks{
		Handle: func(s *drpcstream.Stream, _ string) { r.stream = s },
	})
	r.Send(`s1 m1 Invoke "/rpc"`)
	synctest.Wait()
	if r.stream == nil {
		t.Fatal("the stream was not handed to the server")
	}
	return r
}

func (r *rig) close() {
	r.cancel()
	r.stream.Cancel(context.Canceled) // as a user who is done with the stream
	_ = r.man.CloseNow(drpcmanager.ErrClosed)
}

var errBoom = drpcerr.WithCode(errors.New("boom"), 7)

// ends is how each row of docs/streams.md, "Ends", comes about. The peer's
// message "unread" has arrived before.
var ends = map[string]func(r *rig){
	"both sides sent CloseSend": func(r *rig) {
		_ = r.stream.CloseSend()
		r.Expect("s1 m" + r.next() + " CloseSend")
		r.Send("s1 m9 CloseSend")
	},
	"Error from the peer":                   func(r *rig) { r.Send(`s1 m9 Error "\x00\x00\x00\x00\x00\x00\x00\aboom"`) },
	"Cancel from the peer":                  func(r *rig) { r.Send(`s1 m9 Cancel ctl`) },
	"Cancel from the peer, code deadline":   func(r *rig) { r.Send(`s1 m9 Cancel "\x01" ctl`) },
	"Cancel from the peer, code refused":    func(r *rig) { r.Send(`s1 m9 Cancel "\x02" ctl`) },
	"Close from the peer":                   func(r *rig) { r.Send(`s1 m9 Close`) },
	"the stream's own context was canceled": func(r *rig) { r.cancel() },
	"the stream's own deadline has passed":  func(*rig) { time.Sleep(time.Minute) }, // of the bubble's clock
	"Close on this end":                     func(r *rig) { _ = r.stream.Close() },
	"SendError on this end":                 func(r *rig) { _ = r.stream.SendError(errBoom) },
	"a message over the limit arrived":      func(r *rig) { r.Send(`s1 m9 Message "` + strings.Repeat("x", limit+1) + `"`) },
	"the handler has returned nil (server)": func(r *rig) { r.Send("s1 m8 CloseSend"); synctest.Wait(); _ = r.stream.Return(nil) },
	"the handler has returned an error":     func(r *rig) { _ = r.stream.Return(errBoom) },
	"the connection is lost":                func(r *rig) { r.Close() },
}

// next is the id of the next message that the stream sends.
func (r *rig) next() string {
	if r.ctx == nil {
		return "1"
	}
	return "3"
}

// checks is what the words in the columns Send and Recv say of an error.
var checks = map[string]func(err error) bool{
	"send closed":              func(err error) bool { return drpc.Error.Has(err) && strings.Contains(err.Error(), "send closed") },
	"io.EOF":                   func(err error) bool { return err == io.EOF },
	"context.Canceled":         func(err error) bool { return err == context.Canceled },
	"context.DeadlineExceeded": func(err error) bool { return err == context.DeadlineExceeded },
	"drpc.Error":               drpc.Error.Has,
	"drpc.ClosedError":         drpc.ClosedError.Has,
	"ErrRefused": func(err error) bool {
		return errors.Is(err, drpcstream.ErrRefused) && drpcerr.Code(err) == drpcwire.CodeUnavailable
	},
	"ResourceExhausted":        func(err error) bool { return drpcerr.Code(err) == drpcwire.CodeResourceExhausted },
	"the error, with its code": func(err error) bool { return err.Error() == "boom" && drpcerr.Code(err) == 7 },
	"LostError": func(err error) bool {
		var lost *drpcmanager.LostError
		return errors.As(err, &lost) && drpc.ClosedError.Has(err) &&
			drpcerr.Code(err) == drpcwire.CodeUnavailable && !errors.Is(err, io.EOF)
	},
}

func TestEndsAreThoseOfTheDocument(t *testing.T) {
	text, err := os.ReadFile("../docs/streams.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(text), "| What ends the stream |")
	if !ok {
		t.Fatal("docs/streams.md has no table of ends")
	}
	seen := map[string]bool{}
	for _, line := range strings.Split(table, "\n")[2:] {
		if !strings.HasPrefix(line, "|") {
			break
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		name, side := cells[0], ""
		do := ends[name]
		if i := strings.Index(name, " ("); i > 0 {
			side = strings.Trim(name[i:], " ()")
			if do == nil {
				do = ends[name[:i]]
				seen[name[:i]] = true
			}
		}
		seen[name] = true
		if do == nil {
			t.Errorf("no test for the row %q", name)
			continue
		}
		if side != "server" {
			t.Run("client/"+name, func(t *testing.T) { testEnd(t, newClient, do, cells) })
		}
		// Only a client's stream has a context of its own.
		if side != "client" && !strings.Contains(name, "stream's own") {
			t.Run("server/"+name, func(t *testing.T) { testEnd(t, newServer, do, cells) })
		}
	}
	for name := range ends {
		if !seen[name] {
			t.Errorf("the document has no row %q", name)
		}
	}
}

func testEnd(t *testing.T, open func(*testing.T) *rig, do func(*rig), cells []string) {
	tells, send, recv, unread, done := cells[1], cells[2], cells[3], cells[4], cells[5]
	synctest.Test(t, func(t *testing.T) {
		r := open(t)
		defer r.close()
		r.Send(`s1 m5 Message "unread"`)
		synctest.Wait()
		do(r)
		synctest.Wait()

		if tells != "" {
			got, _ := r.Next()
			if kind := strings.Fields(got)[2]; kind != tells {
				t.Errorf("the peer was told %s, want %s", got, tells)
			}
		} else if recv != "LostError" {
			r.ExpectNothing()
		}
		if !r.stream.IsTerminated() || r.man.Streams() != 0 {
			t.Errorf("%v is live: %d streams on the connection", r.stream, r.man.Streams())
		}
		if (r.stream.Context().Err() != nil) != (done == "at once") {
			t.Errorf("context: %v, want it done %s", r.stream.Context().Err(), done)
		}
		wantState := map[string]drpcstream.State{"received": drpcstream.Draining, "dropped": drpcstream.Closed}[unread]
		if r.stream.State() != wantState {
			t.Errorf("state %v, want %v", r.stream.State(), wantState)
		}

		if err := drpctest.Send(r.stream, "late"); err == nil || !checks[send](err) {
			t.Errorf("Send: %v, want %s", err, send)
		} else if strings.Contains(cells[0], "peer") && !errors.Is(err, io.EOF) {
			t.Errorf("Send after an end by the peer: %v does not match io.EOF", err)
		}
		if unread == "received" {
			if got, err := drpctest.Recv(r.stream); got != "unread" || err != nil {
				t.Errorf("Recv: %q, %v, want what had arrived", got, err)
			}
		}
		for range 2 {
			if _, err := drpctest.Recv(r.stream); err == nil || !checks[recv](err) {
				t.Errorf("Recv: %v, want %s", err, recv)
			}
		}
		if r.stream.State() != drpcstream.Closed || !r.stream.IsFinished() || r.stream.Context().Err() == nil {
			t.Errorf("at the end: %v, context %v", r.stream, r.stream.Context().Err())
		}
		testNothingFollows(t, r, recv == "LostError")
	})
}

// testNothingFollows does all there is to do on a stream that has ended: none of
// it may panic, change the outcome, or send anything (F15).
func testNothingFollows(t *testing.T, r *rig, lost bool) {
	_ = r.stream.CloseSend()
	_ = r.stream.Close()
	_ = r.stream.SendError(errBoom)
	_, _ = r.stream.SendCancel(context.Canceled)
	_ = r.stream.RawFlush()
	_ = r.stream.RawWrite(drpcwire.KindMessage, []byte("late"))
	r.stream.Cancel(context.Canceled)
	r.stream.Lost(errBoom)
	if _, err := r.stream.RawRecv(); err == nil {
		t.Error("a message came after the end")
	}
	synctest.Wait()
	if !lost {
		r.ExpectNothing()
	}
}

// Each side says that it sends no more, in either order or at once: until the
// other has said so too, that one's direction goes on; then the stream ends,
// once (F14).
func TestHalfCloseInEveryOrder(t *testing.T) {
	for name, open := range map[string]func(*testing.T) *rig{"client": newClient, "server": newServer} {
		first := map[string]drpcstream.State{"client": drpcstream.ClientClosed, "server": drpcstream.ServerClosed}
		t.Run(name+" first", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := open(t)
				defer r.close()
				_ = r.stream.CloseSend()
				_ = r.stream.CloseSend() // has no effect
				r.Expect("s1 m" + r.next() + " CloseSend")
				r.expectState(t, first[name])
				r.Send(`s1 m5 Message "still"`)
				if got, err := drpctest.Recv(r.stream); got != "still" || err != nil {
					t.Errorf("Recv: %q, %v", got, err)
				}
				r.Send(`s1 m6 CloseSend`)
				r.expectState(t, drpcstream.Closed)
			})
		})
		t.Run(name+" second", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := open(t)
				defer r.close()
				r.Send(`s1 m5 CloseSend`, `s1 m6 CloseSend`, `s1 m7 Message "after the end"`)
				r.expectState(t, drpcstream.ClientClosed+drpcstream.ServerClosed-first[name])
				if _, err := drpctest.Recv(r.stream); err != io.EOF {
					t.Errorf("Recv: %v", err)
				}
				if err := drpctest.Send(r.stream, "still"); err != nil {
					t.Errorf("Send: %v", err)
				}
				r.Expect("s1 m" + r.next() + ` Message "still"`)
				_ = r.stream.CloseSend()
				r.expectState(t, drpcstream.Closed)
			})
		})
		t.Run(name+" at once", func(t *testing.T) {
			for range 200 {
				synctest.Test(t, func(t *testing.T) {
					r := open(t)
					defer r.close()
					go func() { _ = r.stream.CloseSend() }()
					r.Send(`s1 m5 CloseSend`)
					r.expectState(t, drpcstream.Closed)
					if r.man.Streams() != 0 {
						t.Errorf("%d streams are live", r.man.Streams())
					}
				})
			}
		})
	}
}

func (r *rig) expectState(t *testing.T, want drpcstream.State) {
	t.Helper()
	synctest.Wait()
	if got := r.stream.State(); got != want {
		t.Errorf("state %v, want %v", got, want)
	}
}
