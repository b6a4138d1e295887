// Package drpcserver serves calls on any number of connections. The API is that
// of storj.io/drpc/drpcserver, except that the calls of a connection are handled
// concurrently, each in a goroutine of its own.
package drpcserver

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zeebo/errs"

	"storj.io/drpc"
	"storj.io/drpc/drpccache"
	"storj.io/drpc/drpcstats"

	"braid/drpcmanager"
)

// Server serves calls through a handler, usually a *drpcmux.Mux. All methods
// may be called concurrently.
type Server struct {
	opts     Options
	handler  drpc.Handler
	registry registry     // what the handler knows of its names; nil if nothing
	places   *places      // for handlers, on all connections
	idle     atomic.Int64 // goroutines that wait for a call, on all connections

	mu         sync.Mutex
	stats      map[string]*drpcstats.Stats       // guarded by mu, like all below
	conns      map[*drpcmanager.Manager]struct{} // that are being served
	listeners  map[net.Listener]struct{}         // on which Serve accepts
	starting   int                               // connections that will be in conns
	started    sync.Cond                         // none of them is left; uses mu
	draining   bool                              // Shutdown was called
	turnedAway throttle                          // connections above the limit
	panicked   throttle                          // handlers
}

// New returns a Server with default options.
func New(handler drpc.Handler) *Server { return NewWithOptions(handler, Options{}) }

// NewWithOptions returns a Server.
func NewWithOptions(handler drpc.Handler, opts Options) *Server {
	s := &Server{
		opts:      opts,
		handler:   handler,
		registry:  registryOf(handler),
		places:    newPlaces(opts.maximumHandlers()),
		stats:     make(map[string]*drpcstats.Stats),
		conns:     make(map[*drpcmanager.Manager]struct{}),
		listeners: make(map[net.Listener]struct{}),
		panicked:  throttle{extra: panicBurst - 1},
	}
	s.started.L = &s.mu
	return s
}

// ServeOne serves one connection until it ends, and closes it. It returns nil
// when the client has hung up with no call open or Shutdown has ended the
// connection, the error of ctx when that has ended, ErrShutdown after Shutdown, an
// error with drpcwire.CodeResourceExhausted above Options.MaximumConnections, and
// else a drpcmanager.LostError in the chain.
//
// When it returns, no handler of the connection is running. The end of ctx or of
// the connection ends the contexts of the handlers; one that does not heed its
// context keeps ServeOne waiting.
func (s *Server) ServeOne(ctx context.Context, tr drpc.Transport) error {
	cache := drpccache.New()
	defer cache.Clear()

	workers := newWorkers(s, &s.idle)
	hooks := drpcmanager.Hooks{Handle: workers.start}
	if s.opts.CollectStats {
		hooks.Stats = s.counters
	}
	man, err := s.connect(drpccache.WithContext(ctx, cache), tr, hooks)
	if err != nil {
		_ = tr.Close() // that it was refused is the better error
		return err
	}
	defer s.disconnect(man)

	select {
	case <-ctx.Done():
		_ = man.CloseNow(ctx.Err()) // what the context says is the better error
	case <-man.Closed():
		_ = man.Close()
	}
	workers.wait()

	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case man.HungUp(), errors.Is(man.Err(), drpcmanager.ErrShutdown):
		return nil
	case errors.Is(man.Err(), context.DeadlineExceeded): // InactivityTimeout
		return context.DeadlineExceeded
	default:
		return man.Err()
	}
}

// connect starts a connection, unless there are too many or none is wanted.
func (s *Server) connect(ctx context.Context, tr drpc.Transport, hooks drpcmanager.Hooks) (*drpcmanager.Manager, error) {
	if err := s.admit(); err != nil {
		return nil, err
	}
	man := drpcmanager.NewServer(ctx, tr, s.opts.Manager, hooks) // which may end it at once
	s.mu.Lock()
	s.conns[man] = struct{}{}
	if s.starting--; s.starting == 0 {
		s.started.Broadcast() // Shutdown waits for it, as it may have calls already
	}
	s.mu.Unlock()
	return man, nil
}

// admit counts a connection that is about to start.
func (s *Server) admit() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch limit := s.opts.maximumConnections(); {
	case s.draining:
		return ErrShutdown
	case len(s.conns)+s.starting >= limit:
		return tooManyConnections{limit}
	}
	s.starting++
	return nil
}

func (s *Server) disconnect(man *drpcmanager.Manager) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, man)
}

// The pause after an error of accepting that may pass, such as having run out of
// file descriptors: it doubles from the first to the last while errors go on.
const (
	acceptPauseMin = 5 * time.Millisecond
	acceptPauseMax = time.Second
)

// Serve accepts connections and serves each one as ServeOne does, until ctx ends or
// Shutdown is called, when it returns nil, or until accepting fails for good, when
// it returns that error. After Shutdown it returns ErrShutdown at once. It closes
// the listener, and returns when all connections have ended; unless Shutdown lets
// them come to their end, it makes them do so.
func (s *Server) Serve(ctx context.Context, lis net.Listener) error {
	defer func() { _ = lis.Close() }() // it is closed already, but for errors
	if !s.listen(lis) {
		return ErrShutdown
	}
	defer s.unlisten(lis)

	var conns sync.WaitGroup
	defer conns.Wait()
	// In the loop it is the caller's own context that counts: whoever else watches that may
	// close the listener before its end has come to those derived from it.
	serving, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = lis.Close() })()

	pause := acceptPauseMin
	for {
		conn, err := lis.Accept()
		switch {
		case err == nil:
			pause = acceptPauseMin
			conns.Go(func() { s.serveAccepted(serving, conn) })
		case ctx.Err() != nil:
			return nil
		case s.isDraining():
			conns.Wait()
			return nil
		case !isTemporary(err):
			return errs.Wrap(err)
		default:
			s.log(err)
			timer := time.NewTimer(pause)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				return nil
			}
			pause = min(2*pause, acceptPauseMax)
		}
	}
}

// serveAccepted serves a connection that Serve has accepted, and logs how it ended
// if that was badly. Connections above the limit share a line each second.
func (s *Server) serveAccepted(ctx context.Context, conn net.Conn) {
	err := s.ServeOne(ctx, conn)
	if err == nil || ctx.Err() != nil || errors.Is(err, ErrShutdown) {
		return
	}
	if errors.As(err, new(tooManyConnections)) {
		s.logTurnedAway(err)
		return
	}
	s.log(err)
}

// isTemporary reports whether accepting may work again.
func isTemporary(err error) bool {
	var temporary interface{ Temporary() bool }
	return errors.As(err, &temporary) && temporary.Temporary()
}
