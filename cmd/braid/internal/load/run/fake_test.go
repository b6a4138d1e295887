package run

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"storj.io/drpc"

	"braid/cmd/braid/internal/leak"
	"braid/cmd/braid/internal/load/arrival"
	"braid/cmd/braid/internal/load/blob"
)

func TestMain(m *testing.M) { leak.Main(m) }

// fake is a connection to a server that is a function. It stands for one that takes as
// many calls at once as there are.
type fake struct {
	drpc.Conn // not there
	// serve is called for each call, with its number, counted from 1.
	serve func(ctx context.Context, number int, in, out *blob.Message) error

	mu    sync.Mutex
	calls int // guarded by mu
	most  int // at the same time; guarded by mu
	now   int // guarded by mu
}

func (f *fake) Invoke(ctx context.Context, _ string, _ drpc.Encoding, in, out drpc.Message) error {
	f.mu.Lock()
	f.calls++
	f.now++
	n := f.calls
	f.most = max(f.most, f.now)
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.now--
		f.mu.Unlock()
	}()
	return f.serve(ctx, n, in.(*blob.Message), out.(*blob.Message))
}

func (f *fake) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}

// echo answers after a while, or when ctx ends.
func echo(ctx context.Context, after time.Duration, in, out *blob.Message) error {
	if !sleep(ctx, after) {
		return ctx.Err()
	}
	out.Data = append(out.Data[:0], in.Data...)
	return nil
}

// sleep reports whether ctx lasted so long.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// steady is a server that answers after a millisecond.
func steady() *fake {
	return &fake{serve: func(ctx context.Context, _ int, in, out *blob.Message) error {
		return echo(ctx, time.Millisecond, in, out)
	}}
}

// usual are options for calls on a connection.
func usual(conn drpc.Conn, change func(*Options)) Options {
	opts := Options{
		Work: Unary, Size: 16, Workers: 4, Conns: []drpc.Conn{conn},
		Duration: 10 * time.Second, Queue: 1_000_000, NewAlarm: arrival.NewTimer,
	}
	if change != nil {
		change(&opts)
	}
	return opts
}

// above returns how many values of a histogram are above a limit.
func above(h *hdrhistogram.Histogram, limit time.Duration) (n int64) {
	for _, bar := range h.Distribution() {
		if bar.From > int64(limit) {
			n += bar.Count
		}
	}
	return n
}

var errTest = errors.New("the test wants it")
