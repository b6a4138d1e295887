package simnet

import "sync"

// queue is a first-in, first-out queue. The zero value is empty.
type queue[T any] struct {
	items []T // from head on
	head  int
}

func (q *queue[T]) len() int  { return len(q.items) - q.head }
func (q *queue[T]) front() *T { return &q.items[q.head] }
func (q *queue[T]) back() *T  { return &q.items[len(q.items)-1] }

func (q *queue[T]) push(item T) {
	// Moving at most as many items as have left keeps push cheap.
	if len(q.items) == cap(q.items) && q.head > len(q.items)/2 {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, item)
}

func (q *queue[T]) pop() (item T) {
	item, *q.front() = *q.front(), item
	q.head++
	if q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
	}
	return item
}

// push adds bytes to those that arrive at the same time, or behind them.
func push(q *queue[parcel], p parcel) {
	if q.len() > 0 && q.back().at == p.at && !q.back().end {
		q.back().n += p.n
		return
	}
	q.push(p)
}

const blockSize = 16 << 10

var blockPool = sync.Pool{New: func() any { return new([blockSize]byte) }}

// bytesQueue holds bytes in blocks that go back to a pool as they are read.
// The zero value is empty.
type bytesQueue struct {
	blocks queue[*[blockSize]byte]
	head   int // read offset in the first block
	tail   int // write offset in the last block
}

func (b *bytesQueue) write(p []byte) {
	for len(p) > 0 {
		if b.blocks.len() == 0 || b.tail == blockSize {
			b.blocks.push(blockPool.Get().(*[blockSize]byte))
			b.tail = 0
		}
		n := copy((*b.blocks.back())[b.tail:], p)
		b.tail += n
		p = p[n:]
	}
}

// read fills p. There must be as many bytes.
func (b *bytesQueue) read(p []byte) {
	for len(p) > 0 {
		n := copy(p, (*b.blocks.front())[b.head:])
		p = p[n:]
		b.head += n
		last := b.blocks.len() == 1
		if b.head == blockSize || (last && b.head == b.tail) {
			blockPool.Put(b.blocks.pop())
			b.head = 0
		}
	}
}

// keep forgets all but the first n bytes. There must be as many bytes.
func (b *bytesQueue) keep(n int) {
	kept := make([]byte, n)
	b.read(kept)
	for b.blocks.len() > 0 {
		blockPool.Put(b.blocks.pop())
	}
	b.head, b.tail = 0, 0
	b.write(kept)
}
