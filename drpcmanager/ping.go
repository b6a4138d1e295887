package drpcmanager

import (
	"encoding/binary"
	"errors"
	"sync"
	"time"

	"braid/drpcwire"
)

// ErrKeepalive is the cause of a LostError where the peer has not answered a ping.
var ErrKeepalive = errors.New("the peer does not answer")

// roundTripDrift is the part of itself by which the measured round trip may rise from
// one ping to the next.
const roundTripDrift = 16

// lostPing is how long an answer is waited for before the round trip is measured with
// another ping.
const lostPing = 6 * minPingInterval

// pinger measures the round trip, and asks a silent peer for a sign of life. Its
// lock is taken last of all but for the writer's.
type pinger struct {
	m        *Manager
	interval time.Duration // of silence before the peer is asked; 0: never
	timeout  time.Duration

	mu        sync.Mutex
	running   bool // the peer is known, and the connection has not ended
	since     time.Time
	seq       uint64    // data of the ping sent last
	sentAt    time.Time // zero if none was sent
	pending   bool      // it was not answered
	answered  time.Time // when one was; zero if none was
	roundTrip time.Duration
	timer     *time.Timer // for the next look at the silence; nil if interval is 0
	asked     time.Time   // when the silence was long enough to ask; zero otherwise
}

// start is called when the peer is known. ping says to measure the round trip now.
func (p *pinger) start(ping bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running {
		return
	}
	p.running, p.since = true, time.Now()
	if ping {
		p.pingLocked(p.since)
	}
	if p.interval > 0 {
		p.timer = time.AfterFunc(p.interval, p.look)
	}
}

func (p *pinger) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running = false
	if p.timer != nil {
		p.timer.Stop()
	}
}

// pingLocked sends a ping, unless the last one is too recent.
func (p *pinger) pingLocked(now time.Time) {
	if !p.sentAt.IsZero() && now.Sub(p.sentAt) < minPingInterval {
		return
	}
	p.seq++
	p.sentAt, p.pending = now, true
	var data [drpcwire.PingLen]byte
	binary.BigEndian.PutUint64(data[:], p.seq)
	p.m.wr.Ping(data)
}

// pong takes an answer. It reports whether there was a question.
func (p *pinger) pong(data [drpcwire.PingLen]byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.pending || binary.BigEndian.Uint64(data[:]) != p.seq {
		return false
	}
	p.pending, p.answered = false, time.Now()
	took := p.answered.Sub(p.sentAt)
	if p.roundTrip == 0 || took < p.roundTrip {
		p.roundTrip = max(took, 1)
	} else {
		// Much of it may be what is queued in front of a ping, by windows that are
		// large already. A path that has become longer shows in time.
		p.roundTrip = min(took, p.roundTrip+p.roundTrip/roundTripDrift)
	}
	return true
}

// measured returns the round trip, and zero if it is not known. It has it measured
// again from time to time. The peer counts the time between pings as they arrive:
// one that leaves long enough after the answer to another cannot arrive too soon
// after it, however long either was on its way.
func (p *pinger) measured() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	lost := now.Sub(p.sentAt) >= lostPing // a peer need not answer all
	if p.running && (!p.pending || lost) && now.Sub(p.answered) >= minPingInterval {
		p.pingLocked(now)
	}
	return p.roundTrip
}

// last returns the round trip as it was measured last.
func (p *pinger) last() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.roundTrip
}

// look is called by the timer. Whatever has come from the transport is a sign of
// life, and so is that a write which was blocked has got on.
func (p *pinger) look() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.running {
		return
	}
	now, heard := time.Now(), p.since
	if !p.m.rd.Reading() { // it waits for a stream's queue: nothing can be heard
		heard = now
	}
	for _, at := range [...]time.Time{p.m.rd.LastRead(), p.m.wr.LastUnblocked()} {
		if at.After(heard) {
			heard = at
		}
	}
	switch {
	case heard.Before(p.asked):
		left := p.timeout - now.Sub(p.asked)
		if left <= 0 {
			p.running = false
			go p.m.terminate(p.m.lost(ErrKeepalive))
			return
		}
		p.timer.Reset(left)
	case now.Sub(heard) >= p.interval:
		p.asked = now
		p.pingLocked(now)
		p.timer.Reset(p.timeout)
	default:
		p.asked = time.Time{}
		p.timer.Reset(p.interval - now.Sub(heard))
	}
}

// pingsTaken is how often the peer may ping. It is owned by the reader.
type pingsTaken struct {
	last    time.Time
	strikes int
}

const (
	// A ping that comes sooner after the one before it is not answered.
	minPingBusy = 5 * time.Second  // while streams are open
	minPingIdle = 10 * time.Second // while none is

	// maxStrikes is how many such pings in a row end the connection.
	maxStrikes = 3
)

// handlePing answers a ping, or does not if there are too many.
func (m *Manager) handlePing(fr drpcwire.Frame) error {
	data, ok := drpcwire.ParsePing(fr.Data)
	if !ok {
		return m.idleFrame(fr)
	}
	least := minPingIdle
	if m.Streams() > 0 {
		least = minPingBusy
	}
	now, p := time.Now(), &m.pings
	if !p.last.IsZero() && now.Sub(p.last) < least {
		p.last = now
		if p.strikes++; p.strikes >= maxStrikes {
			return exhausted("%d pings in less than %v each", p.strikes, least)
		}
		return nil
	}
	p.last, p.strikes = now, 0
	m.wr.Pong(data)
	return nil
}
