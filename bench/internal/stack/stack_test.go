package stack_test

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"braid/bench/internal/blob"
	"braid/bench/internal/rig"
	"braid/bench/internal/stack"
)

// each runs a test with a client of every stack that has the features.
func each(t *testing.T, setup stack.Setup, test func(context.Context, *testing.T, stack.Stack, *rig.Rig), features ...stack.Feature) {
	for _, st := range stack.All() {
		t.Run(st.Name, func(t *testing.T) {
			if err := st.Check(features...); err != nil {
				t.Skip(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			r, err := rig.Start(ctx, st, rig.Config{Setup: setup})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if t.Failed() {
					r.Kill() // Close might wait for what hangs
				}
				if err := r.Close(); err != nil && !t.Failed() {
					t.Error(err)
				}
			}()
			test(ctx, t, st, r)
		})
	}
}

func TestEveryStackSaysWhatItIs(t *testing.T) {
	seen := make(map[string]bool)
	for _, st := range stack.All() {
		if st.Name == "" || seen[st.Name] || len(st.Settings) == 0 {
			t.Errorf("stack %q, seen before: %v, with %d settings", st.Name, seen[st.Name], len(st.Settings))
		}
		seen[st.Name] = true
		if named, err := stack.Named(st.Name); err != nil || named.Name != st.Name {
			t.Errorf("stack %q by its name is %q, %v", st.Name, named.Name, err)
		}
	}
	if _, err := stack.Named("carrier"); err == nil || !strings.Contains(err.Error(), `stack "carrier" is none of [braid stock pool`) {
		t.Errorf("got %v", err)
	}
}

// What is said to be one connection is one.
func TestManyStreamsShareTheConnectionOfAMultiplexedStack(t *testing.T) {
	const streams = 20
	each(t, stack.Setup{Callers: streams, Size: 100}, func(ctx context.Context, t *testing.T, st stack.Stack, r *rig.Rig) {
		in, out := blob.New(100, 1), new(blob.Blob)
		var open []stack.Stream
		for range streams {
			stream, err := r.Client().Open(ctx, stack.MethodPingPong)
			if err != nil {
				t.Fatal(err)
			}
			open = append(open, stream)
		}
		for range 3 {
			for _, stream := range open {
				if err := stream.Send(in); err != nil {
					t.Fatal(err)
				}
			}
			for _, stream := range open {
				if err := stream.Recv(out); err != nil || !bytes.Equal(in.Data, out.Data) {
					t.Fatalf("answer of %d bytes, %v", len(out.Data), err)
				}
			}
		}
		for _, stream := range open {
			if err := stream.Close(); err != nil {
				t.Error(err)
			}
		}
		want := 1
		if !st.Multiplexed {
			want = streams
		}
		if counts, err := r.Counts(); err != nil || counts.Conns != want {
			t.Errorf("%+v, %v, want %d connections", counts, err, want)
		}
	}, stack.Duplex, stack.Concurrent)
}

// What is left of a handler that has not ended shows when the tests have.
func TestClosingAStreamEndsAHandlerThatDoesNotRead(t *testing.T) {
	each(t, stack.Setup{Callers: 1, Size: 100}, func(ctx context.Context, t *testing.T, _ stack.Stack, r *rig.Rig) {
		stream, err := r.Client().Open(ctx, stack.MethodStall)
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.Send(blob.New(100, 1)); err != nil {
			t.Fatal(err)
		}
		if err := stream.Close(); err != nil {
			t.Error(err)
		}
		select {
		case <-stream.Context().Done():
		case <-ctx.Done():
			t.Error("the context of a closed stream goes on")
		}
		if err := stack.FirstCall(ctx, r.Client()); err != nil {
			t.Errorf("after a stream has been closed: %v", err)
		}
	}, stack.Unary, stack.Duplex, stack.Cancel)
}

func TestADownloadOfMessagesThatAreNoneIsRefused(t *testing.T) {
	for size, want := range map[uint64]string{
		stack.MaxSize + 1: "messages of 67108865 bytes asked for",
		stack.MinSize - 1: "messages of 15 bytes asked for",
	} {
		each(t, stack.Setup{Callers: 1, Size: 100}, func(ctx context.Context, t *testing.T, _ stack.Stack, r *rig.Rig) {
			stream, err := r.Client().Open(ctx, stack.MethodDownload)
			if err != nil {
				t.Fatal(err)
			}
			if err := stream.Send(blob.Tally{Messages: 1, Bytes: size}.Blob()); err != nil {
				t.Fatal(err)
			}
			if err := stream.Recv(new(blob.Blob)); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q", err, want)
			}
			_ = stream.Close() // it has ended with the error
		}, stack.Download)
	}
}

func TestAnUploadOutOfOrderIsRefused(t *testing.T) {
	each(t, stack.Setup{Callers: 1, Size: 100}, func(ctx context.Context, t *testing.T, _ stack.Stack, r *rig.Rig) {
		stream, err := r.Client().Open(ctx, stack.MethodUpload)
		if err != nil {
			t.Fatal(err)
		}
		msg := blob.New(100, 1)
		for _, seq := range []uint64{0, 1, 3} {
			msg.Stamp(0, seq)
			if err := stream.Send(msg); err != nil {
				t.Fatal(err)
			}
		}
		_ = stream.CloseSend() // the handler may have ended before
		if err := stream.Recv(new(blob.Blob)); err == nil || !strings.Contains(err.Error(), "message 3 of caller 0, want message 2") {
			t.Errorf("got %v", err)
		}
		_ = stream.Close() // it has ended with the error
	}, stack.Upload)
}

// The largest message that a stack accepts by default passes without its being
// told of it.
func TestMessagesOfTheDefaultSizePassBothWays(t *testing.T) {
	each(t, stack.Setup{Callers: 1, Size: 16}, func(ctx context.Context, t *testing.T, _ stack.Stack, r *rig.Rig) {
		in, out := blob.New(4<<20-1<<10, 3), new(blob.Blob)
		if err := r.Client().Echo(ctx, in, out); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(in.Data, out.Data) {
			t.Error("it came back changed")
		}
	}, stack.Unary)
}

// More streams than servers allow by default can be open, as the setup says so.
func TestMoreStreamsThanTheDefaultCanBeOpen(t *testing.T) {
	const streams = 1100
	each(t, stack.Setup{Callers: streams, Size: 16}, func(ctx context.Context, t *testing.T, st stack.Stack, r *rig.Rig) {
		if st.Name == "connect" && testing.Short() {
			t.Skip("its streams take 512 KiB each")
		}
		if st.MaxStreams > 0 && st.MaxStreams < streams {
			t.Skipf("no more than %d streams are possible here", st.MaxStreams)
		}
		in, out := blob.New(16, 1), new(blob.Blob)
		var open []stack.Stream
		for range streams {
			stream, err := r.Client().Open(ctx, stack.MethodPingPong)
			if err != nil {
				t.Fatal(err)
			}
			open = append(open, stream)
			if err := stream.Send(in); err != nil {
				t.Fatal(err)
			}
			if err := stream.Recv(out); err != nil {
				t.Fatal(err)
			}
		}
		for _, stream := range open {
			if err := stream.Close(); err != nil {
				t.Error(err)
			}
		}
	}, stack.Duplex, stack.Concurrent)
}
