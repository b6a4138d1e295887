package main

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"braid/bench/internal/blob"
	"braid/bench/internal/job"
	"braid/bench/internal/stack"
)

// TestRatiosArePaired checks that a round is compared with itself: a machine
// that becomes slower in the middle must not change the ratio.
func TestRatiosArePaired(t *testing.T) {
	r := result{
		measured: side{nanos: []float64{10, 10, 40, 40}},
		against:  side{nanos: []float64{20, 20, 80, 80}},
	}
	for _, ratio := range r.ratios() {
		if ratio != 0.5 {
			t.Errorf("ratio %v, want 0.5", ratio)
		}
	}
	r.bar = 0.5
	if missed([]result{r}) {
		t.Error("a bar that is just reached counts as missed")
	}
	r.bar = 0.4
	if !missed([]result{{}, r}) {
		t.Error("a missed bar goes unnoticed")
	}
}

// TestRun runs one pair for real, but briefly.
func TestRun(t *testing.T) {
	cfg, err := parse([]string{"-rounds=2", "-time=2ms", "-run=^Unary/callers=64/size=16B$", "-q"})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := run(cfg, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"GOMAXPROCS", "storj.io/drpc", "Unary/callers=64/size=16B", "1 vs 64"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, &out)
		}
	}
}

// hanging is a stack whose calls, after the first, take until they are canceled.
func hanging() stack.Stack {
	return stack.Stack{
		Name: "hanging",
		Serve: func(ctx context.Context, lis net.Listener, _ *stack.Service, _ stack.Setup) error {
			<-ctx.Done()
			return lis.Close()
		},
		Client: func(context.Context, stack.Dial, stack.Setup) (stack.Client, error) { return new(hangingClient), nil },
	}
}

type hangingClient struct{ called bool }

func (c *hangingClient) Echo(ctx context.Context, in, out *blob.Blob) error {
	if c.called {
		<-ctx.Done()
		return ctx.Err()
	}
	c.called = true
	*out = *in
	return nil
}

func (*hangingClient) Open(context.Context, stack.Method) (stack.Stream, error) {
	return nil, errors.New("no streams here")
}

func (*hangingClient) Close() error { return nil }

// TestTimeout checks that work which hangs ends the program.
func TestTimeout(t *testing.T) {
	cfg := config{time: time.Millisecond, timeout: 10 * time.Millisecond}
	s := side{stack: hanging()}
	if err := s.round(cfg, pair{kind: job.Unary, callers: 1, size: 16}); !errors.Is(err, errTimeout) {
		t.Errorf("got %v, want %v", err, errTimeout)
	}
}

func TestAnyStackCanBeMeasuredAgainstAnyOther(t *testing.T) {
	cfg, err := parse([]string{"-rounds=1", "-time=2ms", "-stack=netrpc", "-against=grpc", "-transport=tls", "-run=^(Unary|PingPong)/.*=1/size=16B$", "-q", "-require"})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := run(cfg, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"netrpc ns", "grpc ns", "google.golang.org/grpc", "1 vs 1", "crypto/tls", "HTTP/2 frames",
		"Not measured:\n- PingPong/streams=1/size=16B: stack netrpc: no streams in both directions at once",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, &out)
		}
	}
}

func TestFlagsThatMakeNoSenseAreRefused(t *testing.T) {
	for flag, want := range map[string]string{
		"-stack=string":      `stack "string" is none of [braid stock`,
		"-against=string":    `stack "string" is none of [braid stock`,
		"-transport=pigeons": `transport "pigeons" is none of [tcp tls processes]`,
		"-rounds=0":          "rounds, time and timeout have to be positive",
		"-run=(":             "missing closing )",
		"and more than that": "unexpected argument",
	} {
		if _, err := parse([]string{flag}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", flag, err, want)
		}
	}
}
