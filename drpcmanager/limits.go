package drpcmanager

import (
	"fmt"
	"math"
	"time"

	"github.com/zeebo/errs"

	"braid/drpcwire"
)

// Limits bounds what a peer may make a connection hold and do. In every field zero
// means the default, and negative means no limit. docs/limits.md has the reasons,
// and the most that a connection can hold with them.
type Limits struct {
	// Streams is how many streams the peer may have open at once; incomplete
	// Invokes count. It is also how many handlers may run at once: a handler
	// counts until it returns, whatever has become of its stream, and a stream
	// whose handler may not start yet waits. A peer that is braid knows the
	// limit, and its callers wait for their turn; a stream of any other peer
	// above it is refused with drpcwire.CodeResourceExhausted. Default 1,024. On
	// a client it has no effect: nobody opens streams there.
	Streams int

	// MethodName is the longest name of an rpc, in bytes. Default 1 KiB.
	MethodName int

	// Metadata is the most metadata of a call, in bytes as they are encoded, and
	// MetadataPairs the most pairs. Defaults 16 KiB and 128.
	Metadata      int
	MetadataPairs int

	// IncompleteInvokes is how many Invokes may have come in part, and
	// IncompleteBytes what they may hold together. A sender writes the frames of
	// an Invoke together, so an honest peer has one. More end the connection.
	// InvokeTimeout is how long one may stay incomplete. Defaults 16, 256 KiB
	// and 10 s.
	IncompleteInvokes int
	IncompleteBytes   int
	InvokeTimeout     time.Duration

	// IdleFrames is how many frames a peer may send at once that achieve
	// nothing, and IdleFramesPerSecond how many of them in the long run. More end
	// the connection. Defaults 1,000 and 200.
	IdleFrames          int
	IdleFramesPerSecond int

	// FrameTimeout is how long a frame may have come in part, or each 64 KiB of
	// a larger one. Then the connection ends. Default 30 s.
	FrameTimeout time.Duration

	// QueueTimeout is how long a connection waits for the application to receive,
	// where a peer without flow control has sent as much on a stream as is kept.
	// Nothing else is read from the connection meanwhile, not even that the peer has
	// closed it. Then the stream ends with drpcwire.CodeResourceExhausted. Default
	// 5 min, as programs for storj.io/drpc may rely on the wait. A peer that is braid
	// and has sent more than its window before it knew of it is waited for for 3 s
	// at most.
	QueueTimeout time.Duration

	// WriteTimeout is how long the transport may take nothing of what there is to
	// be written. Then the connection ends. Default 10 s.
	WriteTimeout time.Duration
}

// or returns what an option means: its default for zero, no limit if negative.
func or[T int | time.Duration](value, otherwise, none T) T {
	switch {
	case value == 0:
		return otherwise
	case value < 0:
		return none
	}
	return value
}

// The accessors apply the defaults.
func (l Limits) streams() int          { return or(l.Streams, 1024, math.MaxInt) }
func (l Limits) methodName() int       { return or(l.MethodName, 1<<10, math.MaxInt32) }
func (l Limits) metadata() int         { return or(l.Metadata, 16<<10, math.MaxInt32) }
func (l Limits) metadataPairs() int    { return or(l.MetadataPairs, 128, math.MaxInt) }
func (l Limits) incomplete() int       { return or(l.IncompleteInvokes, 16, math.MaxInt) }
func (l Limits) incompleteBytes() int  { return or(l.IncompleteBytes, 256<<10, math.MaxInt) }
func (l Limits) idleFrames() int       { return or(l.IdleFrames, 1000, math.MaxInt) }
func (l Limits) idlePerSecond() int    { return or(l.IdleFramesPerSecond, 200, math.MaxInt32) }
func (l Limits) never() time.Duration  { return math.MaxInt64 }
func (l Limits) invoke() time.Duration { return or(l.InvokeTimeout, 10*time.Second, l.never()) }
func (l Limits) frame() time.Duration  { return or(l.FrameTimeout, 30*time.Second, l.never()) }
func (l Limits) queue() time.Duration  { return or(l.QueueTimeout, 5*time.Minute, 0) }
func (l Limits) write() time.Duration  { return or(l.WriteTimeout, 10*time.Second, 0) }

// Window configures flow control. In every field zero means the default.
// docs/limits.md, "Credit", says how it works.
type Window struct {
	// Initial is what a sender may have outstanding on a stream before its
	// receiver's application takes any of it, in bytes. Default 64 KiB, at least
	// 1 KiB. Negative means that this end offers no flow control, and then a
	// stream that is not received from holds up its connection for
	// Limits.QueueTimeout, or until the peer's keepalive gives it up.
	Initial int

	// Maximum is the most that a window grows to where the application keeps up
	// and the network asks for it. Default 16 MiB, at least Initial.
	Maximum int

	// Budget is what the windows of a connection may grow by together. Default
	// 64 MiB; negative means nothing. One stream at a time may exceed it, so
	// that a message larger than its window completes.
	Budget int

	// Total is the most that Initial times Limits.Streams may be; options above
	// it are refused. Default 64 MiB; negative means no limit. It has no effect on
	// a client, which opens no more streams than its program asks for.
	Total int
}

func (w Window) initial() int { return max(or(w.Initial, 64<<10, 0), 0) }
func (w Window) maximum() int { return max(or(w.Maximum, 16<<20, 0), w.initial()) }
func (w Window) budget() int  { return or(w.Budget, 64<<20, 0) }
func (w Window) total() int   { return or(w.Total, 64<<20, math.MaxInt) }

// Keepalive says how a connection finds out that its peer is gone. Only a peer that
// is known to be braid can be asked.
type Keepalive struct {
	// Interval is how long nothing may have come before the peer is asked for a
	// sign of life by a ping. Default 30 s on a client and 60 s on a server; at
	// least 10 s, or the peer would take it for a flood. Negative means never.
	Interval time.Duration

	// Timeout is how long the peer has to answer. Then the connection ends.
	// Default 15 s. Negative is refused.
	Timeout time.Duration
}

func (k Keepalive) interval(server bool) time.Duration {
	if server {
		return or(k.Interval, 60*time.Second, 0)
	}
	return or(k.Interval, 30*time.Second, 0)
}
func (k Keepalive) timeout() time.Duration { return or(k.Timeout, 15*time.Second, 0) }

// minPingInterval is the least time between two pings of one end.
const minPingInterval = 10 * time.Second

// closeFlush is how long Close waits for what was queued before it to reach the
// transport. A peer that reads needs microseconds; one that does not read is
// not waited for. A connection that can no longer be written to is read from for as
// long: an answer may be there already.
const closeFlush = 250 * time.Millisecond

// closeLinger is how long a connection that has come to its planned end waits for
// the peer to close its side: closing before that could destroy what the peer has
// not read yet.
const closeLinger = time.Second

// stockLinger is how much longer a connection of a peer that is not known stays after
// its last answer: storj.io/drpc drops an answer that it has read, and not delivered
// yet, when the connection ends right behind it.
const stockLinger = 250 * time.Millisecond

// maxUnsent is what the kernel may hold of a TCP connection without having sent it.
// It is small because small calls cannot overtake bulk there, and large enough that
// the kernel does not run dry while the drain is woken (docs/decisions.md).
const maxUnsent = 64 << 10

// loopbackUnread is the receive buffer, in bytes, of a connection within the machine.
// The kernel would let it grow to megabytes, which small frames wait behind, where
// there is no link whose delay would need them. Less costs some of the rate
// (docs/decisions.md).
const loopbackUnread = 384 << 10

// errOptions is the class of what is wrong with options.
var errOptions = errs.Class("invalid options")

// check returns what is wrong with the options.
func (o Options) check(server bool) error {
	w, streams := o.Window, o.Limits.streams()
	switch {
	case w.Initial > 0 && w.Initial < drpcwire.MinWindow:
		return errOptions.New("Window.Initial is %d, less than %d", w.Initial, drpcwire.MinWindow)
	case w.initial() > drpcwire.MaxCredit || w.Maximum > drpcwire.MaxCredit:
		return errOptions.New("a window of more than %d bytes", drpcwire.MaxCredit)
	case w.Maximum != 0 && w.Maximum < w.initial():
		return errOptions.New("Window.Maximum is %d, less than Window.Initial, %d", w.Maximum, w.initial())
	case server && streams != math.MaxInt && w.Total >= 0 && w.initial() > 0 && streams > w.total()/w.initial():
		return errOptions.New("Limits.Streams (%d) with a Window.Initial of %d could hold more than Window.Total (%d)",
			streams, w.initial(), w.total())
	case o.Keepalive.Interval > 0 && o.Keepalive.Interval < minPingInterval:
		return errOptions.New("Keepalive.Interval is %v, less than %v", o.Keepalive.Interval, minPingInterval)
	case o.Keepalive.Timeout < 0:
		return errOptions.New("Keepalive.Timeout is %v", o.Keepalive.Timeout)
	case o.Multiplex < MultiplexAuto || o.Multiplex > MultiplexNever:
		return errOptions.New("Multiplex is %v", o.Multiplex)
	}
	return nil
}

// exhausted is the error of a connection that has gone over a limit.
func exhausted(format string, args ...any) error {
	return drpcwire.Exhausted("%s", fmt.Sprintf(format, args...))
}
