package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"braid/bench/internal/blob"
	"braid/bench/internal/floor"
	"braid/bench/internal/job"
	"braid/bench/internal/rig"
	"braid/bench/internal/stack"
	"braid/internal/drpctest"
)

func TestMain(m *testing.M) {
	rig.Main() // does not return if this is a server process
	drpctest.Main(m)
}

// testSizes are the payloads of the tests: what the benchmarks use, the empty
// message, and sizes around powers of two, where buffers end.
var testSizes = []int{0, 1, 16, kib, 4095, 4096, 4097, 64 * kib, mib}

// eachStack runs a test with every stack that has a feature, and a context that
// ends a test that hangs.
func eachStack(t *testing.T, feature stack.Feature, test func(context.Context, *testing.T, stack.Client)) {
	for _, transport := range rig.Transports() {
		for _, st := range stack.All() {
			t.Run(fmt.Sprintf("transport=%s/stack=%s", transport, st.Name), func(t *testing.T) {
				if err := st.Check(feature); err != nil {
					t.Skip(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				test(ctx, t, start(ctx, t, st, rig.Config{Transport: transport, Setup: stack.Setup{Callers: 1, Size: mib}}).Client())
			})
		}
	}
}

// start starts a rig, which is closed when the test ends and killed when the
// context does.
func start(ctx context.Context, t *testing.T, st stack.Stack, cfg rig.Config) *rig.Rig {
	t.Helper()
	r, err := rig.Start(ctx, st, cfg)
	if err != nil {
		t.Fatal(err)
	}
	stop := context.AfterFunc(ctx, func() {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			r.Kill()
		}
	})
	t.Cleanup(func() {
		stop()
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func TestEveryByteOfACallComesBack(t *testing.T) {
	eachStack(t, stack.Unary, func(ctx context.Context, t *testing.T, client stack.Client) {
		for _, size := range testSizes {
			in, out := blob.New(size, 7), new(blob.Blob)
			if err := client.Echo(ctx, in, out); err != nil {
				t.Fatalf("size %d: %v", size, err)
			}
			if !bytes.Equal(in.Data, out.Data) {
				t.Fatalf("size %d: echo of %d bytes differs", size, len(out.Data))
			}
		}
	})
}

func TestAnUploadIsCountedToTheLastMessage(t *testing.T) {
	eachStack(t, stack.Upload, func(ctx context.Context, t *testing.T, client stack.Client) {
		stream := open(ctx, t, client, stack.MethodUpload)
		var want blob.Tally
		for i := range 300 {
			out := blob.New(blob.MinSize+i*100, uint64(i))
			out.Stamp(0, uint64(i))
			if err := stream.Send(out); err != nil {
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
		wantEOF(t, stream)
	})
}

func TestEveryByteOfADownloadArrives(t *testing.T) {
	eachStack(t, stack.Download, func(ctx context.Context, t *testing.T, client stack.Client) {
		const messages, size = 300, 10_000
		stream := open(ctx, t, client, stack.MethodDownload)
		ask := blob.Tally{Messages: messages, Bytes: messages * size}
		if err := stream.Send(ask.Blob()); err != nil {
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

func TestEveryByteOnAStreamComesBack(t *testing.T) {
	eachStack(t, stack.Duplex, func(ctx context.Context, t *testing.T, client stack.Client) {
		stream := open(ctx, t, client, stack.MethodPingPong)
		for _, size := range testSizes {
			want := blob.New(size, uint64(size))
			if err := stream.Send(want); err != nil {
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

// TestEveryStackDoesEveryWork does what the benchmarks do, with every stack that
// can; the work checks its own results.
func TestEveryStackDoesEveryWork(t *testing.T) {
	kinds := []struct {
		job.Kind
		callers []int
	}{
		{job.Unary, []int{1, 64}}, {job.Upload, []int{1, 16}}, {job.Download, []int{1, 16}},
		{job.PingPong, []int{1, 64}}, {job.OpenClose, []int{1, 64}}, {job.Mixed, []int{4}}, {job.Idle, []int{20}},
		{job.Connections, []int{1, 7}},
	}
	for _, kind := range kinds {
		for _, callers := range kind.callers {
			for _, st := range stack.All() {
				t.Run(fmt.Sprintf("%s/%s=%d/stack=%s", kind.Name, kind.Who, callers, st.Name), func(t *testing.T) {
					n := 300
					if kind.Name == job.Mixed.Name {
						n = 20 // a call may have to wait for much of the bulk
					}
					for _, size := range []int{16, 3000} {
						runJob(t, st, kind.Kind, callers, size, n)
					}
				})
			}
		}
	}
}

// Messages over what stacks accept by default pass where the stack is told of
// them, and are refused beforehand where it has no way to be told.
func TestLargeMessagesPass(t *testing.T) {
	for _, kind := range []job.Kind{job.Unary, job.Upload, job.Download} {
		for _, st := range stack.All() {
			t.Run(kind.Name+"/stack="+st.Name, func(t *testing.T) { runJob(t, st, kind, 1, 5*mib+1, 1) })
		}
	}
}

// TestConnections checks what the comparison rests on: one connection for all,
// but for a pool, which has one for every caller.
func TestConnections(t *testing.T) {
	for _, st := range stack.All() {
		for _, callers := range []int{16, 600} { // 600 is more than HTTP/2 servers take by default
			want := 1
			if st.Name == "pool" {
				want = min(callers, st.MaxStreams)
			}
			if got := runJob(t, st, job.Unary, callers, 16, 1000); got.Conns != want {
				t.Errorf("stack %s: %d connections for %d callers, want %d", st.Name, got.Conns, callers, want)
			}
		}
	}
}

func TestCallersShareTheConnectionsThatThereAreToBe(t *testing.T) {
	for _, st := range stack.All() {
		if st.Check(stack.Several) != nil {
			continue
		}
		if got := runJob(t, st, job.Connections, 7, 16, 2000); got.Conns != 7 {
			t.Errorf("stack %s: %d connections, want 7", st.Name, got.Conns)
		}
	}
}

func TestEveryWayToWriteOfTheFloorWorks(t *testing.T) {
	for _, yields := range []int{floor.Direct, 0, 1, 2} {
		for _, callers := range []int{1, 64} {
			for _, size := range []int{100, 20 * kib} {
				runJob(t, stack.FloorOf(yields), job.Unary, callers, size, 300)
			}
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

// runJob does some work twice, unless the stack cannot do it, and returns what
// the server has counted.
func runJob(t *testing.T, st stack.Stack, kind job.Kind, callers, size, n int) rig.Counts {
	t.Helper()
	if err := kind.Check(st, callers, size); err != nil {
		t.Skip(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r := start(ctx, t, st, rig.Config{Setup: kind.Setup(callers, size)})
	j, err := kind.New(ctx, job.Load{Client: r.Client(), Callers: callers, Size: size})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(j.Run(n), j.Run(1), j.Close()); err != nil {
		t.Fatal(err)
	}
	counts, err := r.Counts()
	if err != nil {
		t.Fatal(err)
	}
	return counts
}

// open opens a stream, which is closed before the end of the test.
func open(ctx context.Context, t *testing.T, client stack.Client, method stack.Method) stack.Stream {
	t.Helper()
	stream, err := client.Open(ctx, method)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stream.Close(); err != nil && !t.Failed() {
			t.Error(err)
		}
	})
	return stream
}

// receive receives a message.
func receive(t *testing.T, stream stack.Stream) *blob.Blob {
	t.Helper()
	in := new(blob.Blob)
	if err := stream.Recv(in); err != nil {
		t.Fatal(err)
	}
	return in
}

// wantEOF expects the other side to have nothing more to say.
func wantEOF(t *testing.T, stream stack.Stream) {
	t.Helper()
	if err := stream.Recv(new(blob.Blob)); !errors.Is(err, io.EOF) {
		t.Fatalf("received %v, want %v", err, io.EOF)
	}
}
