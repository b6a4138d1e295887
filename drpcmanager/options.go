package drpcmanager

import (
	"strconv"
	"time"

	"braid/drpcstream"
	"braid/drpcwire"
)

// Options configures a connection. The zero value is ready to use.
type Options struct {
	// WriterBufferSize is how many bytes a stream gathers under ManualFlush
	// before they are sent without having been flushed. Zero or negative means
	// 64 KiB. Without ManualFlush it has no effect: the connection's writer
	// gathers by itself what can leave together.
	WriterBufferSize int

	// Reader limits what is accepted: Reader.MaximumBufferSize is the largest
	// message. A larger one ends its stream with an error; the connection lives.
	Reader drpcwire.ReaderOptions

	// Stream is passed to the streams of the connection.
	Stream drpcstream.Options

	// SoftCancel is kept for programs written for storj.io/drpc and has no
	// effect: a cancellation costs the stream and never the connection.
	SoftCancel bool

	// InactivityTimeout ends a server's connection on which no call has been
	// open for this long, with context.DeadlineExceeded. Zero or negative means
	// no limit. It has no effect on a client.
	InactivityTimeout time.Duration

	// Window configures flow control, which is in force between two ends that are
	// braid. Keepalive says when a silent connection is given up. Limits bounds
	// what a peer may make this end hold.
	Window    Window
	Keepalive Keepalive
	Limits    Limits

	// Multiplex says when a client may have several streams open at once. It
	// has no effect on a server, which takes interleaved streams from anybody.
	Multiplex Multiplex
}

// Multiplex says when a client interleaves its streams. See docs/wire.md,
// "Handshake".
type Multiplex int

const (
	// MultiplexAuto interleaves once the peer has announced itself as braid.
	// Until then, and towards storj.io/drpc for good, streams take turns: each
	// waits, as long as its context allows, for the one before it to end.
	MultiplexAuto Multiplex = iota

	// MultiplexAlways interleaves at once. The peer must be able to take it:
	// braid and CockroachDB's fork can, storj.io/drpc ends the connection.
	MultiplexAlways

	// MultiplexNever takes turns, and does not announce braid.
	MultiplexNever
)

// String returns the name of the mode.
func (m Multiplex) String() string {
	switch m {
	case MultiplexAuto:
		return "auto"
	case MultiplexAlways:
		return "always"
	case MultiplexNever:
		return "never"
	}
	return "Multiplex(" + strconv.Itoa(int(m)) + ")"
}

// holdSize returns WriterBufferSize with its default applied.
func (o Options) holdSize() int {
	if o.WriterBufferSize <= 0 {
		return drpcwire.DefaultMaximumPendingPerStream
	}
	return o.WriterBufferSize
}

// settings is what this end says of itself.
func (o Options) settings(server bool) drpcwire.Settings {
	s := drpcwire.Settings{
		Version:    drpcwire.Version,
		Window:     uint64(o.Window.initial()),
		MaxMessage: uint64(min(o.Reader.Limit(), drpcwire.MaxCredit)),
	}
	if server {
		s.Streams = uint64(min(o.Limits.streams(), drpcwire.MaxCredit))
	}
	return s
}
