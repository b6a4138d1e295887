//go:build unix

package drpcmanager_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"storj.io/drpc"

	"braid/drpcmanager"
	"braid/drpcstream"
	"braid/internal/drpctest"
)

// stopEnv makes the test binary a server on an address of loopback, which it prints.
const stopEnv = "BRAID_TEST_SERVER"

func TestMainOfTheServerThatIsStopped(t *testing.T) {
	if os.Getenv(stopEnv) == "" {
		t.Skip("runs in a process of its own")
	}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("%s\n", lis.Addr())
	conn, err := lis.Accept()
	if err != nil {
		t.Fatal(err)
	}
	man := drpcmanager.NewServer(t.Context(), conn, drpcmanager.Options{}, drpcmanager.Hooks{
		Handle: func(s *drpcstream.Stream, _ string) { go echoAll(s) },
	})
	<-man.Closed()
}

// The process is there, and its system acknowledges every byte: only a ping tells that
// nobody reads them.
func TestAServerProcessThatIsStoppedIsFound(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 11 seconds")
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run=^TestMainOfTheServerThatIsStopped$")
	cmd.Env = append(os.Environ(), stopEnv+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	var addr string
	if _, err := fmt.Fscanln(out, &addr); err != nil {
		t.Fatal(err)
	}
	man := drpcmanager.NewClient(drpctest.Dial(t, addr), keepalive(10*time.Second, time.Second))
	defer man.Close()
	s := open(t, man, t.Context(), "/rpc")
	if err := drpctest.Send(s, "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := drpctest.Recv(s); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	_, err = drpctest.Recv(s)
	if !drpc.ClosedError.Has(err) {
		t.Errorf("got %v", err)
	}
	lostTo(t, err, drpcmanager.ErrKeepalive)
	if took := time.Since(start); took < 5*time.Second || took > 30*time.Second {
		t.Errorf("it took %v", took)
	}
}
