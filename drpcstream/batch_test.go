package drpcstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"storj.io/drpc"

	"braid/drpcwire"
)

// credited is the owner of streams with credit.
type credited struct{ alone }

func (credited) Windows() (own, peer int64) { return 64 << 10, 64 << 10 }

// batchRig is a stream whose frames come from the test.
type batchRig struct {
	*Stream
	t      *testing.T
	budget *Budget
	next   uint64 // message id
	sent   int64  // credit
}

func newBatchRig(t *testing.T) *batchRig {
	w := drpcwire.NewMuxWriter(discard{}, drpcwire.MuxWriterOptions{})
	t.Cleanup(func() {
		w.Stop(nil)
		<-w.Done()
	})
	r := &batchRig{t: t, budget: NewBudget(1<<20, 1<<20), next: 1}
	r.Stream = New(t.Context(), &Config{Owner: credited{}, Writer: w, Server: true, Limit: 1000, Budget: r.budget}, nil)
	r.Accept(1, drpcwire.Assembler{}, time.Time{})
	return r
}

// batch passes n messages to the stream at once: "1", "2" and so on.
func (r *batchRig) batch(n int) (ok bool) {
	b := drpcwire.Batch{First: r.next, Last: r.next + uint64(n) - 1, Messages: n}
	for id := b.First; id <= b.Last; id++ {
		data := fmt.Append(nil, id)
		b.Size += len(data)
		b.Frames = drpcwire.AppendFrame(b.Frames, drpcwire.Frame{
			ID: drpcwire.ID{Stream: 1, Message: id}, Kind: drpcwire.KindMessage, Done: true, Data: data,
		})
	}
	if !r.TakeBatch(b) {
		return false
	}
	r.next += uint64(n)
	r.sent += b.Cost()
	return true
}

// frame passes one frame to the stream.
func (r *batchRig) frame(kind drpcwire.Kind) {
	fr := drpcwire.Frame{ID: drpcwire.ID{Stream: 1, Message: r.next}, Kind: kind, Done: true}
	if kind == drpcwire.KindMessage {
		fr.Data = fmt.Append(nil, r.next)
		r.sent += frameCost(len(fr.Data))
	}
	r.next++
	if _, err := r.HandleFrame(Arrival{Frame: fr, Strict: true}); err != nil {
		r.t.Fatal(err)
	}
}

func (r *batchRig) recv(want string) {
	r.t.Helper()
	if got, err := r.RawRecv(); err != nil || string(got) != want {
		r.t.Fatalf("got %q, %v, want %s", got, err, want)
	}
}

// balanced checks the books of a stream that has ended.
func (r *batchRig) balanced(consumed int64) {
	r.t.Helper()
	got := r.budget.Totals()
	if got.Received+got.Late != r.sent || got.Received != got.Consumed+got.Dropped || got.Consumed != consumed {
		r.t.Errorf("%+v, of %d sent and %d consumed", got, r.sent, consumed)
	}
	if n := r.budget.Used(); n != 0 {
		r.t.Errorf("%d of the budget are in use", n)
	}
}

// costs returns the credit of the messages from first to last.
func costs(first, last int) (n int64) {
	for i := first; i <= last; i++ {
		n += frameCost(len(fmt.Sprint(i)))
	}
	return n
}

func TestBatchesAndFramesKeepTheirOrder(t *testing.T) {
	r := newBatchRig(t)
	rng := rand.New(rand.NewPCG(1, 2))
	for want := uint64(1); want < 5000; {
		switch {
		case r.next > want && rng.IntN(3) > 0:
			r.recv(fmt.Sprint(want))
			want++
		case r.sent-costs(1, int(want)-1) > 30<<10:
		case rng.IntN(2) == 0:
			r.frame(drpcwire.KindMessage)
		case !r.batch(2 + rng.IntN(50)):
			t.Fatal("a batch was not taken")
		}
		if rng.IntN(1000) == 0 { // all of it
			for ; want < r.next; want++ {
				r.recv(fmt.Sprint(want))
			}
		}
	}
}

func TestTheEndComesBehindABatch(t *testing.T) {
	r := newBatchRig(t)
	r.batch(3)
	r.recv("1")
	r.frame(drpcwire.KindClose)
	r.recv("2")
	if r.State() != Draining {
		t.Errorf("the stream is %v", r.State())
	}
	r.recv("3")
	if _, err := r.RawRecv(); err != io.EOF {
		t.Errorf("got %v", err)
	}
	if r.State() != Closed {
		t.Errorf("the stream is %v", r.State())
	}
	r.balanced(costs(1, 3))
}

func TestWhatIsLeftOfABatchIsDroppedWithTheStream(t *testing.T) {
	for received := range 6 {
		r := newBatchRig(t)
		r.batch(5)
		for i := range received {
			if i < 5 {
				r.recv(fmt.Sprint(i + 1))
			}
		}
		r.Cancel(nil)
		if _, err := r.RawRecv(); err != context.Canceled {
			t.Errorf("after %d: got %v", received, err)
		}
		r.balanced(costs(1, min(received, 5)))
	}
}

// Also if nobody receives any more.
func TestWhatIsLeftOfABatchIsDroppedAtOnce(t *testing.T) {
	r := newBatchRig(t)
	r.batch(5)
	r.recv("1")
	r.Cancel(nil)
	r.balanced(costs(1, 1))
}

// codec ends the stream while a message is decoded.
type codec struct{ drpc.Encoding }

func (codec) Unmarshal(_ []byte, msg drpc.Message) error { return msg.(func() error)() }

func TestAStreamMayEndWhileAMessageOfABatchIsDecoded(t *testing.T) {
	r := newBatchRig(t)
	r.batch(5)
	r.recv("1")
	err := r.MsgRecv(func() error {
		r.Cancel(nil)
		return errors.New("decoded")
	}, codec{})
	if err.Error() != "decoded" {
		t.Fatal(err)
	}
	r.balanced(costs(1, 2))

	r = newBatchRig(t)
	r.batch(5)
	func() {
		defer func() { _ = recover() }()
		_ = r.MsgRecv(func() error { panic("in the encoding") }, codec{})
	}()
	r.recv("2")
}

// The window of a sender that has used its credit up grows by what the receiver has
// consumed, but for less than a batch.
func TestTheCreditOfABatchIsGivenBack(t *testing.T) {
	r := newBatchRig(t)
	total := 0
	for range 1000 {
		if !r.batch(40) {
			t.Fatalf("no credit after %d messages, all of which were received", total)
		}
		for range 40 {
			total++
			r.recv(fmt.Sprint(total))
		}
	}
}

func TestABatchIsNotTakenWhere(t *testing.T) {
	for name, tc := range map[string]struct {
		before func(*batchRig)
		n      int
	}{
		"there is not credit for all of it": {func(*batchRig) {}, 2000},
		"the stream has ended":              {func(r *batchRig) { r.Cancel(nil) }, 2},
		"the peer has closed its side":      {func(r *batchRig) { r.frame(drpcwire.KindCloseSend) }, 2},
		"an id is used again":               {func(r *batchRig) { r.frame(drpcwire.KindMessage); r.next-- }, 2},
		"a message is incomplete": {func(r *batchRig) {
			fr := drpcwire.Frame{ID: drpcwire.ID{Stream: 1, Message: 1}, Kind: drpcwire.KindMessage, Data: []byte("x")}
			if _, err := r.HandleFrame(Arrival{Frame: fr}); err != nil {
				t.Fatal(err)
			}
			r.next++
		}, 2},
		"credit is not in force": {func(r *batchRig) { r.Stream.recv.limit.Store(0) }, 2},
	} {
		t.Run(name, func(t *testing.T) {
			r := newBatchRig(t)
			tc.before(r)
			received := r.Stream.recv.received.Load()
			if r.batch(tc.n) {
				t.Error("it was taken")
			}
			if got := r.Stream.recv.received.Load(); got != received {
				t.Errorf("%d were counted as received", got-received)
			}
		})
	}
}

// Receives, messages and the end of the stream at the same time: what is received is in
// order, and the books balance in the end.
func TestBatchesAreReceivedWhileTheStreamEnds(t *testing.T) {
	ends := []func(*batchRig){
		func(r *batchRig) { r.Cancel(nil) },
		func(r *batchRig) { r.Lost(errors.New("lost")) },
		func(r *batchRig) { _ = r.Return(nil) },
		func(r *batchRig) { _ = r.SendError(errors.New("boom")) },
	}
	for round := range 200 {
		r := newBatchRig(t)
		var wg sync.WaitGroup
		consumed := int64(0)
		wg.Go(func() {
			for i := 1; ; i++ {
				got, err := r.RawRecv()
				if err != nil {
					return
				}
				if string(got) != fmt.Sprint(i) {
					t.Errorf("got %s, want %d", got, i)
				}
				consumed += frameCost(len(got))
			}
		})
		wg.Go(func() {
			for i := range 20 {
				if i == round%20 {
					wg.Go(func() { ends[round%len(ends)](r) })
				}
				if !r.batch(10) {
					return
				}
			}
		})
		wg.Wait()
		r.balanced(consumed)
	}
}
