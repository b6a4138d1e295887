package drpcstream

import (
	"errors"
	"sync"

	"braid/drpcwire"
)

const (
	// ringMinSlots is what the first message allocates; ringMaxSlots is the
	// most messages that wait on one stream. Both are powers of two.
	ringMinSlots = 2
	ringMaxSlots = 4096

	// ringMaxBytes is the most data that waits on one stream. A message larger
	// than this is taken when nothing else is waiting.
	ringMaxBytes = 1 << 20

	// ringMaxSpare is the most storage that a stream keeps for messages to come.
	ringMaxSpare = 64 << 10
)

// errInterrupted is returned by acquire when its done channel ended the wait.
var errInterrupted = errors.New("interrupted")

// ring is the queue of messages that have arrived on a stream: bounded, with
// one producer (the connection's reader) and one consumer (whoever holds the
// stream's read lock).
//
// The consumer takes a message in two steps: acquire lends it the storage of
// the first slot, release gives it back, so that a message is decoded where it
// lies. Storage circulates: push returns what was released before.
type ring struct {
	keep int // Options.MaximumBufferSize

	mu    sync.Mutex
	slots [][]byte // guarded by mu, like all below; length is a power of two
	head  uint32   // next to receive; slot number modulo len(slots)
	tail  uint32   // next to fill
	bytes int      // data in slots[head:tail]
	held  bool     // slots[head] is lent to the consumer
	err   error    // what follows the queue; nil while more may come

	spare      [][]byte // released storage, the last one first to be used
	spareBytes int      // sum of its capacities

	// What slots and spare begin with: a short call needs no more.
	firstSlots [ringMinSlots][]byte
	firstSpare [1][]byte

	// Each side parks on a channel of capacity one, made when first needed. The
	// flag says that a token is owed; it is cleared by who sends the token.
	reading bool
	filling bool
	arrived chan struct{} // for the consumer
	room    chan struct{} // for the producer
}

// push appends a message and returns storage for the next one. It blocks while
// the queue is full. After close the message is dropped and its own storage
// returned.
func (r *ring) push(msg []byte) (storage []byte) {
	r.mu.Lock()
	for r.err == nil && r.fullLocked(len(msg)) {
		r.filling = true
		if r.room == nil {
			r.room = make(chan struct{}, 1)
		}
		r.mu.Unlock()
		<-r.room
		r.mu.Lock()
	}
	if r.err != nil {
		r.mu.Unlock()
		return msg
	}
	if r.lenLocked() == len(r.slots) {
		r.growLocked()
	}
	r.slots[r.tail&uint32(len(r.slots)-1)] = msg
	r.tail++
	r.bytes += len(msg)
	if n := len(r.spare) - 1; n >= 0 {
		storage = r.spare[n]
		r.spare[n] = nil
		r.spare = r.spare[:n]
		r.spareBytes -= cap(storage)
	}
	r.wakeReaderLocked()
	r.mu.Unlock()
	return storage
}

func (r *ring) lenLocked() int { return int(r.tail - r.head) }

func (r *ring) fullLocked(n int) bool {
	waiting := r.lenLocked()
	return waiting >= ringMaxSlots || waiting > 0 && r.bytes+n > ringMaxBytes
}

func (r *ring) growLocked() {
	if r.slots == nil {
		r.slots = r.firstSlots[:]
		return
	}
	slots := make([][]byte, 2*len(r.slots))
	for i := r.head; i != r.tail; i++ {
		slots[i&uint32(len(slots)-1)] = r.slots[i&uint32(len(r.slots)-1)]
	}
	r.slots = slots
	clear(r.firstSlots[:]) // so that nothing is kept by what is not used any more
}

// acquire returns the first message and lends its storage until release. It
// waits for one to arrive; when the queue is empty and closed it returns the
// error of close; when done is closed first, errInterrupted.
func (r *ring) acquire(done <-chan struct{}) ([]byte, error) {
	r.mu.Lock()
	for {
		if r.head != r.tail {
			r.held = true
			msg := r.slots[r.head&uint32(len(r.slots)-1)]
			r.mu.Unlock()
			return msg, nil
		}
		if r.err != nil {
			err := r.err
			r.mu.Unlock()
			return nil, err
		}
		r.reading = true
		if r.arrived == nil {
			r.arrived = make(chan struct{}, 1)
		}
		r.mu.Unlock()
		select {
		case <-r.arrived:
			r.mu.Lock()
		case <-done:
			r.mu.Lock()
			if !r.reading { // the token was sent meanwhile: take it back
				<-r.arrived
			}
			r.reading = false
			r.mu.Unlock()
			return nil, errInterrupted
		}
	}
}

// release gives back what acquire has lent. It reports whether the queue is now
// closed and empty.
func (r *ring) release() (drained bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held = false
	slot := &r.slots[r.head&uint32(len(r.slots)-1)]
	r.bytes -= len(*slot)
	r.recycleLocked(*slot)
	*slot = nil
	r.head++
	if r.filling {
		r.filling = false
		r.room <- struct{}{}
	}
	return r.err != nil && r.head == r.tail
}

// recycleLocked keeps storage for a message to come, or shares it with the other
// streams if it is large.
func (r *ring) recycleLocked(storage []byte) {
	n := cap(storage)
	switch {
	case n == 0 || r.keep > 0 && n > r.keep:
	case r.spareBytes+n <= ringMaxSpare:
		if r.spare == nil {
			r.spare = r.firstSpare[:0]
		}
		r.spare = append(r.spare, storage)
		if len(r.spare) > len(r.firstSpare) {
			clear(r.firstSpare[:])
		}
		r.spareBytes += n
	default:
		drpcwire.Release(storage)
	}
}

// close makes err follow what is queued, unless something does already. It
// reports whether nothing is queued or lent.
func (r *ring) close(err error) (drained bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closeLocked(err)
	return r.head == r.tail
}

// discard drops what is queued, except for a message that is lent, and makes
// err follow in place of whatever was to follow.
func (r *ring) discard(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = nil
	r.closeLocked(err)
	keep := r.head
	if r.held {
		keep++
	}
	for ; r.tail != keep; r.tail-- {
		slot := &r.slots[(r.tail-1)&uint32(len(r.slots)-1)]
		r.bytes -= len(*slot)
		*slot = nil
	}
}

func (r *ring) closeLocked(err error) {
	if r.err == nil {
		r.err = err
	}
	r.wakeReaderLocked()
	if r.filling {
		r.filling = false
		r.room <- struct{}{}
	}
}

func (r *ring) wakeReaderLocked() {
	if r.reading {
		r.reading = false
		r.arrived <- struct{}{}
	}
}
