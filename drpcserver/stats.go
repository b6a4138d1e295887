package drpcserver

import (
	"storj.io/drpc"
	"storj.io/drpc/drpcstats"

	"braid/drpcmanager"
)

// maxStats bounds the names that are counted where the handler cannot tell which
// ones exist. What comes after them is counted under the empty name.
const maxStats = 4096

// registry is what a handler implements that knows its names, as drpcmux does.
type registry interface {
	// Lookup returns what HandleRPC does for the rpc of exactly this name, and nil if there
	// is none. unary says that nobody has the stream, or its context, when handle has
	// returned.
	Lookup(rpc string) (handle func(drpc.Stream) error, unary bool)

	// Self returns the handler that knows.
	Self() drpc.Handler
}

// registryOf returns the registry that a handler is, or nil: one that embeds a registry may
// serve names of its own.
func registryOf(handler drpc.Handler) registry {
	if r, ok := handler.(registry); ok && r.Self() == handler {
		return r
	}
	return nil
}

// Stats returns what was counted so far for each rpc: bytes of messages read
// from and written to its streams. It is empty without Options.CollectStats.
func (s *Server) Stats() map[string]drpcstats.Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := make(map[string]drpcstats.Stats, len(s.stats))
	for rpc, counters := range s.stats {
		stats[rpc] = counters.AtomicClone()
	}
	return stats
}

// Gauges returns how many connections are being served, and the sum of what is going
// on on them, for metrics.
func (s *Server) Gauges() (connections int, sum drpcmanager.Gauges) {
	s.mu.Lock()
	conns := make([]*drpcmanager.Manager, 0, len(s.conns))
	for man := range s.conns {
		conns = append(conns, man)
	}
	s.mu.Unlock()
	for _, man := range conns {
		sum.Add(man.Gauges())
	}
	return len(conns), sum
}

// counters returns the counters of an rpc; nil if it does not exist.
func (s *Server) counters(rpc string) *drpcstats.Stats {
	if s.registry != nil {
		if handle, _ := s.registry.Lookup(rpc); handle == nil {
			return nil
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stats[rpc] == nil && len(s.stats) >= maxStats {
		rpc = ""
	}
	if s.stats[rpc] == nil {
		s.stats[rpc] = new(drpcstats.Stats)
	}
	return s.stats[rpc]
}
