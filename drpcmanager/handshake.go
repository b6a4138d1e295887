package drpcmanager

import (
	"time"

	"storj.io/drpc"

	"braid/drpcstream"
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
	if m.known.Load() {
		release(m.setPeer(s))
		if m.server && s.Flags&drpcwire.FlagKnowsPeer != 0 && !m.strict {
			m.strict = true
			return nil
		}
		return m.idleFrame(fr) // it may say it again, but not for ever
	}
	// What this end sends keeps to its credit from here on. Then it tells the peer
	// so, behind all that was sent before; and then it grants.
	streams := m.setPeer(s)
	_, window := m.Windows()
	for _, stream := range streams {
		stream.StartSending(window)
	}
	if m.server {
		m.answerSettings(fr.ID.Stream)
	} else {
		m.strict = true // the server has known before it sent anything
		m.acknowledge()
	}
	m.wr.Interleave()
	own, _ := m.Windows()
	for _, stream := range streams {
		stream.StartReceiving(own)
	}
	release(streams)
	m.pinger.start(!m.server)
	m.mu.Lock()
	m.sayGoAwayLocked()
	m.mu.Unlock()
	return nil
}

// acknowledge tells the server that this end knows it.
func (m *Manager) acknowledge() {
	s := m.opts.settings(m.server)
	s.Flags |= drpcwire.FlagKnowsPeer
	// An error means that the writer has stopped; the connection ends by that.
	_ = m.wr.WriteFirst(drpcwire.SettingsFrame(drpcwire.ID{}, drpcwire.AppendSettings(nil, s)))
}

// setPeer notes what the peer is, and returns the streams that are open, to be
// released.
func (m *Manager) setPeer(s drpcwire.Settings) []*drpcstream.Stream {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.peerLimit.Store(int64(s.MaxMessage))
	own := int64(m.opts.Window.initial())
	switch {
	case m.known.Load() && m.ownWindow.Load() == 0: // without flow control it stays
	case own > 0 && s.Window > 0:
		m.ownWindow.Store(own)
		m.peerWindow.Store(int64(s.Window)) // of the streams that are opened from here on
	}
	m.known.Store(true)
	if !m.server {
		m.peer.state = peerKnown
		limit := unlimited
		if s.Streams > 0 {
			limit = int(s.Streams)
		}
		m.turns.setLimit(limit)
	}
	return m.liveLocked()
}

// Windows implements drpcstream.Owner.
func (m *Manager) Windows() (own, peer int64) { return m.ownWindow.Load(), m.peerWindow.Load() }

// RoundTrip implements drpcstream.Owner.
func (m *Manager) RoundTrip() time.Duration { return m.pinger.measured() }

// answerSettings announces this end on the stream on which the peer did, or as
// if on it where it has ended.
func (m *Manager) answerSettings(stream uint64) {
	if s := m.stream(stream); s != nil {
		announced := s.Announce(m.announcement)
		s.Release()
		if announced {
			return
		}
	}
	// An error means that the writer has stopped; the connection ends by that.
	_ = m.wr.WriteFirst(drpcwire.SettingsFrame(drpcwire.ID{Stream: stream, Message: 1}, m.announcement))
}
