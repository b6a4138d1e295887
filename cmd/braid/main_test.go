package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"braid/internal/drpctest"
)

// patience is how long a process may take before a test gives up on it. It is
// only reached when something hangs.
const patience = 2 * time.Minute

// binary is the program, built once for all tests.
var binary string

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "braid-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	// For everybody, because a test runs the program as somebody else.
	if err := os.Chmod(dir, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	binary = filepath.Join(dir, "braid.exe")
	args := []string{"build", "-o", binary}
	if drpctest.Race {
		args = append(args, "-race")
	}
	if out, err := exec.Command("go", append(args, ".")...).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "the program does not build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// result is what came of a process.
type result struct {
	code           int
	stdout, stderr string
}

// expect fails the test unless the process exited with the code, and its
// output, both streams of it, contains the texts.
func (r result) expect(t *testing.T, code int, texts ...string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit code %d, want %d", r.code, code)
	}
	all := r.stdout + r.stderr
	for _, text := range texts {
		if !strings.Contains(all, text) {
			t.Errorf("%q is missing", text)
		}
	}
	for _, never := range []string{"goroutine ", "panic", "DATA RACE"} {
		if strings.Contains(all, never) {
			t.Errorf("there is %q in what a user sees", never)
		}
	}
	if t.Failed() {
		t.Fatalf("stdout:\n%s\nstderr:\n%s", r.stdout, r.stderr)
	}
}

// braid runs the program to its end.
func braid(t *testing.T, args ...string) result {
	t.Helper()
	return start(t, args...).wait(t)
}

// process is the program while it runs.
type process struct {
	cmd    *exec.Cmd
	lines  chan string // of both streams, for those who wait for one
	copied sync.WaitGroup

	mu             sync.Mutex
	stdout, stderr bytes.Buffer // guarded by mu
}

// start starts the program. It is killed when the test is over.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	return startCommand(t, func(ctx context.Context) *exec.Cmd {
		return exec.CommandContext(ctx, binary, args...)
	})
}

func startCommand(t *testing.T, command func(context.Context) *exec.Cmd) *process {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	p := &process{cmd: command(ctx), lines: make(chan string, 10_000)}
	if p.cmd.Env == nil {
		p.cmd.Env = os.Environ()
	}
	// With the race detector a process sleeps for a second before it exits.
	p.cmd.Env = append(p.cmd.Env, "GORACE=atexit_sleep_ms=0")
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.copied.Go(func() { p.follow(stdout, &p.stdout) })
	p.copied.Go(func() { p.follow(stderr, &p.stderr) })
	t.Cleanup(func() {
		cancel()
		p.copied.Wait()
		_ = p.cmd.Wait() // an error if the test has waited already
	})
	return p
}

// follow takes down what comes out of one stream.
func (p *process) follow(r io.Reader, all *bytes.Buffer) {
	in := bufio.NewReader(r)
	for {
		line, err := in.ReadString('\n')
		p.mu.Lock()
		all.WriteString(line)
		p.mu.Unlock()
		select {
		case p.lines <- line:
		default: // nobody waits for lines where there are so many
		}
		if err != nil {
			return
		}
	}
}

// await waits until a line begins with a text, and returns the rest of it.
func (p *process) await(t *testing.T, text string) string {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		select {
		case line := <-p.lines:
			if rest, ok := strings.CutPrefix(line, text); ok {
				return strings.TrimSpace(rest)
			}
		case <-deadline.C:
			t.Fatalf("there was no line with %q", text)
		}
	}
}

func (p *process) signal(t *testing.T, sig os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

// wait waits for the end.
func (p *process) wait(t *testing.T) result {
	t.Helper()
	p.copied.Wait()
	_ = p.cmd.Wait() // the exit code says it
	p.mu.Lock()
	defer p.mu.Unlock()
	return result{p.cmd.ProcessState.ExitCode(), p.stdout.String(), p.stderr.String()}
}

// serve starts a server and returns its address.
func serve(t *testing.T, args ...string) (*process, string) {
	t.Helper()
	p := start(t, append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...)
	addr, _, _ := strings.Cut(p.await(t, "listening on "), " ")
	return p, addr
}

// stop ends a server the way an operator does.
func stop(t *testing.T, p *process) result {
	t.Helper()
	p.signal(t, syscall.SIGINT)
	return p.wait(t)
}
