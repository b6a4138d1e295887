package copier

import (
	"errors"
	"sync"
	"testing"

	"braid/cmd/braid/internal/wire"
)

func TestAServerThatShutsDownLetsUploadsFinish(t *testing.T) {
	r := newRig(t)
	r.opts.Cancels = 0
	r.opts.Uploads = 1
	begun, release := make(chan struct{}), make(chan struct{})
	store := r.server.Service.Upload
	var once sync.Once
	r.server.upload = func(stream *wire.UploadServer) error {
		once.Do(func() { close(begun) })
		<-release
		return store(stream)
	}
	var done sync.WaitGroup
	done.Go(func() {
		<-begun
		done.Go(func() { _ = r.drpc.Shutdown(t.Context()) })
		<-r.conn.Draining() // the client knows
		close(release)
	})
	res, err := Run(t.Context(), r.conn, r.opts)
	done.Wait()
	if !errors.Is(err, errRefused) {
		t.Errorf("%v", err)
	}
	// The one that was under way is there, and the others are not at fault.
	if len(res.Copied) != 1 || res.Failed != 0 || len(r.failed) != 0 {
		t.Errorf("%+v, failed %v", res, r.failed)
	}
}

func TestAServerThatIsShuttingDownSaysSoAtOnce(t *testing.T) {
	r := newRig(t)
	if err := r.hello(t); err != nil {
		t.Fatal(err)
	}
	if err := r.drpc.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-r.conn.Draining()
	if _, err := Run(t.Context(), r.conn, r.opts); !errors.Is(err, errRefused) {
		t.Errorf("%v", err)
	}
}

// hello makes a call, after which the two ends know of each other.
func (r *rig) hello(t *testing.T) error {
	t.Helper()
	return (&run{conn: r.conn, control: newActivity(r.conn)}).hello(t.Context())
}
