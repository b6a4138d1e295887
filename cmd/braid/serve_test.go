package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"braid/cmd/braid/internal/wire"
	"braid/drpcconn"
	"braid/drpcstream"
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

func TestServeEndsWithIdleClientsConnected(t *testing.T) {
	server, addr := serve(t, "--into", t.TempDir())
	client := dial(t, addr)
	if err := wire.NewClient(client, new(wire.Traffic)).Echo(t.Context(), new(wire.Echo), new(wire.Echo)); err != nil {
		t.Fatal(err)
	}
	stop(t, server).expect(t, 0, "stored 0 files, 0 B; 0 uploads canceled, 0 refused")
	<-client.Closed()
}

func TestServeLetsWhatIsInFlightFinish(t *testing.T) {
	into := t.TempDir()
	server, addr := serve(t, "--into", into, "--drain", "1h")
	client, stream := halfUpload(t, addr, "file")
	server.signal(t, syscall.SIGTERM)
	server.await(t, "braid: stopping: what is in flight has 1h0m0s to finish; another signal cuts it")
	<-client.Draining()

	// What is new is refused, on this connection and on any other.
	err := wire.NewClient(client, new(wire.Traffic)).Echo(t.Context(), new(wire.Echo), new(wire.Echo))
	if !errors.Is(err, drpcstream.ErrRefused) {
		t.Errorf("a new call got %v", err)
	}
	braid(t, "copy", oneFile(t), addr).expect(t, 1, "cannot connect to "+addr)

	for _, frame := range []wire.UploadFrame{
		{Step: wire.Chunk, Data: []byte(" whole")},
		{Step: wire.End, Size: 10, Sum: sha256.Sum256([]byte("half whole"))},
	} {
		if err := stream.Send(&frame); err != nil {
			t.Fatal(err)
		}
	}
	var reply wire.UploadReply
	if err := stream.Recv(&reply); err != nil || reply.Step != wire.Receipt {
		t.Fatalf("%v, %v", reply, err)
	}
	server.wait(t).expect(t, 0, "stored 1 files, 10 B; 0 uploads canceled")
	<-client.Closed()
	compareTree(t, into, map[string]file{"file": {"half whole", 0}})
}

func TestServeCutsWhatDoesNotFinishInTime(t *testing.T) {
	for drain, want := range map[string]struct {
		code int
		text string
	}{
		"100ms": {130, "braid: interrupted: not everything in flight finished within 100ms\n"},
		"0":     {0, "keeping files in "},
	} {
		into := t.TempDir()
		server, addr := serve(t, "--into", into, "--drain", drain)
		client, stream := halfUpload(t, addr, "file")
		stop(t, server).expect(t, want.code, want.text, "stored 0 files", "1 uploads canceled")
		var reply wire.UploadReply
		if err := stream.Recv(&reply); err == nil {
			t.Errorf("the upload got %v", reply)
		}
		<-client.Closed()
		compareTree(t, into, nil)
	}
}

func TestASecondSignalCutsWhatIsInFlight(t *testing.T) {
	into := t.TempDir()
	server, addr := serve(t, "--into", into, "--drain", "1h")
	client, _ := halfUpload(t, addr, "file")
	server.signal(t, syscall.SIGTERM)
	server.await(t, "braid: stopping: ")
	server.signal(t, syscall.SIGINT)
	server.wait(t).expect(t, 130, "braid: interrupted: what was in flight was cut\n", "1 uploads canceled")
	<-client.Closed()
	compareTree(t, into, nil) // of what was incomplete, too
}

func TestACopyToAServerThatShutsDownSaysSo(t *testing.T) {
	into, dir := t.TempDir(), t.TempDir()
	// So many that they are not copied, one after the other, in the time that a
	// signal takes.
	const files = 5000
	for n := range files {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(n)), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	server, addr := serve(t, "--into", into, "--drain", "1h")
	p := start(t, "copy", "--uploads", "1", "--talkers", "2", dir, addr)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for ; ; <-tick.C {
		if _, err := os.Stat(filepath.Join(into, "0")); err == nil {
			break // the first one
		}
	}
	stopped := stop(t, server)
	stopped.expect(t, 0, "; 0 uploads canceled, 0 refused")
	got := p.wait(t)
	got.expect(t, 1, "braid: the server takes no more calls: it is shutting down (", " of 5,000 files were copied)\n")
	if strings.Contains(got.stderr, "cannot copy") {
		t.Error("a file is said to be at fault")
	}
	// Both know of the same files.
	_, copied, _ := strings.Cut(got.stderr, "shutting down (")
	copied, _, _ = strings.Cut(copied, " ")
	stopped.expect(t, 0, "stored "+copied+" files, ")
}

func TestMoreCallersThanAServerTakesWaitForTheirTurn(t *testing.T) {
	dir, files := makeTree(t)
	into := t.TempDir()
	server, addr := serve(t, "--into", into)
	got := braid(t, "copy", "--callers", "1500", "--uploads", "512", "--talkers", "8", "--cancels", "20", dir, addr)
	got.expect(t, 0, "20 of 20 canceled uploads", " calls by 1,500 callers: each answer belongs to its question\n")
	if lines := strings.Count(got.stderr, "braid: "); lines != 2 { // what it skipped
		t.Errorf("stderr:\n%s", got.stderr)
	}
	got = stop(t, server)
	got.expect(t, 0, "20 uploads canceled, 0 refused")
	if strings.Count(got.stderr, "\n") != 1 || !strings.HasPrefix(got.stderr, "braid: stopping: ") {
		t.Errorf("the server said:\n%s", got.stderr)
	}
	compareTree(t, into, files)
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
