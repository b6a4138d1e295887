package drpcstream

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"braid/drpcwire"
)

const (
	// ringMinSlots is what the first message takes, a power of two.
	ringMinSlots = 1

	// Without flow control, ringMaxSlots is the most messages that wait on one
	// stream, and ringMaxBytes the most data. A message larger than this is
	// taken when nothing else is waiting.
	ringMaxSlots = 4096
	ringMaxBytes = 1 << 20
)

// errInterrupted is returned by acquire when its done channel ended the wait.
var errInterrupted = errors.New("interrupted")

// ring is the queue of messages that have arrived on a stream: with one producer
// (the connection's reader) and one consumer (whoever holds the stream's read
// lock). It is bounded by the credit that the sender has (inflow); where there is
// none, the producer waits while it is full.
//
// The consumer takes a message in two steps: acquire lends it the storage of
// the first slot, release gives it back, so that a message is decoded where it
// lies; a slot with several messages stays lent until the last of them is
// released. Storage circulates: push returns what was released before.
type ring struct {
	received atomic.Int64 // credit that the sender has used; added to by the producer only
	limit    atomic.Int64 // credit that it was given; 0: credit is not in force

	rest []byte // what is left of the batch that is lent to the consumer, which owns it

	keep      int32       // Options.MaximumBufferSize
	abandoned atomic.Bool // a batch is lent of which the rest is to be dropped; set with mu held

	mu    sync.Mutex
	slots []slot // guarded by mu, like all below; length is a power of two
	head  uint32 // next to receive; slot number modulo len(slots)
	tail  uint32 // next to fill
	bytes int    // data in slots[head:tail], headers of batches included
	err   error  // what follows the queue; nil while more may come
	flow  inflow

	dropped int64 // of what flow has consumed, what was thrown away

	// Released storage: spare is the first to be used. After close that is storage of up
	// to keptStorage bytes for the next call; see Release.
	spare  []byte
	spares *spares // besides spare; nil if there were none

	firstSlots [ringMinSlots]slot // what slots begin with: a short call needs no more

	// Each side parks on a channel of capacity one, made when first needed. The
	// flag says that a token is owed; it is cleared by who sends the token.
	arrived chan struct{} // for the consumer
	room    chan struct{} // for the producer
	reading bool
	filling bool

	held    bool // slots[head] is lent to the consumer
	settled bool // the books of the stream are closed
}

// slot is what the queue has in one place: a message or, if batch is not zero, several
// as the frames of a drpcwire.Batch, which cost as much.
type slot struct {
	data  []byte
	batch int64
}

// cost returns the credit that is free again when the slot is.
func (s *slot) cost() int64 {
	if s.batch > 0 {
		return s.batch
	}
	return frameCost(len(s.data))
}

// arrival is what the ring has to know of a frame of a message. A frame that is
// read in pieces arrives with the first one, as far as credit is concerned.
type arrival struct {
	cost      int64 // in credit; 0 for the further pieces of a frame
	newPacket bool  // the first frame of a message
}

// part takes note of a frame after which its message is still incomplete.
func (r *ring) part(a arrival) {
	r.mu.Lock()
	r.arriveLocked(a)
	r.flow.partial += a.cost
	if !a.newPacket {
		r.flow.partial -= drpcwire.FrameCost
	}
	if r.err != nil {
		r.dropPartLocked()
	}
	if r.reading {
		r.extendLocked()
	}
	r.mu.Unlock()
}

// arriveLocked books the credit of a frame. What the further frames of a message
// cost besides their data is consumed at once.
func (r *ring) arriveLocked(a arrival) {
	if a.cost == 0 {
		return
	}
	r.received.Add(a.cost)
	if r.flow.closed { // it is dropped, and not taken for what is still held
		r.flow.granted += a.cost
	}
	if r.settled {
		r.flow.budget.Add(Totals{Received: a.cost})
	}
	if !a.newPacket {
		r.consumeLocked(drpcwire.FrameCost)
		if r.settled {
			r.flow.budget.Add(Totals{Consumed: drpcwire.FrameCost})
		}
	}
}

// abandon drops the message that is incomplete.
func (r *ring) abandon() {
	r.mu.Lock()
	r.dropPartLocked()
	r.mu.Unlock()
}

func (r *ring) dropPartLocked() {
	n := r.flow.partial
	r.flow.partial = 0
	r.dropLocked(n)
}

// dropLocked notes that n bytes of credit were thrown away.
func (r *ring) dropLocked(n int64) {
	if n == 0 {
		return
	}
	r.dropped += n
	r.consumeLocked(n)
	if r.settled {
		r.flow.budget.Add(Totals{Dropped: n})
	}
}

// push appends a message, whose last frame is a, and returns storage for the next
// one. Without flow control it blocks while the queue is full, and reports false if
// that takes longer than the owner has patience. After close the message is dropped. Where the
// message was not taken, its own storage is returned.
func (r *ring) push(msg []byte, a arrival) (storage []byte, ok bool) {
	r.mu.Lock()
	wait := queueWait{owner: r.flow.owner}
	defer wait.stop()
	for r.err == nil && r.fullLocked(len(msg)) {
		if !r.waitForRoomLocked(&wait) {
			r.mu.Unlock()
			return msg, false
		}
	}
	r.arriveLocked(a)
	if r.err != nil { // what came of the message before the end was dropped by that
		n := r.flow.partial + a.cost
		if a.cost > 0 && !a.newPacket {
			n -= drpcwire.FrameCost
		}
		r.flow.partial = 0
		r.dropLocked(n)
		r.mu.Unlock()
		return msg, true
	}
	r.flow.partial = 0
	storage = r.addMessageLocked(msg)
	r.mu.Unlock()
	return storage, true
}

// pushLast is push for a message in one frame that there is credit for, with which the
// queue is closed by io.EOF.
func (r *ring) pushLast(msg []byte, cost int64) (storage []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.arriveLocked(arrival{cost: cost, newPacket: true})
	if r.err != nil {
		r.dropLocked(cost)
		return msg
	}
	storage = r.addMessageLocked(msg)
	r.closeLocked(io.EOF)
	return storage
}

// addMessageLocked puts a message at the end of the queue, and returns storage for the
// next one.
func (r *ring) addMessageLocked(msg []byte) (storage []byte) {
	switch large := cap(msg) > ringMaxSpare; {
	case int64(cap(msg)) <= 2*frameCost(len(msg)) || r.reading && !large:
		storage = r.takeSpareLocked()
	case large: // it was made ahead, for a larger one
		ahead := msg
		msg = append(drpcwire.Grow(nil, len(msg)), msg...)
		drpcwire.Release(ahead)
	default: // it would wait in far more storage than its sender has paid for
		storage, msg = msg, append([]byte(nil), msg...)
	}
	r.addLocked(slot{data: msg})
	return storage
}

// addLocked puts a slot at the end of the queue.
func (r *ring) addLocked(s slot) {
	if r.lenLocked() == len(r.slots) {
		r.growLocked()
	}
	*r.slotLocked(r.tail) = s
	r.tail++
	r.bytes += len(s.data)
	r.wakeReaderLocked()
}

// slotLocked returns the slot of this number.
func (r *ring) slotLocked(i uint32) *slot { return &r.slots[i&uint32(len(r.slots)-1)] }

// queueWait is the producer's waiting for one frame.
type queueWait struct {
	owner flowOwner   // says how long; nil: without end
	timer *time.Timer // made when it has to wait
}

func (w *queueWait) expired() <-chan time.Time {
	if w.timer == nil && w.owner != nil {
		if patience := w.owner.patience(); patience > 0 {
			w.timer = time.NewTimer(patience)
		}
	}
	if w.timer == nil {
		return nil
	}
	return w.timer.C
}

func (w *queueWait) stop() {
	if w.timer != nil {
		w.timer.Stop()
	}
}

// waitForRoomLocked parks the producer until a message was received, the ring was
// closed, or its patience is at its end, which it reports by false.
func (r *ring) waitForRoomLocked(wait *queueWait) (ok bool) {
	r.filling = true
	if r.room == nil {
		r.room = make(chan struct{}, 1)
	}
	r.mu.Unlock()
	ok = true
	select {
	case <-r.room:
	case <-wait.expired():
		ok = false
	}
	r.mu.Lock()
	if !ok {
		if !r.filling { // the token was sent meanwhile: take it back
			<-r.room
		}
		r.filling = false
	}
	return ok
}

// covers reports whether the sender has credit for a frame or, where credit is not in
// force, certainly needs none.
func (r *ring) covers(cost int64) bool {
	limit := r.limit.Load()
	if limit == 0 {
		limit = freeWithoutCredit
	}
	return r.received.Load()+cost <= limit
}

// owe takes over what the sender uses without having credit for it. While the
// connection's budget has no room for that, it blocks as long as there is something
// to be received first, but not for longer than the owner has patience. Then it
// reports false.
func (r *ring) owe(cost int64) (ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	wait := queueWait{owner: r.flow.owner}
	defer wait.stop()
	for r.err == nil && !r.flow.owe(r.received.Load()+cost, r.head != r.tail) {
		if r.head == r.tail || !r.waitForRoomLocked(&wait) {
			return false
		}
	}
	return true
}

// startFlow puts credit in force, with this initial window. What has arrived
// before counts.
func (r *ring) startFlow(initial int64) {
	r.mu.Lock()
	if initial > 0 && r.flow.initial == 0 && r.err == nil {
		r.flow.start(initial, r.received.Load())
		r.limit.Store(r.flow.granted)
		if r.received.Load() > 0 { // otherwise nothing can be due
			r.consumeLocked(0)
			if r.reading { // the sender may have had no credit to begin with
				r.extendLocked()
			}
		}
	}
	r.mu.Unlock()
}

// consumeLocked notes that n bytes of credit are free again, and grants them when
// it is time to.
func (r *ring) consumeLocked(n int64) { r.grantLocked(r.flow.consume(n)) }

func (r *ring) grantLocked(n int64) {
	if n > 0 {
		r.limit.Store(r.flow.granted)
		r.flow.owner.grant(n)
	}
}

// granted reports whether credit was granted after the initial window.
func (r *ring) granted() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.limit.Load() > r.flow.initial
}

// extendLocked makes room for the message that the consumer waits for. It reports
// false where that has to wait for others to give back budget.
func (r *ring) extendLocked() (ok bool) {
	if r.head != r.tail {
		return true
	}
	n, ok := r.flow.extend()
	r.grantLocked(n)
	return ok
}

// extend is extendLocked for the budget, when it has got room.
func (r *ring) extend() (ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.reading && !r.extendLocked() {
		return false
	}
	r.flow.budget.served(&r.flow)
	return true
}

func (r *ring) lenLocked() int { return int(r.tail - r.head) }

func (r *ring) fullLocked(n int) bool {
	if r.flow.initial > 0 {
		return false
	}
	waiting := r.lenLocked()
	return waiting >= ringMaxSlots || waiting > 0 && r.bytes+n > ringMaxBytes
}

func (r *ring) growLocked() {
	if r.slots == nil {
		r.slots = r.firstSlots[:]
		return
	}
	slots := make([]slot, 2*len(r.slots))
	for i := r.head; i != r.tail; i++ {
		slots[i&uint32(len(slots)-1)] = *r.slotLocked(i)
	}
	r.slots = slots
	clear(r.firstSlots[:]) // so that nothing is kept by what is not used any more
}

// acquire returns the first message and lends its storage until release. It
// waits for one to arrive; when the queue is empty and closed it returns the
// error of close.
func (r *ring) acquire() ([]byte, error) {
	for {
		if msg, err, ok := r.tryAcquire(); ok {
			return msg, err
		}
		<-r.arrived // a select of one costs twice as much, in time and on the stack
	}
}

// acquireBefore is acquire for a wait that may end before a message arrives: when done is
// closed first, by errInterrupted; when it has waited for timeout, if that is not zero, by
// ErrTimeout.
func (r *ring) acquireBefore(done <-chan struct{}, timeout time.Duration) ([]byte, error) {
	var expired <-chan time.Time
	for {
		if msg, err, ok := r.tryAcquire(); ok {
			return msg, err
		}
		if timeout > 0 && expired == nil {
			timer := time.NewTimer(timeout)
			defer timer.Stop()
			expired = timer.C
		}
		select {
		case <-r.arrived:
		case <-done:
			r.stopReading()
			return nil, errInterrupted
		case <-expired:
			r.stopReading()
			return nil, ErrTimeout
		}
	}
}

// tryAcquire is acquire where nobody has to wait. It reports false if one has to: then a
// token is owed to the consumer, who must receive it or call stopReading.
func (r *ring) tryAcquire() (msg []byte, err error, ok bool) { //nolint:revive // ok is about both
	r.mu.Lock()
	r.dropRestLocked()
	switch {
	case r.head != r.tail:
		msg, ok = r.lendLocked(), true
	case r.err != nil:
		err, ok = r.err, true
	default:
		r.reading = true
		r.extendLocked()
		if r.arrived == nil {
			r.arrived = make(chan struct{}, 1)
		}
	}
	r.mu.Unlock()
	if !ok && r.flow.budget != nil { // the window may have given back some of its growth
		r.flow.budget.passOn()
	}
	return msg, err, ok
}

// stopReading ends the wait of the consumer, who has not received the token.
func (r *ring) stopReading() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.reading { // it was sent meanwhile: take it back
		<-r.arrived
	}
	r.reading = false
}

// lendLocked returns the first message of the queue, to be released.
func (r *ring) lendLocked() (msg []byte) {
	r.held = true
	first := r.slotLocked(r.head)
	if msg = first.data; first.batch > 0 {
		msg, r.rest = drpcwire.NextMessage(msg)
	}
	return msg
}

// release gives back what acquire has lent. It reports whether the queue is now
// closed and empty. The credit of a batch is free again after its last message.
func (r *ring) release() (drained bool) {
	if len(r.rest) > 0 {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	cost := r.slotLocked(r.head).cost()
	r.freeFirstLocked()
	r.consumeLocked(cost)
	if r.settled {
		r.flow.budget.Add(Totals{Consumed: cost})
	}
	if r.filling {
		r.filling = false
		r.room <- struct{}{}
	}
	return r.err != nil && r.head == r.tail
}

// freeFirstLocked ends the loan of the first slot.
func (r *ring) freeFirstLocked() {
	first := r.slotLocked(r.head)
	r.bytes -= len(first.data)
	r.recycleLocked(first.data)
	*first = slot{}
	r.rest = nil
	r.head++
	r.held = false
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
// err follow in place of whatever was to follow. The rest of a batch that is lent is
// for the consumer to drop, which abandoned tells, or for who acts in its place.
func (r *ring) discard(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = nil
	r.closeLocked(err)
	keep := r.head
	if r.held {
		r.abandoned.Store(r.slotLocked(keep).batch > 0)
		keep++
	}
	for ; r.tail != keep; r.tail-- {
		last := r.slotLocked(r.tail - 1)
		r.bytes -= len(last.data)
		r.dropLocked(last.cost())
		*last = slot{}
	}
}

func (r *ring) closeLocked(err error) {
	if r.err == nil {
		r.err = err
		r.flow.close(r.received.Load())
		r.dropPartLocked()
		if cap(r.spare) > keptStorage {
			r.spare = nil
		}
		r.spares = nil // for messages that will not come
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

// settle closes the books of a stream that is over, and returns them. What is
// released or dropped after it is added to the totals one by one.
func (r *ring) settle() (t Totals) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.settled || r.flow.budget == nil {
		return Totals{}
	}
	r.settled = true
	r.dropPartLocked()
	return Totals{Received: r.received.Load(), Consumed: r.flow.consumed - r.dropped, Dropped: r.dropped}
}
