package faults_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"storj.io/drpc"
	"storj.io/drpc/drpcerr"

	"braid/drpcconn"
	"braid/drpcmanager"
	"braid/drpcwire"
	"braid/internal/drpctest"
	"braid/internal/faultproxy"
)

// outcome is how a call has ended.
type outcome int

const (
	succeeded  outcome = iota
	failed             // the handler failed, as it was to
	quit               // canceled by the client, as it was to be
	late               // its deadline has passed
	lost               // with its connection
	unreached          // not made, as the connection did not come about
	unexpected         // reported as an error of the test

	outcomes
)

func (o outcome) String() string {
	return [...]string{"succeeded", "failed", "quit", "late", "lost", "unreached", "unexpected"}[o]
}

// world is what all histories share.
type world struct {
	t        *testing.T
	addr     [2]string // of the server: over TCP, over TLS
	client   *tls.Config
	mu       sync.Mutex
	outcomes [classes][outcomes]int // guarded by mu, like errors
	errors   int
}

// enough is how many errors are reported before no more histories are begun.
const enough = 10

func (w *world) count(c class, o outcome) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.outcomes[c][o]++
}

func (w *world) failed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.errors >= enough
}

func (w *world) errorf(p plan, format string, args ...any) {
	w.t.Helper()
	w.mu.Lock()
	w.errors++
	w.mu.Unlock()
	w.t.Errorf("%s%v history, script %+v: %s", repeat(p.seed), p.class, p.script, fmt.Sprintf(format, args...))
}

// watch reports at once, with all goroutines, what takes too long. The
// test may not get to its end then.
func (w *world) watch(p plan, limit time.Duration, what string) (stop func() bool) {
	return time.AfterFunc(limit, func() {
		buf := make([]byte, 16<<20)
		buf = buf[:runtime.Stack(buf, true)]
		fmt.Fprintf(os.Stderr, "%s%s takes longer than %v\n%s\n", repeat(p.seed), what, limit, buf)
		w.errorf(p, "%s took longer than %v", what, limit)
	}).Stop
}

// run makes a history happen.
func (w *world) run(p plan) {
	addr := w.addr[0]
	if p.tls {
		addr = w.addr[1]
	}
	proxy, err := faultproxy.New(addr, func(int) faultproxy.Script { return p.script })
	if err != nil {
		w.errorf(p, "%v", err)
		return
	}
	defer func() {
		if err := proxy.Close(); err != nil {
			w.errorf(p, "%v", err)
		}
	}()
	nc, err := w.dial(p, proxy.Addr())
	if err != nil {
		if p.class == harmless {
			w.errorf(p, "no connection: %v", err)
		}
		w.count(p.class, unreached)
		return
	}
	conn := drpcconn.NewWithOptions(nc, p.opts)
	var workers sync.WaitGroup
	if p.closeIn > 0 {
		closing := time.AfterFunc(p.closeIn, func() { _ = conn.Close() })
		defer closing.Stop()
	}
	for _, calls := range p.workers {
		workers.Go(func() {
			for _, c := range calls {
				w.count(p.class, w.call(p, c, conn))
			}
		})
	}
	workers.Wait()
	w.close(p, conn)
}

// dial connects to the proxy, and shakes hands.
func (w *world) dial(p plan, addr string) (net.Conn, error) {
	timeout := far
	if p.class.mayBeLate() {
		timeout = 300 * time.Millisecond
	}
	defer w.watch(p, timeout+margin, "the handshake")()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	nc, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil || !p.tls {
		return nc, err
	}
	tc := tls.Client(nc, w.client)
	if err := tc.HandshakeContext(ctx); err != nil {
		_ = nc.Close()
		return nil, err
	}
	return tc, nil
}

// close ends the history's connection, on which nothing is going on.
func (w *world) close(p plan, conn *drpcconn.Conn) {
	if !drpctest.Eventually(func() bool { return conn.Streams() == 0 }) {
		w.errorf(p, "%d streams are left after all calls have returned", conn.Streams())
	}
	defer w.watch(p, margin, "closing the connection")()
	_ = conn.Close() // its error is the transport's, which may have been reset
	select {
	case <-conn.Closed():
	default:
		w.errorf(p, "the connection is not closed after Close")
	}
	_, err := conn.NewStream(context.Background(), bidi.rpc(), drpctest.Enc{})
	if problem := badLoss(err); problem != "" {
		w.errorf(p, "a call after Close: %s: %v", problem, err)
	}
}

// call makes one call and judges how it ends.
func (w *world) call(p plan, c call, conn *drpcconn.Conn) outcome {
	defer w.watch(p, c.timeout+margin, c.String())()
	ctx, cancel := context.WithTimeout(context.Background(), c.timeout)
	defer cancel()
	err := c.run(ctx, cancel, conn)
	deadline, _ := ctx.Deadline()
	o, problem := judge(p.class, c, deadline, err)
	if problem != "" {
		w.errorf(p, "call %x: %v: %s: %v", c.ID, c, problem, err)
		return unexpected
	}
	return o
}

// judge tells how a call has ended, and what is wrong with that.
func judge(class class, c call, deadline time.Time, err error) (o outcome, problem string) {
	var bad wrong
	var lostErr *drpcmanager.LostError
	switch {
	case errors.As(err, &bad):
		return unexpected, "what came is wrong"
	case err == nil && c.Fail >= 0:
		return unexpected, "it has succeeded, though its handler fails"
	case err == nil:
		return succeeded, ""
	case c.Fail >= 0 && drpcerr.Code(err) == codePlanned:
		if err.Error() != errPlanned(c.ID).Error() {
			return unexpected, "the error is that of another call"
		}
		return failed, ""
	case errors.As(err, &lostErr):
		if !class.mayBeLost() {
			return unexpected, "the connection must not be lost"
		}
		return lost, badLoss(err)
	case c.quit >= 0 && errors.Is(err, context.Canceled):
		return quit, ""
	case errors.Is(err, context.DeadlineExceeded) && time.Now().Before(deadline):
		return unexpected, "the deadline has not passed"
	case errors.Is(err, context.DeadlineExceeded) && class.mayBeLate():
		return late, ""
	default:
		return unexpected, "a call must not end with this error"
	}
}

// badLoss returns what is wrong with the error for a lost connection.
func badLoss(err error) string {
	var lostErr *drpcmanager.LostError
	switch {
	case !errors.As(err, &lostErr):
		return "it is no LostError"
	case !drpc.ClosedError.Has(err):
		return "it is no drpc.ClosedError"
	case drpcerr.Code(err) != drpcwire.CodeUnavailable:
		return "its code is not Unavailable"
	case errors.Is(err, io.EOF):
		return "it is io.EOF, as the end of a stream is"
	case drpc.ProtocolError.Has(lostErr.Cause):
		return "the server has broken the protocol, which no fault of the connection does"
	default:
		return ""
	}
}
