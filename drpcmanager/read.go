package drpcmanager

import (
	"runtime"

	"storj.io/drpc"

	"braid/drpcstream"
	"braid/drpcwire"
)

// read is the reader. It blocks in the transport's Read and, while a peer
// without flow control has filled the queue of a stream, on that stream. It
// never waits for anything to be written, until it has read the last.
func (m *Manager) read() {
	defer close(m.readDone)
	defer m.letGo()
	for {
		if m.rd.Buffered() == 0 {
			if m.rd.Remaining() == 0 {
				m.letGo()
			}
			m.handOn()
		} else if m.inRow >= batchFrom && m.readBatch() {
			continue
		}
		continued := m.rd.Remaining() > 0
		fr, err := m.readFrame()
		handled := err == nil
		if handled {
			if m.held.stream != nil && !m.held.goesWith(fr) {
				m.handOn()
			}
			err = m.handleFrame(fr, m.rd.Remaining(), continued)
		}
		if err != nil || m.held.whole {
			m.handOn()
		}
		if m.starts >= startsPerTurn {
			m.starts = 0
			runtime.Gosched()
		}
		if err != nil {
			if handled {
				m.tellWhy(err)
			}
			m.terminate(m.readError(err))
			return
		}
	}
}

// handleFrame gives one frame to whom it concerns. An error ends the
// connection. more is the number of bytes of the frame still to come; continued
// says that it is not the first piece of its frame.
func (m *Manager) handleFrame(fr drpcwire.Frame, more uint64, continued bool) error {
	if fr.Kind == 0 || fr.Kind > drpcwire.KindInvokeMetadata {
		if !fr.Control {
			return drpc.ProtocolError.New("unknown kind (%v)", fr)
		}
		return m.handleControl(fr, more, continued)
	}
	if fr.ID.Stream == 0 || fr.ID.Message == 0 {
		return drpc.ProtocolError.New("id 0 (%v)", fr)
	}

	s := m.addressed(fr.ID.Stream)

	if !fr.Done && len(fr.Data) == 0 && more == 0 {
		if err := m.idleFrame(fr); err != nil {
			return err
		}
	}
	switch {
	case s != nil:
		in := drpcstream.Arrival{Frame: fr, More: more, Continued: continued, Strict: m.strict}
		return m.streamFrame(s, in)
	case continued && fr.Kind == drpcwire.KindMessage:
		return nil // it was counted with its first piece
	case m.server:
		return m.setupFrame(fr, more)
	default:
		return m.refuseStream(fr, more)
	}
}

// streamFrame gives a frame to its stream, and a CloseSend right behind it with it.
func (m *Manager) streamFrame(s *drpcstream.Stream, in drpcstream.Arrival) error {
	if in.Kind == drpcwire.KindMessage && in.Done {
		in.CloseSend = m.rd.PeekCloseSend(in.ID)
	}
	closed, err := s.HandleFrame(in)
	if closed {
		m.rd.SkipCloseSend()
	}
	m.held.whole = m.held.stream == s && (closed || in.Kind == drpcwire.KindCloseSend)
	return err
}

// maxPiece is the most of a large frame, in bytes, that storage is reserved for before
// it has come.
const maxPiece = 64 << 10

// readFrame reads the next frame, or the next piece of a large one: where nothing of
// that is buffered, right into the storage of its stream.
func (m *Manager) readFrame() (drpcwire.Frame, error) {
	left := m.rd.Remaining()
	if left == 0 || m.rd.Buffered() > 0 || m.current == nil {
		return m.rd.ReadFrame()
	}
	room := m.current.Reserve(int(min(left, maxPiece)))
	if len(room) == 0 {
		return m.rd.ReadFrame()
	}
	return m.rd.ReadPiece(room[:min(len(room), maxPiece)])
}

// addressed returns the live stream that a frame is for, or nil. Most frames are for
// the same stream as the one before, so the reader holds that until it has to wait.
func (m *Manager) addressed(id uint64) *drpcstream.Stream {
	if s := m.current; s != nil && s.ID() == id && !s.IsTerminated() {
		m.inRow++
		return s
	}
	m.letGo()
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.server {
		m.peer.spoke()
	}
	if s := m.streams[id]; s != nil {
		m.holdLocked(s)
	}
	return m.current
}

// holdLocked makes a stream the current one, where there is none.
func (m *Manager) holdLocked(s *drpcstream.Stream) {
	s.Retain()
	m.current = s
}

// letGo releases the stream that the last frame was for.
func (m *Manager) letGo() {
	if s := m.current; s != nil {
		m.current, m.inRow = nil, 0
		s.Release()
	}
}

const (
	// After batchFrom frames of one stream in a row, what follows is looked at as a
	// batch: of messages of up to maxBatched bytes, which cost up to maxBatch in credit.
	// A receiver gives the credit of a batch back after its last message, so it is but
	// a small part of the smallest window, minBatchWindow, that there are batches with.
	batchFrom      = 3
	maxBatched     = 512
	maxBatch       = 4 << 10
	minBatchWindow = 16 * maxBatch
)

// readBatch handles the messages that come next at once, if they are short and for the
// same stream as the last frame. It reports whether there were any.
func (m *Manager) readBatch() bool {
	if m.ownWindow.Load() < minBatchWindow {
		return false
	}
	b, ok := m.rd.PeekBatch(m.current.ID(), min(maxBatched, m.config.Limit), maxBatch)
	if !ok || !m.current.TakeBatch(b) {
		m.inRow = 0 // not to look again at once
		return false
	}
	m.rd.Skip(b)
	return true
}
