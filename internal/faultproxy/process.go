package faultproxy

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// Config is what a proxy process is told.
type Config struct {
	// Target is the TCP address that connections go to.
	Target string

	// Scripts are what happens to the connections, in the order of their
	// acceptance. The last one is that of all further connections; without any
	// there are no faults.
	Scripts []Script
}

// variable is the environment variable that makes a test binary a proxy. It
// holds a Config as JSON, durations being in nanoseconds.
const variable = "BRAID_FAULTPROXY"

// patience is how long Start waits for the process: more than a busy machine
// needs to start a test binary.
const patience = 30 * time.Second

func (c Config) script(n int) Script {
	if len(c.Scripts) == 0 {
		return Script{}
	}
	return c.Scripts[min(n, len(c.Scripts)-1)]
}

func (c Config) validate() error {
	for n, script := range c.Scripts {
		if err := script.Validate(); err != nil {
			return fmt.Errorf("script %d: %w", n, err)
		}
	}
	return nil
}

// RunIfAsked turns the process into a proxy, and does not return, if it was
// started by Start. A package whose tests use Start calls it first of all:
//
//	func TestMain(m *testing.M) {
//		faultproxy.RunIfAsked()
//		os.Exit(m.Run())
//	}
func RunIfAsked() {
	text, ok := os.LookupEnv(variable)
	if !ok {
		return
	}
	if err := run(text, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	os.Exit(0)
}

// run is a proxy process: it writes its address to out, and ends when in does,
// that is, when whoever has started it ends, in whatever way.
func run(text string, in io.Reader, out io.Writer) error {
	var cfg Config
	dec := json.NewDecoder(strings.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&cfg); err != nil {
		return fmt.Errorf("faultproxy: %s: %w", variable, err)
	}
	if err := cfg.validate(); err != nil {
		return err
	}
	proxy, err := New(cfg.Target, cfg.script)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, proxy.Addr())
	if err == nil {
		_, err = io.Copy(io.Discard, in)
	}
	if cerr := proxy.Close(); err == nil {
		err = cerr
	}
	return err
}

// Start runs a proxy as a process of its own, which is killed at the end of the
// test, and returns its address. The process is the test binary, whose TestMain
// must call RunIfAsked.
func Start(tb testing.TB, cfg Config) (addr string) {
	tb.Helper()
	addr, stop, err := start(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(stop)
	return addr
}

func start(cfg Config) (addr string, stop func(), err error) {
	if err := cfg.validate(); err != nil {
		return "", nil, err
	}
	text, err := json.Marshal(cfg)
	if err != nil {
		return "", nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	var complaints bytes.Buffer
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), variable+"="+string(text))
	cmd.Stderr = &complaints
	in, err := cmd.StdinPipe() // closed by Wait, or by the end of this process
	if err != nil {
		return "", nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() {
		_ = cmd.Process.Kill()
		_ = in.Close()
		_ = cmd.Wait()
	}
	timer := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	line, err := bufio.NewReader(out).ReadString('\n')
	timer.Stop()
	if err != nil {
		stop()
		return "", nil, fmt.Errorf("faultproxy: the process gave no address (%w): %s", err, complaints.String())
	}
	return strings.TrimSpace(line), stop, nil
}
