// Package stack holds the implementations that are compared: all of them carry
// the same messages, by the same service, over whatever connections they are
// given.
package stack

import (
	"context"
	"fmt"
	"net"

	"braid/bench/internal/blob"
)

// Stack is an implementation of calls or streams.
type Stack struct {
	// Name is what results call the stack.
	Name string
	// Module is the module path of the stack, to look its version up. It is
	// empty if the stack is part of the standard library or of this module.
	Module string
	// Settings says, in words, what the stack does that others need not do, by
	// default or because it was told to.
	Settings []string
	// Multiplexed says that one connection carries any number of calls at once.
	Multiplexed bool
	// Lacks has what the stack cannot do, and why.
	Lacks map[Feature]string
	// MaxSize is the largest message in bytes that the stack can be made to
	// carry, or 0 if that is more than anybody sends here.
	MaxSize int
	// MaxStreams is how many streams the stack can have open at once, or 0 if
	// that is only a question of memory.
	MaxStreams int

	// Serve serves until ctx is done, and then ends every connection. It
	// returns nil if it ended because of ctx, and has closed the listener.
	Serve func(ctx context.Context, lis net.Listener, service *Service, setup Setup) error
	// Client makes a client of what dial returns. Connections may be made with
	// the first call. The context bounds the making alone.
	Client func(ctx context.Context, dial Dial, setup Setup) (Client, error)
}

// Setup says what a stack has to be ready for. A stack uses its defaults where
// they are enough, and raises those limits that are not.
type Setup struct {
	// Callers is how many calls and streams there are at once, at most.
	Callers int
	// Size is the size in bytes of the largest message.
	Size int
	// Conns is how many clients there are, which share the callers: see Many. Zero
	// means one.
	Conns int
}

// Dial connects to the server.
type Dial func(ctx context.Context) (net.Conn, error)

// Feature is something that not every stack can do.
type Feature string

// The features.
const (
	Unary      Feature = "unary calls"
	Upload     Feature = "streams to the server"
	Download   Feature = "streams from the server"
	Duplex     Feature = "streams in both directions at once"
	Concurrent Feature = "more than one stream at once"
	Cancel     Feature = "streams that the client ends alone"
	Several    Feature = "choice of the number of connections"
)

// Check returns nil if the stack has the features given, and otherwise an error
// that says which one it lacks, and why.
func (s Stack) Check(features ...Feature) error {
	for _, f := range features {
		if why, ok := s.Lacks[f]; ok {
			return fmt.Errorf("stack %s: no %s: %s", s.Name, f, why)
		}
	}
	return nil
}

// Client is the client side of a stack. Its methods may be called concurrently.
type Client interface {
	// Echo sends a message and receives the answer into out, reusing the memory
	// that out has. Where the context ends first, out must not be used again.
	Echo(ctx context.Context, in, out *blob.Blob) error
	// Open opens a stream. It ends with ctx at the latest.
	Open(ctx context.Context, method Method) (Stream, error)
	// Close closes the connections, and ends what is open on them.
	Close() error
}

// Handle is the server's end of a stream. Send and Recv may be called
// concurrently with each other.
type Handle interface {
	// Context ends with the stream, or with its connection where the stack has
	// no contexts of streams.
	Context() context.Context
	// Send sends a message. It has no hold of the message when it returns.
	Send(*blob.Blob) error
	// Recv receives a message, reusing the memory that it has. It returns
	// io.EOF after the last one.
	Recv(*blob.Blob) error
}

// Stream is the client's end of a stream.
type Stream interface {
	Handle
	// CloseSend says that no more is sent.
	CloseSend() error
	// Close ends the stream in both directions and releases what the client has
	// of it. It unblocks the other methods. It has to be called in any case, once.
	Close() error
}

// All returns every stack: the one measured, and then those it is measured
// against.
func All() []Stack {
	return []Stack{Braid(), Stock(), Pool(), GRPC(), Connect(), TTRPC(), ARPC(), NetRPC(), Yamux(), Floor()}
}

// Named returns the stack of that name.
func Named(name string) (Stack, error) {
	var names []string
	for _, s := range All() {
		if s.Name == name {
			return s, nil
		}
		names = append(names, s.Name)
	}
	return Stack{}, fmt.Errorf("stack %q is none of %v", name, names)
}
