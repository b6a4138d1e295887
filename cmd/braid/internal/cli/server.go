package cli

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"braid/cmd/braid/internal/load/blob"
	"braid/cmd/braid/internal/service"
	"braid/cmd/braid/internal/stall"
	"braid/cmd/braid/internal/store"
	"braid/cmd/braid/internal/wire"
	"braid/drpcmanager"
	"braid/drpcmux"
	"braid/drpcserver"
)

// server is a copy service on a listener.
type server struct {
	service *service.Service
	store   *store.Store
	lis     *countingListener
	drpc    *drpcserver.Server
}

// serverOptions say what a server does.
type serverOptions struct {
	into      string // where it keeps files
	overwrite bool
	bench     bool              // 'braid bench' is answered
	stall     *stall.Stall      // is served as well, if there is one
	idle      time.Duration     // how long a connection may be without a call; 0 is for ever
	log       func(line string) // is told what no client can be told
}

// newServer makes a server. It takes over the listener.
func newServer(lis net.Listener, opts serverOptions) (*server, error) {
	st, err := store.Open(opts.into, opts.overwrite)
	if err != nil {
		return nil, errors.Join(err, lis.Close())
	}
	svc := service.New(st)
	mux := drpcmux.New()
	err = mux.Register(svc, wire.Description{})
	if err == nil && opts.bench {
		err = mux.Register(blob.Service{}, blob.Description{})
	}
	if err == nil && opts.stall != nil {
		err = mux.Register(opts.stall, wire.StallDescription{})
	}
	if err != nil {
		return nil, errors.Join(err, st.Close(), lis.Close())
	}
	return &server{
		service: svc,
		store:   st,
		lis:     &countingListener{Listener: lis},
		drpc: drpcserver.NewWithOptions(mux, drpcserver.Options{
			Manager: drpcmanager.Options{InactivityTimeout: opts.idle},
			Log:     func(err error) { opts.log(explain(err)) },
		}),
	}, nil
}

// run serves until ctx ends or shutdown is called. Nothing is left of it then but complete files.
func (s *server) run(ctx context.Context) error {
	err := s.drpc.Serve(ctx, s.lis)
	if errors.Is(err, drpcserver.ErrShutdown) { // it was early
		err = nil
	}
	return errors.Join(err, s.store.Close())
}

// shutdown makes run return when what is in flight has finished. When ctx ends
// first, it is cut, and the error is that of ctx.
func (s *server) shutdown(ctx context.Context) error { return s.drpc.Shutdown(ctx) }

// countingListener counts connections.
type countingListener struct {
	net.Listener
	accepted atomic.Int64
}

func (l *countingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		l.accepted.Add(1)
	}
	return conn, err
}

// explain says in a line what happened to a connection or to a handler.
func explain(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "closed a connection on which nothing happened"
	}
	// What follows is the stack of a handler that panicked, which means
	// nothing to a user.
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// errorLog keeps what a server has to say.
type errorLog struct {
	mu    sync.Mutex
	lines []string
}

func (l *errorLog) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
}

func (l *errorLog) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines
}
