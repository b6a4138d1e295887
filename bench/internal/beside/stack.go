// Package beside runs small calls beside bulk streams over one connection, with
// stacks that have little in common but that they can do it.
package beside

import (
	"context"
	"net"

	"braid/bench/internal/blob"
)

// Stack is an implementation that is compared.
type Stack struct {
	// Name is what results call the stack.
	Name string
	// Module is the module path of the stack, to look its version up.
	Module string
	// Settings says what the stack does, by default or because it was told to,
	// that the other need not do.
	Settings []string
	// Serve serves the service until ctx is done.
	Serve func(ctx context.Context, lis net.Listener, service *Service) error
	// Client makes the client side of one connection out of what dial returns.
	// The connection may be made with the first call.
	Client func(ctx context.Context, dial Dial) (Client, error)
}

// Dial connects to the server.
type Dial func(ctx context.Context) (net.Conn, error)

// Client is the client side of one connection. Its methods may be called
// concurrently.
type Client interface {
	// Echo sends a message and receives the answer into out.
	Echo(ctx context.Context, in, out *blob.Blob) error
	// Open opens a stream. It ends with ctx.
	Open(ctx context.Context, method string) (Stream, error)
	// Close closes the connection, and ends what is open on it.
	Close() error
}

// Stream is one end of a stream, on either side. Send and Recv may be called
// concurrently with each other.
type Stream interface {
	// Context ends with the stream.
	Context() context.Context
	// Send sends a message. It has no hold of the message when it returns.
	Send(*blob.Blob) error
	// Recv receives a message, reusing the memory that it has.
	Recv(*blob.Blob) error
}

// Stacks returns the stacks compared: the one measured, then the one it is
// measured against.
func Stacks() []Stack { return []Stack{Braid(), GRPC()} }
