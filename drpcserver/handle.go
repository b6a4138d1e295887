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

// run handles one call. Whatever the handler does, the stream ends.
func (s *Server) run(stream *drpcstream.Stream, rpc string) {
	if !s.places.take(stream) {
		return
	}
	defer s.places.giveBack()
	returned := false
	defer func() {
		if returned {
			return
		}
		// A panic, or runtime.Goexit, which recover does not stop and which
		// ends this goroutine once the stream is dealt with.
		value := recover()
		_ = stream.Return(errPanic) // an error means that the client is gone
		s.logPanic(rpc, value)
	}()
	unary := s.registry != nil && s.registry.Unary(rpc)
	if unary {
		stream.EndWithReply()
	}
	err := s.handle(stream, rpc, unary)
	_ = stream.Return(err) // an error means that the client is gone
	returned = true        // not before: the methods of err are the handler's code, too
	if unary {
		stream.Release()
	}
}

// handle calls the handler. known says that the rpc is registered for sure.
func (s *Server) handle(stream drpc.Stream, rpc string, known bool) error {
	if !known && !s.registered(rpc) {
		return drpc.ProtocolError.New("unknown rpc: %q", rpc)
	}
	return s.handler.HandleRPC(stream, rpc)
}
