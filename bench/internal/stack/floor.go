package stack

import (
	"context"
	"errors"
	"fmt"
	"net"

	"braid/bench/internal/blob"
	"braid/bench/internal/floor"
)

// Floor returns about the least that a stack can cost: see package floor. With
// one caller everyone writes for themselves, and otherwise a goroutine does that
// yields twice before, which is the faster way for each.
func Floor() Stack {
	return floorStack(func(setup Setup) int {
		if setup.Callers <= 1 {
			return floor.Direct
		}
		return 2
	})
}

// FloorOf returns the floor with one way to write: floor.Direct, or a number of
// yields.
func FloorOf(yields int) Stack { return floorStack(func(Setup) int { return yields }) }

func floorStack(yields func(Setup) int) Stack {
	return Stack{
		Name:        "floor",
		Multiplexed: true,
		Settings: []string{
			"a header of 8 bytes in front of each message, and nothing else: no flow control, no cancellation, no dispatch",
			"one caller writes each frame by itself; frames of more callers are written by a goroutine that yields twice before, to gather them",
			"a stream has the connection for itself; its messages are gathered in 64 KiB, those of 16 KiB and more written without a copy",
			"the server reads, handles and answers on one goroutine",
			"reads through a buffer of 64 KiB",
			"a stream is closed by ending both directions, which waits for the handler",
		},
		Lacks: map[Feature]string{
			Concurrent: "a stream has the connection for itself",
			Cancel:     "nothing ends a stream early but the end of its connection",
		},
		Serve: func(ctx context.Context, lis net.Listener, service *Service, setup Setup) error {
			handle := func(name string, stream *floor.Stream) error {
				for _, method := range streamMethods {
					if string(method.name) == name {
						return method.handler(service, floorHandle{stream, ctx})
					}
				}
				return fmt.Errorf("no method %q", name)
			}
			return serveConns(ctx, lis, func(conn net.Conn) {
				_ = floor.Serve(conn, yields(setup), handle) // the client sees its connection end
			})
		},
		Client: func(ctx context.Context, dial Dial, setup Setup) (Client, error) {
			conn, err := dial(ctx)
			if err != nil {
				return nil, err
			}
			client, err := floor.NewClient(conn, max(setup.Callers, 1), yields(setup))
			if err != nil {
				return nil, errors.Join(err, conn.Close())
			}
			return floorClient{client}, nil
		},
	}
}

// floorClient implements Client.
type floorClient struct{ client *floor.Client }

// Echo implements Client, without its context.
func (c floorClient) Echo(_ context.Context, in, out *blob.Blob) error { return c.client.Echo(in, out) }

// Open implements Client, without what the context is for.
func (c floorClient) Open(ctx context.Context, method Method) (Stream, error) {
	stream, err := c.client.Open(string(method))
	if err != nil {
		return nil, err
	}
	return floorHandle{stream, ctx}, nil
}

// Close implements Client.
func (c floorClient) Close() error { return c.client.Close() }

// floorHandle implements Handle and Stream.
type floorHandle struct {
	*floor.Stream
	ctx context.Context
}

// Context implements Handle.
func (s floorHandle) Context() context.Context { return s.ctx }
