package beside

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"braid/bench/internal/blob"
	"braid/bench/internal/link"
)

// start starts a rig and closes it when the test ends.
func start(t *testing.T, st Stack, l link.Link) *Rig {
	t.Helper()
	rig, err := Start(t.Context(), st, l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := rig.Close(); err != nil {
			t.Error(err)
		}
	})
	return rig
}

func TestOneConnectionCarriesEverything(t *testing.T) {
	for _, st := range Stacks() {
		t.Run(st.Name, func(t *testing.T) {
			rig := start(t, st, link.Link{Delay: time.Millisecond})
			up, down := rig.StartLoad(Upload, 2, 4096), rig.StartLoad(Download, 2, 4096)
			now := time.Now()
			callers := rig.StartCallers(2, 64, Window{Begin: now, End: now.Add(50 * time.Millisecond)})
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
			if n := rig.Conns(); n != 1 {
				t.Errorf("%d connections", n)
			}
		})
	}
}

func TestADownloadOfMessagesOverTheLimitIsRefused(t *testing.T) {
	for _, st := range Stacks() {
		t.Run(st.Name, func(t *testing.T) {
			rig := start(t, st, link.Link{})
			for size, want := range map[uint64]string{
				MaxSize + 1:      "messages of 4193281 bytes asked for",
				blob.MinSize - 1: "messages of 15 bytes asked for",
			} {
				ctx, cancel := context.WithCancel(t.Context())
				stream, err := rig.Client().Open(ctx, MethodDownload)
				if err != nil {
					t.Fatal(err)
				}
				if err := stream.Send(blob.Tally{Messages: 1, Bytes: size}.Blob()); err != nil {
					t.Fatal(err)
				}
				if err := stream.Recv(new(blob.Blob)); err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q", err, want)
				}
				cancel()
			}
		})
	}
}

func TestTheLargestMessagePassesBothWays(t *testing.T) {
	for _, st := range Stacks() {
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
type swallow struct{ Client }

func (swallow) Open(ctx context.Context, _ string) (Stream, error) { return swallowed{ctx: ctx}, nil }

type swallowed struct {
	Stream
	ctx context.Context
}

func (s swallowed) Send(*blob.Blob) error { return s.ctx.Err() }

func TestSendersThatNobodyBlocksStopByThemselves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const streams, size, most = 3, 100, 10_000
		load := (&Rig{client: swallow{}}).startLoad(Stalled, streams, size, most)
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

func TestTheCodecRefusesWhatIsNoBlob(t *testing.T) {
	if _, err := (codec{}).Marshal("text"); err == nil || err.Error() != "cannot encode a string" {
		t.Errorf("got %v", err)
	}
	if err := (codec{}).Unmarshal(nil, new(string)); err == nil || err.Error() != "cannot decode a *string" {
		t.Errorf("got %v", err)
	}
}
