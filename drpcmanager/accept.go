package drpcmanager

import (
	"context"
	"reflect"

	"storj.io/drpc"
	"storj.io/drpc/drpcmetadata"
	"storj.io/drpc/drpcstats"

	"braid/drpcstream"
)

// invoke is a stream that has been opened and whose handler is to be started.
type invoke struct {
	stream *drpcstream.Stream
	rpc    string
}

// accept makes a stream of a complete Invoke and hands it on.
//
// The very first one is held back until one more frame has been looked at, if
// one is on its way: a client announces itself right behind its first Invoke,
// and the answer goes out before anything the handler may send.
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
	s.Accept(id, o.asm)

	m.mu.Lock()
	ended := m.err != nil
	if !ended {
		m.addLocked(s)
	}
	m.mu.Unlock()
	if ended {
		return // nobody has seen the stream
	}
	if m.accepted {
		m.handOn()
		m.hooks.Handle(s, o.rpc)
		return
	}
	m.accepted = true
	m.held = &invoke{stream: s, rpc: o.rpc}
}

// handOn gives the Invoke that is held back, if there is one, to the server.
func (m *Manager) handOn() {
	if h := m.held; h != nil {
		m.held = nil
		m.hooks.Handle(h.stream, h.rpc)
	}
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
	pairs, err := drpcmetadata.Decode(metadata)
	if err != nil {
		return nil, drpc.ProtocolError.New("metadata: %v", err)
	}
	return drpcmetadata.AddPairs(ctx, pairs), nil
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
