package drpcserver_test

import (
	"context"
	"testing"
	"testing/synctest"

	"storj.io/drpc"

	"braid/drpcconn"
	"braid/drpcmanager"
	"braid/drpcmux"
	"braid/drpcserver"
	"braid/internal/drpctest"
)

// M43: the gauges show what is going on, and nothing once it is over, also where it
// was cut with bytes pending.
func TestGaugesReturnToZero(t *testing.T) {
	for name, end := range map[string]func(a *drpctest.End, release chan struct{}, conn *drpcconn.Conn){
		"the calls end": func(a *drpctest.End, release chan struct{}, _ *drpcconn.Conn) {
			a.Limit(-1)
			close(release)
		},
		"the connection is closed with bytes pending": func(_ *drpctest.End, release chan struct{}, conn *drpcconn.Conn) {
			close(release)
			_ = conn.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				service := &drpctest.Service{UpFn: func(stream drpc.Stream) error {
					select {
					case <-release:
					case <-stream.Context().Done():
					}
					return (&drpctest.Service{}).Up(stream)
				}}
				man := drpcmanager.Options{Limits: drpcmanager.Limits{Streams: 2}}
				server := drpcserver.NewWithOptions(drpctest.Register(t, drpcmux.New(), service),
					drpcserver.Options{Manager: man})
				a, b := drpctest.Pipe()
				done := make(chan error, 1)
				go func() { done <- server.ServeOne(context.Background(), b) }()
				conn := drpcconn.New(a)
				if _, err := drpctest.Call(t.Context(), conn, "hello"); err != nil {
					t.Fatal(err)
				}
				more := make(chan struct{})
				for range 3 { // one more than there may be
					go func() {
						stream, err := conn.NewStream(t.Context(), drpctest.Up, drpctest.Enc{})
						if err != nil {
							return
						}
						_ = drpctest.Send(stream, "in")
						<-more
						_ = drpctest.Send(stream, "more")
						_ = stream.CloseSend()
						_, _ = drpctest.Recv(stream)
					}()
				}
				synctest.Wait()
				a.Limit(0)
				go func() { _, _ = drpctest.Call(t.Context(), conn, "waits") }()
				synctest.Wait()
				close(more)
				synctest.Wait()

				n, at := server.Gauges()
				if n != 1 || at.Streams != 2 || at.Handlers != 2 {
					t.Errorf("the server has %d connections and %+v", n, at)
				}
				if g := conn.Gauges(); g.Streams != 2 || g.Waiting != 2 || g.Queued == 0 {
					t.Errorf("the client has %+v", g)
				}
				end(a, release, conn)
				synctest.Wait()
				g := conn.Gauges()
				g.RoundTrip = 0
				if g != (drpcmanager.Gauges{}) {
					t.Errorf("the client is left with %+v", g)
				}
				_ = conn.Close()
				<-done
				if n, at := server.Gauges(); n != 0 || at != (drpcmanager.Gauges{}) {
					t.Errorf("the server is left with %d connections and %+v", n, at)
				}
			})
		})
	}
}
