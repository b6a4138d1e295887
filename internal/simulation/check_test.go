package simulation_test

import (
	"slices"

	"braid/drpcwire"
)

// budget returns what the windows of an end may grow by, with its default applied.
func (e *end) budget() int64 {
	switch b := int64(e.opts.Window.Budget); {
	case b < 0:
		return 0
	case b == 0:
		return 64 << 20
	default:
		return b
	}
}

// checkPromise checks, while nothing moves, that an end has promised no more than it
// may, and that what it has charged to its budget is what its streams have.
func (h *history) checkPromise(e *end, server bool) {
	used, _ := e.man.Flow()
	if most := e.budget() + int64(h.plan.limit) + drpcwire.FrameCost; used < 0 || used > most {
		h.errorf("%s: %d of the budget are in use, of %d at most", name(server), used, most)
	}
	h.count(func(t *tally) {
		if used > 0 {
			t.grown |= 1
		}
		if used > e.budget() {
			t.contended |= 1
		}
	})
	h.mu.Lock()
	sides := slices.Clone(h.sides)
	h.mu.Unlock()
	var grown, early int64
	for _, x := range sides {
		if x.server != server {
			continue
		}
		own, _ := x.stream.Window()
		if left := x.stream.Outstanding(); left > own && x.live() && !x.peer.isClosed() {
			h.errorf("%s %s: the peer may send %d, with a window of %d", x.talk.name, x.name, left, own)
		}
		if initial := int64(e.opts.Window.Initial); initial > 0 && own >= initial {
			own -= initial
		}
		grown += own
	}
	for _, talk := range h.talks {
		if server {
			early += talk.client.log.earlyCredit()
		} else {
			early += talk.server.log.earlyCredit()
		}
	}
	if window, _ := e.man.Windows(); window == 0 {
		return // what is held without credit is charged
	}
	// What was sent before credit was in force is charged too.
	if used < grown || used > grown+early {
		h.errorf("%s: %d of the budget are in use, and the windows have grown by %d (%d was sent before there was credit)",
			name(server), used, grown, early)
	}
}

func name(server bool) string {
	if server {
		return "server"
	}
	return "client"
}

// checkConnection checks the connection when all streams are over.
func (h *history) checkConnection() {
	for _, e := range []*end{&h.client, &h.server} {
		err := e.man.Err()
		if err != nil {
			h.count(func(t *tally) { t.dead |= 1 })
		}
		if err != nil && !h.plan.lossy() && h.plan.finish.what == noFinish {
			h.errorf("the connection has ended: %v", err)
		}
		if n := e.man.Streams(); n != 0 {
			h.errorf("%d streams are left", n)
		}
	}
	if h.plan.finish.what != noFinish && h.plan.fault.what <= shortPause {
		if h.client.man.Err() == nil || h.server.man.Err() == nil {
			h.errorf("the connection was ended by one side, and lives: %v, %v", h.client.man.Err(), h.server.man.Err())
		}
	}
	if n := h.running.Load(); n != 0 {
		h.errorf("%d handlers are running", n)
	}
	if h.client.man.Err() == nil && h.server.man.Err() == nil && h.plan.fault.what <= shortPause {
		h.checkSums()
	}
}

// checkSums checks that what one end has sent has come to the other.
func (h *history) checkSums() {
	_, c := h.client.man.Flow()
	_, s := h.server.man.Flow()
	// What is gathered when a stream ends was spent, and never sent.
	manual := slices.ContainsFunc(h.plan.streams, func(p streamPlan) bool { return p.manual })
	if manual && c.Sent >= s.Received+s.Late && s.Sent >= c.Received+c.Late {
		return
	}
	if c.Sent != s.Received+s.Late {
		h.errorf("the client has sent %d, the server has received %d and %d late", c.Sent, s.Received, s.Late)
	}
	if s.Sent != c.Received+c.Late {
		h.errorf("the server has sent %d, the client has received %d and %d late", s.Sent, c.Received, c.Late)
	}
}

// checkFlow checks that nothing is left of any credit.
func (h *history) checkFlow() {
	for _, e := range []*end{&h.client, &h.server} {
		used, t := e.man.Flow()
		if used != 0 {
			h.errorf("%s: %d of the budget are still in use", name(e == &h.server), used)
		}
		if t.Received != t.Consumed+t.Dropped {
			h.errorf("%s: received %d, consumed %d and dropped %d", name(e == &h.server), t.Received, t.Consumed, t.Dropped)
		}
	}
}
