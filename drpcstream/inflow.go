package drpcstream

import (
	"time"

	"braid/drpcwire"
)

// inflow is the receiving side of a stream's flow control: how much the sender
// may send, and when it is told. It holds no lock, knows no clock and does no
// I/O; the ring that it is part of guards it. docs/limits.md, "Credit", has the
// rules.
//
// All amounts are credit: a frame of kind Message costs its data and
// drpcwire.FrameCost. What is held of a message costs its data and FrameCost once,
// so that what the further frames of a message cost is consumed as they come.
//
// The promise to the rest of the process is
//
//	granted - consumed <= initial + growth + extra
//
// where growth and extra are charged to the connection's budget. As long as the
// sender keeps to its credit, what is held is never more than that.
type inflow struct {
	budget *Budget
	owner  flowOwner

	initial  int64 // the window that every stream has; 0: credit is not in force
	growth   int64 // what the window has grown by, because the application keeps up
	extra    int64 // what it has grown by for a message that is larger
	granted  int64 // all credit that was ever given
	consumed int64 // all credit that was received or dropped by the application
	partial  int64 // held of the message that is still incomplete

	// What the sender has used without having credit for it: before it knew that it
	// had any, beyond what it then has; and where credit is not in force, beyond
	// freeWithoutCredit. It is charged to the budget until it is consumed.
	debt int64

	closed    bool // the sender is done: nothing more is granted
	contended bool // it may be the budget's head, or wait in its line

	// How fast the application takes what arrives is measured over epochs of at
	// least half a window. What it waits for counts as taken as it arrives.
	reached    int64         // all credit that was consumed, or arrived for who waits
	epochBase  int64         // reached when the epoch began
	epochStart time.Duration // 0: there was none
}

// window is what the sender may have outstanding, but for a large message.
func (f *inflow) window() int64 { return f.initial + f.growth }

// threshold is how much is granted at once, at least. A sender that has used its
// credit up is given more only when a quarter of the window was consumed, so there
// is one grant for many messages; and it can send the next piece with what is left
// (outflow.piece), so nobody waits for the last of the window.
func (f *inflow) threshold() int64 { return f.window() / 4 }

// consume notes that n of what was held is gone. It returns the credit to give
// to the sender now, if it is time for that.
func (f *inflow) consume(n int64) (grant int64) {
	f.consumed += n
	if f.initial == 0 {
		f.payDebt(n)
		return 0
	}
	f.giveBackExtra()
	if f.closed {
		return 0
	}
	f.tune(f.consumed)
	if f.consumed+f.window()-f.granted < f.threshold() {
		return 0
	}
	return f.grant(f.consumed + f.window() - f.granted)
}

// grant notes that n more credit is given.
func (f *inflow) grant(n int64) int64 {
	if n <= 0 {
		return 0
	}
	f.granted += n
	f.payDebt(n)
	return n
}

// payDebt returns up to n bytes of the debt to the budget.
func (f *inflow) payDebt(n int64) {
	if f.debt == 0 || n <= 0 {
		return
	}
	paid := min(f.debt, n)
	f.debt -= paid
	f.budget.give(paid)
	f.leave()
}

// giveBackExtra returns to the budget what the promise does not need any more of
// what a large message was given.
func (f *inflow) giveBackExtra() {
	if f.extra == 0 {
		return
	}
	if need := max(f.granted-f.consumed-f.window(), 0); need < f.extra {
		f.budget.give(f.extra - need)
		f.extra = need
	}
	f.leave()
}

// leave lets others have the place at the head of the budget, or in its line, once
// there is no message that it was for.
func (f *inflow) leave() {
	if f.extra == 0 && f.debt == 0 && f.contended {
		f.contended = false
		f.budget.leave(f)
	}
}

// extend is called while the application waits for a message and nothing else is
// queued: the sender needs credit for the rest of the message that is incomplete,
// however large, or nobody would ever get on. It returns the credit to give. It
// reports false if there is no budget for that now: then the budget calls its
// owner when there may be.
func (f *inflow) extend() (grant int64, ok bool) {
	if f.initial == 0 || f.partial == 0 || f.closed {
		return 0, true
	}
	f.tune(f.consumed + f.partial)
	grant = f.consumed + f.partial + f.window() - f.granted
	if grant < f.threshold() {
		return 0, true
	}
	if more := f.partial - f.extra; more > 0 {
		if !f.budget.takeForMessage(f, more) {
			return 0, false
		}
		f.extra = f.partial
	}
	return f.grant(grant), true
}

// flowOwner is the stream that an inflow belongs to.
type flowOwner interface {
	// grant sends credit to the sender. It does not block.
	grant(n int64)

	// extendWindow is called when there may be budget for the message that the
	// stream waits for, with no lock of a stream's queue held. It reports
	// whether the stream needs no more, for now.
	extendWindow() bool

	// Retain and Release are those of Stream.
	Retain()
	Release()

	// patience is how long the connection's reader waits for room in the queue of
	// a stream without credit; zero means without end.
	patience() time.Duration

	// now returns the time since some moment, and that which a round trip takes; zero
	// if that is not known.
	now() (now, roundTrip time.Duration)
}

const (
	// minRoundTrip is what a round trip is taken for at least. On a fast link
	// it is not the network that delays a grant but the scheduler and the
	// garbage collector.
	minRoundTrip = 50 * time.Microsecond

	// growFactor: the window doubles if it is consumed in less than this many
	// round trips, so it ends at two to four times what the link holds.
	// shrinkFactor: it gives up half of its growth if it takes more than this many.
	growFactor   = 2
	shrinkFactor = 256
)

// tune adapts the window to how fast the application takes what arrives: the
// product of bandwidth and delay. It is told how far that has got, and looks at the
// clock once for half a window.
func (f *inflow) tune(reached int64) {
	if f.growth > 0 {
		f.shrink(f.growth - f.budget.allowance(f.growth))
	}
	f.reached = max(f.reached, reached)
	window, bytes := f.window(), f.reached-f.epochBase
	if bytes < window/2 {
		return
	}
	now, roundTrip := f.owner.now()
	first, took := f.epochStart == 0, now-f.epochStart
	f.epochStart, f.epochBase = now, f.reached
	if first {
		return
	}
	// How long the whole window would have taken, in round trips.
	perWindow := float64(took) * float64(window) / float64(bytes) / float64(max(roundTrip, minRoundTrip))
	switch {
	case perWindow < growFactor:
		f.growth += f.budget.takeForWindow(f.growth, min(window, f.budget.maxWindow-window))
	case perWindow > shrinkFactor:
		f.shrink(f.growth / 2)
	}
}

// shrink gives back up to n of the growth, as far as the sender does not hold
// credit for it: by what was consumed and is not granted again.
func (f *inflow) shrink(n int64) {
	n = min(n, f.growth, f.consumed+f.window()-f.granted)
	if n > 0 {
		f.growth -= n
		f.budget.give(n)
	}
}

// freeWithoutCredit is what may be held of a stream whose sender has no credit
// without being charged to the budget: as much as an initial window.
const freeWithoutCredit = 64 << 10

// owe charges what the sender has used without having credit for it; received is all
// that it has used. It reports false if the budget does not have it now. queued says
// that the application has something to receive first; otherwise the stream may
// exceed the budget, if no other one does, so that its message completes.
func (f *inflow) owe(received int64, queued bool) bool {
	had := f.granted
	if f.initial == 0 {
		had = f.consumed + freeWithoutCredit
	}
	more := received - had - f.debt
	if more <= 0 {
		return true
	}
	if !f.budget.takeForDebt(f, more, !queued) {
		return false
	}
	f.debt += more
	return true
}

// close notes that the sender sends no more: what it has credit for will not come.
// What is held stays charged until it is consumed. received is all credit that the
// sender has used.
func (f *inflow) close(received int64) {
	if f.closed {
		return
	}
	f.closed = true
	if f.initial == 0 {
		// What is charged is given back as it is consumed, but for a frame that was
		// not taken after all.
		f.payDebt(f.debt - max(received-f.consumed, 0))
		return
	}
	charged := f.growth + f.extra + f.debt
	f.granted, f.growth, f.debt = received, 0, 0
	f.extra = min(max(f.granted-f.consumed-f.initial, 0), charged)
	f.budget.give(charged - f.extra)
	f.giveBackExtra()
	f.leave()
}

// start puts credit in force. What was consumed before is granted as if it had
// been in force from the beginning; received is what the sender has used so far.
func (f *inflow) start(initial, received int64) {
	if debt := max(received-initial, 0); f.debt > 0 && debt < f.debt {
		f.payDebt(f.debt - debt)
	}
	f.initial = initial
	f.granted = initial
}

// frameCost is what a frame of kind Message costs.
func frameCost(n int) int64 { return int64(n) + drpcwire.FrameCost }
