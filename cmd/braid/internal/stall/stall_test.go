package stall

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"braid/cmd/braid/internal/leak"
	"braid/cmd/braid/internal/wire"
	"braid/drpcconn"
	"braid/drpcmanager"
	"braid/drpcmux"
	"braid/drpcserver"
)

func TestMain(m *testing.M) { leak.Main(m) }

// window is what a stream has before anything of it is read, in bytes.
const window = 64 << 10

// serve serves a Stall and returns a client of it.
func serve(t *testing.T, s wire.StallServer) (*drpcconn.Conn, *wire.Client) {
	t.Helper()
	mux := drpcmux.New()
	if err := mux.Register(s, wire.StallDescription{}); err != nil {
		t.Fatal(err)
	}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { _ = drpcserver.New(mux).Serve(ctx, lis) })
	tr, err := net.Dial("tcp", lis.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn := drpcconn.New(tr)
	t.Cleanup(func() {
		_ = conn.Close()
		cancel()
		done.Wait()
	})
	// A first call lets the two ends find out what they can. There is none to be
	// made but one that fails.
	client := wire.NewClient(conn, new(wire.Traffic))
	if err := client.Echo(t.Context(), new(wire.Echo), new(wire.Echo)); err == nil {
		t.Fatal("there is a service that should not be there")
	}
	return conn, client
}

func TestBothAreHeldByTheirWindowAndLoseNothing(t *testing.T) {
	s := New()
	_, client := serve(t, s)
	if err := s.Begin(t.Context(), client); err != nil {
		t.Fatal(err)
	}
	sent := s.Sent()
	streams, err := s.End()
	if err != nil {
		t.Fatal(err)
	}
	if len(streams) != 2 || sent == 0 || streams[0].Bytes+streams[1].Bytes < sent {
		t.Fatalf("%+v after %d bytes", streams, sent)
	}
	for _, h := range streams {
		if h.Err != nil || h.Total != pieces*pieceSize {
			t.Errorf("%+v", h)
		}
		if h.Bytes != h.Messages*pieceSize || h.Bytes > window || h.Bytes < window/2 {
			t.Errorf("the %s was held after %d messages, %d bytes", h.Name, h.Messages, h.Bytes)
		}
		if h.For <= 0 || h.Within < 0 {
			t.Errorf("the %s was held for %v, after %v", h.Name, h.For, h.Within)
		}
	}
	s.Cancel() // it may be called again
}

// greedy reads what it should not.
type greedy struct{ *Stall }

func (greedy) Upload(stream *wire.UploadServer) error {
	size, sum, err := pull(stream.Recv)
	return errors.Join(err, stream.Send(&wire.UploadReply{Step: wire.Receipt, Size: size, Sum: sum}))
}

func TestAStreamThatIsReadIsNotHeld(t *testing.T) {
	s := New()
	s.quiet = time.Hour // however slowly it is read
	_, client := serve(t, greedy{s})
	defer s.Cancel()
	if err := s.Begin(t.Context(), client); err == nil || !strings.Contains(err.Error(), "was not held") {
		t.Errorf("%v", err)
	}
}

func TestAStreamThatEndsIsNotHeld(t *testing.T) {
	for name, test := range map[string]struct {
		up, down bool
		want     string
	}{
		"upload":   {true, false, "the stalled upload: closed"},
		"download": {false, true, "the stalled download: closed"},
	} {
		t.Run(name, func(t *testing.T) {
			s := New()
			_, client := serve(t, closed{s, test.up, test.down})
			defer s.Cancel()
			if err := s.Begin(t.Context(), client); err == nil || !strings.HasPrefix(err.Error(), test.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

// closed ends one of the streams at once.
type closed struct {
	*Stall
	up, down bool
}

func (c closed) Upload(stream *wire.UploadServer) error {
	if c.up {
		return errors.New("closed")
	}
	return c.Stall.Upload(stream)
}

func (c closed) Download(stream *wire.DownloadServer) error {
	if c.down {
		c.download.change(func(p *progress) { p.over = true })
		return errors.New("closed")
	}
	return c.Stall.Download(stream)
}

func TestALostConnectionEndsBoth(t *testing.T) {
	s := New()
	conn, client := serve(t, s)
	if err := s.Begin(t.Context(), client); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	var lost *drpcmanager.LostError
	if streams, err := s.End(); !errors.As(err, &lost) {
		t.Errorf("%v, %v", streams, err)
	}
}

func TestTheEndOfTheContextEndsBoth(t *testing.T) {
	s := New()
	_, client := serve(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	if err := s.Begin(ctx, client); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := s.End(); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestWhatIsLostOrChangedOnTheWayIsNoticed(t *testing.T) {
	for name, spoil := range map[string]func(n int, f *wire.UploadFrame) (keep bool){
		"lost":         func(n int, _ *wire.UploadFrame) bool { return n != pieces/2 },
		"changed":      func(n int, f *wire.UploadFrame) bool { f.Data[0] ^= byte(n); return true },
		"out of turn":  func(n int, f *wire.UploadFrame) bool { f.Step = wire.Header; return true },
		"nothing came": func(int, *wire.UploadFrame) bool { return false },
	} {
		t.Run(name, func(t *testing.T) {
			var frames []wire.UploadFrame
			n := 0
			err := new(sender).push(func(f *wire.UploadFrame) error {
				n++
				frame := *f
				frame.Data = append([]byte(nil), f.Data...)
				if f.Step == wire.End || spoil(n, &frame) {
					frames = append(frames, frame)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			_, _, err = pull(func(f *wire.UploadFrame) error {
				*f, frames = frames[0], frames[1:]
				return nil
			})
			if err == nil {
				t.Error("nothing was noticed")
			}
		})
	}
}

func TestTheVerdictComparesBothEnds(t *testing.T) {
	const all = pieces * pieceSize
	for _, test := range []struct {
		messages, size int64
		got            wire.Sum
		good           bool
	}{
		{60, all, wire.Sum{1}, true},
		{60, all - 1, wire.Sum{1}, false},
		{60, all, wire.Sum{2}, false},
		{pieces, all, wire.Sum{1}, false}, // never held
	} {
		h := Held{Messages: test.messages}
		if h.verify(test.size, test.got, wire.Sum{1}); (h.Err == nil) != test.good {
			t.Errorf("%+v: %v", test, h.Err)
		}
	}
}
