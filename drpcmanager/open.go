package drpcmanager

import (
	"context"
	"errors"
	"io"

	"storj.io/drpc"

	"braid/drpcstream"
	"braid/drpcwire"
)

// NewClientStream opens a stream for a call that may send and receive any
// number of messages. metadata is encoded (drpcmetadata.Encode) and may be
// empty. The end of ctx cancels the stream.
//
// It waits for its turn while streams are not multiplexed, and while the
// writer is full. If ctx has ended already, nothing is sent.
func (m *Manager) NewClientStream(ctx context.Context, rpc string, metadata []byte) (*drpcstream.Stream, error) {
	s, err := m.open(ctx, &drpcstream.Call{RPC: rpc, Metadata: metadata})
	if err != nil {
		return nil, err
	}
	s.Watch()
	return s, nil
}

// NewUnaryStream opens a stream for a call with one request, which is sent with
// it in one write where it is not too large for that. The end of ctx is noticed
// by the caller's receive, which must follow.
func (m *Manager) NewUnaryStream(ctx context.Context, rpc string, metadata, request []byte) (*drpcstream.Stream, error) {
	if limit := m.PeerLimit(); limit > 0 && len(request) > limit {
		return nil, tooLarge(request, limit)
	}
	if m.fitsOneWrite(request) {
		s, err := m.open(ctx, &drpcstream.Call{RPC: rpc, Metadata: metadata, Unary: true, Message: request})
		if err != errNotUnary { //nolint:errorlint // from open itself
			return s, err
		}
	}
	return m.openAndSend(ctx, rpc, metadata, request)
}

func tooLarge(request []byte, limit int) error {
	return drpcwire.Exhausted("message of %d bytes exceeds the peer's limit of %d", len(request), limit)
}

// openAndSend is NewUnaryStream for a request that does not go with its Invoke.
func (m *Manager) openAndSend(ctx context.Context, rpc string, metadata, request []byte) (*drpcstream.Stream, error) {
	s, err := m.NewClientStream(ctx, rpc, metadata) // watched, as a send may have to wait
	if err != nil {
		return nil, err
	}
	err = s.RawWrite(drpcwire.KindMessage, request)
	if err == nil {
		err = s.CloseSend()
	}
	// After io.EOF the peer has ended the stream, and the receive tells why.
	if err != nil && !errors.Is(err, io.EOF) {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

// fitsOneWrite reports whether the request is small enough to go with its Invoke.
func (m *Manager) fitsOneWrite(request []byte) bool {
	_, rest := drpcwire.SplitData(request, m.opts.Stream.SplitSize)
	most := drpcwire.DefaultMaximumPendingPerStream / 2
	if _, window := m.Windows(); window > 0 {
		most = min(most, int(window)-drpcwire.FrameCost)
	}
	return rest == nil && len(request) <= most
}

// open takes the turn, waits for room in the writer and opens the stream.
func (m *Manager) open(ctx context.Context, call *drpcstream.Call) (*drpcstream.Stream, error) {
	switch {
	case m.server:
		return nil, drpc.InternalError.New("a server cannot open streams")
	case ctx.Err() != nil:
		return nil, ctx.Err()
	}
	call.Deadline, _ = ctx.Deadline()
	s := drpcstream.New(ctx, &m.config, nil)
	err := m.tryOpenInTurn(ctx, s, call)
	if err == errNoTurn { //nolint:errorlint // from tryOpenInTurn itself
		if err = m.takeTurn(ctx); err != nil {
			return nil, err
		}
		err = m.tryOpen(ctx, s, call)
	}
	for ; ; err = m.tryOpen(ctx, s, call) {
		if errors.Is(err, drpcwire.ErrFull) {
			err = m.wr.Wait(s.Lane(), call.Size()+len(m.announcement), ctx.Done())
			if err == nil {
				continue
			}
		}
		if err != nil {
			m.wr.Forgo(s.Lane())
			m.giveTurn()
			return nil, err
		}
		return s, nil
	}
}

// errNoTurn is returned by tryOpenInTurn where the caller has to wait for its turn.
var errNoTurn = errors.New("not in turn")

// tryOpenInTurn is takeTurn and tryOpen in one, where nobody has to wait.
func (m *Manager) tryOpenInTurn(ctx context.Context, s *drpcstream.Stream, call *drpcstream.Call) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.turns.available() {
		return errNoTurn
	}
	m.turns.held++
	return m.tryOpenLocked(ctx, s, call)
}

// tryOpen gives the stream the next id, queues its first frames and makes it
// live, in one step: ids rise on the wire, and an answer finds its stream.
func (m *Manager) tryOpen(ctx context.Context, s *drpcstream.Stream, call *drpcstream.Call) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.tryOpenLocked(ctx, s, call)
}

func (m *Manager) tryOpenLocked(ctx context.Context, s *drpcstream.Stream, call *drpcstream.Call) error {
	if err := m.refusalLocked(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, window := m.Windows(); call.Unary && window > 0 && len(call.Message)+drpcwire.FrameCost > int(window) {
		return errNotUnary
	}
	announce := m.peer.shouldAnnounce(m.opts.Multiplex)
	call.Settings = nil
	if announce {
		call.Settings = m.announcement
	}
	if err := s.Open(m.nextID, call, &m.opening); err != nil {
		return err
	}
	if announce {
		m.peer.announced = m.nextID
	}
	m.nextID += 2
	m.opened.Store(m.nextID)
	m.addLocked(s)
	return nil
}

// refuseStream answers a frame of a stream that is not live, on a client. Most
// are late, and dropped. A stream that the server tries to open is refused
// where the peer is known, so that it understands the answer.
func (m *Manager) refuseStream(fr drpcwire.Frame, more uint64) error {
	switch {
	case fr.ID.Stream%2 == 1 && fr.ID.Stream < m.opened.Load():
		return m.lateFrame(fr, more)
	case fr.Kind == drpcwire.KindInvoke && fr.Done && fr.ID.Stream%2 == 0 && m.known.Load():
		_ = m.wr.WriteControl(refusal(fr.ID.Stream)) // an error ends the connection by itself
	}
	return m.idleFrame(fr)
}

// errNotUnary is returned by tryOpen where the peer has become known meanwhile, and
// gives less credit than the call needs at once.
var errNotUnary = errors.New("more than the initial window")

// refusal is the frame that refuses a stream which this end never took.
func refusal(stream uint64) drpcwire.Frame {
	return drpcwire.Frame{
		ID:      drpcwire.ID{Stream: stream, Message: 1},
		Kind:    drpcwire.KindCancel,
		Control: true,
		Done:    true,
		Data:    drpcwire.AppendCancel(nil, drpcwire.CancelRefused),
	}
}
