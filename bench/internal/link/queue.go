package link

import (
	"sync"
	"time"
)

// piece is some bytes and the time at which the other end gets them.
type piece struct {
	data []byte
	due  time.Time
}

// queue holds the bytes that are on their way in one direction. Its number of
// bytes is bounded, as a receive window bounds what a real link carries.
type queue struct {
	limit int // bytes

	mu      sync.Mutex
	changed sync.Cond
	pieces  []piece // guarded by mu
	bytes   int     // in pieces; guarded by mu
	ended   bool    // nothing is pushed any more; guarded by mu
	dropped bool    // nothing is popped any more; guarded by mu
}

func newQueue(limit int) *queue {
	q := &queue{limit: limit}
	q.changed.L = &q.mu
	return q
}

// push adds a piece, once what is queued already leaves room for it, or when
// nothing is queued. It returns false if nobody will pop it.
func (q *queue) push(p piece) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.bytes > 0 && q.bytes+len(p.data) > q.limit && !q.dropped {
		q.changed.Wait()
	}
	if q.dropped {
		return false
	}
	q.pieces = append(q.pieces, p)
	q.bytes += len(p.data)
	q.changed.Broadcast()
	return true
}

// pop takes the next piece, and waits for one if there is none. It returns
// false when all was taken and nothing more will come.
func (q *queue) pop() (piece, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.pieces) == 0 && !q.ended {
		q.changed.Wait()
	}
	if len(q.pieces) == 0 {
		return piece{}, false
	}
	p := q.pieces[0]
	q.pieces[0] = piece{}
	q.pieces = q.pieces[1:]
	q.bytes -= len(p.data)
	q.changed.Broadcast()
	return p, true
}

// end says that nothing will be pushed any more. What is queued can be popped.
func (q *queue) end() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ended = true
	q.changed.Broadcast()
}

// drop says that nothing will be popped any more, which unblocks push.
func (q *queue) drop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.dropped = true
	q.changed.Broadcast()
}
