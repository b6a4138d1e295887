package hostile_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	"storj.io/drpc"
	"storj.io/drpc/drpcctx"

	"braid/internal/drpctest"
)

// The rpcs that an attacker would look for, besides those of drpctest.Service.
const (
	waitRPC   = "/hostile.Victim/Wait"   // receives nothing until its context ends
	ignoreRPC = "/hostile.Victim/Ignore" // is busy, and does not heed its context
	panicRPC  = "/hostile.Victim/Panic"  // panics
)

// busy is how long a call of ignoreRPC works.
const busy = 20 * time.Millisecond

// victim implements these.
type victim struct {
	mu      sync.Mutex
	running map[drpc.Transport]int // handlers of these rpcs, by connection; guarded by mu
	most    int                    // the most there were at once on a connection; guarded by mu
}

func (v *victim) enter(stream drpc.Stream) (leave func()) {
	tr, _ := drpcctx.Transport(stream.Context())
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.running == nil {
		v.running = map[drpc.Transport]int{}
	}
	v.running[tr]++
	v.most = max(v.most, v.running[tr])
	return func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		if v.running[tr]--; v.running[tr] == 0 {
			delete(v.running, tr)
		}
	}
}

// busy reports whether a handler runs.
func (v *victim) busy() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.running) > 0
}

func (v *victim) wait(stream drpc.Stream) error {
	defer v.enter(stream)()
	<-stream.Context().Done()
	return stream.Context().Err()
}

func (v *victim) ignore(stream drpc.Stream) error {
	defer v.enter(stream)()
	<-time.After(busy)
	return nil
}

func (v *victim) panic(stream drpc.Stream) error {
	defer v.enter(stream)()
	panic("as asked")
}

// down sends as many messages of 32 KiB as the request has bytes.
func down(in *drpctest.Msg, stream drpc.Stream) error {
	for range in.Data {
		if err := stream.MsgSend(&drpctest.Msg{Data: make([]byte, 32<<10)}, drpctest.Enc{}); err != nil {
			return err
		}
	}
	return nil
}

// large answers a request with its length, so that large requests have small answers.
func large(_ context.Context, in *drpctest.Msg) (*drpctest.Msg, error) {
	if len(in.Data) > 1<<10 {
		return drpctest.Text(fmt.Sprint(len(in.Data))), nil
	}
	return in, nil
}

// desc describes victim as generated code would.
type desc struct{}

// NumMethods implements drpc.Description.
func (desc) NumMethods() int { return 3 }

// Method implements drpc.Description.
func (desc) Method(n int) (string, drpc.Encoding, drpc.Receiver, any, bool) {
	methods := [...]struct {
		name string
		fn   func(*victim, drpc.Stream) error
	}{
		{waitRPC, (*victim).wait}, {ignoreRPC, (*victim).ignore}, {panicRPC, (*victim).panic},
	}
	if n >= len(methods) {
		return "", nil, nil, nil, false
	}
	m := methods[n]
	return m.name, drpctest.Enc{}, func(srv any, _ context.Context, in, _ any) (drpc.Message, error) {
		return nil, m.fn(srv.(*victim), in.(drpc.Stream))
	}, m.fn, true
}
