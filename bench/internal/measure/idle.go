package measure

import (
	"context"
	"math"

	"braid/bench/internal/job"
	"braid/bench/internal/rig"
	"braid/bench/internal/stack"
)

// Idle is what an open stream takes that does nothing.
type Idle struct {
	// Bytes of memory, live objects and stacks, and goroutines, of both ends
	// together. What the kernel holds is not in them.
	Bytes, Goroutines float64
	// The part of the server, or NaN if both ends are in one process.
	ServerBytes, ServerGoroutines float64
}

// Footprints is what the two ends of a rig hold.
type Footprints struct {
	here, server rig.Footprint
	separate     bool
}

// FootprintsOf takes them.
func FootprintsOf(r *rig.Rig) (Footprints, error) {
	here, server, err := r.Footprint()
	return Footprints{here, server, r.Separate()}, err
}

// Reference returns what a rig holds on which no stream has been opened. It is
// not the one on which streams are opened later, as a pool has its connections
// from the start.
func Reference(ctx context.Context, st stack.Stack, transport rig.Transport, size int) (f Footprints, err error) {
	setup := job.Idle.Setup(0, size) // for the callers that are beside the streams
	err = with(ctx, st, transport, setup, func(r *rig.Rig) error {
		f, err = FootprintsOf(r)
		return err
	})
	return f, err
}

// Per returns what has been added for each of n streams.
func (f Footprints) Per(before Footprints, n int) *Idle {
	here, server := f.here.Minus(before.here), f.server.Minus(before.server)
	each := func(total int64) float64 { return float64(total) / float64(n) }
	if !f.separate {
		return &Idle{
			Bytes: each(here.Bytes), Goroutines: each(int64(here.Goroutines)),
			ServerBytes: math.NaN(), ServerGoroutines: math.NaN(),
		}
	}
	return &Idle{
		Bytes: each(here.Bytes + server.Bytes), Goroutines: each(int64(here.Goroutines + server.Goroutines)),
		ServerBytes: each(server.Bytes), ServerGoroutines: each(int64(server.Goroutines)),
	}
}
