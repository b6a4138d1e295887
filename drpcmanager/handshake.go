package drpcmanager

import (
	"storj.io/drpc"

	"braid/drpcwire"
)

// peer is what a client knows of the other end. It is guarded by the manager's mu.
type peer struct {
	state     peerState
	announced uint64 // live stream on which braid was announced and not answered
}

// peerState is how far the handshake has come.
type peerState uint8

const (
	// peerUnknown: nothing has come from the peer. Leaves to peerKnown when its
	// Settings arrive, to peerStock when anything else does.
	peerUnknown peerState = iota

	// peerStock: the peer has sent frames and no Settings. Leaves to peerKnown
	// if they arrive after all.
	peerStock

	// peerKnown: the peer is braid. Final.
	peerKnown
)

// shouldAnnounce reports whether the next stream carries Settings: while the
// peer is unknown, unless they are on their way with another stream.
func (p *peer) shouldAnnounce(mode Multiplex) bool {
	return mode != MultiplexNever && p.state == peerUnknown && p.announced == 0
}

// spoke notes that a frame other than Settings has come. braid sends its
// Settings before anything else, so this peer is not braid.
func (p *peer) spoke() {
	if p.state == peerUnknown {
		p.state = peerStock
	}
}

// streamEnded makes the next stream announce again, if this one did and ended
// before anything came back.
func (p *peer) streamEnded(id uint64) {
	if p.announced == id {
		p.announced = 0
	}
}

// handleSettings takes the peer's announcement, and on a server answers it. The
// frame stands outside of the order of its stream: it may come for a stream
// that has ended, or between the frames of a packet.
func (m *Manager) handleSettings(fr drpcwire.Frame, more uint64) error {
	if !fr.Done || more > 0 {
		return drpc.ProtocolError.New("settings are not one frame (%v)", fr)
	}
	if !m.server && m.opts.Multiplex == MultiplexNever {
		return nil // nothing was announced, so this answers nothing
	}
	s, err := drpcwire.ParseSettings(fr.Data)
	if err != nil {
		return err
	}
	m.peerLimit.Store(int64(s.MaxMessage))
	m.known.Store(true)
	if m.server {
		m.answerSettings(fr.ID.Stream)
		return nil
	}
	m.mu.Lock()
	m.peer.state = peerKnown
	m.turn.open()
	m.mu.Unlock()
	return nil
}

// answerSettings announces this end on the stream on which the peer did, or as
// if on it where it has ended.
func (m *Manager) answerSettings(stream uint64) {
	m.mu.Lock()
	s := m.streams[stream]
	m.mu.Unlock()
	if s != nil && s.Announce(m.announcement) {
		return
	}
	// An error means that the writer has stopped; the connection ends by that.
	_ = m.wr.WriteControl(drpcwire.SettingsFrame(drpcwire.ID{Stream: stream, Message: 1}, m.announcement))
}
