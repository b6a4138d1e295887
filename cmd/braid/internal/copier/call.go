package copier

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"braid/cmd/braid/internal/wire"
)

// callPayload is the size of a question in bytes: that of a small request.
const callPayload = 64

// callAll makes calls until the copying is over.
func (r *run) callAll(ctx context.Context) {
	var callers sync.WaitGroup
	for i := range r.opts.Callers {
		callers.Go(func() {
			err := r.call(ctx, uint64(i))
			if err == nil || ctx.Err() != nil {
				return
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			if r.result.CallErr == nil {
				r.result.CallErr = fmt.Errorf("caller %d: %w", i, err)
			}
		})
	}
	callers.Wait()
}

// call makes one call after the other, each with a question that no other call
// has.
func (r *run) call(ctx context.Context, caller uint64) error {
	question := wire.Echo{Payload: make([]byte, callPayload)}
	binary.BigEndian.PutUint64(question.Payload, caller)
	least := uint64(max(r.opts.LeastCalls, 1))
	for n := uint64(1); n <= least || !r.over(); n++ {
		question.Number = n
		phase := r.phase.Load()
		begin := time.Now()
		if err := ask(ctx, r.calls.client, &question); err != nil {
			return err
		}
		took := time.Since(begin)
		r.calls.latency.Add(took)
		if phase != nil && phase == r.phase.Load() {
			phase.calls.Add(took)
		}
		r.opts.Count.Calls.Add(1)
	}
	return nil
}

// ask makes a call and compares the answer with the question.
func ask(ctx context.Context, client *wire.Client, question *wire.Echo) error {
	var answer wire.Echo
	if err := client.Echo(ctx, question, &answer); err != nil {
		return err
	}
	if answer.Number != question.Number || !bytes.Equal(answer.Payload, question.Payload) {
		return errors.New("the answer does not belong to the question")
	}
	return nil
}
