// Package drpcserver serves calls on any number of connections. The API is that
// of storj.io/drpc/drpcserver, except that the calls of a connection are handled
// concurrently, each in a goroutine of its own.
package drpcserver

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/zeebo/errs"

	"storj.io/drpc"
	"storj.io/drpc/drpccache"
	"storj.io/drpc/drpcctx"
	"storj.io/drpc/drpcstats"

	"braid/drpcmanager"
)

// Server serves calls through a handler, usually a *drpcmux.Mux. All methods
// may be called concurrently.
type Server struct {
	opts    Options
	handler drpc.Handler

	mu    sync.Mutex
	stats map[string]*drpcstats.Stats // guarded by mu
}

// New returns a Server with default options.
func New(handler drpc.Handler) *Server { return NewWithOptions(handler, Options{}) }

// NewWithOptions returns a Server.
func NewWithOptions(handler drpc.Handler, opts Options) *Server {
	return &Server{opts: opts, handler: handler, stats: make(map[string]*drpcstats.Stats)}
}

// ServeOne serves one connection until it ends, and closes it. It returns nil
// when the client has hung up with no call open, the error of ctx when that has
// ended, and else a drpcmanager.LostError in the chain.
//
// When it returns, no handler of the connection is running. The end of ctx or of
// the connection ends the contexts of the handlers; one that does not heed its
// context keeps ServeOne waiting.
func (s *Server) ServeOne(ctx context.Context, tr drpc.Transport) error {
	cache := drpccache.New()
	defer cache.Clear()

	workers := newWorkers(s.run)
	hooks := drpcmanager.Hooks{Handle: workers.start}
	if s.opts.CollectStats {
		hooks.Stats = s.counters
	}
	man := drpcmanager.NewServer(drpccache.WithContext(ctx, cache), tr, s.opts.Manager, hooks)

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
	case man.HungUp():
		return nil
	case errors.Is(man.Err(), context.DeadlineExceeded): // InactivityTimeout
		return context.DeadlineExceeded
	default:
		return man.Err()
	}
}

// The pause after an error of accepting that may pass, such as having run out of
// file descriptors: it doubles from the first to the last while errors go on.
const (
	acceptPauseMin = 5 * time.Millisecond
	acceptPauseMax = time.Second
)

// Serve accepts connections and serves each one as ServeOne does, until ctx
// ends, when it returns nil, or until accepting fails for good, when it returns
// that error. It closes the listener, and returns when all connections have
// ended, which it makes them do.
func (s *Server) Serve(ctx context.Context, lis net.Listener) error {
	tracker := drpcctx.NewTracker(ctx)
	defer tracker.Wait()
	defer tracker.Cancel()
	tracker.Run(func(ctx context.Context) {
		<-ctx.Done()
		_ = lis.Close()
	})

	pause := acceptPauseMin
	for {
		conn, err := lis.Accept()
		switch {
		case err == nil:
			pause = acceptPauseMin
			tracker.Run(func(ctx context.Context) {
				if err := s.ServeOne(ctx, conn); err != nil && ctx.Err() == nil {
					s.log(err)
				}
			})
		case ctx.Err() != nil:
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

// isTemporary reports whether accepting may work again.
func isTemporary(err error) bool {
	var temporary interface{ Temporary() bool }
	return errors.As(err, &temporary) && temporary.Temporary()
}
