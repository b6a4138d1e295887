package copier

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"braid/cmd/braid/internal/leak"
	"braid/cmd/braid/internal/progress"
	"braid/cmd/braid/internal/service"
	"braid/cmd/braid/internal/stall"
	"braid/cmd/braid/internal/store"
	"braid/cmd/braid/internal/tree"
	"braid/cmd/braid/internal/wire"
	"braid/drpcconn"
	"braid/drpcmanager"
	"braid/drpcmux"
	"braid/drpcserver"
)

func TestMain(m *testing.M) { leak.Main(m) }

// faulty is a server that does what it should, except where it is told not to.
type faulty struct {
	*service.Service
	echo   func(in *wire.Echo) (*wire.Echo, error)
	await  func(in *wire.UploadID) (*wire.Outcome, error)
	upload func(stream *wire.UploadServer) error
	chat   func(stream *wire.ChatServer) error
}

func (f *faulty) Echo(ctx context.Context, in *wire.Echo) (*wire.Echo, error) {
	if f.echo != nil {
		return f.echo(in)
	}
	return f.Service.Echo(ctx, in)
}

func (f *faulty) Await(ctx context.Context, in *wire.UploadID) (*wire.Outcome, error) {
	if f.await != nil {
		return f.await(in)
	}
	return f.Service.Await(ctx, in)
}

func (f *faulty) Upload(stream *wire.UploadServer) error {
	if f.upload != nil {
		return f.upload(stream)
	}
	return f.Service.Upload(stream)
}

func (f *faulty) Chat(stream *wire.ChatServer) error {
	if f.chat != nil {
		return f.chat(stream)
	}
	return f.Service.Chat(stream)
}

// rig is a directory with files, and a connection to a server.
type rig struct {
	from, into string
	server     *faulty
	stall      *stall.Stall // served, but not part of opts
	drpc       *drpcserver.Server
	client     net.Conn
	conn       *drpcconn.Conn
	opts       Options

	mu     sync.Mutex
	failed map[string]error // guarded by mu
}

// newRig makes three files and options that do a bit of everything.
func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{from: t.TempDir(), into: t.TempDir(), failed: make(map[string]error)}
	for name, size := range map[string]int{"empty": 0, "small": 10, "large": 300_000} {
		if err := os.WriteFile(filepath.Join(r.from, name), make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r.serve(t)
	root, err := os.OpenRoot(r.from)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	listing, err := tree.List(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	r.opts = Options{
		Root: root, Files: listing.Files,
		Uploads: 2, Chunk: 4096, Callers: 3, Talkers: 2, Cancels: 5,
		LeastCalls: 5, LeastLines: 5,
		Count: new(progress.Count),
		Failed: func(path string, err error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.failed[path] = err
		},
	}
	return r
}

func (r *rig) serve(t *testing.T) {
	t.Helper()
	st, err := store.Open(r.into, false)
	if err != nil {
		t.Fatal(err)
	}
	r.server = &faulty{Service: service.New(st)}
	mux := drpcmux.New()
	if err := mux.Register(r.server, wire.Description{}); err != nil {
		t.Fatal(err)
	}
	r.stall = stall.New()
	if err := mux.Register(r.stall, wire.StallDescription{}); err != nil {
		t.Fatal(err)
	}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	r.drpc = drpcserver.New(mux)
	done.Go(func() { _ = r.drpc.Serve(ctx, lis) })
	r.client, err = net.Dial("tcp", lis.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	r.conn = drpcconn.New(r.client)
	t.Cleanup(func() {
		_ = r.conn.Close()
		cancel()
		done.Wait()
		_ = st.Close()
	})
}

// run copies, and expects to get to the end.
func (r *rig) run(t *testing.T) *Result {
	t.Helper()
	res, err := Run(t.Context(), r.conn, r.opts)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func TestARunDoesWhatItIsAskedFor(t *testing.T) {
	r := newRig(t)
	res := r.run(t)
	if len(res.Copied) != 3 || res.Bytes != 300_010 || res.Failed != 0 || len(r.failed) != 0 {
		t.Errorf("copied %v, failed %v", res.Copied, r.failed)
	}
	if res.Canceled != 5 || errors.Join(res.CancelErr, res.CallErr, res.ChatErr) != nil {
		t.Errorf("%+v", res)
	}
	for name, got := range map[string][2]int64{
		"uploads": {res.Uploads.Traffic.Streams.Load(), 3},
		"cancels": {res.Cancels.Traffic.Streams.Load(), 5},
		"chat":    {res.Chat.Traffic.Streams.Load(), 2},
		// The first and the last call, and one question for each cancel.
		"control": {res.Control.Traffic.Streams.Load(), 2 + 5},
	} {
		if got[0] != got[1] {
			t.Errorf("%d %s, want %d", got[0], name, got[1])
		}
	}
	if n := res.Calls.Latency.Count; n < 3*5 || n != r.opts.Count.Calls.Load() {
		t.Errorf("%d calls", n)
	}
	if n := res.Chat.Latency.Count; n < 2*5 {
		t.Errorf("%d lines", n)
	}
	for _, f := range res.Copied {
		info, err := os.Stat(filepath.Join(r.into, f.Path))
		if err != nil || info.Size() != f.Size {
			t.Errorf("%s: %v", f.Path, err)
		}
	}
}

func TestNothingToDoIsDone(t *testing.T) {
	r := newRig(t)
	r.opts = Options{Root: r.opts.Root, Uploads: 1, Chunk: 1, Count: new(progress.Count)}
	if res := r.run(t); len(res.Copied) != 0 {
		t.Errorf("%+v", res)
	}
}

func TestOneFailureLeavesTheOthersAlone(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, path string) error{
		"gone":        func(_ *testing.T, path string) error { return os.Remove(path) },
		"a directory": func(_ *testing.T, path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) },
		"a link out of the directory": func(t *testing.T, path string) error {
			return errors.Join(os.Remove(path), os.Symlink(filepath.Join(t.TempDir(), "x"), path))
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			if err := spoil(t, filepath.Join(r.from, "small")); err != nil {
				t.Fatal(err)
			}
			res := r.run(t)
			if len(res.Copied) != 2 || res.Failed != 1 || r.failed["small"] == nil {
				t.Errorf("copied %v, failed %v", res.Copied, r.failed)
			}
			if res.Canceled != 5 || errors.Join(res.CancelErr, res.CallErr, res.ChatErr) != nil {
				t.Errorf("%+v", res)
			}
		})
	}
}

func TestTheReasonOfARefusalIsTold(t *testing.T) {
	r := newRig(t)
	if err := os.WriteFile(filepath.Join(r.into, "large"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	res := r.run(t)
	if res.Failed != 1 || wire.CodeOf(r.failed["large"]) != wire.Exists {
		t.Errorf("failed %v", r.failed)
	}
}

func TestAServerIsNotTakenAtItsWord(t *testing.T) {
	r := newRig(t)
	r.opts.Cancels = 0
	for name, test := range map[string]struct {
		answer []wire.UploadReply
		want   string
	}{
		"wrong digest": {[]wire.UploadReply{{Step: wire.Receipt, Size: 10}}, "checksum mismatch"},
		"no receipt":   {nil, "without a receipt"},
		"another step": {[]wire.UploadReply{{Step: wire.Ready}}, "something else"},
	} {
		t.Run(name, func(t *testing.T) {
			r.server.upload = func(stream *wire.UploadServer) error {
				var frame wire.UploadFrame
				for frame.Step != wire.End {
					if err := stream.Recv(&frame); err != nil {
						return err
					}
				}
				for _, a := range test.answer {
					if err := stream.Send(&a); err != nil {
						return err
					}
				}
				return nil
			}
			if res := r.run(t); res.Failed != 3 || !strings.Contains(fmt.Sprint(r.failed["small"]), test.want) {
				t.Errorf("failed %v", r.failed)
			}
		})
	}
}

func TestWhatGoesWrongBesideTheFilesIsReported(t *testing.T) {
	for name, test := range map[string]struct {
		fault func(f *faulty)
		err   func(*Result) error
		want  string
	}{
		"cancel not noticed": {
			func(f *faulty) {
				f.await = func(*wire.UploadID) (*wire.Outcome, error) {
					return &wire.Outcome{State: wire.Stored}, nil
				}
			},
			func(r *Result) error { return r.CancelErr }, "was stored",
		},
		"answers mixed up": {
			func(f *faulty) {
				f.echo = func(in *wire.Echo) (*wire.Echo, error) {
					if len(in.Payload) == callPayload {
						in.Number++
					}
					return in, nil
				}
			},
			func(r *Result) error { return r.CallErr }, "does not belong",
		},
		"calls refused": {
			func(f *faulty) {
				f.echo = func(in *wire.Echo) (*wire.Echo, error) {
					if len(in.Payload) == callPayload {
						return nil, errors.New("not today")
					}
					return in, nil
				}
			},
			func(r *Result) error { return r.CallErr }, "not today",
		},
		"line lost": {
			func(f *faulty) { f.chat = loseALine },
			func(r *Result) error { return r.ChatErr }, "heard line 2 of talker-0, expected 1",
		},
		"chat refused": {
			func(f *faulty) { f.chat = func(*wire.ChatServer) error { return errors.New("closed") } },
			func(r *Result) error { return r.ChatErr }, "closed",
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			test.fault(r.server)
			res := r.run(t)
			if err := test.err(res); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if len(res.Copied) != 3 {
				t.Errorf("copied only %v", res.Copied)
			}
		})
	}
}

// loseALine welcomes the client and then says the second line of talker 0.
func loseALine(stream *wire.ChatServer) error {
	var frame wire.ChatFrame
	if err := stream.Recv(&frame); err != nil {
		return err
	}
	if err := stream.Send(&wire.ChatFrame{Event: wire.Welcome}); err != nil {
		return err
	}
	if err := stream.Send(&wire.ChatFrame{Event: wire.Heard, Name: "talker-0", Number: 2}); err != nil {
		return err
	}
	<-stream.Context().Done() // so that nothing but the line is wrong
	return nil
}

// hold makes every upload stop in the middle, and returns a channel that gets an
// element when one has come there.
func (r *rig) hold() <-chan struct{} {
	there := make(chan struct{}, r.opts.Uploads)
	r.server.upload = func(stream *wire.UploadServer) error {
		there <- struct{}{}
		<-stream.Context().Done()
		return stream.Context().Err()
	}
	return there
}

func TestAnInterruptionEndsEverything(t *testing.T) {
	r := newRig(t)
	r.opts.Cancels = 0
	there := r.hold()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var done sync.WaitGroup
	done.Go(func() {
		<-there
		cancel()
	})
	res, err := Run(ctx, r.conn, r.opts)
	done.Wait()
	if !errors.Is(err, context.Canceled) || len(res.Copied) != 0 || res.Failed != 0 {
		t.Errorf("%v, %+v", err, res)
	}
	// It cost the streams and not the connection.
	r.opts = Options{Root: r.opts.Root, Uploads: 1, Chunk: 1, Count: new(progress.Count)}
	r.run(t)
}

func TestALostConnectionEndsEverything(t *testing.T) {
	r := newRig(t)
	r.opts.Cancels = 0
	there := r.hold()
	var done sync.WaitGroup
	done.Go(func() {
		<-there
		_ = r.client.Close()
	})
	res, err := Run(t.Context(), r.conn, r.opts)
	done.Wait()
	var lost *drpcmanager.LostError
	if !errors.As(err, &lost) || len(res.Copied) != 0 {
		t.Errorf("%v, %+v", err, res)
	}
	// The files are not at fault.
	if res.Failed != 0 || len(r.failed) != 0 {
		t.Errorf("failed %v", r.failed)
	}
}

func TestAFileThatGrowsIsCopiedAsItWasRead(t *testing.T) {
	r := newRig(t)
	if err := os.WriteFile(filepath.Join(r.from, "small"), make([]byte, 9999), 0o600); err != nil {
		t.Fatal(err)
	}
	res := r.run(t)
	if res.Failed != 0 || res.Bytes != 300_000+9999 {
		t.Errorf("%+v, failed %v", res, r.failed)
	}
}
