package main

import (
	"context"
	"crypto/sha256"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"braid/cmd/braid/internal/wire"
	"braid/drpcconn"
)

// startIn starts the program in a directory, with another one for its temporary
// files.
func startIn(t *testing.T, dir, temp string, args ...string) *process {
	t.Helper()
	return startCommand(t, func(ctx context.Context) *exec.Cmd {
		cmd := exec.CommandContext(ctx, binary, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "TMPDIR="+temp)
		return cmd
	})
}

func TestCopyToServeOverTCP(t *testing.T) {
	dir, files := makeTree(t)
	into := filepath.Join(t.TempDir(), "into")
	server, addr := serve(t, "--into", into)
	got := braid(t, "copy", "--callers", "20", "--talkers", "3", "--cancels", "5", "--chunk", "16KiB", dir, addr)
	got.expect(t, 0, "to "+addr+", TCP\n", " 5 of 5 canceled uploads", "skipped link: symbolic link")
	stop(t, server).expect(t, 0, "keeping files in "+into, "5 uploads canceled, 0 refused")
	compareTree(t, into, files)
}

func TestASecondCopyIsRefusedUnlessOverwritten(t *testing.T) {
	dir, into := t.TempDir(), t.TempDir()
	path := filepath.Join(dir, "file")
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	server, addr := serve(t, "--into", into)
	braid(t, "copy", dir, addr).expect(t, 0)
	if err := os.WriteFile(path, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "another"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	braid(t, "copy", dir, addr).expect(t, 1,
		`braid: cannot copy file: "file" already exists`, "1 of 2 copied, 1 failed",
		"braid: 1 file or directory could not be copied")
	stop(t, server).expect(t, 0, "1 refused")
	compareTree(t, into, map[string]file{"file": {"old", 0o600}, "another": {"", 0o600}})

	server, addr = serve(t, "--into", into, "--overwrite")
	braid(t, "copy", dir, addr).expect(t, 0, "2 of 2 copied")
	stop(t, server).expect(t, 0)
	compareTree(t, into, map[string]file{"file": {"new", 0o600}, "another": {"", 0o600}})
}

func TestServeKeepsFilesInADirectoryThatItNames(t *testing.T) {
	cwd, dir := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := startIn(t, cwd, t.TempDir(), "serve", "--listen", "127.0.0.1:0")
	addr, _, _ := strings.Cut(p.await(t, "listening on "), " ")
	into := p.await(t, "keeping files in ")
	braid(t, "copy", dir, addr).expect(t, 0)
	p.signal(t, syscall.SIGTERM)
	p.wait(t).expect(t, 0, "stored 1 files, 1 B")
	compareTree(t, into, map[string]file{"file": {"x", 0o600}})
	if filepath.Base(into) != "braid-files" {
		t.Errorf("it is %s", into)
	}
}

func TestServeEndsWithClientsConnected(t *testing.T) {
	into := t.TempDir()
	server, addr := serve(t, "--into", into)
	client, stream := halfUpload(t, addr, "file")
	stop(t, server).expect(t, 0, "stored 0 files", "1 uploads canceled")
	var reply wire.UploadReply
	if err := stream.Recv(&reply); err == nil {
		t.Errorf("the upload got %v", reply)
	}
	<-client.Closed()
	compareTree(t, into, nil)
}

func TestServeOutlivesAClientThatDies(t *testing.T) {
	into, dir := t.TempDir(), t.TempDir()
	server, addr := serve(t, "--into", into)
	client, _ := halfUpload(t, addr, "file")
	if err := client.Transport().Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("whole"), 0o600); err != nil {
		t.Fatal(err)
	}
	server.await(t, "braid: ") // that it lost a connection
	braid(t, "copy", dir, addr).expect(t, 0)
	stop(t, server).expect(t, 0, "stored 1 files, 5 B; 1 uploads canceled, 0 refused")
	compareTree(t, into, map[string]file{"file": {"whole", 0o600}})
}

func TestServeClosesIdleConnections(t *testing.T) {
	server, addr := serve(t, "--into", t.TempDir(), "--idle", "10ms")
	client := dial(t, addr)
	<-client.Closed()
	server.await(t, "braid: closed a connection on which nothing happened")
	stop(t, server).expect(t, 0)
}

// dial connects to a server as a hostile client would, which has the protocol
// but not the manners.
func dial(t *testing.T, addr string) *drpcconn.Conn {
	t.Helper()
	tr, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	conn := drpcconn.New(tr)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// halfUpload starts an upload that the server has begun to store.
func halfUpload(t *testing.T, addr, path string) (*drpcconn.Conn, *wire.UploadClient) {
	t.Helper()
	conn := dial(t, addr)
	stream, err := wire.NewClient(conn, new(wire.Traffic)).Upload(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, frame := range []wire.UploadFrame{
		{Step: wire.Header, ID: wire.UploadID{1}, Path: path, WantReady: true},
		{Step: wire.Chunk, Data: []byte("half")},
	} {
		if err := stream.Send(&frame); err != nil {
			t.Fatal(err)
		}
	}
	var reply wire.UploadReply
	if err := stream.Recv(&reply); err != nil || reply.Step != wire.Ready {
		t.Fatalf("%v, %v", reply, err)
	}
	return conn, stream
}

func TestHostileClientsStoreNothing(t *testing.T) {
	parent := t.TempDir()
	into := filepath.Join(parent, "into")
	server, addr := serve(t, "--into", into)
	client := wire.NewClient(dial(t, addr), new(wire.Traffic))
	tests := []struct {
		path string
		sum  wire.Sum
		code wire.Code
	}{
		{"../x", sha256.Sum256([]byte("data")), wire.BadPath},
		{"a/../../x", sha256.Sum256([]byte("data")), wire.BadPath},
		{filepath.Join(parent, "x"), sha256.Sum256([]byte("data")), wire.BadPath},
		{"", sha256.Sum256([]byte("data")), wire.BadPath},
		{"x", sha256.Sum256([]byte("other data")), wire.BadSum},
	}
	for i, test := range tests {
		stream, err := client.Upload(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, frame := range []wire.UploadFrame{
			{Step: wire.Header, ID: wire.UploadID{byte(i)}, Path: test.path},
			{Step: wire.Chunk, Data: []byte("data")},
			{Step: wire.End, Size: 4, Sum: test.sum},
		} {
			_ = stream.Send(&frame) // the server may have refused already
		}
		var reply wire.UploadReply
		if err := stream.Recv(&reply); wire.CodeOf(err) != test.code {
			t.Errorf("%q: code %d, %v", test.path, wire.CodeOf(err), err)
		}
	}
	stop(t, server).expect(t, 0, "stored 0 files, 0 B; 0 uploads canceled, 5 refused")
	compareTree(t, parent, nil)
}
