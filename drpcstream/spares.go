package drpcstream

import "braid/drpcwire"

// ringMaxSpare is the most storage that a stream keeps for messages to come.
const ringMaxSpare = 64 << 10

// spares is storage that was released, the last one first to be used.
type spares struct {
	list  [][]byte
	bytes int // sum of its capacities
}

// takeSpareLocked returns storage that was released, or nil.
func (r *ring) takeSpareLocked() (storage []byte) {
	storage, r.spare = r.spare, nil
	if more := r.spares; more != nil {
		if n := len(more.list) - 1; n >= 0 {
			r.spare, more.list[n] = more.list[n], nil
			more.list = more.list[:n]
			more.bytes -= cap(r.spare)
		}
	}
	return storage
}

// addSpareLocked keeps storage, unless that would be too much.
func (r *ring) addSpareLocked(storage []byte) (ok bool) {
	kept := cap(r.spare)
	if r.spares != nil {
		kept += r.spares.bytes
	}
	if kept+cap(storage) > ringMaxSpare {
		return false
	}
	if r.spare != nil {
		if r.spares == nil {
			r.spares = new(spares)
		}
		r.spares.list = append(r.spares.list, r.spare)
		r.spares.bytes += cap(r.spare)
	}
	r.spare = storage
	return true
}

// recycleLocked keeps storage for a message to come, or shares it with the other
// streams if it is large.
func (r *ring) recycleLocked(storage []byte) {
	n := cap(storage)
	switch {
	case n == 0 || r.keep > 0 && n > int(r.keep):
	case r.err == nil && r.addSpareLocked(storage):
	case r.err != nil && n <= keptStorage:
		r.spare = storage
	default:
		drpcwire.Release(storage)
	}
}
