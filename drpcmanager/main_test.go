package drpcmanager_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"storj.io/drpc"
	"storj.io/drpc/drpcerr"

	"braid/drpcmanager"
	"braid/drpcstream"
	"braid/drpcwire"
	"braid/internal/drpctest"
)

func TestMain(m *testing.M) { drpctest.Main(m) }

// settings is what a client says of itself: version 1, a window of 64 KiB, messages
// of 4 MiB. A server adds that it takes 1,024 streams.
const (
	settings       = `Settings "\x01\x01\x02\x80\x80\x04\x04\x80\x80\x80\x02" ctl`
	serverSettings = `Settings "\x01\x01\x02\x80\x80\x04\x03\x80\b\x04\x80\x80\x80\x02" ctl`
)

// newClient starts a client against a peer that is driven by hand.
func newClient(t *testing.T, opts drpcmanager.Options) (*drpcmanager.Manager, *drpctest.Peer, *drpctest.End) {
	a, b := drpctest.Pipe()
	peer := drpctest.NewPeer(t, b)
	man := drpcmanager.NewClient(a, opts)
	t.Cleanup(func() { _ = man.CloseNow(drpcmanager.ErrClosed) })
	return man, peer, a
}

// accepted collects the streams that a server is given.
type accepted struct {
	mu      sync.Mutex
	streams []*drpcstream.Stream
	rpcs    []string
}

func (a *accepted) handle(s *drpcstream.Stream, rpc string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.streams = append(a.streams, s)
	a.rpcs = append(a.rpcs, rpc)
}

func (a *accepted) get(t *testing.T, i int) *drpcstream.Stream {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	if i >= len(a.streams) {
		t.Fatalf("%d streams were handed on, want number %d", len(a.streams), i)
	}
	return a.streams[i]
}

func (a *accepted) names() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.rpcs...)
}

// newServer starts a server against a peer that is driven by hand.
func newServer(t *testing.T, opts drpcmanager.Options) (*drpcmanager.Manager, *drpctest.Peer, *accepted) {
	a, b := drpctest.Pipe()
	peer := drpctest.NewPeer(t, b)
	acc := new(accepted)
	man := drpcmanager.NewServer(t.Context(), a, opts, drpcmanager.Hooks{Handle: acc.handle})
	t.Cleanup(func() { _ = man.CloseNow(drpcmanager.ErrClosed) })
	return man, peer, acc
}

// lostTo checks that err is that of a lost connection with this cause.
func lostTo(t *testing.T, err, cause error) {
	t.Helper()
	var lost *drpcmanager.LostError
	if !errors.As(err, &lost) || !drpc.ClosedError.Has(err) || !errors.Is(err, cause) {
		t.Errorf("got %v, want a lost connection due to %v", err, cause)
	}
}

// protocolError checks that the connection ended because the peer broke a rule.
func protocolError(t *testing.T, man *drpcmanager.Manager) {
	t.Helper()
	if !drpc.ProtocolError.Has(man.Err()) {
		t.Errorf("the connection ended by %v, want a protocol error", man.Err())
	}
}

func open(t *testing.T, man *drpcmanager.Manager, ctx context.Context, rpc string) *drpcstream.Stream {
	t.Helper()
	s, err := man.NewClientStream(ctx, rpc, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func resourceExhausted(err error) bool {
	return err != nil && drpcerr.Code(err) == drpcwire.CodeResourceExhausted
}

// answerAtOnce is a handler that runs on the reader itself.
func answerAtOnce(s *drpcstream.Stream, _ string) {
	_ = drpctest.Send(s, "at once")
	_ = s.Return(nil)
}
