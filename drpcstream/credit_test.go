package drpcstream

import (
	"context"
	"fmt"
	"testing"

	"braid/drpcwire"
)

// check checks all that must hold after each operation.
func (m *creditModel) check() {
	var used int64
	for _, c := range m.streams {
		c.check()
		f := &c.s.recv.flow
		used += f.growth + f.extra + f.debt
	}
	b := m.budget
	if got := b.Used(); got != used {
		m.fatalf("%d bytes of the budget are in use, and the streams have %d", got, used)
	}
	if most := b.total + frameCost(m.largest); used > most {
		m.fatalf("%d bytes of the budget are in use, want at most %d and a message", used, b.total)
	}
	if b.waiting.Len() != int(b.queued.Load()) || b.waiting.Len() != len(b.places) {
		m.fatalf("%d wait, %d are counted, %d have places", b.waiting.Len(), b.queued.Load(), len(b.places))
	}
	if b.head != nil && b.head.extra+b.head.debt == 0 {
		m.fatalf("the budget's head has nothing of it")
	}
	if b.waiting.Len() == 0 {
		return
	}
	if b.head == nil {
		m.fatalf("%d wait for nobody", b.waiting.Len())
	}
	for e := b.waiting.Front(); e != nil; e = e.Next() {
		f := e.Value.(*inflow)
		need := f.partial - f.extra
		if r := &f.owner.(*creditStream).s.recv; !r.reading || r.head != r.tail || need <= 0 {
			continue // it needs nothing any more
		}
		if used+need <= b.total {
			m.fatalf("%d bytes are in use, and who is first in line needs %d, %+v", used, need, f)
		}
		break
	}
}

func (c *creditStream) check() {
	m, r := c.m, &c.s.recv
	f := &r.flow
	received, limit := r.received.Load(), r.limit.Load()
	held := int64(r.bytes) + int64(r.lenLocked())*drpcwire.FrameCost + f.partial
	if received != f.consumed+held {
		m.fatalf("stream %d: received %d, consumed %d, held %d", c.s.id, received, f.consumed, held)
	}
	if f.growth < 0 || f.extra < 0 || f.debt < 0 || f.partial < 0 || r.dropped < 0 || r.dropped > f.consumed {
		m.fatalf("stream %d: dropped %d, %+v", c.s.id, r.dropped, f)
	}
	if f.initial > 0 && !f.closed {
		if f.granted-f.consumed > f.window()+f.extra {
			m.fatalf("stream %d: %d granted and not consumed, with %+v", c.s.id, f.granted-f.consumed, f)
		}
		if limit != f.granted {
			m.fatalf("stream %d: %d granted, but the limit is %d", c.s.id, f.granted, limit)
		}
	}
	if c.shakes == knownBefore && held > f.window()+f.extra {
		m.fatalf("stream %d: %d held, with %+v", c.s.id, held, f)
	}
	if f.initial > 0 && c.out.on && !c.gone {
		sum := c.out.spent + c.out.credit
		for _, n := range c.back {
			sum += max(n, 0)
		}
		if sum != limit {
			m.fatalf("stream %d: the sender has got or will get %d, and was given %d", c.s.id, sum, limit)
		}
	}
	if c.out.on {
		if c.out.credit < min(c.lowest, 0) {
			m.fatalf("stream %d: credit fell to %d from %d", c.s.id, c.out.credit, c.lowest)
		}
		c.lowest = c.out.credit
	}
	if c.stuck() {
		m.fatalf("stream %d is stuck: credit %d, rest %d, %+v", c.s.id, c.out.credit, c.rest, f)
	}
}

// stuck reports whether nothing will happen on the stream although its application
// waits for what the sender has. It may have to wait for budget: then another
// stream is the head, and may exceed it.
func (c *creditStream) stuck() bool {
	r := &c.s.recv
	if !c.waiting || !r.reading || !c.pending || c.closed || len(c.frames) > 0 || len(c.back) > 0 || !c.shaken {
		return false
	}
	_, ok := c.out.piece(c.rest, c.m.split)
	return !ok && (c.m.budget.places[&r.flow] == nil || c.m.budget.head == &r.flow)
}

// finish lets everything come to its end: all messages must arrive, however the
// budget is used up, and nothing be left.
func (m *creditModel) finish() {
	for _, c := range m.streams {
		c.handshake()
		if !c.pending && !c.gone {
			c.start(1) // also to tell that the one before was abandoned
		}
	}
	for moved := true; moved; {
		moved = false
		for _, c := range m.streams {
			for _, step := range []func() bool{c.sendAll, c.deliverAll, c.receiveAll, c.deliverBack} {
				moved = step() || moved
				m.check()
			}
		}
		for _, c := range m.streams {
			moved = moved || len(c.back) > 0
		}
	}
	for _, c := range m.streams {
		if r := &c.s.recv; len(c.frames) > 0 || r.head != r.tail || c.pending && !c.closed {
			m.fatalf("stream %d does not get on: %d frames under way, %d messages, %d bytes to be sent, %+v",
				c.s.id, len(c.frames), r.lenLocked(), c.rest, &r.flow)
		}
	}
	var spent int64
	for _, c := range m.streams {
		c.turnAway()
		c.s.Cancel(context.Canceled)
		m.check()
		spent += c.out.spent
	}
	if m.budget.Used() != 0 || m.budget.head != nil || m.budget.waiting.Len() > 0 {
		m.fatalf("%d bytes of the budget are in use, %d wait", m.budget.Used(), m.budget.waiting.Len())
	}
	if t := m.budget.Totals(); t.Received != t.Consumed+t.Dropped || t.Received+t.Late != spent {
		m.fatalf("the books do not balance: %+v, %d sent", t, spent)
	}
}

// Several senders and receivers with a budget in common, in any order of steps
// (hazards C.5, D.4 I2 and I10).
func TestCreditIsNeitherLostNorMadeNorStuck(t *testing.T) {
	programs := 3000
	if testing.Short() {
		programs = 200
	}
	w := newDiscard(t)
	for seed := range uint64(programs) {
		newCreditModel(t, fmt.Sprintf("seed %d", seed), w, fromSeed(seed, 1500)).run()
	}
}

func FuzzCredit(f *testing.F) {
	for seed := range uint64(20) {
		program := make([]byte, 600)
		for i, choose := 0, fromSeed(seed, len(program)); i < len(program); i++ {
			x, _ := choose(256)
			program[i] = byte(x)
		}
		f.Add(program)
	}
	w := newDiscard(f)
	f.Fuzz(func(t *testing.T, program []byte) {
		if len(program) > 4096 {
			t.Skip("longer than it is of use")
		}
		newCreditModel(t, "fuzz", w, fromBytes(program)).run()
	})
}
