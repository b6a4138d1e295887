package drpcserver

import (
	"math"

	"braid/drpcmanager"
)

// Options configures a Server. The zero value is ready to use.
type Options struct {
	// Manager configures the connections.
	Manager drpcmanager.Options

	// MaximumConnections is how many connections are served at once; a further
	// one is closed as soon as it is accepted. Zero means 10,000; negative means no
	// limit but what the system has.
	MaximumConnections int

	// MaximumHandlers is how many handlers run at once, on all connections
	// together; a further call waits for a second, as many of them as handlers may
	// run, and is then refused with drpcwire.CodeResourceExhausted.
	// Zero means 65,536; negative means no limit but that of each connection
	// (drpcmanager.Limits.Streams).
	MaximumHandlers int

	// Log is called with what can be returned to nobody: errors of accepting,
	// connections that end badly, and handlers that panic, with their stack. Of
	// panics that come fast, and of connections above MaximumConnections, one a
	// second is logged, with the number of those that it stands for. Log may be
	// called concurrently. Nil means that all of it is dropped.
	Log func(error)

	// CollectStats makes the server count the bytes of each rpc; see Stats.
	CollectStats bool
}

func (o Options) maximumConnections() int { return or(o.MaximumConnections, 10_000) }
func (o Options) maximumHandlers() int    { return or(o.MaximumHandlers, 65_536) }

// or applies the default to a limit.
func or(value, otherwise int) int {
	switch {
	case value == 0:
		return otherwise
	case value < 0:
		return math.MaxInt
	}
	return value
}
