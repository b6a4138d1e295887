package drpcmanager

import (
	"context"
	"reflect"

	"storj.io/drpc"
	"storj.io/drpc/drpcmetadata"
	"storj.io/drpc/drpcstats"

	"braid/drpcstream"
	"braid/drpcwire"
)

// invoke is a stream that has been opened and whose handler is to be started.
type invoke struct {
	stream  *drpcstream.Stream
	rpc     string
	refused bool // it is not: this end takes no more
}

// held is the call whose Invoke has come last, until its handler is started. That is when
// the call is there as a whole, if its frames have come together, so that the handler finds
// all that it waits for. And a client announces itself right behind its first Invoke: the
// answer goes out before anything that the handler may send.
//
// No call is held back while the reader waits for more, but for the first one while the
// rest of a frame is on its way.
type held struct {
	invoke       // no stream: there is none
	first   bool // it is the first one of the connection
	message bool // a message has come with it
	whole   bool // nothing more goes with it
}

// goesWith reports whether a frame is looked at before the handler is started.
func (h *held) goesWith(fr drpcwire.Frame) bool {
	switch {
	case fr.Kind == drpcwire.KindSettings:
		return true
	case fr.ID.Stream != h.stream.ID():
		return false
	case fr.Kind == drpcwire.KindMessage && fr.Done && !h.message:
		h.message = true
		return true
	}
	return fr.Kind == drpcwire.KindCloseSend
}

// accept makes a stream of a complete Invoke, and holds it back.
func (m *Manager) accept(id uint64, o opening) {
	ctx, err := m.streamContext(o.metadata)
	if err != nil {
		m.refuse(id, err)
		return
	}
	var stats *drpcstats.Stats
	if m.hooks.Stats != nil {
		stats = m.hooks.Stats(o.rpc)
	}
	s := drpcstream.New(ctx, &m.config, stats)

	first := !m.accepted
	m.accepted = true
	m.mu.Lock()
	s.Accept(id, o.asm, o.deadline) // its end, by a deadline that has passed, waits for mu
	ended, draining, now := m.err, m.drain.own, false
	if ended == nil && !draining {
		m.addLocked(s)
		if id > m.lastTaken.Load() {
			m.lastTaken.Store(id)
		}
		now = m.handlers.add(invoke{stream: s, rpc: o.rpc})
		m.holdLocked(s) // what follows is for it
	}
	gone := m.takeEndedLocked()
	m.mu.Unlock()
	dropEnded(gone)
	switch {
	case ended != nil:
		s.Lost(ended) // nobody has seen the stream
	case draining:
		s.Lost(m.lost(ErrShutdown))
		if !first {
			m.refuseDraining(id)
			return
		}
		m.held = held{invoke: invoke{stream: s, refused: true}, first: true} // a client that is known understands more
	case !now:
		m.start(invoke{stream: s, rpc: o.rpc}, false)
	default:
		m.held = held{invoke: invoke{stream: s, rpc: o.rpc}, first: first}
	}
}

// handOn gives the call that is held back, if there is one, to the server.
func (m *Manager) handOn() {
	h := m.held
	if h.stream == nil {
		return
	}
	m.held = held{}
	if h.refused {
		m.refuseDraining(h.stream.ID())
	} else {
		m.start(h.invoke, true)
	}
}

// waitPartial is called by the reader when it begins to wait for the rest of a frame.
func (m *Manager) waitPartial() {
	if !m.held.first {
		m.handOn()
	}
	m.watchFrame()
}

// refuseDraining refuses a stream because this end takes no more.
func (m *Manager) refuseDraining(id uint64) {
	if m.known.Load() {
		m.late.refused(m.ownWindow.Load())
		_ = m.wr.WriteControl(refusal(id)) // an error ends the connection by itself
		return
	}
	m.refuse(id, errRefused("the server is shutting down"))
}

// streamContext returns the parent of a stream's context: that of the connection,
// with the metadata of the call.
//
// drpcmetadata.Add writes into the map that it finds in the context. The streams
// of a connection, and all connections of a server, have their parent in common,
// so each stream gets a copy of a map that the parent has.
func (m *Manager) streamContext(metadata []byte) (context.Context, error) {
	ctx := m.ctx
	if m.metadata != nil {
		ctx = drpcmetadata.AddPairs(withoutMetadata{ctx, m.metadata}, m.metadata)
	}
	if len(metadata) == 0 {
		return ctx, nil
	}
	if limit := m.opts.Limits.metadataPairs(); countPairs(metadata) > limit {
		return nil, drpcwire.Exhausted("metadata of more than %d pairs", limit)
	}
	pairs, err := drpcmetadata.Decode(metadata)
	if err != nil {
		return nil, drpc.ProtocolError.New("metadata: %v", err)
	}
	return drpcmetadata.AddPairs(ctx, pairs), nil
}

// countPairs returns how many pairs encoded metadata has, so that no map is made of
// too many. What is malformed is not counted; decoding tells.
func countPairs(metadata []byte) (n int) {
	for len(metadata) > 0 {
		rem, length, ok, err := drpcwire.ReadVarint(metadata[1:])
		if !ok || err != nil || length > uint64(len(rem)) {
			return n
		}
		n++
		metadata = rem[length:]
	}
	return n
}

// withoutMetadata hides one map of metadata. Its key is private to drpcmetadata,
// so the value is what tells.
type withoutMetadata struct {
	context.Context
	hidden map[string]string
}

// Value implements context.Context.
func (c withoutMetadata) Value(key any) any {
	v := c.Context.Value(key)
	if m, ok := v.(map[string]string); ok &&
		reflect.ValueOf(m).Pointer() == reflect.ValueOf(c.hidden).Pointer() {
		return nil
	}
	return v
}
