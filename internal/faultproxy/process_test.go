package faultproxy

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

func TestAProxyRunsAsAProcessUntilTheEndOfTheTest(t *testing.T) {
	echo := newEcho(t)
	var addr string
	t.Run("while it runs", func(t *testing.T) {
		addr = Start(t, Config{Target: echo, Scripts: []Script{
			{ToClient: Faults{TruncateAt: 3, Delay: time.Millisecond}},
			{ToTarget: Faults{ResetAt: 50, Split: 10}},
			{},
		}})
		for n := range 4 {
			conn, err := net.Dial("tcp", addr)
			check(t, err)
			send(t, conn, content(100))
			switch n {
			case 0:
				expectRead(t, conn, content(100)[:3])
				expectEOF(t, conn)
			case 1:
				expectReset(t, conn, content(100)[:50])
			default:
				expectRead(t, conn, content(100))
			}
			check(t, conn.Close())
		}
	})
	if conn, err := net.Dial("tcp", addr); err == nil {
		_ = conn.Close()
		t.Error("the process has outlived its test")
	}
}

// If the process that has started it ends in whatever way, its pipe ends.
func TestAProxyProcessEndsWithItsInput(t *testing.T) {
	in, stop := io.Pipe()
	var out bytes.Buffer
	done := make(chan error)
	go func() { done <- run(`{"Target":"127.0.0.1:1"}`, in, &out) }()
	check(t, stop.Close())
	check(t, <-done)
	if _, _, err := net.SplitHostPort(strings.TrimSpace(out.String())); err != nil {
		t.Error(err)
	}
}

func TestAProcessThatCannotBeAProxySaysWhy(t *testing.T) {
	if _, _, err := start(Config{Target: "nowhere"}); err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("start: %v", err)
	}
	bad := Config{Target: "127.0.0.1:1", Scripts: []Script{{}, {ToClient: Faults{Split: -3}}}}
	if _, _, err := start(bad); err == nil || !strings.Contains(err.Error(), "script 1") {
		t.Errorf("start: %v", err)
	}
	for text, want := range map[string]string{
		``:         "EOF",
		`{"X": 1}`: "unknown field",
		`{"Target": "127.0.0.1:1", "Scripts": [{"ToTarget": {"Rate": -1}}]}`: "Rate -1",
	} {
		if err := run(text, strings.NewReader(""), io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}
