package faultproxy

import (
	"sync"
	"time"
)

// item is a piece of a direction, or its end.
type item struct {
	data []byte
	err  error     // why there is no more to read; data is nil then
	due  time.Time // when it has been on its way for long enough
}

// queue holds what is on its way. One goroutine puts, one takes.
type queue struct {
	limit int           // bytes; set once
	ready chan struct{} // has room for one: something was put
	room  chan struct{} // has room for one: something was taken

	mu    sync.Mutex
	items []item // guarded by mu, like size
	size  int    // bytes
}

func newQueue(limit int) *queue {
	return &queue{limit: limit, ready: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

// put adds an item once less than the limit is queued. It returns false if done
// is closed first.
func (q *queue) put(it item, done <-chan struct{}) bool {
	for !q.tryPut(it) {
		select {
		case <-q.room:
		case <-done:
			return false
		}
	}
	signal(q.ready)
	return true
}

func (q *queue) tryPut(it item) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.size >= q.limit {
		return false
	}
	q.items = append(q.items, it)
	q.size += len(it.data)
	return true
}

// take waits for an item and removes it. It returns false if done is closed
// first.
func (q *queue) take(done <-chan struct{}) (item, bool) {
	for {
		if it, ok := q.tryTake(); ok {
			signal(q.room)
			return it, true
		}
		select {
		case <-q.ready:
		case <-done:
			return item{}, false
		}
	}
}

func (q *queue) tryTake() (item, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.items) == 0 {
		return item{}, false
	}
	it := q.items[0]
	q.items[0] = item{}
	q.items = q.items[1:]
	q.size -= len(it.data)
	return it, true
}

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
