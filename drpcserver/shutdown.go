package drpcserver

import (
	"context"
	"errors"
	"net"
	"sync"

	"braid/drpcmanager"
	"braid/drpcwire"
)

// ErrShutdown is returned by Serve and ServeOne after Shutdown was called.
var ErrShutdown = errors.New("drpcserver: shut down")

// Shutdown lets the server come to its end: it accepts no more connections, and no
// more calls on those there are. Calls that are refused fail with an error that
// matches drpcstream.ErrRefused, after which a retry is safe; a client of
// storj.io/drpc gets the code drpcwire.CodeUnavailable, or finds the connection
// closed. Handlers and clients can see it coming (drpcstream.Stream.Draining). A
// connection closes when its last handler has returned.
//
// Shutdown returns nil when all connections have ended. When ctx ends before that,
// it cuts those that are left and returns the error of ctx, without waiting for
// handlers that do not heed their contexts. Serve and ServeOne do wait for them. It
// may be called more than once.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.draining = true
	for lis := range s.listeners {
		_ = lis.Close() // Serve sees why
	}
	for s.starting > 0 { // which takes no time
		s.started.Wait()
	}
	conns := make([]*drpcmanager.Manager, 0, len(s.conns))
	for man := range s.conns {
		conns = append(conns, man)
	}
	s.mu.Unlock()

	var (
		wg  sync.WaitGroup
		mu  sync.Mutex
		err error
	)
	for _, man := range conns {
		wg.Go(func() {
			if e := man.Shutdown(ctx); e != nil {
				mu.Lock()
				err = e
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return err
}

func (s *Server) isDraining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.draining
}

func (s *Server) listen(lis net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return false
	}
	s.listeners[lis] = struct{}{}
	return true
}

func (s *Server) unlisten(lis net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, lis)
}

// tooManyConnections is the error of a connection above the limit.
type tooManyConnections struct{ limit int }

func (e tooManyConnections) Error() string {
	return drpcwire.Exhausted("too many connections: %d are open", e.limit).Error()
}

// Code returns drpcwire.CodeResourceExhausted.
func (e tooManyConnections) Code() uint64 { return drpcwire.CodeResourceExhausted }
