package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"storj.io/drpc"

	"braid/bench/internal/blob"
	"braid/bench/internal/floor"
	"braid/bench/internal/job"
	"braid/bench/internal/rig"
)

// testSizes are the payloads of the tests: what the benchmarks use, the empty
// message, and sizes around powers of two, where buffers end.
var testSizes = []int{0, 1, 16, 1 << 10, 4095, 4096, 4097, 64 << 10, 1 << 20}

// eachStack runs a test with every stack and a context that ends a test that
// hangs.
func eachStack(t *testing.T, callers int, test func(context.Context, *testing.T, *rig.Rig)) {
	for _, st := range rig.Stacks() {
		t.Run("stack="+st.Name, func(t *testing.T) {
			r, err := rig.Start(st, callers)
			if err != nil {
				t.Fatal(err)
			}
			defer closeRig(t, r)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			test(ctx, t, r)
		})
	}
}

func TestEcho(t *testing.T) {
	eachStack(t, 1, func(ctx context.Context, t *testing.T, r *rig.Rig) {
		for _, size := range testSizes {
			in, out := blob.New(size, 7), new(blob.Blob)
			err := r.Conn().Invoke(ctx, blob.MethodEcho, blob.Encoding{}, in, out)
			if err != nil {
				t.Fatalf("size %d: %v", size, err)
			}
			if !bytes.Equal(in.Data, out.Data) {
				t.Fatalf("size %d: echo of %d bytes differs", size, len(out.Data))
			}
		}
	})
}

func TestUpload(t *testing.T) {
	eachStack(t, 1, func(ctx context.Context, t *testing.T, r *rig.Rig) {
		stream := open(ctx, t, r, blob.MethodUpload)
		var want blob.Tally
		for i := range 300 {
			out := blob.New(blob.MinSize+i*100, uint64(i))
			out.Stamp(0, uint64(i))
			if err := stream.MsgSend(out, blob.Encoding{}); err != nil {
				t.Fatal(err)
			}
			want.Messages++
			want.Bytes += uint64(len(out.Data))
		}
		if err := stream.CloseSend(); err != nil {
			t.Fatal(err)
		}
		got, err := blob.TallyOf(receive(t, stream))
		if err != nil || got != want {
			t.Fatalf("tally %+v, %v, want %+v", got, err, want)
		}
	})
}

func TestDownload(t *testing.T) {
	eachStack(t, 1, func(ctx context.Context, t *testing.T, r *rig.Rig) {
		const messages, size = 300, 10_000
		stream := open(ctx, t, r, blob.MethodDownload)
		ask := blob.Tally{Messages: messages, Bytes: messages * size}
		if err := stream.MsgSend(ask.Blob(), blob.Encoding{}); err != nil {
			t.Fatal(err)
		}
		if err := stream.CloseSend(); err != nil {
			t.Fatal(err)
		}
		want := blob.New(size, 0)
		for seq := range uint64(messages) {
			want.Stamp(0, seq)
			if got := receive(t, stream); !bytes.Equal(got.Data, want.Data) {
				t.Fatalf("message %d of %d bytes differs", seq, len(got.Data))
			}
		}
		wantEOF(t, stream)
	})
}

func TestPingPong(t *testing.T) {
	eachStack(t, 1, func(ctx context.Context, t *testing.T, r *rig.Rig) {
		stream := open(ctx, t, r, blob.MethodPingPong)
		for _, size := range testSizes {
			want := blob.New(size, uint64(size))
			if err := stream.MsgSend(want, blob.Encoding{}); err != nil {
				t.Fatal(err)
			}
			if got := receive(t, stream); !bytes.Equal(got.Data, want.Data) {
				t.Fatalf("size %d: answer of %d bytes differs", size, len(got.Data))
			}
		}
		if err := stream.CloseSend(); err != nil {
			t.Fatal(err)
		}
		wantEOF(t, stream)
	})
}

// TestJobs runs every kind of work as the benchmarks do; the work checks its
// own results.
func TestJobs(t *testing.T) {
	kinds := []struct {
		job.Kind
		callers int
	}{
		{job.Unary, 1}, {job.Unary, 64}, {job.Upload, 1}, {job.Download, 1},
		{job.PingPong, 1}, {job.PingPong, 64}, {job.OpenClose, 1}, {job.OpenClose, 64},
	}
	for _, kind := range kinds {
		t.Run(fmt.Sprintf("%s/callers=%d", kind.Name, kind.callers), func(t *testing.T) {
			eachStack(t, kind.callers, func(_ context.Context, t *testing.T, r *rig.Rig) {
				for _, size := range []int{16, 3000} {
					runJob(t, 1000, func() (job.Job, error) { return kind.New(r.Conn(), kind.callers, size) })
				}
			})
		})
	}
}

// TestConnections checks what the comparison rests on: one connection for a
// multiplexed stack, one for every caller for the other.
func TestConnections(t *testing.T) {
	const callers = 16
	for _, st := range rig.Stacks() {
		want := callers
		if st.Multiplexed {
			want = 1
		}
		r, err := rig.Start(st, callers)
		if err != nil {
			t.Fatal(err)
		}
		runJob(t, 1000, func() (job.Job, error) { return job.Unary.New(r.Conn(), callers, 16) })
		if got := r.Conns(); got != want {
			t.Errorf("stack %s: %d connections for %d callers, want %d", st.Name, got, callers, want)
		}
		closeRig(t, r)
	}
}

func TestFloor(t *testing.T) {
	for _, yields := range []int{floor.Direct, 0, 1, 2} {
		for _, callers := range []int{1, 64} {
			runJob(t, 1000, func() (job.Job, error) { return floor.New(callers, 100, yields) })
		}
	}
}

func TestDispatchers(t *testing.T) {
	for _, d := range dispatchers() {
		start, stop := d.new()
		dispatch(1000, 10, 4<<10, start)
		stop()
	}
}

// runJob makes a job, runs it and closes it.
func runJob(t *testing.T, n int, start func() (job.Job, error)) {
	t.Helper()
	j, err := start()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(j.Run(n), j.Close()); err != nil {
		t.Fatal(err)
	}
}

// open opens a stream and has it closed at the end of the test.
func open(ctx context.Context, t *testing.T, r *rig.Rig, method string) drpc.Stream {
	t.Helper()
	stream, err := r.Conn().NewStream(ctx, method, blob.Encoding{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stream.Close() })
	return stream
}

// receive receives a message.
func receive(t *testing.T, stream drpc.Stream) *blob.Blob {
	t.Helper()
	in := new(blob.Blob)
	if err := stream.MsgRecv(in, blob.Encoding{}); err != nil {
		t.Fatal(err)
	}
	return in
}

// wantEOF expects the other side to have nothing more to say.
func wantEOF(t *testing.T, stream drpc.Stream) {
	t.Helper()
	if err := stream.MsgRecv(new(blob.Blob), blob.Encoding{}); !errors.Is(err, io.EOF) {
		t.Fatalf("received %v, want %v", err, io.EOF)
	}
}
