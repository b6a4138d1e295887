// Package service is the server's side of the copy service.
package service

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"braid/cmd/braid/internal/store"
	"braid/cmd/braid/internal/wire"
)

// maxUploads is how many uploads may be open at once, over all connections.
// Each holds a file descriptor, and a thousand of those is what a process
// commonly gets. One more upload waits, unread, so that flow control holds its
// client back.
const maxUploads = 512

// Service stores files, answers questions and runs chat rooms. It serves any
// number of connections.
type Service struct {
	store *store.Store
	slots chan struct{} // one element for each open upload
	past  *ledger
	rooms *hub
	count Count
}

// Count is what a service has done so far. It can be read at any time.
type Count struct {
	Stored, StoredBytes atomic.Int64
	Canceled            atomic.Int64
	Refused             atomic.Int64
}

var _ wire.Server = (*Service)(nil)

// New returns a service that keeps files in a store.
func New(st *store.Store) *Service {
	return &Service{
		store: st,
		slots: make(chan struct{}, maxUploads),
		past:  newLedger(maxOutcomes),
		rooms: newHub(),
	}
}

// Count returns what the service has done so far.
func (s *Service) Count() *Count { return &s.count }

// Echo returns its argument.
func (s *Service) Echo(_ context.Context, in *wire.Echo) (*wire.Echo, error) { return in, nil }

// Await waits until an upload is over and says what became of it.
func (s *Service) Await(ctx context.Context, in *wire.UploadID) (*wire.Outcome, error) {
	entry, ok := s.past.find(*in)
	if !ok {
		return nil, wire.WithCode(fmt.Errorf("upload %x is not known here", *in), wire.NotFound)
	}
	select {
	case <-entry.over:
		out := entry.outcome
		return &out, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// coded gives the errors of a store the codes of the protocol.
func coded(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrPath):
		return wire.WithCode(err, wire.BadPath)
	case errors.Is(err, store.ErrExists):
		return wire.WithCode(err, wire.Exists)
	case errors.Is(err, store.ErrMismatch):
		return wire.WithCode(err, wire.BadSum)
	}
	return wire.WithCode(fmt.Errorf("the server cannot store the file: %w", err), wire.StorageFailed)
}
