package drpcwire

import (
	"io"
	"runtime"
)

// outgoing is what the drain has taken and not yet written. Owned by the drain.
type outgoing struct {
	batch []byte // what was buf
	marks []int  // its marks
	mark  int    // how many of them are used up
	pos   int    // how much of it is written: up to a place between frames

	// A round is what is written before the drain looks for more: answers, the
	// urgent queue, a part of the batch, in up to three stretches.
	stretches [3][]byte // what is left of each
	stretch   int       // the first that is not written
	count     int       // how many there are
	end       int       // what pos is after the round
	urgent    []byte    // the storage of what was taken of the urgent queue
	answered  uint64    // the answers' queued when they were taken
	scratch   []byte    // for answers, and for what is put together with them

	piece      int   // the most bytes for one Write
	alone      int   // batches in a row that yielding did not make larger
	spareMarks []int // the storage not in use as the writer's marks

	// Small uses in a row of each buffer, see kept.
	idle, idleUrgent, idleScratch int
}

// drain is the only goroutine that writes to the transport. It ends when the
// writer is stopped or a write fails.
func (m *MuxWriter) drain() {
	defer close(m.done)
	for {
		piece, ok := m.take()
		if !ok {
			return
		}
		n, err := m.w.Write(piece)
		if err == nil && n < len(piece) {
			err = io.ErrShortWrite
		}
		if err := m.wrote(len(piece), err); err != nil {
			m.onError(err)
			return
		}
	}
}

// take returns what to write next, and waits until there is something; false
// means that the writer has stopped.
func (m *MuxWriter) take() (piece []byte, ok bool) {
	o := &m.out
	m.mu.Lock()
	defer m.mu.Unlock()
	if o.stretch == o.count && o.pos == len(o.batch) {
		m.awaitLocked()
	}
	if m.err != nil {
		return nil, false
	}
	if o.stretch == o.count {
		m.gatherLocked()
	}
	m.beginLocked()
	stretch := o.stretches[o.stretch]
	return stretch[:min(o.piece, len(stretch))], true
}

// awaitLocked waits until something is pending or the writer has stopped.
//
// A batch that is small is not taken at once: the goroutines that made the
// writer wake up are often about to add to it, and one write for many frames is
// what makes calls cheap. A lone caller gains nothing by that: where yielding has made
// no batch larger for a while, it is tried now and then only.
func (m *MuxWriter) awaitLocked() {
	for m.err == nil {
		for m.idleLocked() && m.err == nil {
			m.drainCond.Wait()
		}
		if alone := m.out.alone; alone < aloneAfter || alone%aloneAfter == 0 {
			m.yieldLocked()
		} else {
			m.out.alone++
		}
		if !m.idleLocked() { // what was there may have been dropped by Ungrant
			return
		}
	}
}

// yieldLocked lets others add to what is pending while that is little.
func (m *MuxWriter) yieldLocked() {
	before := len(m.buf) + len(m.urgent.buf)
	pending := before
	for i := 0; i < batchYields && pending < smallBatch && m.err == nil; i++ {
		m.mu.Unlock()
		runtime.Gosched()
		m.mu.Lock()
		pending = len(m.buf) + len(m.urgent.buf)
	}
	if m.out.alone++; pending > before {
		m.out.alone = 0
	}
}

// idleLocked says whether nothing is pending.
func (m *MuxWriter) idleLocked() bool {
	return len(m.buf) == 0 && len(m.urgent.buf) == 0 && m.answers.empty()
}

// mayOvertakeLocked says whether what nothing may overtake is written.
func (m *MuxWriter) mayOvertakeLocked() bool { return m.written >= m.answers.after }

// gatherLocked makes the next round: the answers, the urgent queue, and of the
// batch as much as is to be written before the next look; a new batch is taken
// when the last one is written. The urgent queue is always taken with a batch,
// not before: a lane that is in both has added to the urgent queue first.
func (m *MuxWriter) gatherLocked() {
	o := &m.out
	o.stretch, o.count = 0, 0
	o.scratch = o.scratch[:0]
	if m.mayOvertakeLocked() {
		if o.scratch = m.answers.appendTo(o.scratch); len(o.scratch) > 0 {
			o.add(o.scratch)
		}
		o.answered = m.answers.queued
	}
	o.urgent, m.urgent.buf, m.urgent.spare = m.urgent.buf, m.urgent.spare[:0], nil
	taken := len(o.urgent) > 0
	if taken {
		m.urgent.taken += uint64(len(o.urgent))
		m.urgent.control = 0
		m.urgent.epoch++
		o.add(o.urgent)
	}
	if o.pos == len(o.batch) && len(m.buf) > 0 {
		taken = true
		o.batch, m.buf, m.spare = m.buf, m.spare[:0], nil
		o.marks, m.marks, o.spareMarks = m.marks, o.spareMarks[:0], nil
		o.mark, o.pos = 0, 0
		m.taken += uint64(len(o.batch))
		m.control = 0
		m.epoch++
	}
	if o.pos < len(o.batch) {
		o.end = o.nextEnd(o.count > 0)
		o.add(o.batch[o.pos:o.end])
	}
	m.writing = o.count > 0
	if taken {
		m.grantLocked()
		m.markStarvedLocked()
	}
}

// nextEnd returns up to where the batch is written before the next look for
// what may overtake it: to the next mark if something just did, as more may
// come; else as far as one Write goes, but to a mark.
func (o *outgoing) nextEnd(overtaken bool) int {
	end := 0
	for o.mark < len(o.marks) && (end == 0 || !overtaken && o.marks[o.mark]-o.pos <= o.piece) {
		end = o.marks[o.mark]
		o.mark++
	}
	if end == 0 || !overtaken && len(o.batch)-o.pos <= o.piece {
		end = len(o.batch)
	}
	return end
}

// add appends a stretch to the round, or, where both are small, adds it to the
// first one, so that they leave in one Write.
func (o *outgoing) add(stretch []byte) {
	if first := o.stretches[0]; o.count == 1 && len(first)+len(stretch) <= smallBatch {
		if len(o.scratch) == 0 { // there were no answers: first is not in there
			o.scratch = append(o.scratch, first...)
		}
		o.scratch = append(o.scratch, stretch...)
		o.stretches[0] = o.scratch
		return
	}
	o.stretches[o.count] = stretch
	o.count++
}

// wrote notes that n bytes were written, and stops the writer if that has
// failed: then it returns the wrapped error. A failure after the writer was
// stopped is nobody's news.
func (m *MuxWriter) wrote(n int, err error) error {
	o := &m.out
	m.mu.Lock()
	defer m.mu.Unlock()
	m.endedLocked(n, err)
	o.stretches[o.stretch] = o.stretches[o.stretch][n:]
	if m.err == nil && err == nil {
		if len(o.stretches[o.stretch]) == 0 {
			o.stretch++
		}
		if o.stretch == o.count {
			m.endRoundLocked()
		}
		return nil
	}
	m.writing = false
	if m.err != nil {
		return nil
	}
	m.stopLocked(m.wrap(err))
	return m.err
}

// endRoundLocked takes back storage and tells those who wait for the round to
// be out.
func (m *MuxWriter) endRoundLocked() {
	o := &m.out
	m.written += uint64(o.end - o.pos)
	m.urgent.written = m.urgent.taken
	m.answers.sent = o.answered
	m.urgent.spare = kept(o.urgent, &o.idleUrgent)
	o.scratch = kept(o.scratch, &o.idleScratch)
	if o.pos = o.end; o.pos == len(o.batch) {
		if o.end > 0 {
			m.spare = kept(o.batch, &o.idle)
		}
		o.spareMarks = o.marks[:0]
		o.batch, o.marks, o.pos, o.end = nil, nil, 0, 0
		m.writing = false
	}
	o.urgent, o.stretches = nil, [3][]byte{}
	m.tellFlushLocked()
}

// tellFlushLocked makes those in Flush look again.
func (m *MuxWriter) tellFlushLocked() {
	if m.flushed != nil {
		close(m.flushed)
		m.flushed = nil
	}
}

// kept returns the storage to use again, or nil if it was too large for what it
// was used for, idle times in a row.
func kept(buf []byte, idle *int) []byte {
	if len(buf) < keepBuffer/4 {
		*idle++
	} else {
		*idle = 0
	}
	if cap(buf) > keepBuffer && *idle >= shrinkAfter {
		Release(buf)
		return nil
	}
	return buf
}

// flushedLocked says whether as much as that is written, see Flush.
func (m *MuxWriter) flushedLocked(end, urgent, answers uint64) bool {
	return m.written >= end && m.urgent.written >= urgent &&
		(m.answers.sent >= answers || m.answers.empty() && !m.writing) // not if Ungrant has dropped them
}

// Flush blocks until everything appended before the call has been given to the
// transport. It returns early, with nil, when stop is closed, and with the
// cause when the writer has stopped.
func (m *MuxWriter) Flush(stop <-chan struct{}) error {
	m.mu.Lock()
	end, urgent, answers := m.endLocked(), m.urgent.taken+uint64(len(m.urgent.buf)), m.answers.queued
	for m.err == nil && !m.flushedLocked(end, urgent, answers) {
		if m.flushed == nil {
			m.flushed = make(chan struct{})
		}
		flushed := m.flushed
		m.mu.Unlock()
		select {
		case <-flushed:
		case <-m.stopped:
		case <-stop:
			return nil
		}
		m.mu.Lock()
	}
	defer m.mu.Unlock()
	return m.err
}

// Empty reports whether nothing is pending or being written.
func (m *MuxWriter) Empty() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.idleLocked() && !m.writing
}
