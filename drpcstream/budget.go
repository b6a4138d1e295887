package drpcstream

import (
	"container/list"
	"sync"
	"sync/atomic"
)

// Budget is what the windows of a connection's streams may grow by together,
// beyond the initial window that each of them has. All methods may be called
// concurrently.
//
// A window that grows because its application keeps up is given at most as much
// as then remains free (the "dynamic threshold" of Choudhury and Hahne, IEEE/ACM
// Transactions on Networking 6(2), 1998): one stream may have half of the budget,
// two a third each, and there is always something left for one more. One that has
// more than its share, because others have come, gives back as it is consumed.
//
// Windows that grow because a message is larger come first come first served. When
// the budget is used up, one stream, the head, may exceed it by one message, so
// that this message completes and its budget returns: no two large messages can
// hold each other up. The most that is ever in use is the budget and one message
// of the largest size.
type Budget struct {
	total     int64
	maxWindow int64

	used atomic.Int64 // changed with mu held, except for being reduced

	mu      sync.Mutex
	head    *inflow                   // may exceed the total; guarded by mu, like all below
	waiting list.List                 // of *inflow, longest first
	places  map[*inflow]*list.Element // where they are in waiting

	queued atomic.Int32 // length of waiting

	totals Totals // guarded by mu
}

// NewBudget returns a budget of total bytes, for windows of at most maxWindow.
func NewBudget(total, maxWindow int64) *Budget {
	return &Budget{total: total, maxWindow: maxWindow, places: make(map[*inflow]*list.Element)}
}

// Used returns how much of the budget is in use, in bytes of credit.
func (b *Budget) Used() int64 { return b.used.Load() }

// Totals are the sums over the streams of a connection that are finished, in
// credit. What a stream has received is either consumed or dropped in the end, and
// what one end has sent the other has received, or it came late.
type Totals struct {
	Sent     int64 // spent by this end's senders, also for what was gathered and never left
	Received int64 // arrived while the stream was live
	Consumed int64 // handed to the application
	Dropped  int64 // thrown away with the stream, or abandoned by the sender
	Late     int64 // arrived when the stream was not live any more
}

// Totals returns the sums so far.
func (b *Budget) Totals() Totals {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.totals
}

// Add adds to the totals.
func (b *Budget) Add(t Totals) {
	if t == (Totals{}) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.totals.Sent += t.Sent
	b.totals.Received += t.Received
	b.totals.Consumed += t.Consumed
	b.totals.Dropped += t.Dropped
	b.totals.Late += t.Late
}

// give returns n bytes. The caller calls passOn once it holds no queue's lock.
func (b *Budget) give(n int64) {
	if n != 0 {
		b.used.Add(-n)
	}
}

// passOn gives what has been returned to the streams that wait for it.
func (b *Budget) passOn() {
	for more := true; more; {
		f := b.next()
		if f == nil {
			return
		}
		owner := f.owner
		more = owner.extendWindow()
		owner.Release()
	}
}

// allowance is how much a window may have grown by, given that it has grown by
// this much already.
func (b *Budget) allowance(growth int64) int64 {
	return max((b.total-b.used.Load()+growth)/2, 0)
}

// takeForWindow gives up to n bytes to a window that has grown by this much.
func (b *Budget) takeForWindow(growth, n int64) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n = min(n, b.allowance(growth)-growth); n <= 0 || b.waiting.Len() > 0 {
		return 0
	}
	b.used.Add(n)
	return n
}

// takeForDebt gives n bytes or nothing. Where there are not as many, f may become the
// head, if it asks for that.
func (b *Budget) takeForDebt(f *inflow, n int64, head bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.used.Load()+n <= b.total:
	case head && (b.head == nil || b.head == f):
		b.head, f.contended = f, true
	default:
		return false
	}
	b.used.Add(n)
	return true
}

// takeForMessage gives n bytes, or puts f in the line of those that wait for them.
func (b *Budget) takeForMessage(f *inflow, n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	place := b.places[f]
	inTurn := b.waiting.Len() == 0 || b.waiting.Front() == place
	switch {
	case b.head == f:
	case inTurn && b.used.Load()+n <= b.total:
	case inTurn && b.head == nil:
		b.head, f.contended = f, true
	default:
		if place != nil {
			return false
		}
		f.contended = true
		b.places[f] = b.waiting.PushBack(f)
		b.queued.Add(1)
		// Who gives back looks at queued after that. If it came before, the
		// bytes are there now.
		if !inTurn || b.used.Load()+n > b.total {
			return false
		}
	}
	b.removeLocked(f)
	b.used.Add(n)
	return true
}

// leave ends what f may have exceeded the total for, and its waiting.
func (b *Budget) leave(f *inflow) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.head == f {
		b.head = nil
	}
	b.removeLocked(f)
}

// served takes f out of the line.
func (b *Budget) served(f *inflow) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.removeLocked(f)
}

func (b *Budget) removeLocked(f *inflow) {
	if place := b.places[f]; place != nil {
		b.waiting.Remove(place)
		delete(b.places, f)
		b.queued.Add(-1)
	}
}

// next returns who has waited for the longest, if there may be budget for it. Its owner
// is to be released: who waits here is in somebody's hands, but need not stay there.
func (b *Budget) next() *inflow {
	if b.queued.Load() == 0 {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	first := b.waiting.Front()
	if first == nil || b.head != nil && b.used.Load() >= b.total {
		return nil
	}
	f := first.Value.(*inflow)
	f.owner.Retain()
	return f
}
