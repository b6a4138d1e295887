package interop_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync"
	"testing"

	stockwire "storj.io/drpc/drpcwire"

	"braid/drpcwire"
	"braid/internal/drpctest"
)

// recorder is a connection that keeps what goes through it.
type recorder struct {
	net.Conn

	mu     sync.Mutex
	events []event // guarded by mu
}

// event is a Write that was called, or a Read that has returned something.
type event struct {
	write bool
	data  []byte
}

func (r *recorder) add(write bool, data []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, event{write, bytes.Clone(data)})
}

// Read implements net.Conn.
func (r *recorder) Read(p []byte) (n int, err error) {
	if n, err = r.Conn.Read(p); n > 0 {
		r.add(false, p[:n])
	}
	return n, err
}

// Write implements net.Conn.
func (r *recorder) Write(p []byte) (int, error) {
	r.add(true, p)
	return r.Conn.Write(p)
}

// all returns what has happened so far.
func (r *recorder) all() []event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]event(nil), r.events...)
}

// writes returns what each Write was given so far.
func (r *recorder) writes() (list [][]byte) {
	for _, e := range r.all() {
		if e.write {
			list = append(list, e.data)
		}
	}
	return list
}

// tap records the connections of a test, on both of their ends. A nil tap
// records nothing.
type tap struct {
	mu               sync.Mutex
	clients, servers []*recorder // guarded by mu
}

func (t *tap) add(list *[]*recorder, nc net.Conn) net.Conn {
	if t == nil {
		return nc
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	r := &recorder{Conn: nc}
	*list = append(*list, r)
	return r
}

// client records the client's end of a connection.
func (t *tap) client(nc net.Conn) net.Conn {
	if t == nil {
		return nc
	}
	return t.add(&t.clients, nc)
}

// server records the server's end of its connections.
func (t *tap) server(s drpctest.Server) drpctest.Server {
	if t == nil {
		return s
	}
	return tappedServer{s, t}
}

type tappedServer struct {
	drpctest.Server
	tap *tap
}

// Serve implements drpctest.Server.
func (s tappedServer) Serve(ctx context.Context, lis net.Listener) error {
	return s.Server.Serve(ctx, tappedListener{lis, s.tap})
}

type tappedListener struct {
	net.Listener
	tap *tap
}

// Accept implements net.Listener.
func (l tappedListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.tap.add(&l.tap.servers, nc), nil
}

// sent is a frame and the number of the Write in which it begins.
type sent struct {
	drpcwire.Frame
	write int
}

// parse cuts what was written into frames. What is left at the end is a frame
// that was cut off by the end of its connection.
func parse(t *testing.T, writes [][]byte) (frames []sent) {
	t.Helper()
	var buf []byte
	var starts []int // of each Write, in the bytes of the connection
	total := 0
	for _, w := range writes {
		starts = append(starts, total)
		buf = append(buf, w...)
		total += len(w)
	}
	write := 0
	for rest := buf; len(rest) > 0; {
		for write+1 < len(starts) && starts[write+1] <= total-len(rest) {
			write++
		}
		rem, fr, ok, err := drpcwire.ParseFrame(rest)
		must(t, err)
		if !ok {
			break
		}
		frames = append(frames, sent{fr, write})
		rest = rem
	}
	return frames
}

// checkReadable fails unless stock's own reader takes the bytes: above all, ids
// must never go down (W1).
func checkReadable(t *testing.T, writes [][]byte) {
	t.Helper()
	rd := stockwire.NewReader(bytes.NewReader(bytes.Join(writes, nil)))
	for {
		if _, err := rd.ReadPacket(); err == io.EOF { //nolint:errorlint // a clean end is io.EOF itself
			return
		} else if err != nil {
			t.Fatalf("stock cannot read what was written: %v", err)
		}
	}
}

// checkClientBytes fails unless a client has written nothing to stock but what
// stock knows, and its announcement the given number of times (M4): right behind
// an Invoke, in the same write, with the message id that follows. Behind the
// Invoke it is ignored; before it, or with another id, it would kill the
// connection or stop the server's reader for good (W3, W4, W6).
func checkClientBytes(t *testing.T, writes [][]byte, announcements int) {
	t.Helper()
	checkReadable(t, writes)
	frames := parse(t, writes)
	for i, fr := range frames {
		switch {
		case fr.Kind >= drpcwire.KindInvoke && fr.Kind <= drpcwire.KindInvokeMetadata:
			if fr.Control != (fr.Kind == drpcwire.KindCancel) {
				t.Errorf("control bit is wrong in %v", drpctest.Describe(fr.Frame))
			}
			continue
		case fr.Kind != drpcwire.KindSettings:
			t.Errorf("sent to stock: %v", drpctest.Describe(fr.Frame))
			continue
		}
		announcements--
		if !fr.Control || !fr.Done {
			t.Errorf("announcement is not one control frame: %v", drpctest.Describe(fr.Frame))
		}
		if i == 0 {
			t.Error("the announcement comes before everything")
			continue
		}
		invoke := frames[i-1]
		next := drpcwire.ID{Stream: invoke.ID.Stream, Message: invoke.ID.Message + 1}
		if invoke.Kind != drpcwire.KindInvoke || !invoke.Done || fr.ID != next || fr.write != invoke.write {
			t.Errorf("announcement %v does not follow its Invoke %v in one write (%d, %d)",
				drpctest.Describe(fr.Frame), drpctest.Describe(invoke.Frame), fr.write, invoke.write)
		}
	}
	if announcements != 0 {
		t.Errorf("%d announcements too few", announcements)
	}
}

// checkServerBytes fails unless a server has written nothing to stock but what
// stock knows, and nothing before it was asked something (M4, W6).
func checkServerBytes(t *testing.T, r *recorder) {
	t.Helper()
	checkReadable(t, r.writes())
	for _, fr := range parse(t, r.writes()) {
		if fr.Kind < drpcwire.KindInvoke || fr.Kind > drpcwire.KindInvokeMetadata {
			t.Errorf("sent to stock: %v", drpctest.Describe(fr.Frame))
		}
	}
	var asked []byte
	for _, e := range r.all() {
		if !e.write {
			asked = append(asked, e.data...)
			continue
		}
		if !hasInvoke(t, asked) {
			t.Error("the server has spoken first")
		}
		return
	}
}

func hasInvoke(t *testing.T, buf []byte) bool {
	t.Helper()
	for _, fr := range parse(t, [][]byte{buf}) {
		if fr.Kind == drpcwire.KindInvoke && fr.Done {
			return true
		}
	}
	return false
}
