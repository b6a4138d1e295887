// Package simnet is a simulated connection for tests: two ends, a path in
// each direction with a delay, a rate and buffers of its own, and faults that
// can be switched on at any time.
//
// It is made for the bubbles of testing/synctest, where hours of traffic cost
// milliseconds and every run takes the same virtual time, and works outside of
// them with real time. A link starts no goroutines: what is on its way is
// computed when somebody calls, and whoever has to wait does so on a channel
// and a timer, which a bubble takes for durably blocked. A link used in a
// bubble must be made in it.
//
//	func TestACallTakesARoundTrip(t *testing.T) {
//		synctest.Test(t, func(t *testing.T) {
//			path := simnet.Path{Delay: 20 * time.Millisecond, Rate: 125e6}
//			client, server := simnet.Link(path, path)
//			defer client.Close()
//			defer server.Close()
//			server.CutAfter(100, syscall.ECONNRESET) // the answer breaks off
//			...
//		})
//	}
//
// # The model
//
// A byte given to Write waits in the sender's Buffer, is transmitted in its
// turn at the path's Rate, flies for Delay (and Jitter), and then stands in
// the receiver's socket buffer until it is read. Bytes are transmitted in
// segments: of at most 16 KiB, at most a millisecond of the Rate, and at most
// an eighth of the Window. A segment leaves the Buffer, and becomes readable,
// as a whole.
//
// A segment starts when Window has room for at least one of its bytes. The
// room that a Read makes reaches the sender after the Delay of the opposite
// path, as TCP's acknowledgements do. So a Window smaller than the product of
// rate and delays gives one Window for each round trip. Acknowledgements take
// up no Rate, and only the faults of the path they acknowledge touch them.
package simnet

import (
	"io"
	"sync"
	"time"
)

// Path is one direction of a link. The zero value is a fast one: no delay, no
// limit of rate. Negative values make Link panic.
type Path struct {
	// Delay is the time from leaving the sender to being readable.
	Delay time.Duration
	// Rate is in bytes per second. Zero means unlimited.
	Rate int64
	// Buffer is how many bytes Write may have accepted that are not yet
	// transmitted; a Write that needs more waits. Zero means 256 KiB.
	Buffer int
	// Window is how many bytes may be transmitted or in flight and not yet read
	// by the receiver, as far as the sender knows. Zero means 64 MiB.
	Window int
	// Jitter returns how much longer than Delay the next segment flies. It
	// never makes a segment overtake another; negative values count as zero.
	// Nil means none. It is called once for each segment, in order, with the
	// link's lock held: it must neither block nor use the link. Runs repeat
	// exactly if each Path has its own seeded func.
	Jitter func() time.Duration
	// MaxRead returns the most bytes that the next Read at the receiving end
	// returns; values below 1 count as 1. Nil means no limit. It is called once
	// for each Read that returns data, under the same conditions as Jitter.
	MaxRead func() int
}

const (
	defaultBuffer = 256 << 10
	defaultWindow = 64 << 20
	maxSegment    = 16 << 10
	// rates above this take less than a nanosecond for a segment
	maxRate = 1 << 45
)

// link is what the two ends share. Its lock is held for copies and sums only,
// never while anybody waits.
type link struct {
	start time.Time // times are since then

	mu   sync.Mutex // guards the link, both ends and both flows
	ends [2]*Conn
}

// Conn is one end of a link. All methods may be called at any time from any
// goroutine; concurrent Reads take turns, and so do concurrent Writes, each
// whole.
type Conn struct {
	link *link
	out  *flow // what this end writes
	in   *flow // what the other end writes

	// one token each: whoever holds it is the one that reads or writes
	reading, writing chan struct{}

	// guarded by link.mu
	reader  waiter // of the holder of reading
	writer  waiter // of the holder of writing
	closed  bool
	failure error // set by a cut: ends Write, and Read once it has read what arrived
	gone    error // the other end will read no more: ends Write
	cutAt   int64 // cut once so many bytes are written; never if negative
	cutErr  error
}

// Link returns the two ends of a simulated connection: a2b is the way of what
// a writes, b2a of what b writes.
func Link(a2b, b2a Path) (a, b *Conn) {
	l := &link{start: time.Now()}
	there, back := newFlow(a2b, b2a.Delay), newFlow(b2a, a2b.Delay)
	a, b = newConn(l, there, back), newConn(l, back, there)
	there.receiver, back.receiver = b, a
	l.ends = [2]*Conn{a, b}
	return a, b
}

func newConn(l *link, out, in *flow) *Conn {
	return &Conn{
		link: l, out: out, in: in,
		reading: make(chan struct{}, 1), writing: make(chan struct{}, 1),
		reader: newWaiter(), writer: newWaiter(),
		cutAt: -1,
	}
}

// Read waits for data and reads what has arrived, up to len(p) and MaxRead.
// Its errors, after all data that has arrived: io.EOF when the other end has
// closed, the error of a cut. After Close of this end, which unblocks it, it
// returns io.ErrClosedPipe at once.
func (c *Conn) Read(p []byte) (n int, err error) {
	c.reading <- struct{}{}
	defer func() { <-c.reading }()
	l := c.link
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		l.advanceLocked()
		if c.closed {
			return 0, io.ErrClosedPipe
		}
		if len(p) == 0 {
			return 0, nil
		}
		if c.in.arrived > 0 {
			n = c.in.readLocked(p)
			l.settleLocked()
			return n, nil
		}
		if err := c.readErrLocked(); err != nil {
			return 0, err
		}
		l.waitLocked(&c.reader, c.in.untilReadable())
	}
}

// Write copies p to the path, and waits while the Buffer is full. It returns
// how many bytes were accepted; that they arrive is not promised. Its errors:
// io.ErrClosedPipe after Close or CloseWrite of this end, which unblock it,
// and once the news of the other end's Close is here; the error of a cut.
func (c *Conn) Write(p []byte) (n int, err error) {
	c.writing <- struct{}{}
	defer func() { <-c.writing }()
	l := c.link
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		l.advanceLocked()
		if err := c.writeErrLocked(); err != nil {
			return n, err
		}
		took := c.acceptLocked(p[n:])
		n += took
		l.settleLocked()
		if n == len(p) {
			return n, nil
		}
		if took == 0 {
			l.waitLocked(&c.writer, c.untilWritableLocked())
		}
	}
}

// acceptLocked gives the path as much of p as there is room for, and cuts the
// link if that reaches the byte to cut at.
func (c *Conn) acceptLocked(p []byte) int {
	n := min(len(p), c.out.room())
	if c.cutAt >= 0 {
		n = int(min(int64(n), c.cutAt-c.out.written))
	}
	c.out.acceptLocked(p[:n])
	if c.cutAt == c.out.written {
		c.cutBehindLocked(c.cutErr)
	}
	return n
}

// CloseWrite ends what this end writes: the other end reads all that was
// written and then io.EOF. Reading goes on. A second call does nothing.
func (c *Conn) CloseWrite() error {
	l := c.link
	l.mu.Lock()
	defer l.mu.Unlock()
	l.advanceLocked()
	switch {
	case c.closed:
		return io.ErrClosedPipe
	case c.failure != nil:
		return c.failure
	}
	c.out.endLocked(io.EOF)
	l.settleLocked()
	return nil
}

// Close ends both directions at once for this end: its Read and Write return
// io.ErrClosedPipe. The other end reads all that was written and then io.EOF;
// its writes fail with io.ErrClosedPipe from a Delay later on, and until then
// they vanish. Close never waits and returns nil, also when called again.
func (c *Conn) Close() error {
	l := c.link
	l.mu.Lock()
	defer l.mu.Unlock()
	l.advanceLocked()
	if c.closed {
		return nil
	}
	c.closed = true
	c.out.endLocked(io.EOF)
	if c.failure == nil { // else the cut is the news
		c.out.sendNewsLocked(io.ErrClosedPipe)
	}
	c.in.dropLocked()
	c.in.discardLocked()
	l.settleLocked()
	return nil
}

// Written returns how many bytes Write has accepted at this end.
func (c *Conn) Written() int64 {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	return c.out.written
}

// Delivered returns how many of the bytes written at this end have arrived at
// the other end, whether or not they have been read there.
func (c *Conn) Delivered() int64 {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	c.link.settleLocked()
	return c.out.delivered
}

// readErrLocked returns what Read fails with once nothing is left to read.
func (c *Conn) readErrLocked() error {
	switch {
	case c.closed:
		return io.ErrClosedPipe
	case c.in.endArrived:
		return c.in.endErr
	}
	return c.failure
}

func (c *Conn) writeErrLocked() error {
	switch {
	case c.closed:
		return io.ErrClosedPipe
	case c.failure != nil:
		return c.failure
	case c.out.endErr != nil:
		return io.ErrClosedPipe
	}
	return c.gone
}

// untilWritableLocked returns how long Write has to wait, if nobody does
// anything, before it has to look again.
func (c *Conn) untilWritableLocked() time.Duration {
	return min(c.out.untilProgress(), c.in.untilNews())
}
