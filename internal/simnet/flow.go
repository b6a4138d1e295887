package simnet

import (
	"io"
	"math"
	"time"
)

// flow is one direction of a link, computed lazily: advanceLocked runs it up
// to the present, in the order and at the times at which things happen,
// however late it is called. Whoever changes something calls it before and
// after.
//
// Its times are those of a clock that stands still while the flow is paused,
// so that a pause moves all that is to come.
type flow struct {
	// set once by Link
	path     Path // with defaults applied
	ackDelay time.Duration
	segment  int // the most bytes transmitted at once
	receiver *Conn

	// everything below is guarded by link.mu

	now    time.Duration // of this flow's clock
	behind time.Duration // how far this flow's clock is behind the link's
	paused bool

	// the sender: queued bytes wait, sending bytes are being transmitted
	written  int64 // accepted by Write
	started  int64 // of these, how many have been transmitted or are about to be
	lostFrom int64 // what is written from this byte on vanishes when transmitted
	queued   int
	sending  int
	idleAt   time.Duration // when transmission ends or has ended
	rest     int64         // of the last division by Rate, in bytes times nanoseconds
	credit   int           // bytes that the Window has room for
	acks     queue[parcel] // credit on its way back

	// on the way; data has the bytes of arrived, inFlight and those of queued
	// that are not lost
	data      bytesQueue
	inFlight  queue[parcel]
	lastAt    time.Duration // when the last of inFlight arrives
	arrived   int
	delivered int64

	// the end of the data, which travels behind it
	endErr     error // what the receiver gets behind the data; nil while there is no end
	endLost    bool
	endSent    bool
	endArrived bool

	// what makes the receiver's writes fail, which does not wait for the data
	news   error // nil: none on its way
	newsAt time.Duration
}

// parcel is a number of bytes that arrives at a time.
type parcel struct {
	at  time.Duration
	n   int
	end bool // no bytes: the end of the data
}

func newFlow(p Path, ackDelay time.Duration) *flow {
	switch {
	case p.Delay < 0:
		panic("simnet: negative Delay")
	case p.Rate < 0:
		panic("simnet: negative Rate")
	case p.Buffer < 0:
		panic("simnet: negative Buffer")
	case p.Window < 0:
		panic("simnet: negative Window")
	}
	if p.Buffer == 0 {
		p.Buffer = defaultBuffer
	}
	if p.Window == 0 {
		p.Window = defaultWindow
	}
	if p.Rate > maxRate {
		p.Rate = 0
	}
	segment := min(maxSegment, max(1, p.Window/8))
	if p.Rate > 0 {
		segment = int(min(int64(segment), max(1, p.Rate/1000)))
	}
	return &flow{path: p, ackDelay: ackDelay, segment: segment, credit: p.Window, lostFrom: math.MaxInt64}
}

// room returns how many bytes Write may accept.
func (f *flow) room() int { return f.path.Buffer - f.queued - f.sending }

// acceptLocked takes bytes from Write, for which there is room.
func (f *flow) acceptLocked(p []byte) {
	f.startLocked()
	if f.written < f.lostFrom {
		f.data.write(p)
	}
	f.written += int64(len(p))
	f.queued += len(p)
}

// startLocked notes that a sender with nothing to do gets something to do now.
func (f *flow) startLocked() {
	if f.queued == 0 && f.sending == 0 {
		f.idleAt = max(f.idleAt, f.now)
	}
}

// readLocked moves bytes that have arrived to p and sends their credit back.
func (f *flow) readLocked(p []byte) int {
	n := min(len(p), f.arrived)
	if f.path.MaxRead != nil {
		n = min(n, max(1, f.path.MaxRead()))
	}
	f.data.read(p[:n])
	f.arrived -= n
	push(&f.acks, parcel{at: f.now + f.ackDelay, n: n})
	return n
}

// advanceLocked runs the flow up to the link's time now.
func (f *flow) advanceLocked(now time.Duration) {
	if f.paused {
		f.behind = now - f.now
		return
	}
	f.now = now - f.behind
	f.transmitLocked()
	for f.inFlight.len() > 0 && f.inFlight.front().at <= f.now {
		p := f.inFlight.pop()
		f.arrived += p.n
		f.delivered += int64(p.n)
		if p.end {
			f.endArrived = true
			if f.endErr != io.EOF {
				f.receiver.failLocked(f.endErr)
			}
		}
	}
	if f.news != nil && f.newsAt <= f.now {
		if f.receiver.gone == nil {
			f.receiver.gone = f.news
		}
		f.news = nil
	}
}

// transmitLocked runs the sender's side up to f.now.
func (f *flow) transmitLocked() {
	for f.idleAt <= f.now {
		f.sending = 0
		if f.queued == 0 {
			f.sendEndLocked()
			return
		}
		for f.acks.len() > 0 && f.acks.front().at <= f.idleAt {
			f.credit += f.acks.pop().n
		}
		if f.credit == 0 {
			if f.acks.len() == 0 || f.acks.front().at > f.now {
				return
			}
			f.idleAt = f.acks.front().at
			continue
		}
		f.sendSegmentLocked()
	}
}

// sendSegmentLocked starts to transmit a segment at idleAt.
func (f *flow) sendSegmentLocked() {
	n := min(f.segment, f.queued, f.credit)
	lost := f.started >= f.lostFrom
	if !lost {
		n = int(min(int64(n), f.lostFrom-f.started))
	}
	f.queued -= n
	f.sending = n
	f.started += int64(n)
	f.credit -= n
	if f.path.Rate > 0 {
		// what the division leaves is carried over, so that many small
		// segments take as long as one large one
		work := int64(n)*int64(time.Second) + f.rest
		f.idleAt += time.Duration(work / f.path.Rate)
		f.rest = work % f.path.Rate
	}
	if lost {
		return
	}
	at := f.idleAt + f.path.Delay
	if f.path.Jitter != nil {
		at += max(0, f.path.Jitter())
	}
	f.lastAt = max(f.lastAt, at)
	push(&f.inFlight, parcel{at: f.lastAt, n: n})
}

// endLocked puts the end of the data behind all that was written. Of two ends
// the one that is an error counts, unless the other has arrived.
func (f *flow) endLocked(err error) {
	if f.endErr == nil {
		f.startLocked()
		f.endLost = f.lostFrom <= f.written
		f.endErr = err
	} else if f.endErr == io.EOF && !f.endArrived {
		f.endErr = err
	}
}

// sendEndLocked sends the end of the data, if there is one, behind the last
// byte.
func (f *flow) sendEndLocked() {
	if f.endErr == nil || f.endSent || f.endLost {
		return
	}
	f.endSent = true
	f.lastAt = max(f.lastAt, f.idleAt+f.path.Delay)
	f.inFlight.push(parcel{at: f.lastAt, end: true})
}

// sendNewsLocked lets the receiver's writes fail with err a Delay from now.
func (f *flow) sendNewsLocked(err error) {
	if f.news == nil && f.lostFrom > f.written {
		f.news, f.newsAt = err, f.now+f.path.Delay
	}
}

// loseLocked lets all that is written from now on vanish.
func (f *flow) loseLocked() { f.lostFrom = min(f.lostFrom, f.written) }

// dropLocked loses what has not arrived, and all that is written from now on.
func (f *flow) dropLocked() {
	f.data.keep(f.arrived)
	f.inFlight = queue[parcel]{}
	f.lostFrom = min(f.lostFrom, f.started)
	f.endLost = true
	f.news = nil
}

// discardLocked forgets what has arrived: nobody will read it.
func (f *flow) discardLocked() {
	f.data.keep(0)
	f.arrived = 0
}

// untilProgress returns the time until the sender finishes a segment or can
// start one.
func (f *flow) untilProgress() time.Duration {
	switch {
	case f.paused:
		return never
	case f.sending > 0:
		return f.idleAt - f.now
	case f.queued > 0 && f.acks.len() > 0:
		return f.acks.front().at - f.now
	}
	return never
}

// untilReadable returns the time until the receiver has to look again.
func (f *flow) untilReadable() time.Duration {
	switch {
	case f.paused:
		return never
	case f.inFlight.len() > 0:
		return f.inFlight.front().at - f.now
	case f.started >= f.lostFrom:
		return never
	}
	return f.untilProgress()
}

// untilNews returns the time until something that ends the receiver's writes
// arrives, or gets on its way.
func (f *flow) untilNews() time.Duration {
	wait := never
	if f.paused {
		return wait
	}
	if f.news != nil {
		wait = f.newsAt - f.now
	}
	if f.endErr != nil && f.endErr != io.EOF && !f.endArrived && !f.endLost {
		if f.endSent {
			return min(wait, f.lastAt-f.now)
		}
		return min(wait, f.untilProgress())
	}
	return wait
}
