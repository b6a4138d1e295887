package copier

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// stalled makes the run one with streams that nobody reads. The returned function
// tells what was noted.
func (r *rig) stalled() (notes func() string) {
	var mu sync.Mutex
	var all strings.Builder
	r.opts.Stall = r.stall
	r.opts.StallFor = 50 * time.Millisecond
	r.opts.Note = func(text string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		_, _ = fmt.Fprintf(&all, text+"\n", args...)
	}
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		return all.String()
	}
}

func TestEverythingIsDoneBesideStreamsThatNobodyReads(t *testing.T) {
	r := newRig(t)
	notes := r.stalled()
	r.opts.StallFor = time.Second // for some calls and lines on a busy machine
	res := r.run(t)
	if len(res.Copied) != 3 || res.Canceled != 5 || errors.Join(res.CancelErr, res.CallErr, res.ChatErr) != nil {
		t.Errorf("%+v", res)
	}
	if n := res.Stalled.Traffic.Streams.Load(); n != 2 || len(res.Stall.Streams) != 2 {
		t.Fatalf("%d streams were stalled: %+v", n, res.Stall)
	}
	for _, h := range res.Stall.Streams {
		// Held to behind the copying.
		if h.Err != nil || h.For < res.Copying || h.Bytes == 0 || h.Total <= h.Bytes {
			t.Errorf("%+v, copying took %v", h, res.Copying)
		}
	}
	for name, p := range map[string]Phase{"before": res.Stall.Before, "during": res.Stall.During} {
		if p.Calls.Count == 0 || p.Chat.Count == 0 || p.Elapsed < r.opts.StallFor {
			t.Errorf("%s: %+v", name, p)
		}
	}
	if n := res.Stall.Before.Calls.Count + res.Stall.During.Calls.Count; n > res.Calls.Latency.Count {
		t.Errorf("%d calls in the phases, %d in all", n, res.Calls.Latency.Count)
	}
	if r.opts.Count.Held.Load() != 0 || r.opts.Count.HeldBytes.Load() == 0 {
		t.Errorf("%d are held in the end", r.opts.Count.Held.Load())
	}
	if !strings.Contains(notes(), "are held after ") {
		t.Errorf("noted %q", notes())
	}
}

func TestAnInterruptionEndsTheStalledStreams(t *testing.T) {
	for _, moment := range []string{"measuring for", "are held after", "copying beside"} {
		t.Run(moment, func(t *testing.T) {
			r := newRig(t)
			_ = r.hold() // so that the copying does not end by itself
			r.stalled()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			r.opts.Note = func(text string, _ ...any) {
				if strings.Contains(text, moment) {
					cancel()
				}
			}
			if res, err := Run(ctx, r.conn, r.opts); !errors.Is(err, context.Canceled) || len(res.Copied) != 0 {
				t.Errorf("%v, %+v", err, res)
			}
		})
	}
}
