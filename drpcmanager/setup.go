package drpcmanager

import (
	"errors"
	"sync"
	"time"

	"github.com/zeebo/errs"

	"storj.io/drpc"
	"storj.io/drpc/drpcerr"

	"braid/drpcwire"
)

// setup is a stream that the peer is opening: its Invoke is not complete.
type setup struct {
	asm      drpcwire.Assembler
	metadata []byte    // encoded; complete
	deadline time.Time // of the call; zero if it has none
	since    time.Time
	dead     bool // refused; what still comes of it is dropped
}

// size is what the setup holds.
func (s *setup) size() int { return s.asm.Buffered() + len(s.metadata) }

// timeout takes the time that is left for the call. The clocks of the two ends need
// not agree.
func (s *setup) timeout(fr drpcwire.Frame) error {
	left, err := drpcwire.ParseTimeout(fr.Data)
	if err == nil {
		s.deadline = time.Now().Add(left)
	}
	return err
}

// setups is the table of them. Only the reader adds to it and completes what is
// in it; the timer kills what stays too long. Whoever looks holds mu.
type setups struct {
	m *Manager

	mu    sync.Mutex
	byID  map[uint64]*setup
	bytes int         // sum of their sizes
	timer *time.Timer // runs while there may be one to expire
	over  bool        // the connection has ended
	spare *setup      // for the next one, if not nil
}

func (t *setups) init(m *Manager) { t.m = m }

func (t *setups) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.byID)
}

// stop ends the timer for good.
func (t *setups) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.timer != nil {
		t.timer.Stop()
	}
	t.byID, t.bytes, t.over = nil, 0, true
}

// addLocked makes an entry, and starts the timer if it does not run.
func (t *setups) addLocked(id uint64) (*setup, error) {
	if limit := t.m.opts.Limits.incomplete(); len(t.byID) >= limit {
		return nil, exhausted("more than %d incomplete invokes", limit)
	}
	if t.byID == nil {
		t.byID = make(map[uint64]*setup)
	}
	s := t.spare
	if s == nil {
		s = new(setup)
	}
	t.spare = nil
	s.since = time.Now()
	t.byID[id] = s
	if t.timer == nil {
		t.timer = time.AfterFunc(t.m.opts.Limits.invoke(), t.expire)
	}
	return s, nil
}

// removeLocked drops an entry.
func (t *setups) removeLocked(id uint64) {
	if s := t.byID[id]; s != nil {
		t.bytes -= s.size()
		delete(t.byID, id)
	}
}

// killLocked refuses an entry. It stays, without what it held, until the peer
// is done with it: its remaining frames must not pass for a new Invoke.
func (t *setups) killLocked(id uint64, s *setup, err error) {
	t.bytes -= s.size()
	*s = setup{since: s.since, dead: true}
	t.m.refuse(id, err)
}

// expire is called by the timer. It kills what has been there for too long, and
// runs again while there is anything that may become so.
func (t *setups) expire() {
	t.mu.Lock()
	defer t.mu.Unlock()
	var next time.Duration
	timeout := t.m.opts.Limits.invoke()
	for id, s := range t.byID {
		if s.dead {
			continue
		}
		if left := timeout - time.Since(s.since); left > 0 {
			if next == 0 || left < next {
				next = left
			}
			continue
		}
		t.killLocked(id, s, drpcerr.WithCode(
			errs.New("invoke incomplete after %v", timeout), drpcwire.CodeDeadlineExceeded))
	}
	if next > 0 {
		t.timer.Reset(next)
	} else {
		t.timer = nil
	}
}

// opening is a complete Invoke.
type opening struct {
	asm      drpcwire.Assembler // where it has left the message ids
	rpc      string
	metadata []byte    // encoded
	deadline time.Time // zero if it has none
}

// setupFrame takes, on a server, a frame of a stream that is not live.
func (m *Manager) setupFrame(fr drpcwire.Frame, more uint64) error {
	o, ok, err := m.addSetupFrame(fr, more)
	if ok {
		m.accept(fr.ID.Stream, o)
	}
	return err
}

// addSetupFrame does so up to the point where the Invoke is complete, which it
// reports.
func (m *Manager) addSetupFrame(fr drpcwire.Frame, more uint64) (o opening, ok bool, err error) {
	t := &m.setups
	t.mu.Lock()
	defer t.mu.Unlock()
	id := fr.ID.Stream
	s := t.byID[id]
	switch {
	case t.over:
		return o, false, nil // the reader is still at what it has read
	case fr.Kind != drpcwire.KindInvoke && fr.Kind != drpcwire.KindInvokeMetadata && fr.Kind != drpcwire.KindTimeout:
		// Late, or the end of a stream that is still being opened.
		switch {
		case s == nil:
			err = m.strayFrame(fr, more)
		case fr.Kind == drpcwire.KindMessage || fr.Kind == drpcwire.KindCloseSend:
			err = m.idleFrame(fr) // nobody can send these before the Invoke is complete
		default:
			t.removeLocked(id)
		}
		return o, false, err
	case s != nil:
		return m.advanceLocked(id, s, fr, more)
	}
	if err := m.claim(fr); err != nil {
		return o, false, err
	}
	full := m.full(len(t.byID))
	name := m.opts.Limits.methodName()
	if fr.Kind == drpcwire.KindInvoke && fr.Done && len(fr.Data) <= name && !full {
		// By far the most frequent case needs no entry.
		o.rpc, fr.Data = m.methodName(fr.Data), nil
		_, _, err := o.asm.Append(fr, more, name)
		return o, err == nil, err
	}
	if s, err = t.addLocked(id); err != nil {
		return o, false, err
	}
	if full {
		t.killLocked(id, s, drpcwire.Exhausted(
			"too many concurrent streams: %d are open; the call was not started", m.opts.Limits.streams()))
		if err := m.idleFrame(fr); err != nil {
			return o, false, err
		}
	}
	return m.advanceLocked(id, s, fr, more)
}

// keptStorage is the most storage, in bytes, that is kept for the next setup.
const keptStorage = 512

// knownNames bounds the names that a connection remembers.
const knownNames = 64

// methodName returns the name of a method as a string: the same one for each call.
func (m *Manager) methodName(data []byte) string {
	if name, ok := m.names[string(data)]; ok {
		return name
	}
	name := string(data)
	if m.names == nil {
		m.names = make(map[string]string)
	}
	if len(m.names) < knownNames && len(name) <= 256 {
		m.names[name] = name
	}
	return name
}

// strayFrame takes a frame of a stream that is neither live nor being opened.
func (m *Manager) strayFrame(fr drpcwire.Frame, more uint64) error {
	if fr.ID.Stream > m.ids.highest {
		return m.idleFrame(fr)
	}
	return m.lateFrame(fr, more)
}

// claim checks the id of a stream that the peer opens.
func (m *Manager) claim(fr drpcwire.Frame) error {
	known := m.known.Load()
	if known && fr.ID.Stream%2 == 0 {
		return drpc.ProtocolError.New("a client's stream has an even id (%v)", fr)
	}
	if !m.ids.claim(fr.ID.Stream, known) {
		return drpc.ProtocolError.New("stream id used again or out of order (%v)", fr)
	}
	return nil
}

// advanceLocked adds a frame to a setup and reports whether that completes the
// Invoke. The lock is that of the table.
func (m *Manager) advanceLocked(id uint64, s *setup, fr drpcwire.Frame, more uint64) (o opening, ok bool, err error) {
	t := &m.setups
	last := fr.Kind == drpcwire.KindInvoke && fr.Done
	limit := m.opts.Limits.metadata()
	switch fr.Kind {
	case drpcwire.KindInvoke:
		limit = m.opts.Limits.methodName()
	case drpcwire.KindTimeout:
		if !s.deadline.IsZero() {
			return o, false, m.idleFrame(fr)
		}
		return o, false, s.timeout(fr)
	}
	var pkt drpcwire.Packet
	if !s.dead {
		before := s.size()
		var done bool
		pkt, done, err = s.asm.Append(fr, more, limit)
		if done && fr.Kind == drpcwire.KindInvokeMetadata {
			s.metadata = append([]byte(nil), pkt.Data...) // a second one replaces the first
		}
		t.bytes += s.size() - before
		switch {
		case errors.Is(err, drpcwire.ErrTooLarge):
			t.killLocked(id, s, drpcwire.Exhausted("%v of more than %d bytes", fr.Kind, limit))
		case err != nil:
			return o, false, err
		case t.bytes > m.opts.Limits.incompleteBytes():
			t.killLocked(id, s, drpcwire.Exhausted(
				"incomplete invokes of more than %d bytes", m.opts.Limits.incompleteBytes()))
		}
	}
	if !last {
		return o, false, nil
	}
	live := !s.dead
	o = opening{asm: s.asm, rpc: m.methodName(pkt.Data), metadata: s.metadata, deadline: s.deadline}
	o.asm.Use(nil) // what the metadata took is not for messages
	t.removeLocked(id)
	storage := s.asm.Storage()
	if *s = (setup{}); cap(storage) <= keptStorage {
		s.asm.Use(storage)
	}
	t.spare = s
	return o, live, nil
}

// refuse tells the peer why its stream was not opened. What it has sent on that before
// it knows is no more its fault than on a stream that has ended.
func (m *Manager) refuse(id uint64, err error) {
	m.late.refused(m.ownWindow.Load())
	_ = m.wr.WriteControl(drpcwire.Frame{ // an error ends the connection by itself
		ID:   drpcwire.ID{Stream: id, Message: 1},
		Kind: drpcwire.KindError,
		Done: true,
		Data: drpcwire.MarshalError(err),
	})
}
