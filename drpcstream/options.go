package drpcstream

import (
	"sync"
	"sync/atomic"
	"time"

	"storj.io/drpc"

	"braid/drpcwire"
)

// Options configures the streams of a connection. The zero value is ready to use.
type Options struct {
	// SplitSize is the most data put into one frame, in bytes. Zero means
	// drpcwire.DefaultSplitSize; negative means that messages are never split,
	// so that one large message delays everything else on the connection.
	SplitSize int

	// ManualFlush keeps the messages that are sent on a stream together until
	// the stream is flushed, so that they leave in one write: by RawFlush, by
	// the next receive, CloseSend or Close, by a send after SetManualFlush(false),
	// or when they exceed the manager's WriterBufferSize. The Invoke itself is
	// never held back.
	ManualFlush bool

	// MaximumBufferSize makes the stream give up any of its buffers larger than
	// this many bytes after use, which saves memory and costs allocations. Zero
	// or negative means no limit: a stream keeps at most 64 KiB for messages to
	// come, and larger buffers are shared by all streams of the process.
	MaximumBufferSize int
}

// keep reports whether a buffer of this capacity may be used again.
func (o Options) keep(capacity int) bool {
	return o.MaximumBufferSize <= 0 || capacity <= o.MaximumBufferSize
}

// Owner is the connection a stream belongs to.
type Owner interface {
	// StreamEnded is called once when the stream sends nothing any more and
	// takes nothing from the wire. No lock is held.
	StreamEnded(*Stream)

	// PeerKnown reports whether the peer has announced itself as braid.
	PeerKnown() bool

	// Windows returns the initial windows that this end and the peer have
	// announced, in bytes; zeros where credit is not in force.
	Windows() (own, peer int64)

	// RoundTrip returns how long a round trip takes, and zero if that is not
	// known. It may be called with a lock of the stream held.
	RoundTrip() time.Duration

	// Draining is closed when either end has said that it takes no more streams.
	Draining() <-chan struct{}

	// Returned is called on a server when the handler of the stream has returned.
	Returned(*Stream)

	// PeerLimit returns the largest message that the peer has said it accepts,
	// in bytes, and 0 if it has not said.
	PeerLimit() int
}

// Config is what the streams of a connection have in common. It must not be
// changed once a stream was made with it.
type Config struct {
	Owner     Owner
	Writer    *drpcwire.MuxWriter
	Transport drpc.Transport // for drpcctx.Transport; may be nil
	Server    bool           // this end serves the calls
	Limit     int            // largest message accepted, in bytes
	Budget    *Budget        // what the windows of the streams may grow by

	// QueueTimeout is how long the reader waits for a message to be received while
	// the queue of a stream without credit is full; 0: without end.
	QueueTimeout time.Duration
	HoldSize     int // bytes gathered under ManualFlush before they are sent anyway
	Options      Options

	pool  atomic.Pointer[sync.Pool] // see unused
	ahead ahead
}
