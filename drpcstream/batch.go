package drpcstream

import "braid/drpcwire"

// pushBatch appends messages that there is credit for. After close they are dropped.
func (r *ring) pushBatch(b drpcwire.Batch) {
	cost := b.Cost()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.arriveLocked(arrival{cost: cost, newPacket: true})
	if r.err != nil {
		r.dropLocked(cost)
		return
	}
	storage := r.takeSpareLocked()
	if n := cap(storage); n < len(b.Frames) || int64(n) > 2*cost {
		if n > len(b.Frames) { // it would be far more than the sender has paid for
			r.recycleLocked(storage)
		} else {
			drpcwire.Release(storage)
		}
		storage = drpcwire.Grow(nil, len(b.Frames))
	}
	r.addLocked(slot{data: append(storage[:0], b.Frames...), batch: cost})
}

// next is acquire where no lock is needed for that: within a batch.
func (r *ring) next() (msg []byte, ok bool) {
	if len(r.rest) == 0 || r.abandoned.Load() {
		return nil, false
	}
	msg, r.rest = drpcwire.NextMessage(r.rest)
	return msg, true
}

// dropRest drops what is left of a batch of a ring that was discarded. It is called by
// the consumer, or in its place.
func (r *ring) dropRest() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dropRestLocked()
}

func (r *ring) dropRestLocked() {
	if !r.abandoned.Load() {
		return
	}
	r.abandoned.Store(false)
	if len(r.rest) == 0 {
		return
	}
	cost, left := r.slotLocked(r.head).cost(), int64(0)
	for len(r.rest) > 0 {
		var msg []byte
		msg, r.rest = drpcwire.NextMessage(r.rest)
		left += frameCost(len(msg))
	}
	r.freeFirstLocked()
	r.consumeLocked(cost - left)
	if r.settled {
		r.flow.budget.Add(Totals{Consumed: cost - left})
	}
	r.dropLocked(left)
}
