package drpcstream

import (
	"context"
	"sync"
	"time"

	"storj.io/drpc"
)

// Storage of streams is used again for calls of the same connection, as a call costs
// little else. The rule is that of counted references: who holds a stream is its user,
// the connection's table while the stream is live, whoever has looked it up there
// (Retain), and a timer or a watch that may still act on it. When the last of them lets
// go (Release), it may become another call's.
//
// A user who never calls Release keeps the stream for good. Only those may call it that
// have given the stream to nobody else: the client's side of a unary call, and the
// server's for methods that are given no stream. Nor must anybody have what Context has
// returned, which is the stream by another type. What such methods are given instead is
// what Lend returns, and its context, which outlives the stream.

// keptStorage is how many bytes of storage for messages go with a stream to the next
// call.
const keptStorage = 512

// unused returns the pool of streams in state Init that nobody has. Each connection has
// its own, as channels and timers go with the streams, which must not leave the bubble
// of a test (testing/synctest). It is storage of its own, because the runtime holds on to
// a pool for a while, and is not to hold on to the connection.
func (c *Config) unused() *sync.Pool {
	if c.pool.Load() == nil {
		c.pool.CompareAndSwap(nil, &sync.Pool{New: func() any { return new(Stream) }})
	}
	return c.pool.Load()
}

// Retain adds one to those that hold the stream. It must be called by someone who
// holds it, or with the lock of a table that does.
func (s *Stream) Retain() { s.holders.Add(1) }

// Release takes away one of those that hold the stream, which must not use it after.
func (s *Stream) Release() {
	if s.holders.Add(-1) > 0 || !s.fin.IsSet() || !s.ctx.Load().detach() {
		return
	}
	unused, storage, arrived, timer := s.cfg.unused(), s.recv.spare, s.recv.arrived, s.timer
	*s = Stream{} // now, not later: the race detector finds who still uses it
	s.asm.Use(storage)
	s.recv.arrived, s.timer = arrived, timer
	unused.Put(s)
}

// Context returns the stream's context. It has the values and the deadline of
// the context the stream was made with, and the transport (drpcctx.Transport).
// It is done when the stream is over: at once when the stream is canceled, when
// its connection is lost or, on the server, when the client ends the call or
// the handler returns; and otherwise when all that had arrived was received. It may be
// kept for as long as the stream may.
func (s *Stream) Context() context.Context { return onUse{s} }

func (s *Stream) context() *streamCtx {
	if c := s.ctx.Load(); c != nil {
		return c
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.ctx.Load(); c != nil {
		return c
	}
	return s.makeContextLocked(time.Time{})
}

// makeContextLocked makes the context, with the deadline of the call if there is one.
func (s *Stream) makeContextLocked(deadline time.Time) *streamCtx {
	c := &streamCtx{Context: s.parent, tr: s.cfg.Transport, deadline: deadline, stream: s}
	if s.ctxEnded {
		c.close(s.ctxEnd)
	}
	s.ctx.Store(c)
	return c
}

// endContextLocked ends the context as ctxEnd says, whether somebody has asked for it or
// not. Only the first call has an effect.
func (s *Stream) endContextLocked() {
	if s.ctxEnded {
		return
	}
	s.ctxEnded = true
	if s.ctxEnd == ctxLives {
		s.ctxEnd = ctxCanceled
	}
	if c := s.ctx.Load(); c != nil {
		c.close(s.ctxEnd)
	}
}

// Self returns the stream. A type that embeds it has this method, too; by its result it
// is told from the stream itself.
func (s *Stream) Self() drpc.Stream { return s }

// Lend returns the stream for the use of a handler that is not expected to use it, as
// it has no need to. Once it does, the stream is its own: its storage is not used again.
func (s *Stream) Lend() drpc.Stream { return lent{s.context()} }

// lent is a stream by way of its context.
type lent struct{ ctx *streamCtx }

func (l lent) stream() (*Stream, error) {
	if s := l.ctx.share(); s != nil {
		return s, nil
	}
	return nil, errReturned
}

func (l lent) Context() context.Context { return l.ctx }

func (l lent) MsgSend(msg drpc.Message, enc drpc.Encoding) error {
	s, err := l.stream()
	if err != nil {
		return err
	}
	return s.MsgSend(msg, enc)
}

func (l lent) MsgRecv(msg drpc.Message, enc drpc.Encoding) error {
	s, err := l.stream()
	if err != nil {
		return err
	}
	return s.MsgRecv(msg, enc)
}

func (l lent) CloseSend() error {
	if s, err := l.stream(); err == nil {
		return s.CloseSend()
	}
	return nil
}

func (l lent) Close() error {
	if s, err := l.stream(); err == nil {
		return s.Close()
	}
	return nil
}
