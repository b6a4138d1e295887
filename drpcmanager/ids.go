package drpcmanager

// idWindow remembers which stream ids a peer has opened: the highest, and of
// the ids just below it each one. It lets a client whose Invokes overtake each
// other be served (CockroachDB's fork takes the id and writes the Invoke in two
// steps), and still tells a second Invoke from a first.
//
// The zero value is ready for the first id. It is owned by the reader.
type idWindow struct {
	highest uint64
	seen    [idWindowSize / 64]uint64 // bit id%idWindowSize, for ids within the window
}

const idWindowSize = 1024

// claim marks id as opened. It reports false if it was before, or is too far
// below the highest to tell. strict asks for ids that only rise.
func (w *idWindow) claim(id uint64, strict bool) bool {
	if id > w.highest {
		// Everything between falls out of the window, or was never seen.
		if id-w.highest >= idWindowSize {
			w.seen = [idWindowSize / 64]uint64{}
		} else {
			for i := w.highest + 1; i < id; i++ {
				w.clear(i)
			}
		}
		w.highest = id
		w.set(id)
		return true
	}
	if strict || w.highest-id >= idWindowSize || w.has(id) {
		return false
	}
	w.set(id)
	return true
}

func (w *idWindow) has(id uint64) bool {
	return w.seen[id%idWindowSize/64]&(1<<(id%64)) != 0
}
func (w *idWindow) set(id uint64)   { w.seen[id%idWindowSize/64] |= 1 << (id % 64) }
func (w *idWindow) clear(id uint64) { w.seen[id%idWindowSize/64] &^= 1 << (id % 64) }
