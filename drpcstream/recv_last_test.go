package drpcstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"

	"braid/drpcwire"
)

// last passes a message and the CloseSend behind it to the stream.
func (r *batchRig) last(data string) (closed bool) {
	r.t.Helper()
	fr := drpcwire.Frame{
		ID: drpcwire.ID{Stream: 1, Message: r.next}, Kind: drpcwire.KindMessage, Done: true, Data: []byte(data),
	}
	closed, err := r.HandleFrame(Arrival{Frame: fr, Strict: true, CloseSend: r.next + 1})
	if err != nil {
		r.t.Fatal(err)
	}
	r.sent += frameCost(len(data))
	r.next += 2
	return closed
}

func TestTheLastMessageComesWithItsCloseSend(t *testing.T) {
	r := newBatchRig(t)
	if !r.last("last") {
		t.Fatal("the CloseSend is to come by itself")
	}
	if r.State() != ClientClosed || r.IsTerminated() {
		t.Errorf("the stream is %v", r.State())
	}
	r.recv("last")
	if _, err := r.RawRecv(); err != io.EOF {
		t.Errorf("got %v", err)
	}
	r.frame(drpcwire.KindCancel) // ids go on behind the CloseSend
	if err := r.Context().Err(); err != context.Canceled {
		t.Errorf("the context has ended by %v", err)
	}
	r.balanced(frameCost(4))
}

// On the side that has closed already, the message and the CloseSend end the stream.
func TestTheLastMessageEndsTheStreamWhereBothHaveClosed(t *testing.T) {
	for _, received := range []bool{true, false} {
		r := newBatchRig(t)
		if err := r.CloseSend(); err != nil {
			t.Fatal(err)
		}
		r.last("last")
		if !r.IsTerminated() || r.State() != Draining || r.Context().Err() != nil {
			t.Errorf("the stream is %v, its context %v", r.State(), r.Context().Err())
		}
		if received {
			r.recv("last")
			r.balanced(frameCost(4))
		} else {
			_ = r.Close()
			r.balanced(0)
		}
		if r.State() != Closed || r.Context().Err() != context.Canceled {
			t.Errorf("the stream is %v, its context %v", r.State(), r.Context().Err())
		}
	}
}

func TestTheCloseSendComesByItselfWhere(t *testing.T) {
	for name, before := range map[string]func(*batchRig){
		"the stream has ended":        func(r *batchRig) { r.Cancel(nil) },
		"the peer has closed already": func(r *batchRig) { r.frame(drpcwire.KindCloseSend) },
		"credit is not in force":      func(r *batchRig) { r.Stream.recv.limit.Store(0) },
		"the message is too large":    func(r *batchRig) { r.cfg.Limit = 1 },
	} {
		r := newBatchRig(t)
		before(r)
		if r.last("last") {
			t.Errorf("%s: it was handled", name)
		}
	}
	r := newBatchRig(t)
	r.Stream.recv.limit.Store(1)
	fr := drpcwire.Frame{ID: drpcwire.ID{Stream: 1, Message: 1}, Kind: drpcwire.KindMessage, Done: true}
	if _, err := r.HandleFrame(Arrival{Frame: fr, Strict: true, CloseSend: 2}); err == nil {
		t.Error("a message that there is no credit for was taken")
	}
}

// A receive that waits, the last message and the end of the stream at the same time.
func TestTheLastMessageBesideTheEnd(t *testing.T) {
	boom := errors.New("boom")
	for round := range 500 {
		r := newBatchRig(t)
		var wg sync.WaitGroup
		consumed := int64(0)
		wg.Go(func() {
			for range 2 {
				if got, err := r.RawRecv(); err == nil {
					consumed += frameCost(len(got))
				}
			}
		})
		wg.Go(func() { r.last(fmt.Sprint(round)) })
		wg.Go(func() {
			if round%2 == 0 {
				r.Cancel(boom)
			} else {
				_ = r.Return(nil)
			}
		})
		wg.Wait()
		r.balanced(consumed)
	}
}

// What the window of a stream has grown by is free once the last message has come, and
// goes to a stream that waits for it.
func TestTheLastMessageFreesBudgetForOthers(t *testing.T) {
	for name, end := range map[string]func(*batchRig){
		"with its CloseSend": func(r *batchRig) { r.last("last") },
		"one by one": func(r *batchRig) {
			r.frame(drpcwire.KindMessage)
			r.frame(drpcwire.KindCloseSend)
		},
	} {
		r := newBatchRig(t)
		total := r.budget.total
		if r.Stream.recv.flow.growth = r.budget.takeForWindow(0, total); r.Stream.recv.flow.growth == 0 {
			t.Fatal("the window has not grown")
		}
		var others [3]heldOwner
		for i, want := range []struct {
			n     int64
			given bool
		}{{total / 2, true}, {1, true}, {1, false}} { // the second exceeds the budget, the third waits
			others[i].flow = &inflow{budget: r.budget, owner: &others[i]}
			if r.budget.takeForMessage(others[i].flow, want.n) != want.given {
				t.Fatalf("%s: stream %d was given %d: %v", name, i, want.n, !want.given)
			}
		}
		end(r)
		if n := len(others[2].during); n != 1 {
			t.Errorf("%s: who waits was given budget %d times", name, n)
		}
	}
}
