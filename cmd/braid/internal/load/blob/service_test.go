package blob_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"

	"storj.io/drpc"

	"braid/cmd/braid/internal/leak"
	"braid/cmd/braid/internal/load/blob"
	"braid/cmd/braid/internal/load/loadtest"
	"braid/cmd/braid/internal/wire"
	"braid/drpcconn"
)

func TestMain(m *testing.M) { leak.Main(m) }

// open serves the service and opens a stream of a method.
func open(t *testing.T, stack loadtest.Stack, rpc string) drpc.Stream {
	t.Helper()
	addr := stack.Serve(t, func(m drpc.Mux) error { return m.Register(blob.Service{}, blob.Description{}) })
	tr, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	conn := drpcconn.New(tr)
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(func() {
		cancel()
		_ = conn.Close()
	})
	stream, err := conn.NewStream(ctx, rpc, blob.Encoding{})
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

// ending sends messages, closes its side if it should, and returns the error that the
// stream ends with.
func ending(t *testing.T, stream drpc.Stream, closes bool, messages ...[]byte) error {
	t.Helper()
	for _, p := range messages {
		if err := stream.MsgSend(&blob.Message{Data: p}, blob.Encoding{}); err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
	}
	if closes {
		if err := stream.CloseSend(); err != nil {
			t.Fatal(err)
		}
	}
	for {
		if err := stream.MsgRecv(new(blob.Message), blob.Encoding{}); err != nil {
			return err
		}
	}
}

func TestClientsThatBreakTheRulesAreTold(t *testing.T) {
	stamped := func(size int, n uint64) []byte {
		p := make([]byte, size)
		blob.Stamp(p, n)
		return p
	}
	for _, stack := range loadtest.Stacks {
		for name, test := range map[string]struct {
			rpc      string
			messages [][]byte
		}{
			"upload begins in the middle": {blob.Upload, [][]byte{stamped(16, 1)}},
			"upload has a gap":            {blob.Upload, [][]byte{stamped(16, 0), stamped(16, 2)}},
			"upload changes its size":     {blob.Upload, [][]byte{stamped(16, 0), stamped(17, 1)}},
			"download without an ask":     {blob.Download, [][]byte{nil}},
			"download asks for too much":  {blob.Download, [][]byte{blob.Ask{Size: blob.MaxSize + 1}.AppendTo(nil)}},
			"download asks twice":         {blob.Download, [][]byte{blob.Ask{Size: 16}.AppendTo(nil), blob.Ask{Size: 16}.AppendTo(nil)}},
		} {
			err := ending(t, open(t, stack, test.rpc), false, test.messages...)
			if wire.CodeOf(err) != wire.BadOrder {
				t.Errorf("%s, %s: %v with code %d", stack, name, err, wire.CodeOf(err))
			}
		}
	}
}

func TestStreamsThatAreClosedAtOnceEndInOrder(t *testing.T) {
	for _, stack := range loadtest.Stacks {
		for _, rpc := range []string{blob.Upload, blob.PingPong} {
			if err := ending(t, open(t, stack, rpc), true); !errors.Is(err, io.EOF) {
				t.Errorf("%s, %s: %v", stack, rpc, err)
			}
		}
		if err := ending(t, open(t, stack, blob.Download), true, blob.Ask{}.AppendTo(nil)); !errors.Is(err, io.EOF) {
			t.Errorf("%s: an empty download: %v", stack, err)
		}
	}
}
