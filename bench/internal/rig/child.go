package rig

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"time"

	"braid/bench/internal/stack"
)

// childVariable is the variable of the environment that makes a process a
// server. Its value is an order.
const childVariable = "BRAID_BENCH_SERVER"

// order is what a server process is to do.
type order struct {
	Stack string      `json:"stack"`
	Setup stack.Setup `json:"setup"`
}

// The questions that a server process answers, each with a line of JSON. Before
// them it prints a line with its address. It ends when its standard input does.
const (
	askCounts    = "counts"
	askFootprint = "footprint"
)

// Main serves, and does not return, in a process that Start has started as a
// server. In any other it does nothing. It has to be the first that is called
// by each program, and each TestMain, that uses the transport Processes.
func Main() {
	text, ok := os.LookupEnv(childVariable)
	if !ok {
		return
	}
	if err := serveChild(text, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "server:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// serveChild is the life of a server process.
func serveChild(text string, in io.Reader, out io.Writer) error {
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return fmt.Errorf("order: %w", err)
	}
	st, err := stack.Named(o.Stack)
	if err != nil {
		return err
	}
	l, err := startLocal(st, Config{Setup: o.Setup})
	if err != nil {
		return err
	}
	return errors.Join(l.obey(in, out), l.close())
}

// obey prints the address, and answers questions until there are no more.
func (l *local) obey(in io.Reader, out io.Writer) error {
	if _, err := fmt.Fprintln(out, l.addr()); err != nil {
		return err
	}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		if err := l.respond(lines.Text(), out); err != nil {
			return err
		}
	}
	return lines.Err()
}

// respond answers a question.
func (l *local) respond(question string, out io.Writer) error {
	switch question {
	case askCounts:
		counts, err := l.counts()
		return errors.Join(err, json.NewEncoder(out).Encode(counts))
	case askFootprint:
		footprint, err := l.footprint()
		return errors.Join(err, json.NewEncoder(out).Encode(footprint))
	}
	return fmt.Errorf("question %q", question)
}

// child is a server in a process of its own.
type child struct {
	cmd     *exec.Cmd
	address string
	stop    sync.Once

	mu  sync.Mutex
	in  io.WriteCloser // guarded by mu, but for closing
	out *bufio.Reader  // guarded by mu
}

// childPatience is how long a server process has to end by itself.
const childPatience = 5 * time.Second

// startChild starts this program again, as a server, with as many CPUs as this
// process uses.
func startChild(ctx context.Context, st stack.Stack, setup stack.Setup) (*child, error) {
	text, err := json.Marshal(order{st.Name, setup})
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{cmd: exec.Command(self)}
	c.cmd.Env = append(os.Environ(),
		childVariable+"="+string(text),
		fmt.Sprintf("GOMAXPROCS=%d", runtime.GOMAXPROCS(0)),
		// Built with the race detector, it would wait for a second at its end.
		"GORACE=atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	c.cmd.Stderr = os.Stderr
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, c.kill)
	defer stop()
	c.out = bufio.NewReader(out)
	if _, err := fmt.Fscanln(c.out, &c.address); err != nil {
		c.kill()
		return nil, fmt.Errorf("the server process does not start (does the program call rig.Main first?): %w", errors.Join(err, c.cmd.Wait()))
	}
	return c, nil
}

func (c *child) addr() string   { return c.address }
func (c *child) separate() bool { return true }

// ask asks a question.
func (c *child) ask(question string, answer any) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := fmt.Fprintln(c.in, question); err != nil {
		return err
	}
	line, err := c.out.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("the server process: %w", err)
	}
	return json.Unmarshal(line, answer)
}

func (c *child) counts() (counts Counts, err error) {
	err = c.ask(askCounts, &counts)
	return counts, err
}

func (c *child) footprint() (footprint Footprint, err error) {
	err = c.ask(askFootprint, &footprint)
	return footprint, err
}

// close closes the standard input of the process and waits for its end.
func (c *child) close() (err error) {
	c.stop.Do(func() {
		_ = c.in.Close() // it may have gone already
		late := time.AfterFunc(childPatience, c.kill)
		defer late.Stop()
		err = c.cmd.Wait()
	})
	return err
}

func (c *child) kill() { _ = c.cmd.Process.Kill() } // it may have ended
