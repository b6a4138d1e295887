package drpcmanager

import "braid/drpcwire"

// WriteRaw puts bytes into the writer's queue, past its bounds, whatever they are.
func (m *Manager) WriteRaw(buf []byte) error {
	return m.wr.WriteControl(drpcwire.Frame{Kind: drpcwire.KindPing, Control: true, Done: true, Data: buf[:max(len(buf)-6, 0)]})
}
