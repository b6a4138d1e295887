package drpcstream

import "braid/drpcwire"

// outflow is the sending side of a stream's flow control: the credit that the peer
// has given, and what was spent of it. It holds no lock and does no I/O; the
// stream's mu guards it.
type outflow struct {
	credit  int64  // left; below zero if more was sent before credit was in force
	spent   int64  // from the beginning, whether in force or not
	frames  int64  // of kind Message
	updates uint32 // grants that have come
	least   uint16 // data that is worth a frame of its own
	on      bool   // credit is in force
}

// maxLeast bounds least, in bytes.
const maxLeast = 4 << 10

// start puts credit in force. What was sent before counts.
func (f *outflow) start(window int64) {
	f.on = true
	f.credit = window - f.spent
	f.least = uint16(min(window/8, maxLeast))
}

// piece returns how much of the rest of a message the next frame may carry, at
// most most bytes. It reports false if there is not credit for a frame that is
// worth sending. As the receiver leaves less than a quarter of the window
// ungranted (inflow.threshold), and a batch of 4 KiB where that is 64 KiB or more, it
// always becomes worth it.
func (f *outflow) piece(rest, most int) (n int, ok bool) {
	n = min(rest, most)
	fits := f.credit - drpcwire.FrameCost
	switch {
	case !f.on || int64(n) <= fits:
		return n, true
	case fits >= int64(f.least):
		return int(fits), true
	}
	return 0, false
}

// spend books a frame with n bytes of data.
func (f *outflow) spend(n int) {
	cost := frameCost(n)
	f.spent += cost
	f.credit -= cost
	f.frames++
}

// updatesPerFrame is how many grants a receiver may send for each frame that it
// was sent, and as many more to begin with, before it is taken to waste our time.
const updatesPerFrame = 10

// grant adds credit. It reports whether the sum is more than there may be, and
// whether the peer grants more often than is any use.
func (f *outflow) grant(n uint64) (overflow, useless bool) {
	f.updates++
	useless = int64(f.updates) > updatesPerFrame*(f.frames+1)
	if n == 0 || n > drpcwire.MaxCredit || f.credit+int64(n) > drpcwire.MaxCredit {
		return true, useless
	}
	f.credit += int64(n)
	return false, useless
}
