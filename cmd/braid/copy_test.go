package main

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"braid/cmd/braid/internal/wire"
	"braid/drpcmux"
	"braid/drpcserver"
)

// stuck is a server on which no upload gets anywhere.
type stuck struct {
	begun chan struct{} // one element for each upload
}

func (stuck) Echo(_ context.Context, in *wire.Echo) (*wire.Echo, error) { return in, nil }

func (stuck) Await(context.Context, *wire.UploadID) (*wire.Outcome, error) {
	return nil, context.Canceled
}

func (s stuck) Upload(stream *wire.UploadServer) error {
	s.begun <- struct{}{}
	<-stream.Context().Done()
	return stream.Context().Err()
}

func (stuck) Chat(stream *wire.ChatServer) error { return stream.Close() }

// serveStuck serves it in this process. The returned function ends it.
func serveStuck(t *testing.T) (s stuck, addr string, end func()) {
	t.Helper()
	s = stuck{begun: make(chan struct{}, 100)}
	mux := drpcmux.New()
	if err := mux.Register(s, wire.Description{}); err != nil {
		t.Fatal(err)
	}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { _ = drpcserver.New(mux).Serve(ctx, lis) })
	end = func() {
		cancel()
		done.Wait()
	}
	t.Cleanup(end)
	return s, lis.Addr().String(), end
}

// oneFile returns a directory with a file in it.
func oneFile(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestInterruptingACopyEndsIt(t *testing.T) {
	for _, sig := range []os.Signal{syscall.SIGINT, syscall.SIGTERM} {
		server, addr, _ := serveStuck(t)
		p := start(t, "copy", oneFile(t), addr)
		<-server.begun
		p.signal(t, sig)
		p.wait(t).expect(t, 130, "braid: interrupted: 0 of 1 files were copied\n")
	}
}

func TestALostConnectionEndsACopy(t *testing.T) {
	server, addr, end := serveStuck(t)
	p := start(t, "copy", oneFile(t), addr)
	<-server.begun
	end()
	p.wait(t).expect(t, 1, "connection lost", "(0 of 1 files were copied)")
}

func TestAnAddressWithoutAServerIsNamed(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := lis.Addr().String()
	if err := lis.Close(); err != nil {
		t.Fatal(err)
	}
	braid(t, "copy", oneFile(t), addr).expect(t, 1, "braid: cannot connect to "+addr+": connect: connection refused\n")
}

func TestAPeerThatSpeaksSomethingElseIsAnError(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lis.Close() }()
	var done sync.WaitGroup
	defer done.Wait()
	done.Go(func() {
		conn, err := lis.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = conn.Write([]byte("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"))
		_ = conn.Close()
	})
	braid(t, "copy", oneFile(t), lis.Addr().String()).expect(t, 1, "braid: ")
}

func TestADirectoryThatIsNotThereIsNamed(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	braid(t, "copy", missing, "127.0.0.1:1").expect(t, 1, "cannot open "+missing+": no such file or directory")
	braid(t, "demo", missing).expect(t, 1, "cannot open "+missing)
}
