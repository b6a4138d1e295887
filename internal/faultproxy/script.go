// Package faultproxy is a TCP proxy for tests that need a fault at an exact
// place: after so many bytes of one direction of one connection.
//
//	proxy, err := faultproxy.New(addr, func(n int) faultproxy.Script {
//		return faultproxy.Script{ToClient: faultproxy.Faults{ResetAt: 1000}}
//	})
//	...
//	defer proxy.Close()
//	nc, err := net.Dial("tcp", proxy.Addr())
//
// It runs inside the test, or as a process of its own, see Start.
package faultproxy

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Script is what happens to one connection.
type Script struct {
	ToTarget Faults // on the way from the client to the target
	ToClient Faults // on the way back
}

// AtStart, as the place of a fault, is before the first byte: as soon as the proxy
// has reached the target.
const AtStart = -1

// Faults is what happens on one direction of a connection. The zero value
// passes everything on as it comes.
//
// The fields whose names end in At are places, in bytes from the beginning of
// the direction: that many bytes are passed on, and then the fault happens,
// without waiting for another byte. 0 is no fault; a negative place, such as
// AtStart, is before the first byte. Several faults happen in the order of their
// places, and at the same place in the order of the fields. Bytes that vanish
// count for the places of later faults.
type Faults struct {
	// Delay is how long each byte is on its way, and the end of the direction
	// too. It limits the throughput of nobody: twice what Rate and Delay
	// have on their way fits into the proxy, without a Rate what 250 MiB/s have,
	// and that is 1 GiB at most.
	Delay time.Duration

	// Rate is how many bytes are passed on per second. 0 is no limit.
	Rate int64

	// Split is the most bytes that are written at once, each write being a
	// segment of its own (TCP_NODELAY), which the receiver may still read
	// together. 0 is no limit.
	Split int

	// StallFor is for how long nothing is passed on once StallAt has been
	// reached, while bytes are still taken from the sender until the buffer is
	// full. Negative is for good. Here alone StallAt 0 is before the first byte,
	// and StallFor 0 is no fault.
	StallAt  int64
	StallFor time.Duration

	// BlackholeAt makes what follows vanish, the sender's end of the connection
	// included, while the connection stays open towards both.
	BlackholeAt int64

	// HalfCloseAt ends this direction for the receiver (FIN). What the sender
	// goes on to send vanishes; the other direction goes on.
	HalfCloseAt int64

	// TruncateAt ends both directions for their receivers (FIN), after what was
	// passed on before. What both go on to send vanishes.
	TruncateAt int64

	// ResetAt ends the connection for both with a RST. It may overtake what a
	// receiver has not been given by its kernel, so that a receiver reads this
	// many bytes at most.
	ResetAt int64
}

// Validate returns an error that names the first field with a value that makes
// no sense.
func (s Script) Validate() error {
	if err := s.ToTarget.validate(); err != nil {
		return fmt.Errorf("faultproxy: to the target: %w", err)
	}
	if err := s.ToClient.validate(); err != nil {
		return fmt.Errorf("faultproxy: to the client: %w", err)
	}
	return nil
}

func (f Faults) validate() error {
	switch {
	case f.Delay < 0:
		return fmt.Errorf("the Delay %v is negative", f.Delay)
	case f.Rate < 0:
		return fmt.Errorf("the Rate %d is negative", f.Rate)
	case f.Split < 0:
		return fmt.Errorf("the Split %d is negative", f.Split)
	case f.StallAt != 0 && f.StallFor == 0:
		return fmt.Errorf("StallAt %d is given without StallFor", f.StallAt)
	case f.inFlight() > maxInFlight:
		return fmt.Errorf("the Delay %v needs more than %d bytes in flight", f.Delay, maxInFlight)
	}
	return nil
}

// How many bytes of a direction the proxy holds before it stops reading from
// the sender. It is twice what a link of the given rate and delay has in flight,
// and for a direction without a rate that of a link faster than loopback tests
// need; so a delay never becomes a limit of its own. The upper bound keeps a
// mistyped delay from eating the machine's memory.
const (
	minInFlight = 256 << 10
	maxInFlight = 1 << 30
	fastestRate = 250 << 20 // bytes per second
)

func (f Faults) inFlight() int {
	rate := cmp.Or(f.Rate, fastestRate)
	return int(min(max(minInFlight, 2*float64(rate)*f.Delay.Seconds()), maxInFlight+1))
}

// kind is what happens at a place.
type kind int

const (
	stall kind = iota
	blackhole
	halfClose
	truncate
	reset
)

// event is a fault and its place, at which 0 is before the first byte.
type event struct {
	at   int64
	kind kind
}

// events returns the faults that have a place, in the order in which they happen.
func (f Faults) events() (events []event) {
	if f.StallFor != 0 {
		events = append(events, event{max(f.StallAt, 0), stall})
	}
	for _, ev := range []event{
		{f.BlackholeAt, blackhole},
		{f.HalfCloseAt, halfClose},
		{f.TruncateAt, truncate},
		{f.ResetAt, reset},
	} {
		if ev.at != 0 {
			events = append(events, event{max(ev.at, 0), ev.kind})
		}
	}
	slices.SortStableFunc(events, func(a, b event) int { return cmp.Compare(a.at, b.at) })
	return events
}
