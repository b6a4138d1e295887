package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"braid/bench/internal/beside"
	"braid/bench/internal/blob"
	"braid/bench/internal/stack"
)

// brief are flags that make a run short. The time to wait is only used up by
// what stalls.
func brief(t *testing.T, more ...string) config {
	t.Helper()
	cfg, err := parse(append([]string{"-rounds=2", "-time=30ms", "-warm=5ms", "-callers=2", "-q"}, more...))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// measured runs the command and returns the report for programs.
func measured(t *testing.T, cfg config) document {
	t.Helper()
	cfg.json = true
	var out strings.Builder
	if err := run(cfg, &out, io.Discard); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	var doc document
	if err := json.Unmarshal([]byte(out.String()), &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// wantFigures checks that a side has the figures given, and that they are not
// nothing. One round of several may be nothing, if the machine had other things
// to do.
func wantFigures(t *testing.T, c documentCell, s documentSide, keys ...string) {
	t.Helper()
	for _, key := range keys {
		sp, ok := s.Figures[key]
		if !ok || sp.Max <= 0 || sp.Min > sp.Median || sp.Median > sp.Max {
			t.Errorf("%s, %d streams, %s: %s is %+v, %v", c.Mode, c.Streams, s.Stack, key, sp, ok)
		}
	}
}

var callKeys = []string{keyCalls, keyP50, keyP90, keyP99, keyMax}

func TestEveryCellOfUploadsAndDownloadsHasItsFigures(t *testing.T) {
	for _, slow := range []string{"", "1ms,1G"} {
		t.Run("link="+slow, func(t *testing.T) {
			cfg := brief(t, "-mode=upload,download", "-streams=2,0", "-size=4096", "-grace=30s", "-time=100ms", "-link="+slow)
			doc := measured(t, cfg)
			if len(doc.Cells) != 4 {
				t.Fatalf("%d cells, want 2 modes with 2 cells each", len(doc.Cells))
			}
			for _, c := range doc.Cells {
				if len(c.Stacks) != 2 || c.Stacks[0].Stack != "braid" || c.Stacks[1].Stack != "grpc" {
					t.Fatalf("stacks %+v", c.Stacks)
				}
				keys := callKeys
				if c.Streams > 0 {
					keys = append([]string{keyBulk}, keys...)
				}
				for _, s := range c.Stacks {
					wantFigures(t, c, s, keys...)
					if len(s.Rounds) != 2 || s.Stalled+s.Failed > 0 {
						t.Errorf("%s, %d streams, %s: %+v", c.Mode, c.Streams, s.Stack, s.Rounds)
					}
				}
				for _, key := range keys {
					if c.Ratios[key].Median <= 0 {
						t.Errorf("%s, %d streams: no ratio of %s", c.Mode, c.Streams, key)
					}
				}
			}
		})
	}
}

// A cell either has figures or says why it has none.
func TestEveryCellOfStalledStreamsHasItsFiguresOrSaysThatItStalled(t *testing.T) {
	doc := measured(t, brief(t, "-mode=stalled", "-stalled=2", "-size=1024", "-rounds=1", "-time=200ms", "-grace=2s"))
	if len(doc.Cells) != 2 || doc.Cells[0].Streams != 0 {
		t.Fatalf("cells %+v, want one without streams and one with 2", doc.Cells)
	}
	for _, c := range doc.Cells {
		for _, s := range c.Stacks {
			if s.Stalled > 0 && c.Streams > 0 {
				if s.Rounds[0].Stalled == "" || len(s.Figures) > 0 {
					t.Errorf("a round that stalled has the figures %v and the reason %q", s.Figures, s.Rounds[0].Stalled)
				}
				continue
			}
			wantFigures(t, c, s, append([]string{keyKept}, callKeys...)...)
			if c.Streams > 0 {
				wantFigures(t, c, s, keyTaken)
			}
		}
	}
}

func TestTheTableHasTheFiguresAndWhatIsUnequal(t *testing.T) {
	var out strings.Builder
	if err := run(brief(t, "-mode=upload", "-streams=1", "-grace=30s"), &out, io.Discard); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	for _, want := range []string{
		"GOMAXPROCS", "google.golang.org/grpc", "loopback as it is",
		"calls/s", "p50 us", "p90 us", "p99 us", "max us", "bulk MB/s", "braid/grpc", "What is not equal",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, &out)
		}
	}
}

// fake is a stack whose calls, after the first, do what call does.
func fake(name string, call func(context.Context) error) stack.Stack {
	return stack.Stack{
		Name:   name,
		Module: "fake",
		Serve: func(ctx context.Context, lis net.Listener, _ *stack.Service, _ stack.Setup) error {
			conn, err := lis.Accept()
			if err != nil {
				return err
			}
			<-ctx.Done()
			return conn.Close()
		},
		Client: func(ctx context.Context, dial stack.Dial, _ stack.Setup) (stack.Client, error) {
			conn, err := dial(ctx)
			return &fakeClient{Conn: conn, call: call}, err
		},
	}
}

type fakeClient struct {
	net.Conn
	call   func(context.Context) error
	called bool // the first call has been made, which is before all others
}

func (c *fakeClient) Echo(ctx context.Context, in, out *blob.Blob) error {
	if c.called {
		if err := c.call(ctx); err != nil {
			return err
		}
	} else {
		c.called = true
	}
	out.Data = append(out.Data[:0], in.Data...)
	return nil
}

func (c *fakeClient) Open(context.Context, stack.Method) (stack.Stream, error) {
	return nil, errors.New("no streams here")
}

// fakes returns a configuration that measures two fakes without bulk streams.
func fakes(t *testing.T, a, b func(context.Context) error) config {
	cfg := brief(t, "-mode=upload", "-streams=0", "-grace=50ms")
	cfg.stacks = []stack.Stack{fake("one", a), fake("other", b)}
	return cfg
}

func TestCallsThatHangAreShownAsStalled(t *testing.T) {
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	for name, hang := range map[string]func(context.Context) error{
		"until they are canceled": func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		"for good":                func(context.Context) error { <-over; return nil },
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			cfg := fakes(t, hang, func(context.Context) error { return nil })
			cfg.rounds = 1
			if err := run(cfg, &out, io.Discard); err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{"stalled", "1 of 1 rounds stalled: 2 of 2 callers had no answer"} {
				if !strings.Contains(out.String(), want) {
					t.Errorf("the report lacks %q:\n%s", want, &out)
				}
			}
			if got := strings.Contains(out.String(), "did not end when they were closed"); got != (name == "for good") {
				t.Errorf("that it did not end is said: %v\n%s", got, &out)
			}
		})
	}
}

func TestACallThatFailsFailsTheRun(t *testing.T) {
	var out strings.Builder
	cfg := fakes(t, func(context.Context) error { return errors.New("broken today") }, func(context.Context) error { return nil })
	if err := run(cfg, &out, io.Discard); !errors.Is(err, errFailed) {
		t.Errorf("got %v, want %v", err, errFailed)
	}
	if want := "2 of 2 rounds failed: caller"; !strings.Contains(out.String(), want) || !strings.Contains(out.String(), "broken today") {
		t.Errorf("the report lacks %q and the error:\n%s", want, &out)
	}
}

func TestABulkStreamThatFailsFailsTheRun(t *testing.T) {
	var out strings.Builder
	cfg := fakes(t, func(context.Context) error { return nil }, func(context.Context) error { return nil })
	cfg.streams = []int{1}
	if err := run(cfg, &out, io.Discard); !errors.Is(err, errFailed) {
		t.Errorf("got %v, want %v", err, errFailed)
	}
	if want := "bulk stream 0 of 1: no streams here"; !strings.Contains(out.String(), want) {
		t.Errorf("the report lacks %q:\n%s", want, &out)
	}
}

// A call that is slow counts with all its time, even when that is longer than
// the time that is measured.
func TestASlowCallCountsWithAllItsTime(t *testing.T) {
	const slow = 100 * time.Millisecond
	wait := func(context.Context) error { <-time.After(slow); return nil }
	cfg := fakes(t, wait, wait)
	cfg.warm, cfg.grace = 0, 30*time.Second
	cfg.time = slow / 10
	for _, c := range measured(t, cfg).Cells {
		for _, s := range c.Stacks {
			wantFigures(t, c, s, keyP50, keyMax)
			if got := s.Figures[keyP50].Min; got < slow.Seconds()*0.999 { // the histogram has three digits
				t.Errorf("%s: p50 of %v s, and no call was shorter than %v", s.Stack, got, slow)
			}
			if got := s.Figures[keyCalls].Max; got != 0 {
				t.Errorf("%s: %v calls/s returned in a time shorter than any call", s.Stack, got)
			}
		}
	}
}

func TestRatiosAndWhatIsKeptAreOfTheSameRound(t *testing.T) {
	rounds := func(calls ...float64) side {
		var s side
		for _, c := range calls {
			s.rounds = append(s.rounds, round{Figures: map[string]float64{keyCalls: c}})
		}
		return s
	}
	alone := &cell{mode: beside.Stalled, sides: []side{rounds(100, 1000, 10), rounds(200, 2000, 20)}}
	beside8 := &cell{mode: beside.Stalled, streams: 8, sides: []side{rounds(50, 500, 5), rounds(20, 200, 2)}}
	beside8.sides[0].rounds[1].Stalled = "in this one"
	results{alone, beside8}.relate()
	if got, want := fmt.Sprint(alone.ratios(keyCalls)), "[0.5 0.5 0.5]"; got != want {
		t.Errorf("ratios %s, want %s", got, want)
	}
	if got, want := fmt.Sprint(beside8.ratios(keyCalls)), "[2.5 2.5]"; got != want {
		t.Errorf("ratios without the stalled round %s, want %s", got, want)
	}
	if got, want := fmt.Sprint(beside8.sides[0].values(keyKept), beside8.sides[1].values(keyKept)), "[0.5 0.5] [0.1 0.1 0.1]"; got != want {
		t.Errorf("kept %s, want %s", got, want)
	}
}

func TestFlagsThatMakeNoSenseAreRefused(t *testing.T) {
	for flag, want := range map[string]string{
		"-mode=sideways":     `mode "sideways" is none of`,
		"-streams=-1":        "is not a number from 0 to 100000",
		"-streams=1,,2":      "is not a number from 0 to 100000",
		"-stalled=100001":    "is not a number from 0 to 100000",
		"-size=15":           "size is 15, and has to be from 16",
		"-size=4193281":      "size is 4193281, and has to be from 16 to 4193280",
		"-callsize=0":        "callsize is 0",
		"-callers=0":         "callers have to be positive",
		"-rounds=0":          "rounds and callers have to be positive",
		"-time=0s":           "time and grace have to be positive",
		"-grace=-1s":         "time and grace have to be positive",
		"-warm=-1s":          "must not be negative",
		"-link=5ms":          "not delay,rate",
		"and more than that": "unexpected argument",
	} {
		if _, err := parse([]string{flag}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", flag, err, want)
		}
	}
}
