package drpcconn_test

import (
	"flag"
	"runtime"
	"sync"
	"testing"
	"time"

	"storj.io/drpc"

	"braid/drpcconn"
	"braid/drpcmanager"
	"braid/drpcmux"
	"braid/drpcserver"
	"braid/internal/drpctest"
)

// What a unary call allocates, both ends together, stays far below what two streams
// would: their storage is used again (M44).
func TestAUnaryCallAllocatesLittle(t *testing.T) {
	const calls = 2000
	server := drpcserver.New(drpctest.Register(t, drpcmux.New(), &drpctest.Service{}))
	conn := drpcconn.New(drpctest.Dial(t, drpctest.Serve(t, server)))
	defer func() { _ = conn.Close() }()
	var before, after runtime.MemStats
	for _, m := range []*runtime.MemStats{&before, &after} {
		for range calls {
			if got, err := drpctest.Call(t.Context(), conn, "x"); got != "x" || err != nil {
				t.Fatalf("%q, %v", got, err)
			}
		}
		runtime.ReadMemStats(m)
	}
	allocs, bytes := (after.Mallocs-before.Mallocs)/calls, (after.TotalAlloc-before.TotalAlloc)/calls
	t.Logf("%d allocations of %d bytes together for a call", allocs, bytes)
	if allocs > 12 || bytes > 1600 { // with the race detector, whose pools forget some
		t.Errorf("a call takes %d allocations, %d bytes", allocs, bytes)
	}
}

// idleStreams is how many streams TestIdleStreamsTakeLittle opens.
var idleStreams = flag.Int("idle.streams", 20_000, "how many idle streams to open on one connection")

// Many streams that are open and idle on one connection: what each takes of memory and
// goroutines, that calls beside them are served, and that nothing is left of them.
func TestIdleStreamsTakeLittle(t *testing.T) {
	streams := *idleStreams
	if testing.Short() {
		streams = 1000
	}
	opts := drpcmanager.Options{
		Limits: drpcmanager.Limits{Streams: streams + 1000},
		Window: drpcmanager.Window{Total: -1}, // the windows of so many could add up to more
	}
	server := drpcserver.NewWithOptions(drpctest.Register(t, drpcmux.New(), &drpctest.Service{}),
		drpcserver.Options{Manager: opts, MaximumHandlers: -1})
	conn := drpcconn.NewWithOptions(drpctest.Dial(t, drpctest.Serve(t, server)), drpcconn.Options{Manager: opts})
	defer func() { _ = conn.Close() }()
	if _, err := drpctest.Call(t.Context(), conn, "known"); err != nil {
		t.Fatal(err)
	}
	held := func() int64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapInuse + m.StackInuse)
	}
	without := callRate(t, conn)
	memory, goroutines := held(), runtime.NumGoroutine()
	open := make([]drpc.Stream, streams)
	for i := range open {
		stream, err := conn.NewStream(t.Context(), drpctest.Bidi, drpctest.Enc{})
		if err != nil {
			t.Fatal(err)
		}
		var out drpctest.Msg
		if err := stream.MsgSend(drpctest.Text("x"), drpctest.Enc{}); err != nil {
			t.Fatal(err)
		}
		if err := stream.MsgRecv(&out, drpctest.Enc{}); err != nil || out.String() != "x" {
			t.Fatalf("%q, %v", out.String(), err)
		}
		open[i] = stream
	}
	each := (held() - memory) / int64(streams)
	t.Logf("%d bytes and %.2f goroutines each", each, float64(runtime.NumGoroutine()-goroutines)/float64(streams))
	most := int64(6_500) // some 4,900
	if drpctest.Race {
		most = 16_000
	}
	if each > most {
		t.Errorf("an idle stream takes %d bytes, both ends together", each)
	}
	if more := runtime.NumGoroutine() - goroutines; more > streams+10 {
		t.Errorf("%d goroutines for %d streams", more, streams)
	}
	t.Logf("calls beside them: %.0f a second, %.0f without", callRate(t, conn), without)
	for _, stream := range open {
		_ = stream.Close()
	}
	const idle = 100 // goroutines that the server keeps for calls to come, and others
	if !drpctest.Eventually(func() bool { return runtime.NumGoroutine() <= goroutines+idle }) {
		t.Errorf("%d goroutines are left of %d", runtime.NumGoroutine()-goroutines, streams)
	}
}

// deepHandler answers messages, and needs some 5 KiB of stack for each.
type deepHandler struct{}

func (deepHandler) HandleRPC(stream drpc.Stream, _ string) error {
	for {
		var msg drpctest.Msg
		if err := stream.MsgRecv(&msg, drpctest.Enc{}); err != nil {
			return err
		}
		msg.Data = append(msg.Data, deep(9))
		if err := stream.MsgSend(&msg, drpctest.Enc{}); err != nil {
			return err
		}
	}
}

//go:noinline
func deep(n int) byte {
	var frame [512]byte
	if frame[n] = byte(n); n > 0 {
		frame[n-1] = deep(n - 1)
	}
	return frame[n]
}

// The collector halves a stack of 8 KiB while less than 1,248 bytes of it are in use
// (runtime.shrinkstack). What lies below a handler that waits has to leave it some of
// these.
func TestAHandlerThatWaitsGivesBackItsStack(t *testing.T) {
	if drpctest.Race {
		t.Skip("frames are larger with the race detector")
	}
	const streams, most = 500, 6 << 10
	server := drpcserver.New(deepHandler{})
	conn := drpcconn.New(drpctest.Dial(t, drpctest.Serve(t, server)))
	defer func() { _ = conn.Close() }()
	inUse := func() int64 {
		runtime.GC() // which shrinks stacks
		runtime.GC() // and may find some in use that were not yet
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.StackInuse)
	}
	before := inUse()
	for range streams {
		stream, err := conn.NewStream(t.Context(), "rpc", drpctest.Enc{})
		if err != nil {
			t.Fatal(err)
		}
		var out drpctest.Msg
		if err := stream.MsgSend(drpctest.Text("x"), drpctest.Enc{}); err != nil {
			t.Fatal(err)
		}
		if err := stream.MsgRecv(&out, drpctest.Enc{}); err != nil || len(out.Data) != 2 {
			t.Fatalf("%q, %v", out.Data, err)
		}
	}
	if !drpctest.Eventually(func() bool { return inUse()-before < streams*most }) {
		t.Errorf("%d handlers that wait have stacks of %d bytes", streams, (inUse()-before)/streams)
	}
}

// Callers that wait for their answers keep to stacks of 4 KiB: what opens a call is deep,
// and a stack that has grown for it is all in use while there are many callers.
func TestACallerTakesLittleStack(t *testing.T) {
	if drpctest.Race {
		t.Skip("frames are larger with the race detector")
	}
	const callers, most = 500, 9 << 10 // 4 KiB, and 2 to 4 of the handler
	var running, calling sync.WaitGroup
	release := make(chan struct{})
	running.Add(callers)
	service := &drpctest.Service{BidiFn: func(stream drpc.Stream) error {
		running.Done()
		<-release
		return stream.MsgSend(drpctest.Text("y"), drpctest.Enc{})
	}}
	server := drpcserver.New(drpctest.Register(t, drpcmux.New(), service))
	conn := drpcconn.New(drpctest.Dial(t, drpctest.Serve(t, server)))
	defer func() { _ = conn.Close() }()
	inUse := func() int64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.StackInuse)
	}
	runtime.GC() // frees stacks of goroutines that have ended
	before := inUse()
	for range callers {
		calling.Go(func() {
			var out drpctest.Msg
			err := conn.Invoke(t.Context(), drpctest.Bidi, drpctest.Enc{}, drpctest.Text("x"), &out)
			if err != nil || out.String() != "y" {
				t.Errorf("%q, %v", out.String(), err)
			}
		})
	}
	running.Wait()
	if each := (inUse() - before) / callers; each > most {
		t.Errorf("a caller and its handler have stacks of %d bytes", each)
	}
	close(release)
	calling.Wait()
}

// callRate returns how many calls a second 64 callers make.
func callRate(t *testing.T, conn *drpcconn.Conn) float64 {
	const callers, calls = 64, 500
	var wg sync.WaitGroup
	start := time.Now()
	for range callers {
		wg.Go(func() {
			for range calls {
				if got, err := drpctest.Call(t.Context(), conn, "beside"); got != "beside" || err != nil {
					t.Errorf("%q, %v", got, err)
				}
			}
		})
	}
	wg.Wait()
	return callers * calls / time.Since(start).Seconds()
}
