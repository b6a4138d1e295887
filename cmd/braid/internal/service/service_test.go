package service

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"storj.io/drpc"

	"braid/cmd/braid/internal/leak"
	"braid/cmd/braid/internal/store"
	"braid/cmd/braid/internal/wire"
	"braid/drpcconn"
	"braid/drpcmux"
	"braid/drpcserver"
)

func TestMain(m *testing.M) { leak.Main(m) }

// rig is a service behind a real connection.
type rig struct {
	service *Service
	dir     string
	conn    *drpcconn.Conn
	client  *wire.Client
	ctx     context.Context
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{dir: filepath.Join(t.TempDir(), "into")}
	st, err := store.Open(r.dir, false)
	if err != nil {
		t.Fatal(err)
	}
	r.service = New(st)
	mux := drpcmux.New()
	if err := mux.Register(r.service, wire.Description{}); err != nil {
		t.Fatal(err)
	}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		if err := drpcserver.New(mux).Serve(ctx, lis); err != nil {
			t.Error(err)
		}
	})
	tr, err := net.Dial("tcp", lis.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	r.ctx = t.Context()
	r.conn = drpcconn.New(tr)
	r.client = wire.NewClient(r.conn, new(wire.Traffic))
	t.Cleanup(func() {
		_ = r.conn.Close()
		cancel()
		done.Wait()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// upload sends frames as they are, and returns the last answer.
func (r *rig) upload(t *testing.T, frames ...wire.UploadFrame) (wire.UploadReply, error) {
	t.Helper()
	stream, err := r.client.Upload(r.ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stream.Close() }()
	for _, f := range frames {
		// The server may have refused already; the answer tells.
		if err := stream.Send(&f); err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
	}
	if err := stream.CloseSend(); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	var last wire.UploadReply
	for {
		var reply wire.UploadReply
		switch err := stream.Recv(&reply); {
		case errors.Is(err, io.EOF):
			return last, nil
		case err != nil:
			return last, err
		}
		last = reply
	}
}

func newID() (id wire.UploadID) {
	_, _ = rand.Read(id[:])
	return id
}

func header(path string) wire.UploadFrame {
	return wire.UploadFrame{Step: wire.Header, ID: newID(), Path: path, Perm: 0o600}
}

func chunk(data string) wire.UploadFrame {
	return wire.UploadFrame{Step: wire.Chunk, Data: []byte(data)}
}

func end(data string) wire.UploadFrame {
	return wire.UploadFrame{Step: wire.End, Size: int64(len(data)), Sum: sha256.Sum256([]byte(data))}
}

// empty fails the test if there is anything below the directory of the service.
func (r *rig) empty(t *testing.T) {
	t.Helper()
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		// The server's own directory for what is incomplete.
		if !strings.HasPrefix(e.Name(), ".braid-partial-") {
			t.Errorf("there is %s", e.Name())
		}
	}
}

func TestAnUploadIsStoredAndReceipted(t *testing.T) {
	r := newRig(t)
	h := header("a/b")
	reply, err := r.upload(t, h, chunk("da"), chunk("ta"), end("data"))
	want := wire.UploadReply{Step: wire.Receipt, Size: 4, Sum: sha256.Sum256([]byte("data"))}
	if err != nil || reply != want {
		t.Fatalf("%v, %v", reply, err)
	}
	if got, err := os.ReadFile(filepath.Join(r.dir, "a", "b")); err != nil || string(got) != "data" {
		t.Errorf("%q, %v", got, err)
	}
	if out, err := r.client.Await(r.ctx, h.ID); err != nil || out != (wire.Outcome{State: wire.Stored, Size: 4}) {
		t.Errorf("%v, %v", out, err)
	}
}

func TestHostileUploadsAreRefused(t *testing.T) {
	r := newRig(t)
	if _, err := r.upload(t, header("there"), end("")); err != nil {
		t.Fatal(err)
	}
	taken := header("first")
	if _, err := r.upload(t, taken, end("")); err != nil {
		t.Fatal(err)
	}
	reused := header("second")
	reused.ID = taken.ID

	ready := header("ready")
	ready.WantReady = true
	for _, test := range []struct {
		name   string
		frames []wire.UploadFrame
		code   wire.Code
	}{
		{"path upwards", []wire.UploadFrame{header("../x"), end("")}, wire.BadPath},
		{"absolute path", []wire.UploadFrame{header("/tmp/x"), end("")}, wire.BadPath},
		{"empty path", []wire.UploadFrame{header(""), end("")}, wire.BadPath},
		{"path upwards in the middle", []wire.UploadFrame{header("a/../../x"), end("")}, wire.BadPath},
		{"existing file", []wire.UploadFrame{header("there"), end("")}, wire.Exists},
		{"wrong digest", []wire.UploadFrame{header("x"), chunk("a"), end("b")}, wire.BadSum},
		{"wrong size", []wire.UploadFrame{header("x"), chunk("a"), end("aa")}, wire.BadSum},
		{"no header", []wire.UploadFrame{chunk("a")}, wire.BadOrder},
		{"two headers", []wire.UploadFrame{header("x"), header("x")}, wire.BadOrder},
		{"no end", []wire.UploadFrame{header("x"), chunk("a")}, wire.BadOrder},
		{"nothing", nil, wire.BadOrder},
		{"identifier used before", []wire.UploadFrame{reused, end("")}, wire.BadOrder},
		{"below a file", []wire.UploadFrame{header("there/x"), end("")}, wire.StorageFailed},
		{"no end after ready", []wire.UploadFrame{ready}, wire.BadOrder},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := r.upload(t, test.frames...); wire.CodeOf(err) != test.code {
				t.Errorf("got code %d, %v, want %d", wire.CodeOf(err), err, test.code)
			}
		})
	}
	for _, name := range []string{"x", "second", "ready", "a"} {
		if _, err := os.Stat(filepath.Join(r.dir, name)); !os.IsNotExist(err) {
			t.Errorf("%s is there: %v", name, err)
		}
	}
}

// raw sends bytes that no codec of ours makes.
type raw struct{}

func (raw) Marshal(msg drpc.Message) ([]byte, error) { return msg.([]byte), nil }
func (raw) Unmarshal([]byte, drpc.Message) error     { return nil }

func TestMalformedMessagesAreRefusedWithACode(t *testing.T) {
	r := newRig(t)
	for name, bytes := range map[string]string{"Upload": "\x02short", "Chat": "\xff"} {
		stream, err := r.conn.NewStream(r.ctx, "/braid.copy.Files/"+name, raw{})
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.MsgSend([]byte(bytes), raw{}); err != nil {
			t.Fatal(err)
		}
		if err := stream.MsgRecv(nil, raw{}); wire.CodeOf(err) != wire.BadOrder {
			t.Errorf("%s: code %d, %v", name, wire.CodeOf(err), err)
		}
	}
	r.empty(t)
}

func TestACanceledUploadIsNoticedAndLeavesNothing(t *testing.T) {
	r := newRig(t)
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	stream, err := r.client.Upload(ctx)
	if err != nil {
		t.Fatal(err)
	}
	h := header("x")
	h.WantReady = true
	for _, f := range []wire.UploadFrame{h, chunk("half")} {
		if err := stream.Send(&f); err != nil {
			t.Fatal(err)
		}
	}
	var reply wire.UploadReply
	if err := stream.Recv(&reply); err != nil || reply.Step != wire.Ready {
		t.Fatalf("%v, %v", reply, err)
	}
	cancel()
	if out, err := r.client.Await(r.ctx, h.ID); err != nil || out.State != wire.Canceled {
		t.Fatalf("%v, %v", out, err)
	}
	if n := r.service.Count().Canceled.Load(); n != 1 {
		t.Errorf("%d are counted", n)
	}
	r.empty(t)
}

func TestALostConnectionCancelsItsUploads(t *testing.T) {
	r := newRig(t)
	stream, err := r.client.Upload(r.ctx)
	if err != nil {
		t.Fatal(err)
	}
	h := header("x")
	h.WantReady = true
	if err := stream.Send(&h); err != nil {
		t.Fatal(err)
	}
	var reply wire.UploadReply
	if err := stream.Recv(&reply); err != nil {
		t.Fatal(err)
	}
	if err := r.conn.Close(); err != nil {
		t.Fatal(err)
	}
	// The answer can only come from the service itself now.
	out, err := r.service.Await(r.ctx, &h.ID)
	if err != nil || out.State != wire.Canceled {
		t.Fatalf("%v, %v", out, err)
	}
}

func TestAwaitKnowsOnlyRealUploads(t *testing.T) {
	r := newRig(t)
	if _, err := r.client.Await(r.ctx, newID()); wire.CodeOf(err) != wire.NotFound {
		t.Errorf("%v", err)
	}
}

func TestTheLedgerForgetsTheOldest(t *testing.T) {
	l := newLedger(3)
	var ids []wire.UploadID
	for range 8 {
		id := newID()
		ids = append(ids, id)
		e, ok := l.open(id)
		if !ok {
			t.Fatal("it is taken")
		}
		l.close(e, wire.Outcome{State: wire.Stored})
	}
	for i, id := range ids {
		if _, ok := l.find(id); ok != (i >= 5) {
			t.Errorf("upload %d is known: %v", i, ok)
		}
	}
	if len(l.entries) != 3 {
		t.Errorf("%d are kept", len(l.entries))
	}
}

func TestEchoReturnsItsArgument(t *testing.T) {
	r := newRig(t)
	in, out := wire.Echo{Number: 5, Payload: []byte("x")}, wire.Echo{}
	if err := r.client.Echo(r.ctx, &in, &out); err != nil || out.Number != 5 || string(out.Payload) != "x" {
		t.Fatalf("%v, %v", out, err)
	}
}
