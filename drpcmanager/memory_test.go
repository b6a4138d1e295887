package drpcmanager_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"braid/drpcmanager"
	"braid/drpcstream"
	"braid/drpcwire"
)

// flood is a client that sends what it likes to a server.
type flood struct {
	t    *testing.T
	man  *drpcmanager.Manager
	conn net.Conn
	base uint64 // what the heap held before
	buf  []byte // not sent yet
	read sync.WaitGroup

	mu      sync.Mutex
	streams []*drpcstream.Stream // whose handlers run; guarded by mu
	next    uint64
}

// newFlood starts a server. Its handlers do nothing, and never return, but for
// what handle does.
func newFlood(t *testing.T, opts drpcmanager.Options, handle func(*drpcstream.Stream)) *flood {
	a, b := net.Pipe()
	f := &flood{t: t, conn: b, buf: make([]byte, 0, 256<<10), base: heap(), next: 1}
	f.man = drpcmanager.NewServer(t.Context(), a, opts, drpcmanager.Hooks{
		Handle: func(s *drpcstream.Stream, _ string) {
			f.mu.Lock()
			f.streams = append(f.streams, s)
			f.mu.Unlock()
			if handle != nil {
				handle(s)
			}
		},
	})
	return f
}

// listen makes the client read, and throw away, what the server sends.
func (f *flood) listen() *flood {
	f.read.Go(func() { _, _ = io.Copy(io.Discard, f.conn) })
	return f
}

func (f *flood) close() {
	_ = f.conn.Close()
	_ = f.man.CloseNow(drpcmanager.ErrClosed)
	f.read.Wait()
}

func heap() uint64 {
	for range 3 { // what is in a sync.Pool outlives two
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// frame sends a frame, with others.
func (f *flood) frame(kind drpcwire.Kind, stream, message uint64, data []byte, done bool) {
	f.buf = drpcwire.AppendFrame(f.buf, drpcwire.Frame{
		ID: drpcwire.ID{Stream: stream, Message: message}, Kind: kind, Data: data,
		Done: done, Control: kind >= drpcwire.KindWindowUpdate,
	})
	if len(f.buf) > 64<<10 {
		f.flush()
	}
}

// flush returns when the server has handled all but the last of what was sent.
func (f *flood) flush() {
	_ = f.conn.SetWriteDeadline(time.Now().Add(20 * time.Second))
	if _, err := f.conn.Write(f.buf); err != nil {
		f.t.Fatalf("the server takes no more: %v (%v)", err, f.man.Err())
	}
	f.buf = f.buf[:0]
}

// settle returns when the server has handled all that was sent.
func (f *flood) settle() {
	f.flush()
	f.frame(60, 0, 0, nil, true) // achieves nothing
	f.flush()
}

// held returns how much more the heap holds than at the beginning.
func (f *flood) held() int64 {
	f.settle()
	if f.man.Err() != nil {
		f.t.Errorf("the connection has ended: %v", f.man.Err())
	}
	return int64(heap()) - int64(f.base)
}

// open opens a stream.
func (f *flood) open(metadata []byte, rpc string) (id uint64) {
	id = f.next
	f.next += 2
	if metadata != nil {
		f.frame(drpcwire.KindInvokeMetadata, id, 1, metadata, true)
	}
	f.frame(drpcwire.KindInvoke, id, 2, []byte(rpc), true)
	return id
}

// announce opens a stream and makes the client known.
func (f *flood) announce() uint64 {
	id := f.open(nil, "/first")
	s := drpcwire.Settings{Version: 1, Window: 1 << 20, Flags: 0}
	f.frame(drpcwire.KindSettings, id, 3, drpcwire.AppendSettings(nil, s), true)
	f.settle()
	s.Flags = drpcwire.FlagKnowsPeer
	f.frame(drpcwire.KindSettings, 0, 0, drpcwire.AppendSettings(nil, s), true)
	f.settle()
	return id
}

var zeros = make([]byte, 8<<20)

func TestPoc(t *testing.T) {
	S := 64
	opts := func() drpcmanager.Options {
		return drpcmanager.Options{Limits: drpcmanager.Limits{Streams: S, IdleFrames: -1}}
	}
	show := func(name string, f *flood) {
		h := f.held()
		t.Logf("%-40s %8d KiB, per stream %6d KiB, grown %d", name, h>>10, h>>10/int64(S), func() int64 { g, _ := f.man.Flow(); return g }())
		runtime.KeepAlive(f)
		f.close()
	}
	fill := func(f *flood, id uint64, size int) {
		for msg, left := uint64(10), 64<<10; left >= size+64; msg, left = msg+1, left-size-64 {
			f.frame(drpcwire.KindMessage, id, msg, zeros[:size], true)
		}
	}
	{
		f := newFlood(t, opts(), nil).listen()
		f.announce()
		for range S - 1 {
			f.open(nil, "/x")
		}
		show("nothing", f)
	}
	for _, size := range []int{0, 1, 257, 513, 2049, 32705} {
		f := newFlood(t, opts(), nil).listen()
		fill(f, f.announce(), size)
		for range S - 1 {
			fill(f, f.open(nil, "/x"), size)
		}
		show(fmt.Sprint("messages of ", size), f)
	}
	{
		f := newFlood(t, opts(), nil).listen()
		f.announce()
		for range S - 1 {
			id := f.open(nil, "/x")
			for msg, left := uint64(10), 64<<10-64; left >= 258+128; msg, left = msg+1, left-258-128 {
				f.frame(drpcwire.KindMessage, id, msg, zeros[:257], false)
				f.frame(drpcwire.KindMessage, id, msg, zeros[:1], true)
			}
		}
		show("messages of 257+1", f)
	}
	{
		f := newFlood(t, opts(), nil).listen()
		f.announce()
		for range S - 1 {
			id := f.open(nil, "/x")
			f.frame(drpcwire.KindError, id, 10, zeros[:64<<10+7], false)
		}
		show("incomplete errors", f)
	}
	{
		f := newFlood(t, opts(), nil).listen()
		f.announce()
		for range S - 1 {
			id := f.open(nil, "/x")
			for range 63 {
				f.frame(drpcwire.KindInvoke, id, 10, zeros[:64<<10], false)
			}
		}
		show("incomplete invoke on live streams", f)
	}
	{
		f := newFlood(t, opts(), func(s *drpcstream.Stream) { go s.RawRecv() }).listen()
		f.announce()
		for range S - 1 {
			id := f.open(nil, "/x")
			f.settle()
			f.mu.Lock()
			st := f.streams[len(f.streams)-1]
			f.mu.Unlock()
			total := 0
			for start := time.Now(); total < 4<<20-1 && time.Since(start) < 5*time.Second; {
				n := min(int(st.Outstanding())-64, 60<<10, 4<<20-1-total)
				if n <= 0 {
					runtime.Gosched()
					continue
				}
				total += n
				f.frame(drpcwire.KindMessage, id, 10, zeros[:n], false)
				f.settle()
			}
			f.frame(drpcwire.KindMessage, id, 11, zeros[:1], false)
			f.settle()
		}
		show("abandoned messages", f)
	}
	{
	}
	for _, unknown := range []bool{true, false} {
		f := newFlood(t, opts(), nil).listen()
		if !unknown {
			id := f.open(nil, "/first")
			s := drpcwire.Settings{Version: 1, Window: 1 << 20, Flags: 0}
			f.frame(drpcwire.KindSettings, id, 3, drpcwire.AppendSettings(nil, s), true)
			f.settle()
		}
		for range S - 1 {
			id := f.open(nil, "/x")
			for range 63 {
				f.frame(drpcwire.KindMessage, id, 10, zeros[:64<<10], false)
			}
		}
		show(fmt.Sprint("partial messages, unknown ", unknown), f)
	}
	{
		f := newFlood(t, opts(), nil).listen()
		for range S {
			id := f.open(nil, "/x")
			for i := range 15 {
				f.frame(drpcwire.KindMessage, id, 10+uint64(i), zeros[:33<<10], true)
			}
		}
		show("full queues, unknown ", f)
	}
	{
		f := newFlood(t, opts(), nil).listen()
		f.announce()
		var md bytes.Buffer
		for i := range 128 {
			md.WriteString("\n\x7e\n\x03")
			fmt.Fprintf(&md, "%03d\x12\x77%s", i, zeros[:0x77])
		}
		t.Log(md.Len())
		for range S - 1 {
			f.open(md.Bytes(), "/x")
		}
		show("metadata", f)
	}
}
