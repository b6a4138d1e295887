package drpcmanager

import (
	"context"
	"errors"
	"fmt"
	"time"

	"storj.io/drpc/drpcerr"

	"braid/drpcstream"
	"braid/drpcwire"
)

// ErrShutdown is the cause of a LostError where the connection has come to an end
// as planned: after Shutdown on this end, or because the peer takes no more
// streams and the last one has ended.
var ErrShutdown = errors.New("shut down")

// GoAwayError is the cause of a LostError where the peer has said why it ends the
// connection.
type GoAwayError struct {
	Code uint64 // of drpcerr
	Text string
}

// Error implements error.
func (e *GoAwayError) Error() string { return fmt.Sprintf("the peer ends the connection: %q", e.Text) }

// drain is how far the connection is on its way to a planned end. It is guarded by
// the manager's mu.
type drain struct {
	own  bool          // this end takes no more streams
	peer bool          // the peer takes no more
	why  *GoAwayError  // what the peer does not like, if that is why
	idle chan struct{} // closed when nothing is in progress; made with own

	ended bool // client: the connection is being closed, because of peer
}

// errRefused is what a call gets that was not made because the connection comes to
// its end: a retry elsewhere is safe.
func errRefused(why string) error {
	return drpcerr.WithCode(fmt.Errorf("%w: %s", drpcstream.ErrRefused, why), drpcwire.CodeUnavailable)
}

// Draining returns a channel that is closed when either end takes no more streams.
func (m *Manager) Draining() <-chan struct{} { return m.draining.Signal() }

// Shutdown ends the connection once nothing is in progress on it: no stream is
// live, and on a server no handler runs. Until then, new streams are refused, with
// an error that says that a retry is safe, and a peer that is braid is told so, as
// are the streams (Stream.Draining).
//
// When ctx ends before that, the connection is cut, and Shutdown returns the error
// of ctx at once, whatever handlers still do. It may be called several times, and
// together with Close.
func (m *Manager) Shutdown(ctx context.Context) error {
	idle := m.beginDrain()
	select {
	case <-idle: // even if ctx has ended
		return m.closeGently(ctx)
	default:
	}
	ended := m.term.Signal()
	if m.server {
		ended = nil // handlers may still run after it
	}
	select {
	case <-idle:
		return m.closeGently(ctx)
	case <-ended:
		return nil
	case <-ctx.Done():
		return m.cut(ctx)
	}
}

// cut ends the connection because ctx has ended. Closing the transport may take long
// where the peer does not read, and is not waited for.
func (m *Manager) cut(ctx context.Context) error {
	go func() { _ = m.CloseNow(ErrShutdown) }()
	<-m.term.Signal()
	return ctx.Err()
}

// beginDrain makes this end take no more streams, and returns a channel that is
// closed when nothing is in progress.
func (m *Manager) beginDrain() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := &m.drain
	if d.own {
		return d.idle
	}
	d.own = true
	d.idle = make(chan struct{})
	m.sayGoAwayLocked()
	m.draining.Set(nil)
	m.turns.end()
	m.checkIdleLocked()
	return d.idle
}

// sayGoAwayLocked tells a peer that is known that this end takes no more streams.
func (m *Manager) sayGoAwayLocked() {
	if m.known.Load() && m.drain.own {
		m.goAway(nil)
	}
}

// goAway queues a GoAway. An error means that the writer has stopped.
func (m *Manager) goAway(why error) {
	g := drpcwire.GoAway{Last: m.lastTaken.Load(), Text: "shutting down"}
	if why != nil {
		g.Code, g.Text = drpcerr.Code(why), why.Error()
		if g.Code == 0 {
			g.Code = drpcwire.CodeInternal // 0 says that nothing is wrong
		}
	}
	_ = m.wr.WriteControl(drpcwire.GoAwayFrame(g))
}

// checkIdleLocked is called after each change that may leave nothing in progress.
// It is the one place that decides that a connection which takes no more streams
// has come to its end.
func (m *Manager) checkIdleLocked() {
	d := &m.drain
	if !d.own && !d.peer || len(m.streams) > 0 || m.handlers.running > 0 || !m.server && m.turns.held > 0 {
		return
	}
	if d.own {
		select {
		case <-d.idle:
		default:
			close(d.idle)
		}
		return
	}
	if !m.server && !d.ended && m.err == nil {
		// Nobody has asked for it here, so nobody waits.
		d.ended = true
		go func() { _ = m.closeGently(context.Background()) }()
	}
}

// closeGently ends a connection on which nothing is in progress. What is queued is
// written, as long as the transport takes it and ctx allows, and the peer is given
// time to read it and to close its side.
func (m *Manager) closeGently(ctx context.Context) error {
	err := m.wr.Flush(ctx.Done())
	if ctx.Err() != nil && !m.wr.Empty() && !m.term.IsSet() {
		return m.cut(ctx)
	}
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, closeLinger)
		defer cancel()
		m.hangUp(ctx)
	}
	cause := ErrShutdown
	m.mu.Lock()
	if m.drain.why != nil {
		cause = m.drain.why
	}
	m.mu.Unlock()
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		_ = m.CloseNow(cause)
	}()
	select {
	case <-closed:
	case <-ctx.Done(): // all is written; it is the transport that takes long to close
		<-m.term.Signal()
	}
	return nil
}

// hangUp says that nothing more is written, where the transport can, and waits for
// the peer to do the same. A peer that is known does so by itself.
func (m *Manager) hangUp(ctx context.Context) {
	if m.server && !m.known.Load() {
		timer := time.NewTimer(stockLinger)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-m.readDone:
			return
		case <-ctx.Done():
			return
		}
	}
	half, ok := m.tr.(interface{ CloseWrite() error })
	if ok {
		m.wr.Stop(m.lost(ErrShutdown))
		select {
		case <-m.wr.Done():
		case <-ctx.Done():
			return // what came up meanwhile cannot be written: the peer does not read
		}
		ok = half.CloseWrite() == nil
	}
	if !ok && (!m.server || !m.known.Load()) {
		return
	}
	select {
	case <-m.readDone:
	case <-ctx.Done():
	}
}

// handleGoAway takes note that the peer takes no more streams. Those that it has
// not taken are refused; the others go on.
func (m *Manager) handleGoAway(fr drpcwire.Frame) error {
	g, err := drpcwire.ParseGoAway(fr.Data)
	if err != nil {
		return err
	}
	m.mu.Lock()
	if m.drain.peer {
		m.mu.Unlock()
		return m.idleFrame(fr)
	}
	m.drain.peer = true
	if g.Code != 0 {
		m.drain.why = &GoAwayError{Code: g.Code, Text: g.Text}
	}
	var refused []*drpcstream.Stream
	if !m.server {
		m.turns.end()
		refused = m.liveLocked()
	}
	m.draining.Set(nil)
	m.checkIdleLocked()
	m.mu.Unlock()
	for _, s := range refused {
		if s.ID() > g.Last {
			s.Refused()
		}
	}
	release(refused)
	return nil
}
