package drpcserver

import (
	"github.com/zeebo/errs"

	"storj.io/drpc"
	"storj.io/drpc/drpcerr"

	"braid/drpcstream"
	"braid/drpcwire"
)

// errPanic is what the client of a handler that panicked is told. The value and
// the stack are for the server's log.
var errPanic = drpcerr.WithCode(errs.New("internal error: the handler panicked"), drpcwire.CodeInternal)

// run handles one call, and ends its stream. A handler may wait for long in there, and so
// may many: little else should lie on its stack.
func (s *Server) run(stream *drpcstream.Stream, rpc string) {
	if !s.places.take(stream) {
		return
	}
	handle, unary := s.lookup(rpc)
	if unary {
		stream.EndWithReply()
	}
	if handle != nil {
		_ = stream.Return(handle(stream)) // an error means that the client is gone
	} else {
		_ = stream.Return(s.handler.HandleRPC(stream, rpc)) // as above
	}
	s.places.giveBack()
	if unary {
		stream.Release()
	}
}

// failed ends a call that run has not: its handler has panicked with this value, or called
// runtime.Goexit, or the methods of its error have.
func (s *Server) failed(stream *drpcstream.Stream, rpc string, value any) {
	defer s.places.giveBack()
	_ = stream.Return(errPanic) // an error means that the client is gone
	s.logPanic(rpc, value)
}

// lookup returns what handles an rpc, where the handler can tell, and whether that lets go
// of the stream when it returns.
func (s *Server) lookup(rpc string) (handle func(drpc.Stream) error, unary bool) {
	if s.registry == nil {
		return nil, false
	}
	if handle, unary = s.registry.Lookup(rpc); handle == nil {
		// Not even a handler that does what it is not asked for sees a name of the client's
		// invention.
		handle = func(drpc.Stream) error { return drpc.ProtocolError.New("unknown rpc: %q", rpc) }
	}
	return handle, unary
}
