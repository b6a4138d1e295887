package simnet

import "errors"

// ErrCut is what a cut link returns where no other error was given.
var ErrCut = errors.New("simnet: connection cut")

// CutAfter resets the connection behind byte n of all that this end writes,
// counted from its first; if more is written already, behind that. The Write
// that reaches byte n accepts no byte more, and from then on this end's Read
// and Write fail with err, what is on its way here being lost. The other end
// reads all bytes up to n; once they have arrived its Write fails with err,
// and so does its Read behind them. A nil err means ErrCut. A later call
// replaces an earlier one that has not come true; after Close it does nothing.
func (c *Conn) CutAfter(n int64, err error) {
	l := c.link
	l.mu.Lock()
	defer l.mu.Unlock()
	l.advanceLocked()
	c.cutAt, c.cutErr = n, cause(err)
	if n <= c.out.written {
		c.cutBehindLocked(c.cutErr)
	}
	l.settleLocked()
}

// Cut breaks the connection now. What is in flight in either direction is
// lost; what has arrived can still be read. Then Read and Write of both ends
// fail with err; nil means ErrCut.
func (c *Conn) Cut(err error) {
	l := c.link
	l.mu.Lock()
	defer l.mu.Unlock()
	l.advanceLocked()
	for _, end := range l.ends {
		end.failLocked(cause(err))
		end.in.dropLocked()
	}
	l.settleLocked()
}

// Pause stops the path of what this end writes: nothing is transmitted and
// nothing arrives, not even the end of the data, until Resume. Write blocks
// when the Buffer is full. What has arrived can be read.
func (c *Conn) Pause() { c.setPaused(true) }

// Resume ends a Pause. What was in flight has as far to go as it had at Pause.
func (c *Conn) Resume() { c.setPaused(false) }

func (c *Conn) setPaused(paused bool) {
	l := c.link
	l.mu.Lock()
	defer l.mu.Unlock()
	l.advanceLocked()
	c.out.paused = paused
	l.settleLocked()
}

// Blackhole lets vanish, for good, what this end writes from now on, the news
// of its Close included. Write succeeds until Buffer and Window are full and
// then blocks; no error comes but from Close, from a cut, and from what the
// other end sends, for which nothing changes. What was written before still
// arrives.
func (c *Conn) Blackhole() {
	l := c.link
	l.mu.Lock()
	defer l.mu.Unlock()
	l.advanceLocked()
	c.out.loseLocked()
	l.settleLocked()
}

// cutBehindLocked fails this end now, and the other one behind what has been
// written.
func (c *Conn) cutBehindLocked(err error) {
	c.cutAt = -1
	if c.closed || c.failure != nil {
		return
	}
	c.failLocked(err)
	c.in.dropLocked()
	if c.out.endArrived {
		c.out.sendNewsLocked(err)
	} else {
		c.out.endLocked(err)
	}
}

// failLocked lets this end's operations fail. The first error stays.
func (c *Conn) failLocked(err error) {
	if c.failure == nil {
		c.failure = err
	}
}

func cause(err error) error {
	if err == nil {
		return ErrCut
	}
	return err
}
