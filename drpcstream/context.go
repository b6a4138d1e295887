package drpcstream

import (
	"context"
	"errors"
	"sync"
	"time"

	"storj.io/drpc"
	"storj.io/drpc/drpcctx"

	"braid/drpcsignal"
)

// onUse is the context of a stream, for who has the stream too: a streamCtx, made when it
// is used first. Most handlers of streams have no use for it.
type onUse struct{ s *Stream }

// Deadline implements context.Context.
func (c onUse) Deadline() (time.Time, bool) { return c.s.context().Deadline() }

// Done implements context.Context.
func (c onUse) Done() <-chan struct{} { return c.s.context().Done() }

// Err implements context.Context.
func (c onUse) Err() error { return c.s.context().Err() }

// Value implements context.Context.
func (c onUse) Value(key any) any { return c.s.context().Value(key) }

// AfterFunc is for the context package; see that of streamCtx.
func (c onUse) AfterFunc(f func()) (stop func() bool) { return c.s.context().AfterFunc(f) }

// streamCtx is the context of a stream: the values and the deadline of the
// parent, and an end of its own. The parent's end reaches it through the
// stream, which ends when its parent does.
//
// It costs neither a goroutine nor, until somebody asks for Done, a channel.
type streamCtx struct {
	context.Context
	tr       drpc.Transport
	deadline time.Time // of the call, on a server; zero if it has none
	done     drpcsignal.Event

	mu     sync.Mutex
	after  map[*func()]struct{} // to run at the end; guarded by mu
	stream *Stream              // nil once its storage is used again; guarded by mu
	shared bool                 // somebody has been given the stream; guarded by mu
	end    ctxEnd               // how it has ended; set before done is
}

// ctxEnd is how the context of a stream ends.
type ctxEnd uint8

const (
	ctxLives ctxEnd = iota
	ctxCanceled
	ctxExpired
)

// endBy returns how the context of a stream ends that err has ended.
func endBy(err error) ctxEnd {
	if errors.Is(err, context.DeadlineExceeded) {
		return ctxExpired
	}
	return ctxCanceled
}

// err returns the error of a context that has ended so.
func (e ctxEnd) err() error {
	if e == ctxExpired {
		return context.DeadlineExceeded
	}
	return context.Canceled
}

// streamKey is the key of the stream in its context.
type streamKey struct{}

// FromContext returns the stream that a context belongs to, for handlers that are
// given the context only. ok is false if it is not the context of a stream of this
// package, or that of a unary call whose handler has returned.
func FromContext(ctx context.Context) (s *Stream, ok bool) {
	s, _ = ctx.Value(streamKey{}).(*Stream)
	return s, s != nil
}

// Deadline returns the earlier one of the parent's deadline and that of the call.
func (c *streamCtx) Deadline() (deadline time.Time, ok bool) {
	deadline, ok = c.Context.Deadline()
	if !c.deadline.IsZero() && (!ok || c.deadline.Before(deadline)) {
		return c.deadline, true
	}
	return deadline, ok
}

// Value returns the transport for drpcctx's key, the stream for its own, and else
// asks the parent.
func (c *streamCtx) Value(key any) any {
	switch key.(type) {
	case drpcctx.TransportKey:
		if c.tr != nil {
			return c.tr
		}
	case streamKey:
		return c.share()
	}
	return c.Context.Value(key)
}

// share returns the stream to somebody who may keep it for good, if it still is that of
// the context.
func (c *streamCtx) share() *Stream {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shared = c.stream != nil
	return c.stream
}

// detach takes the stream away from the context, unless somebody was given it.
func (c *streamCtx) detach() bool {
	if c == nil {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.shared {
		return false
	}
	c.stream = nil
	return true
}

// Done is closed when the stream is.
func (c *streamCtx) Done() <-chan struct{} { return c.done.Signal() }

// Err is nil until Done is closed; then context.DeadlineExceeded if the
// deadline of the stream's own context ended it, and context.Canceled otherwise.
func (c *streamCtx) Err() error {
	if !c.done.IsSet() {
		return nil
	}
	c.mu.Lock() // which close holds until the channel is closed that Done has returned
	defer c.mu.Unlock()
	return c.end.err()
}

// AfterFunc arranges for f to run once the context is done. The context package
// looks for this method: with it, a context derived from this one needs no
// goroutine to watch it.
func (c *streamCtx) AfterFunc(f func()) (stop func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done.IsSet() {
		go f()
		return func() bool { return false }
	}
	if c.after == nil {
		c.after = make(map[*func()]struct{})
	}
	key := &f
	c.after[key] = struct{}{}
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		_, ok := c.after[key]
		delete(c.after, key)
		return ok
	}
}

// close closes Done. It is called once.
func (c *streamCtx) close(end ctxEnd) {
	c.mu.Lock()
	c.end = end
	c.done.Set()
	after := c.after
	c.after = nil
	c.mu.Unlock()
	for f := range after {
		// A derived context may run code of the application when it is
		// canceled; whoever ends the stream must not wait for that.
		go (*f)()
	}
}
