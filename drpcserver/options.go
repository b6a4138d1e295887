package drpcserver

import "braid/drpcmanager"

// Options configures a Server. The zero value is ready to use.
type Options struct {
	// Manager configures the connections.
	Manager drpcmanager.Options

	// Log is called with what can be returned to nobody: errors of accepting,
	// connections that end badly, and handlers that panic (with their stack).
	// It may be called concurrently. Nil means that they are dropped.
	Log func(error)

	// CollectStats makes the server count the bytes of each rpc; see Stats.
	CollectStats bool
}

func (s *Server) log(err error) {
	if s.opts.Log != nil {
		s.opts.Log(err)
	}
}
