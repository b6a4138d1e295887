package hostile_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"braid/drpcconn"
	"braid/drpcmanager"
	"braid/drpcwire"
	"braid/internal/drpctest"
)

// mix copies the frames from one end to the other, with n of what hostile makes behind
// each.
func mix(from, to net.Conn, n int, hostile func() drpcwire.Frame) {
	defer func() { _, _ = from.Close(), to.Close() }()
	rd := drpcwire.NewReader(from)
	for {
		fr, err := rd.ReadFrame()
		if err != nil {
			return
		}
		buf := encode(fr)
		for range n {
			buf = append(buf, encode(hostile())...)
		}
		if _, err := to.Write(buf); err != nil {
			return
		}
	}
}

// TestTwoEndsThatRefuseEachOthersInvokesDoNotHang (T5), however little the network
// holds: refusals wait for nobody. Each frame that an end sends is answered by hostile
// Invokes, whose refusals are frames again, until one of the ends has had enough.
func TestTwoEndsThatRefuseEachOthersInvokesDoNotHang(t *testing.T) {
	tg := newTarget(t, nil)
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lis.Close() }()
	client := drpctest.Dial(t, lis.Addr().String())
	middle, err := lis.Accept()
	if err != nil {
		t.Fatal(err)
	}
	server := drpctest.Dial(t, tg.addr)
	for _, nc := range []net.Conn{client, middle, server} {
		_ = nc.(*net.TCPConn).SetReadBuffer(4 << 10)
		_ = nc.(*net.TCPConn).SetWriteBuffer(4 << 10)
	}

	var wg sync.WaitGroup
	even, odd := uint64(0), uint64(1<<32+1)
	wg.Go(func() { // streams that a client does not accept
		mix(server, middle, 8, func() drpcwire.Frame {
			even += 2
			return frame(drpcwire.KindInvoke, even, 1, drpctest.Unary)
		})
	})
	wg.Go(func() { // names that a server does not accept
		mix(middle, server, 8, func() drpcwire.Frame {
			odd += 2
			return frame(drpcwire.KindInvoke, odd, 1, string(make([]byte, 1<<10+1)))
		})
	})
	conn := drpcconn.New(client)
	ended := make(chan error, 1)
	go func() {
		for {
			if _, err := drpctest.Call(context.Background(), conn, "x"); err != nil {
				ended <- err
				return
			}
		}
	}()
	select {
	case err := <-ended:
		if !errors.As(err, new(*drpcmanager.LostError)) || errors.Is(err, io.EOF) {
			t.Errorf("the call ended with %v", err)
		}
		t.Logf("ended by %v", err)
	case <-time.After(patience):
		t.Error("nothing has come of it: an end hangs")
	}
	begin := time.Now()
	_ = conn.Close()
	if took := time.Since(begin); took > patience/2 {
		t.Errorf("Close took %v", took)
	}
	wg.Wait()
	if !drpctest.Eventually(func() bool { return tg.open.Load() == 0 }) {
		t.Error("the server keeps the connection")
	}
}
