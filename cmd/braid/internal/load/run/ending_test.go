package run

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"storj.io/drpc"
	"storj.io/drpc/drpcerr"

	"braid/cmd/braid/internal/load/blob"
	"braid/drpcmanager"
	"braid/drpcstream"
)

// kindOf returns the only kind of failure of a result.
func kindOf(t *testing.T, res *Result) ErrorCount {
	t.Helper()
	if len(res.Errors) != 1 {
		t.Fatalf("there are %d kinds of errors: %v", len(res.Errors), res.Errors)
	}
	return res.Errors[0]
}

// failing is a server that fails the call with a number, and every one after it.
func failing(from int, err error) *fake {
	return &fake{serve: func(ctx context.Context, n int, in, out *blob.Message) error {
		if n < from {
			return echo(ctx, time.Millisecond, in, out)
		}
		if !sleep(ctx, time.Millisecond) {
			return ctx.Err()
		}
		return err
	}}
}

func TestFailuresAreCountedByKindAndCode(t *testing.T) {
	lost := drpc.ClosedError.Wrap(&drpcmanager.LostError{Cause: io.ErrUnexpectedEOF})
	for _, test := range []struct {
		err    error
		kind   Kind
		code   uint64
		ending Ending
	}{
		{errTest, Status, 0, Completed},
		{drpcerr.WithCode(errTest, 8), Status, 8, Completed},
		{blob.Wrong("no"), WrongReply, 0, Completed},
		{io.EOF, WrongReply, 0, Completed},
		{context.DeadlineExceeded, Timeout, 0, Completed},
		{errTimeout, Timeout, 0, Completed},
		{context.Canceled, Canceled, 0, Completed},
		{lost, Connection, 0, Lost},
		{&DialError{errTest}, Connection, 0, Lost},
		{drpc.ClosedError.New("gone"), Connection, 0, Lost},
		{drpcstream.ErrRefused, Refused, 0, Draining},
		{errors.New(`protocol error: unknown rpc: "/a/b"`), Unknown, 0, NoMethod},
		{drpcerr.WithCode(errors.New("Unimplemented"), 12), Unknown, 12, NoMethod},
	} {
		synctest.Test(t, func(t *testing.T) {
			res := New(usual(failing(101, test.err), func(o *Options) { o.Count, o.Duration = 200, 0 })).Run(t.Context())
			got := kindOf(t, res)
			if got.Kind != test.kind || got.Code != test.code || got.Count != res.Failed || got.Text != test.err.Error() {
				t.Errorf("%v is counted as %+v of %d", test.err, got, res.Failed)
			}
			if res.Ending != test.ending || (res.Cause == nil) != (test.ending == Completed) {
				t.Errorf("%v ends it as %v: %v", test.err, res.Ending, res.Cause)
			}
			if test.ending == Completed && res.Failed != 100 || test.ending != Completed && res.Failed > 4 || res.OK != 100 {
				t.Errorf("%v: %d ok, %d failed", test.err, res.OK, res.Failed)
			}
		})
	}
}

func TestTwoCodesAreTwoKinds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &fake{serve: func(_ context.Context, n int, _, _ *blob.Message) error {
			return drpcerr.WithCode(errTest, uint64(8+n%3/2)) // 8, 8, 9
		}}
		res := New(usual(server, func(o *Options) { o.Count, o.Duration = 300, 0 })).Run(t.Context())
		if len(res.Errors) != 2 || res.Errors[0].Code != 8 || res.Errors[0].Count != 200 || res.Errors[1].Count != 100 {
			t.Errorf("%+v", res.Errors)
		}
	})
}

func TestAReplyThatIsNotTheOneIsNoticed(t *testing.T) {
	for name, spoil := range map[string]func(p []byte) []byte{
		"short":         func(p []byte) []byte { return p[:len(p)-1] },
		"long":          func(p []byte) []byte { return append(p, 0) },
		"empty":         func([]byte) []byte { return nil },
		"another":       func(p []byte) []byte { p[0] ^= 1; return p },
		"another's end": func(p []byte) []byte { p[len(p)-1] ^= 1; return p },
	} {
		synctest.Test(t, func(t *testing.T) {
			server := steady()
			right := server.serve
			server.serve = func(ctx context.Context, n int, in, out *blob.Message) error {
				err := right(ctx, n, in, out)
				if n == 50 {
					out.Data = spoil(out.Data)
				}
				return err
			}
			res := New(usual(server, func(o *Options) { o.Count, o.Duration = 100, 0 })).Run(t.Context())
			if got := kindOf(t, res); got.Kind != WrongReply || got.Count != 1 || res.OK != 99 {
				t.Errorf("%s: %+v, %d ok", name, got, res.OK)
			}
		})
	}
}

func TestATimeoutCostsItsCallAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &fake{serve: func(ctx context.Context, n int, in, out *blob.Message) error {
			if n%10 == 0 {
				return echo(ctx, time.Hour, in, out)
			}
			return echo(ctx, time.Millisecond, in, out)
		}}
		res := New(usual(server, func(o *Options) { o.Count, o.Duration, o.Timeout = 100, 0, 5*time.Millisecond })).Run(t.Context())
		if got := kindOf(t, res); got.Kind != Timeout || got.Count != 10 || res.OK != 90 || res.Ending != Completed {
			t.Errorf("%+v, %+v", got, res)
		}
	})
}

func TestWhatHangsAtTheEndIsCutAndCounted(t *testing.T) {
	for timeout, want := range map[time.Duration]time.Duration{
		0:           10*time.Second + grace,
		time.Minute: 10*time.Second + time.Minute,
	} {
		synctest.Test(t, func(t *testing.T) {
			begin := time.Now()
			server := &fake{serve: func(ctx context.Context, n int, in, out *blob.Message) error {
				if n == 4000 {
					return echo(ctx, time.Hour, in, out)
				}
				return echo(ctx, time.Millisecond, in, out)
			}}
			res := New(usual(server, func(o *Options) { o.Timeout = timeout })).Run(t.Context())
			took := time.Since(begin)
			if res.Ending != Completed || took < want-time.Minute || took > want+time.Second {
				t.Errorf("%v after %v, want %v", res.Ending, took, want)
			}
			if timeout == 0 && (res.Unfinished != 1 || res.Failed != 0 || kindOf(t, res).Kind != Unfinished) {
				t.Errorf("%d unfinished: %+v", res.Unfinished, res.Errors)
			}
			if timeout > 0 && (res.Failed != 1 || kindOf(t, res).Kind != Timeout) {
				t.Errorf("%d failed: %+v", res.Failed, res.Errors)
			}
			// It is the rate of the ten seconds.
			if timeout == 0 && res.Elapsed > 10*time.Second+time.Millisecond {
				t.Errorf("elapsed is %v", res.Elapsed)
			}
		})
	}
}

func TestAnInterruptionKeepsWhatWasMeasured(t *testing.T) {
	for _, rate := range []float64{0, 100} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(2*time.Second+500*time.Microsecond, cancel)
			begin := time.Now()
			res := New(usual(steady(), func(o *Options) { o.Rate = rate })).Run(ctx)
			if res.Ending != Interrupted || !res.Measured || time.Since(begin) > 2*time.Second+2*time.Millisecond {
				t.Errorf("%v after %v", res.Ending, time.Since(begin))
			}
			if res.Failed+res.Unfinished != 0 || rate == 0 && res.OK < 7990 || rate > 0 && (res.OK != 201 || res.Open.Due != 201) {
				t.Errorf("%+v %+v", res, res.Open)
			}
		})
	}
}

func TestAnInterruptionDoesNotWaitForWhatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		server := failing(1, nil)
		server.serve = func(ctx context.Context, _ int, in, out *blob.Message) error {
			return echo(ctx, time.Hour, in, out)
		}
		// In the time, and in the grace after it.
		for _, at := range []time.Duration{2 * time.Second, 11 * time.Second} {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(at, cancel)
			begin := time.Now()
			res := New(usual(server, nil)).Run(ctx)
			if took := time.Since(begin); took != at+hurry || res.Unfinished != 4 || res.OK != 0 {
				t.Errorf("it ended after %v with %+v", took, res)
			}
		}
		cancel()
	})
}

// Of two connections one is lost, and the other hangs.
func TestALostConnectionDoesNotWaitForWhatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &fake{serve: func(ctx context.Context, n int, in, out *blob.Message) error {
			if n == 1 && sleep(ctx, time.Second) {
				return drpc.ClosedError.New("gone")
			}
			return echo(ctx, time.Hour, in, out)
		}}
		begin := time.Now()
		res := New(usual(server, nil)).Run(t.Context())
		if took := time.Since(begin); took != time.Second+hurry || res.Ending != Lost || res.Failed != 1 || res.Unfinished != 3 {
			t.Errorf("after %v: %+v", took, res)
		}
	})
}

func TestNoTwoRequestsAreTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		seen := make(map[string]bool)
		server := &fake{serve: func(ctx context.Context, n int, in, out *blob.Message) error {
			mu.Lock()
			if seen[string(in.Data)] {
				t.Errorf("request %d is one that was sent before", n)
			}
			seen[string(in.Data)] = true
			mu.Unlock()
			if n%3 == 0 {
				return errTest
			}
			return echo(ctx, time.Millisecond, in, out)
		}}
		New(usual(server, func(o *Options) { o.Count, o.Duration = 1000, 0 })).Run(t.Context())
		if len(seen) != 1000 {
			t.Errorf("%d of 1000 differ", len(seen))
		}
	})
}

func TestAnInterruptedWarmUpIsMarked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		res := New(usual(steady(), func(o *Options) { o.Warmup = time.Minute })).Run(ctx)
		if res.Measured || res.Ending != Interrupted || res.OK == 0 {
			t.Errorf("%+v", res)
		}
	})
}

func TestMaxFailedEndsTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		res := New(usual(failing(101, errTest), func(o *Options) { o.MaxFailed = 10 })).Run(t.Context())
		if res.Ending != TooManyFailed || res.Failed < 10 || res.Failed > 13 || res.OK != 100 {
			t.Errorf("%v: %d failed, %d ok", res.Ending, res.Failed, res.OK)
		}
	})
}

// drains is a connection whose server says that it is shutting down.
type drains struct {
	*fake
	ch chan struct{}
}

func (d drains) Draining() <-chan struct{} { return d.ch }

func TestAServerThatShutsDownEndsTheRunInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := drains{steady(), make(chan struct{})}
		time.AfterFunc(2*time.Second+500*time.Microsecond, func() { close(conn.ch) })
		res := New(usual(conn, nil)).Run(t.Context())
		if res.Ending != Draining || res.Failed+res.Unfinished != 0 || res.Elapsed > 2*time.Second+2*time.Millisecond {
			t.Errorf("%+v", res)
		}
	})
}

func TestHelloGivesUpOnSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &fake{serve: func(ctx context.Context, _ int, in, out *blob.Message) error {
			return echo(ctx, time.Hour, in, out)
		}}
		begin := time.Now()
		err := Hello(t.Context(), server)
		if err == nil || time.Since(begin) != helloPatience || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		server.serve = func(context.Context, int, *blob.Message, *blob.Message) error {
			return errors.New("unknown rpc")
		}
		if err := Hello(t.Context(), server); !errors.As(err, new(*NoServiceError)) {
			t.Errorf("%v", err)
		}
		server.serve = func(context.Context, int, *blob.Message, *blob.Message) error { return nil }
		if err := Hello(t.Context(), server); !errors.As(err, new(*blob.WrongError)) {
			t.Errorf("an answer that is empty: %v", err)
		}
	})
}
