package hostile_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// variable is the environment variable that makes a test binary an attacker. It
// holds an order as JSON.
const variable = "BRAID_HOSTILE"

// order is what an attacker is told.
type order struct {
	Addr  string // of the server
	Play  string // name of a play
	Short bool   // there is little time
}

// report is what an attacker has seen, from the beginning.
type report struct {
	Conns    int // connections that were made
	NoConns  int // that could not be made
	Ended    int // that the server has ended
	Frames   int // hostile frames that were sent
	Calls    int // honest calls on the hostile connections
	Answered int // of these, those that were answered
	Late     int // those that were not, on connections that the server has not ended

	Errors map[string]int // texts of Error frames for other calls, and how many
	Kinds  map[string]int // frames that came, by kind
}

// attacker is the process that attacks.
type attacker struct {
	addr string
	ctx  context.Context // ends when the attack is to stop

	mu  sync.Mutex
	rep report // guarded by mu
}

// note changes the report.
func (a *attacker) note(f func(r *report)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f(&a.rep)
}

// attackIfAsked turns the process into an attacker, and does not return, if it was
// started by startAttacker.
func attackIfAsked() {
	text, ok := os.LookupEnv(variable)
	if !ok {
		return
	}
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	short = o.Short
	for _, p := range plays() {
		if p.name == o.Play {
			os.Exit(attackOnDemand(o.Addr, p.attack, os.Stdin, os.Stdout))
		}
	}
	fmt.Fprintln(os.Stderr, "no such play:", o.Play)
	os.Exit(2)
}

// attackOnDemand attacks from each first line that it reads to the second, and
// then writes its report. It ends when its input does.
func attackOnDemand(addr string, attack func(*attacker), in io.Reader, out io.Writer) (code int) {
	a := &attacker{addr: addr, rep: report{Errors: map[string]int{}, Kinds: map[string]int{}}}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		ctx, cancel := context.WithCancel(context.Background())
		a.ctx = ctx
		done := make(chan struct{})
		go func() {
			defer close(done)
			attack(a)
		}()
		ended := !lines.Scan()
		cancel()
		if ended {
			return 0
		}
		<-done
		a.mu.Lock()
		err := json.NewEncoder(out).Encode(a.rep)
		a.mu.Unlock()
		if err != nil {
			return 1
		}
	}
	return 0
}

// child is an attacker's process, as the test sees it.
type child struct {
	t   *testing.T
	in  io.WriteCloser
	out *json.Decoder
}

// startAttacker starts one, which ends with the test.
func startAttacker(t *testing.T, o order) *child {
	t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var complaints bytes.Buffer
	cmd := exec.Command(self)
	if *nice {
		cmd = exec.Command("nice", "-n", "19", self)
	}
	// The race detector would wait for a second before the process ends.
	cmd.Env = append(os.Environ(), variable+"="+string(text), "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = &complaints
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		killer := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		if err := cmd.Wait(); err != nil {
			t.Errorf("the attacker: %v\n%s", err, complaints.String())
		}
		killer.Stop()
	})
	return &child{t: t, in: in, out: json.NewDecoder(out)}
}

// on makes it attack.
func (c *child) on() {
	c.t.Helper()
	if _, err := io.WriteString(c.in, "on\n"); err != nil {
		c.t.Fatal(err)
	}
}

// off makes it stop, and returns what it has seen so far.
func (c *child) off() report {
	c.t.Helper()
	if _, err := io.WriteString(c.in, "off\n"); err != nil {
		c.t.Fatal(err)
	}
	type answer struct {
		rep report
		err error
	}
	answers := make(chan answer, 1)
	go func() {
		var a answer
		a.err = c.out.Decode(&a.rep)
		answers <- a
	}()
	timer := time.NewTimer(2 * patience)
	defer timer.Stop()
	select {
	case a := <-answers:
		if a.err != nil {
			c.t.Fatalf("the attacker's report: %v", a.err)
		}
		return a.rep
	case <-timer.C:
		c.t.Fatal("the attacker does not stop: something hangs")
		return report{}
	}
}
