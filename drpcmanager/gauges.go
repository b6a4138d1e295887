package drpcmanager

import (
	"time"

	"braid/drpcstream"
)

// Gauges is what is going on on a connection at one moment, for metrics. It is made
// when it is asked for and costs nothing otherwise. All of it but RoundTrip is zero
// when nothing is in progress, and once the connection has ended.
type Gauges struct {
	Streams   int           // that are live
	Handlers  int           // that run, on a server; also after the connection has ended
	Waiting   int           // streams that wait for their handler to start, and callers for their turn
	Queued    int           // bytes to be written that the transport has not taken
	Grown     int64         // bytes by which windows have grown beyond the initial one
	RoundTrip time.Duration // as measured last; zero if it was not
}

// Add adds the gauges of another connection; of the round trips the longer one stays.
func (g *Gauges) Add(other Gauges) {
	g.Streams += other.Streams
	g.Handlers += other.Handlers
	g.Waiting += other.Waiting
	g.Queued += other.Queued
	g.Grown += other.Grown
	g.RoundTrip = max(g.RoundTrip, other.RoundTrip)
}

// Gauges returns the gauges of the connection.
func (m *Manager) Gauges() Gauges {
	m.mu.Lock()
	g := Gauges{
		Streams:  len(m.streams),
		Handlers: m.handlers.running,
		Waiting:  len(m.handlers.waiting) + m.turns.waiters.Len(),
	}
	m.mu.Unlock()
	g.Queued = m.wr.Pending()
	g.Grown = m.budget.Used()
	g.RoundTrip = m.pinger.last()
	return g
}

// Flow returns what the connection's windows have grown by, in bytes, and what has
// become of all credit on its streams that are finished. It is for those who look
// for a leak.
func (m *Manager) Flow() (grown int64, totals drpcstream.Totals) {
	return m.budget.Used(), m.budget.Totals()
}
