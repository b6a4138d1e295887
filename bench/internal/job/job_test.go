package job

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"braid/bench/internal/blob"
	"braid/bench/internal/latency"
	"braid/bench/internal/rig"
	"braid/bench/internal/stack"
)

// start starts a rig with a stack and has it closed when the test ends.
func start(t *testing.T, st stack.Stack, setup stack.Setup) *rig.Rig {
	t.Helper()
	r, err := rig.Start(t.Context(), st, rig.Config{Setup: setup})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// tampered is a client that changes what goes through it.
type tampered struct {
	stack.Client
	echo func(out *blob.Blob)                          // changes the answer to a call
	wrap func(stack.Method, stack.Stream) stack.Stream // changes a stream
}

func (c tampered) Echo(ctx context.Context, in, out *blob.Blob) error {
	err := c.Client.Echo(ctx, in, out)
	if c.echo != nil {
		c.echo(out)
	}
	return err
}

func (c tampered) Open(ctx context.Context, method stack.Method) (stack.Stream, error) {
	stream, err := c.Client.Open(ctx, method)
	if err == nil && c.wrap != nil {
		stream = c.wrap(method, stream)
	}
	return stream, err
}

// victim is the message that suffers.
const victim = 5

// dropping loses a message that is sent.
type dropping struct {
	stack.Stream
	sent int
}

func (s *dropping) Send(msg *blob.Blob) error {
	if s.sent++; s.sent == victim {
		return nil
	}
	return s.Stream.Send(msg)
}

// repeating sends a message twice.
type repeating struct {
	stack.Stream
	sent int
}

func (s *repeating) Send(msg *blob.Blob) error {
	if s.sent++; s.sent == victim {
		if err := s.Stream.Send(msg); err != nil {
			return err
		}
	}
	return s.Stream.Send(msg)
}

// swapping changes the order of two messages that are sent.
type swapping struct {
	stack.Stream
	sent int
	held *blob.Blob
}

func (s *swapping) Send(msg *blob.Blob) error {
	if s.sent++; s.sent == victim {
		s.held = &blob.Blob{Data: append([]byte(nil), msg.Data...)}
		return nil
	}
	if err := s.Stream.Send(msg); err != nil || s.held == nil {
		return err
	}
	held := s.held
	s.held = nil
	return s.Stream.Send(held)
}

// cutting sends a message without its last byte.
type cutting struct {
	stack.Stream
	sent int
}

func (s *cutting) Send(msg *blob.Blob) error {
	if s.sent++; s.sent == victim {
		return s.Stream.Send(&blob.Blob{Data: msg.Data[:len(msg.Data)-1]})
	}
	return s.Stream.Send(msg)
}

// skipping loses a message that is received.
type skipping struct {
	stack.Stream
	received int
}

func (s *skipping) Recv(msg *blob.Blob) error {
	if s.received++; s.received == victim {
		if err := s.Stream.Recv(msg); err != nil {
			return err
		}
	}
	return s.Stream.Recv(msg)
}

// stale receives a message twice.
type stale struct {
	stack.Stream
	received int
	last     []byte
}

func (s *stale) Recv(msg *blob.Blob) error {
	if s.received++; s.received == victim {
		msg.Data = append(msg.Data[:0], s.last...)
		return nil
	}
	err := s.Stream.Recv(msg)
	s.last = append(s.last[:0], msg.Data...)
	return err
}

// A stack that loses, repeats, reorders or cuts messages must not look fast.
func TestAStackThatTampersWithMessagesFails(t *testing.T) {
	wrappers := map[string]func(stack.Stream) stack.Stream{
		"drops":   func(s stack.Stream) stack.Stream { return &dropping{Stream: s} },
		"repeats": func(s stack.Stream) stack.Stream { return &repeating{Stream: s} },
		"swaps":   func(s stack.Stream) stack.Stream { return &swapping{Stream: s} },
		"cuts":    func(s stack.Stream) stack.Stream { return &cutting{Stream: s} },
		"skips":   func(s stack.Stream) stack.Stream { return &skipping{Stream: s} },
		"stale":   func(s stack.Stream) stack.Stream { return &stale{Stream: s} },
	}
	for kind, names := range map[*Kind][]string{
		&Upload:   {"drops", "repeats", "swaps", "cuts"},
		&Download: {"skips", "stale"},
		&PingPong: {"repeats", "cuts", "stale"},
	} {
		for _, name := range names {
			t.Run(kind.Name+"/"+name, func(t *testing.T) {
				r := start(t, stack.Braid(), kind.Setup(1, 100))
				client := tampered{Client: r.Client(), wrap: func(_ stack.Method, s stack.Stream) stack.Stream {
					return wrappers[name](s)
				}}
				j, err := kind.New(t.Context(), Load{Client: client, Callers: 1, Size: 100})
				if err != nil {
					t.Fatal(err)
				}
				if err := j.Run(20); err == nil {
					t.Error("nobody noticed")
				}
				_ = j.Close() // its stream has failed
			})
		}
	}
}

func TestAnAnswerThatBelongsToAnotherCallFails(t *testing.T) {
	for name, change := range map[string]func(*blob.Blob){
		"of another caller": func(b *blob.Blob) { b.Data[0]++ },
		"of another call":   func(b *blob.Blob) { b.Data[8]++ },
		"of another size":   func(b *blob.Blob) { b.Data = append(b.Data, 0) },
	} {
		for _, kind := range []Kind{Unary, Mixed, Idle} {
			t.Run(kind.Name+"/"+name, func(t *testing.T) {
				r := start(t, stack.Braid(), kind.Setup(2, 16))
				var calls atomic.Int64
				client := tampered{Client: r.Client(), echo: func(out *blob.Blob) {
					if calls.Add(1) == victim {
						change(out)
					}
				}}
				j, err := kind.New(t.Context(), Load{Client: client, Callers: 2, Size: 16})
				if err != nil {
					t.Fatal(err)
				}
				if err := errors.Join(j.Run(20), j.Close()); err == nil {
					t.Error("nobody noticed")
				}
			})
		}
	}
}

func TestAnUploadThatFailsBesideCallsFailsTheRun(t *testing.T) {
	r := start(t, stack.Braid(), Mixed.Setup(1, 16))
	client := tampered{Client: r.Client(), wrap: func(_ stack.Method, s stack.Stream) stack.Stream { return &dropping{Stream: s} }}
	j, err := Mixed.New(t.Context(), Load{Client: client, Callers: 1, Size: 16})
	if err == nil {
		err = errors.Join(j.Run(100), j.Close())
	}
	if err == nil || !strings.Contains(err.Error(), "want message") {
		t.Errorf("got %v, want what the server has missed", err)
	}
}

func TestEveryUnitHasALatency(t *testing.T) {
	for _, kind := range Kinds() {
		if kind.OneWay {
			continue
		}
		t.Run(kind.Name, func(t *testing.T) {
			r := start(t, stack.Braid(), kind.Setup(3, 16))
			load := Load{Client: r.Client(), Callers: 3, Size: 16, Latencies: new(latency.Recorder)}
			j, err := kind.New(t.Context(), load)
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			if err := j.Run(100); err != nil {
				t.Error(err)
			}
			took := time.Since(began)
			if err := j.Close(); err != nil {
				t.Error(err)
			}
			hist := load.Latencies.Histogram()
			if n := hist.TotalCount(); n != 100 {
				t.Errorf("%d latencies of 100 units", n)
			}
			if longest := time.Duration(hist.Max()); longest > took*1001/1000 { // the histogram has three digits
				t.Errorf("a unit took %v, and all of them %v", longest, took)
			}
		})
	}
}

func TestUnitsAreDividedAmongStreams(t *testing.T) {
	for n, want := range map[int][]int{0: {}, 1: {1}, 3: {1, 1, 1}, 5: {2, 1, 1, 1}, 8: {2, 2, 2, 2}} {
		got := make([]atomic.Int64, 4)
		if err := divide(n, 4, func(stream, units int) error {
			got[stream].Add(int64(units))
			return nil
		}); err != nil {
			t.Error(err)
		}
		for i := range got {
			expected := 0
			if i < len(want) {
				expected = want[i]
			}
			if int(got[i].Load()) != expected {
				t.Errorf("%d units: stream %d has %d, want %d", n, i, got[i].Load(), expected)
			}
		}
	}
	broken := errors.New("broken")
	if err := divide(4, 4, func(stream, _ int) error {
		if stream == 2 {
			return broken
		}
		return nil
	}); !errors.Is(err, broken) {
		t.Errorf("got %v, want %v", err, broken)
	}
}

func TestAllUnitsAreDoneOnce(t *testing.T) {
	for _, n := range []int{0, 1, 7, 64, 1000, 10_001} {
		for _, callers := range []int{1, 3, 64} {
			var done atomic.Int64
			if err := spread(n, callers, func(int) error { done.Add(1); return nil }); err != nil {
				t.Error(err)
			}
			if int(done.Load()) != n {
				t.Errorf("%d callers did %d units, want %d", callers, done.Load(), n)
			}
		}
	}
}

func TestWorkThatMakesNoSenseIsRefused(t *testing.T) {
	for _, test := range []struct {
		kind          Kind
		stack         stack.Stack
		callers, size int
		want          string // "" if it is to be taken
	}{
		{Unary, stack.Braid(), 0, 16, "0 callers"},
		{Unary, stack.Braid(), 1, stack.MinSize - 1, "messages of 15 bytes"},
		{Unary, stack.Braid(), 1, stack.MaxSize + 1, "messages of 67108865 bytes"},
		{Unary, stack.Braid(), 1, stack.MaxSize, ""},
		{Unary, stack.TTRPC(), 1, stack.TTRPC().MaxSize + 1, "messages of at most 4193280 bytes"},
		{Unary, stack.TTRPC(), 1, stack.TTRPC().MaxSize, ""},
		{Upload, stack.Stock(), 1, 16, ""},
		{Upload, stack.Stock(), 2, 16, "stack stock: no more than one stream at once: a connection carries one stream at a time"},
		{Upload, stack.NetRPC(), 1, 16, "stack netrpc: no streams to the server"},
		{OpenClose, stack.Stock(), 64, 16, ""},
		{Mixed, stack.Stock(), 4, 16, "no more than one stream at once"},
		{Idle, stack.Pool(), 1 << 20, 16, "streams and calls at once, and no more than"},
		{Unary, stack.Pool(), 1 << 20, 16, ""}, // callers share what there is
	} {
		err := test.kind.Check(test.stack, test.callers, test.size)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s, %s, %d, %d: got %v, want %q", test.kind.Name, test.stack.Name, test.callers, test.size, err, test.want)
		}
	}
	if _, err := Named("Telepathy"); err == nil || !strings.Contains(err.Error(), `work "Telepathy" is none of [Unary Upload`) {
		t.Errorf("got %v", err)
	}
}
