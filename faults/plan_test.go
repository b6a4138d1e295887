package faults_test

import (
	"math/rand/v2"
	"time"

	"braid/drpcconn"
	"braid/drpcmanager"
	"braid/internal/faultproxy"
)

// class is what the faults of a history allow its calls to end with.
type class int

const (
	// harmless: delays, rates, splits, short stalls. Every call succeeds, or ends
	// as it was meant to.
	harmless class = iota

	// cut: the connection ends somewhere. Calls succeed or are lost, and all of
	// them soon: deadlines are far away and must not be what ends them.
	cut

	// hurried: the connection ends somewhere, or is slow, and deadlines pass
	// meanwhile.
	hurried

	// silent: nothing comes any more, and nobody says so. Calls succeed or end
	// by their deadlines.
	silent

	classes
)

func (c class) String() string {
	return [...]string{"harmless", "cut", "hurried", "silent"}[c]
}

func (c class) mayBeLost() bool { return c == cut || c == hurried }
func (c class) mayBeLate() bool { return c == hurried || c == silent }

// classOf returns the class of the history with this seed. Silent ones take their
// time, and are a smaller share.
func classOf(seed uint64) class {
	switch n := newRand(seed, 1).IntN(100); {
	case n < 20:
		return harmless
	case n < 55:
		return cut
	case n < 83:
		return hurried
	default:
		return silent
	}
}

func newRand(seed, purpose uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, purpose)) }

// plan is a history before it happens, derived from its seed alone.
type plan struct {
	seed    uint64
	class   class
	script  faultproxy.Script
	tls     bool
	opts    drpcconn.Options
	workers [][]call      // each makes its calls one after the other
	closeIn time.Duration // when the client closes the connection; 0: after its calls
}

// far is a deadline that is not to pass, even on a busy machine.
const far = 20 * time.Second

// The sizes of calls. A call is small, middling or large; of all of its messages
// together, that is what they have on average at most.
const (
	maxSize    = 200 << 10
	middleSize = 20 << 10
	smallSize  = 2 << 10
)

func newPlan(seed uint64) plan {
	rng := newRand(seed, 2)
	p := plan{seed: seed, class: classOf(seed), tls: rng.IntN(5) == 0}
	p.opts.Manager.Multiplex = []drpcmanager.Multiplex{
		drpcmanager.MultiplexAuto, drpcmanager.MultiplexAuto, drpcmanager.MultiplexAlways, drpcmanager.MultiplexNever,
	}[rng.IntN(4)]
	p.opts.Manager.Stream.SplitSize = []int{0, 0, 0, 100, 4 << 10, -1}[rng.IntN(6)]
	p.opts.Manager.Stream.ManualFlush = rng.IntN(8) == 0

	tiny := rng.IntN(4) == 0 // so that faults hit frames, and not only their data
	total, id := [2]int{}, seed<<8
	for range 1 + rng.IntN(8) {
		var calls []call
		for range 1 + rng.IntN(3) {
			id++
			c := newCall(rng, id, p.class, tiny)
			total[0] += int(c.Size) * int(c.sends()) / 2
			total[1] += int(c.Size) * int(c.receives()) / 2
			calls = append(calls, c)
		}
		p.workers = append(p.workers, calls)
	}
	for i := range total {
		total[i] += 60 * int(id-seed<<8) // frames, orders, digests
		if p.tls {
			total[i] += 2000
		}
	}
	p.script = newScript(rng, p.class, total)
	if p.class == cut && rng.IntN(6) == 0 {
		p.closeIn = time.Duration(1 + rng.IntN(int(10*time.Millisecond)))
	}
	return p
}

func newCall(rng *rand.Rand, id uint64, class class, tiny bool) call {
	c := call{shape: shape(rng.IntN(4)), timeout: far, quit: -1}
	c.order = order{ID: id, Count: 1, Fail: -1}
	if c.shape != unary {
		c.Count = 1 + uint32(rng.IntN(12))
	}
	sum := smallSize
	switch n := rng.IntN(10); {
	case tiny:
		sum = 40
	case n < 1:
		sum = maxSize
	case n < 4:
		sum = middleSize
	}
	c.Size = uint32(min(maxSize, 2*(1+rng.IntN(sum))/int(c.Count)))
	switch rng.IntN(8) {
	case 0:
		c.Fail = int32(rng.IntN(int(c.Count)))
		if c.shape == up {
			c.Fail++
		}
	case 1:
		c.quit = rng.IntN(int(c.Count))
		c.quitIn = time.Duration(rng.IntN(2000)) * time.Microsecond
	}
	switch class {
	case hurried:
		c.timeout = time.Duration(1+rng.IntN(40)) * time.Millisecond
	case silent:
		c.timeout = time.Duration(30+rng.IntN(270)) * time.Millisecond
	}
	return c
}

// newScript makes the faults of a connection on which about so many bytes are to
// go to the target and to the client.
func newScript(rng *rand.Rand, class class, total [2]int) (s faultproxy.Script) {
	ways := []*faultproxy.Faults{&s.ToTarget, &s.ToClient}
	for i, f := range ways {
		slowDown(rng, f, total[i])
	}
	hit := rng.IntN(2)
	f, at := ways[hit], place(rng, total[hit])
	switch class {
	case cut:
		cutAt(rng, f, at)
	case hurried:
		if rng.IntN(2) == 0 {
			cutAt(rng, f, at)
		} else {
			f.StallAt, f.StallFor = at, time.Duration(1+rng.IntN(60))*time.Millisecond
		}
	case silent:
		if rng.IntN(2) == 0 {
			f.BlackholeAt = at
		} else {
			f.StallAt, f.StallFor = at, -1
		}
	}
	return s
}

// slowDown makes a direction slower by some 20 milliseconds at most.
func slowDown(rng *rand.Rand, f *faultproxy.Faults, total int) {
	if rng.IntN(3) == 0 {
		f.Delay = time.Duration(rng.IntN(2000)) * time.Microsecond
	}
	if rng.IntN(4) == 0 {
		f.Rate = int64(total) * int64(50+rng.IntN(400))
	}
	if rng.IntN(3) == 0 {
		f.Split = 1 + rng.IntN(4) + total/300
	}
	if rng.IntN(6) == 0 {
		f.StallAt, f.StallFor = place(rng, total), time.Duration(rng.IntN(5)+1)*time.Millisecond
	}
}

func cutAt(rng *rand.Rand, f *faultproxy.Faults, at int64) {
	switch rng.IntN(3) {
	case 0:
		f.TruncateAt = at
	case 1:
		f.ResetAt = at
	default:
		f.HalfCloseAt = at
	}
}

// place is where a fault happens, often close to the beginning, where a
// connection is still made and its peer becomes known.
func place(rng *rand.Rand, total int) int64 {
	switch rng.IntN(12) {
	case 0:
		return faultproxy.AtStart
	case 1, 2:
		return 1 + rng.Int64N(200)
	default:
		return 1 + rng.Int64N(int64(total))
	}
}
