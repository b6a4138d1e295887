package beside

import (
	"bytes"
	"context"
	"testing"
	"testing/synctest"
	"time"

	"braid/bench/internal/blob"
	"braid/bench/internal/link"
	"braid/bench/internal/rig"
	"braid/bench/internal/stack"
)

// start starts a rig and closes it when the test ends.
func start(t *testing.T, st stack.Stack, l link.Link) *rig.Rig {
	t.Helper()
	r, err := rig.Start(t.Context(), st, rig.Config{Link: l})
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

// stacks are those that can do everything here.
func stacks() []stack.Stack {
	return []stack.Stack{stack.Braid(), stack.GRPC(), stack.Connect(), stack.Yamux()}
}

// received returns what counts the uploads of a rig.
func received(t *testing.T, r *rig.Rig) func() int64 {
	return func() int64 {
		counts, err := r.Counts()
		if err != nil {
			t.Error(err)
		}
		return counts.Received
	}
}

func TestOneConnectionCarriesEverything(t *testing.T) {
	for _, st := range stacks() {
		t.Run(st.Name, func(t *testing.T) {
			r := start(t, st, link.Link{Delay: time.Millisecond})
			up := StartLoad(r.Client(), received(t, r), Upload, 2, 4096)
			down := StartLoad(r.Client(), received(t, r), Download, 2, 4096)
			now := time.Now()
			callers := StartCallers(r.Client(), 2, 64, Window{Begin: now, End: now.Add(50 * time.Millisecond)})
			callers.Wait()
			up.Stop()
			down.Stop()
			hist, err := callers.Result()
			if err != nil || up.Err() != nil || down.Err() != nil {
				t.Fatal(err, up.Err(), down.Err())
			}
			if callers.Calling() != 0 || hist.TotalCount() == 0 || callers.Completed() > hist.TotalCount() {
				t.Errorf("%d callers calling, %d latencies, %d calls", callers.Calling(), hist.TotalCount(), callers.Completed())
			}
			if time.Duration(hist.Min()) < 2*time.Millisecond*999/1000 { // the histogram has three digits
				t.Errorf("a call took %v over a link of 1ms each way", time.Duration(hist.Min()))
			}
			if counts, err := r.Counts(); err != nil || counts.Conns != 1 {
				t.Errorf("%+v, %v, want one connection", counts, err)
			}
			if up.Moved() == 0 || down.Moved() == 0 {
				t.Errorf("%d bytes were uploaded and %d downloaded", up.Moved(), down.Moved())
			}
		})
	}
}

func TestTheLargestMessagePassesBothWays(t *testing.T) {
	for _, st := range stacks() {
		t.Run(st.Name, func(t *testing.T) {
			in, out := blob.New(MaxSize, 3), new(blob.Blob)
			if err := start(t, st, link.Link{}).Client().Echo(t.Context(), in, out); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(in.Data, out.Data) {
				t.Error("it came back changed")
			}
		})
	}
}

// swallow is a client whose streams take everything.
type swallow struct{ stack.Client }

func (swallow) Open(ctx context.Context, _ stack.Method) (stack.Stream, error) {
	return swallowed{ctx: ctx}, nil
}

type swallowed struct {
	stack.Stream
	ctx context.Context
}

func (s swallowed) Send(*blob.Blob) error { return s.ctx.Err() }
func (s swallowed) Close() error          { return nil }

func TestSendersThatNobodyBlocksStopByThemselves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const streams, size, most = 3, 100, 10_000
		load := startLoad(swallow{}, nil, Stalled, streams, size, most)
		defer load.Stop()
		synctest.Wait() // until every sender is blocked
		if got := load.Moved(); got < most || got >= most+streams*size {
			t.Errorf("%d bytes were sent, want %d and less than one message more of each stream", got, most)
		}
		if err := load.Err(); err != nil {
			t.Error(err)
		}
	})
}
