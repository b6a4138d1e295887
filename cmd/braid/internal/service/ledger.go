package service

import (
	"sync"

	"braid/cmd/braid/internal/wire"
)

// maxOutcomes is how many uploads that are over are remembered. A client that
// wants to know asks at once, so that a few times the streams of a connection
// are plenty; at under 200 bytes each they take less than a megabyte.
const maxOutcomes = 4096

// ledger remembers what became of uploads.
type ledger struct {
	mu      sync.Mutex
	entries map[wire.UploadID]*entry
	ring    []wire.UploadID // those that are over, as many as there are so far
	next    int             // where in the ring the next one goes
	size    int             // how long the ring gets
}

// entry is one upload.
type entry struct {
	id      wire.UploadID
	over    chan struct{} // closed when the upload is over
	outcome wire.Outcome  // set before over is closed
}

func newLedger(size int) *ledger {
	return &ledger{entries: make(map[wire.UploadID]*entry), size: size}
}

// open enters an upload that begins. It fails if the identifier is taken.
func (l *ledger) open(id wire.UploadID) (*entry, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, taken := l.entries[id]; taken {
		return nil, false
	}
	e := &entry{id: id, over: make(chan struct{})}
	l.entries[id] = e
	return e, true
}

// close enters what became of an upload, and forgets the oldest one if there
// are too many.
func (l *ledger) close(e *entry, o wire.Outcome) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.outcome = o
	close(e.over)
	if len(l.ring) < l.size {
		l.ring = append(l.ring, e.id)
		return
	}
	delete(l.entries, l.ring[l.next])
	l.ring[l.next] = e.id
	l.next = (l.next + 1) % l.size
}

// find returns an upload that is under way, or was not long ago.
func (l *ledger) find(id wire.UploadID) (*entry, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.entries[id]
	return e, ok
}
