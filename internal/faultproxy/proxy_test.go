package faultproxy

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// through connects a client and a target through a proxy with this script. All
// three are closed at the end of the test.
func through(t *testing.T, script Script) (client, target *net.TCPConn, proxy *Proxy) {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer func() { _ = lis.Close() }()
	proxy, err = New(lis.Addr().String(), func(int) Script { return script })
	check(t, err)
	t.Cleanup(func() { check(t, proxy.Close()) })
	conn, err := net.Dial("tcp", proxy.Addr())
	check(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	other, err := lis.Accept()
	check(t, err)
	t.Cleanup(func() { _ = other.Close() })
	for _, c := range []net.Conn{conn, other} {
		check(t, c.SetDeadline(time.Now().Add(time.Minute))) // so that a hang is a failure
	}
	return conn.(*net.TCPConn), other.(*net.TCPConn), proxy
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// content returns n bytes that are different for each n and at each place.
func content(n int) []byte {
	data := make([]byte, n)
	for i, rng := 0, rand.NewPCG(1, uint64(n)); i < n; i++ {
		data[i] = byte(rng.Uint64())
	}
	return data
}

// both runs a test for the two directions of a connection: faults hit what is
// sent from the first to the second.
func both(t *testing.T, faults Faults, test func(t *testing.T, from, to *net.TCPConn, passed func() int64)) {
	t.Run("to the target", func(t *testing.T) {
		client, target, proxy := through(t, Script{ToTarget: faults})
		test(t, client, target, func() int64 { n, _ := proxy.Passed(0); return n })
	})
	t.Run("to the client", func(t *testing.T) {
		client, target, proxy := through(t, Script{ToClient: faults})
		test(t, target, client, func() int64 { _, n := proxy.Passed(0); return n })
	})
}

func expectRead(t *testing.T, from io.Reader, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	_, err := io.ReadFull(from, got)
	check(t, err)
	if !bytes.Equal(got, want) {
		t.Fatalf("other bytes than were sent: %x, want %x", head(got), head(want))
	}
}

func expectEOF(t *testing.T, from io.Reader) {
	t.Helper()
	if n, err := from.Read(make([]byte, 1)); n != 0 || err != io.EOF { //nolint:errorlint // io.Reader's own
		t.Fatalf("got %d bytes and %v, want the end", n, err)
	}
}

// expectReset reads a prefix of want, however long, and then a RST.
func expectReset(t *testing.T, from io.Reader, want []byte) {
	t.Helper()
	got, err := io.ReadAll(from)
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("got %v, want a reset", err)
	}
	if !bytes.HasPrefix(want, got) {
		t.Fatalf("got %d bytes that are not the beginning of the %d that may come", len(got), len(want))
	}
}

// expectNothing fails if something comes. It cannot wait for ever for what must
// not come; on a busy machine it may miss that, and never sees what is not.
func expectNothing(t *testing.T, from *net.TCPConn) {
	t.Helper()
	check(t, from.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
	if n, err := from.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("got %d bytes and %v, want nothing", n, err)
	}
	check(t, from.SetReadDeadline(time.Now().Add(time.Minute)))
}

func head(data []byte) []byte { return data[:min(len(data), 20)] }

func send(t *testing.T, to io.Writer, data []byte) {
	t.Helper()
	_, err := to.Write(data)
	check(t, err)
}

func TestWithoutAFaultAllBytesPassAndThenTheEnd(t *testing.T) {
	for name, faults := range map[string]Faults{
		"at once":      {},
		"late":         {Delay: 5 * time.Millisecond},
		"slowly":       {Rate: 10 << 20},
		"in bits":      {Split: 1000},
		"all of these": {Delay: 3 * time.Millisecond, Rate: 20 << 20, Split: 1448},
		"stalling":     {StallAt: 70_001, StallFor: 5 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			client, target, proxy := through(t, Script{ToTarget: faults, ToClient: faults})
			up, down := content(300_000), content(400_000)
			var wg sync.WaitGroup
			for _, w := range []struct {
				conn *net.TCPConn
				data []byte
			}{{client, up}, {target, down}} {
				wg.Go(func() {
					if _, err := w.conn.Write(w.data); err != nil {
						t.Error(err)
					}
					if err := w.conn.CloseWrite(); err != nil {
						t.Error(err)
					}
				})
			}
			defer wg.Wait()
			got := make(chan []byte, 1)
			go func() {
				data, _ := io.ReadAll(target)
				got <- data
			}()
			expectRead(t, client, down)
			expectEOF(t, client)
			if !bytes.Equal(<-got, up) {
				t.Error("the target has got other bytes than were sent")
			}
			if n, m := proxy.Passed(0); n != int64(len(up)) || m != int64(len(down)) {
				t.Errorf("%d and %d bytes were counted", n, m)
			}
		})
	}
}

func TestSingleBytesArriveWhole(t *testing.T) {
	both(t, Faults{Split: 1}, func(t *testing.T, from, to *net.TCPConn, _ func() int64) {
		send(t, from, content(10_000))
		expectRead(t, to, content(10_000))
	})
}

// places are where faults are put on a direction of 100,000 bytes. The proxy
// reads 64 KiB at once.
var places = []int64{AtStart, 1, 999, 65_535, 65_536, 65_537, 100_000}

func beginning(data []byte, at int64) []byte { return data[:max(at, 0)] }

func TestTruncateEndsBothDirectionsAfterItsByte(t *testing.T) {
	for _, at := range places {
		both(t, Faults{TruncateAt: at}, func(t *testing.T, from, to *net.TCPConn, passed func() int64) {
			data := content(100_000)
			send(t, from, data)
			expectRead(t, to, beginning(data, at))
			expectEOF(t, to)
			expectEOF(t, from)
			send(t, from, data) // what still comes vanishes, and resets nothing
			send(t, to, data)
			expectEOF(t, from)
			expectEOF(t, to)
			if n := passed(); n != max(at, 0) {
				t.Errorf("%d bytes were passed on", n)
			}
		})
	}
}

func TestAHalfCloseLeavesTheOtherDirectionAlone(t *testing.T) {
	for _, at := range places {
		both(t, Faults{HalfCloseAt: at}, func(t *testing.T, from, to *net.TCPConn, passed func() int64) {
			data, answer := content(100_000), content(200_000)
			send(t, from, data)
			expectRead(t, to, beginning(data, at))
			expectEOF(t, to)
			send(t, from, data)
			go func() {
				_, _ = to.Write(answer) // the reader sees whether it failed
				_ = to.CloseWrite()
			}()
			expectRead(t, from, answer)
			expectEOF(t, from)
			if n := passed(); n != max(at, 0) {
				t.Errorf("%d bytes were passed on", n)
			}
		})
	}
}

func TestABlackholeSwallowsAllButTheOtherDirection(t *testing.T) {
	for _, at := range places {
		both(t, Faults{BlackholeAt: at}, func(t *testing.T, from, to *net.TCPConn, passed func() int64) {
			data, answer := content(100_000), content(100_000)
			send(t, from, data)
			expectRead(t, to, beginning(data, at))
			send(t, from, data)
			send(t, to, answer)
			expectRead(t, from, answer)
			check(t, from.Close()) // this, too
			expectNothing(t, to)
			send(t, to, answer)
			expectNothing(t, to)
			if n := passed(); n != max(at, 0) {
				t.Errorf("%d bytes were passed on", n)
			}
		})
	}
}

func TestAResetHitsBothEndsAfterItsByte(t *testing.T) {
	for _, at := range places[1:] {
		both(t, Faults{ResetAt: at}, func(t *testing.T, from, to *net.TCPConn, passed func() int64) {
			data := content(100_000)
			wrote := make(chan error, 1)
			go func() {
				_, err := from.Write(data)
				wrote <- err
			}()
			expectReset(t, to, data[:at])
			// The kernel tells of a RST once, whoever asks first.
			if err := <-wrote; err == nil {
				expectReset(t, from, nil)
			} else if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
				t.Errorf("writing to a connection that was reset: %v", err)
			}
			if n := passed(); n != at {
				t.Errorf("%d bytes were passed on", n)
			}
		})
	}
}

func TestAResetAtTheStartComesBeforeAnyByte(t *testing.T) {
	echo := newEcho(t)
	for _, script := range []Script{{ToTarget: Faults{ResetAt: AtStart}}, {ToClient: Faults{ResetAt: AtStart}}} {
		proxy, err := New(echo, func(int) Script { return script })
		check(t, err)
		expectRefusal(t, proxy)
		if a, b := proxy.Passed(0); a+b != 0 {
			t.Errorf("%d and %d bytes were passed on", a, b)
		}
		check(t, proxy.Close())
	}
}

// expectRefusal connects to a proxy that resets the connection at once, which
// may be so soon that dialing already fails.
func expectRefusal(t *testing.T, proxy *Proxy) {
	t.Helper()
	conn, err := net.Dial("tcp", proxy.Addr())
	if err == nil {
		expectReset(t, conn, nil)
		check(t, conn.Close())
	} else if !errors.Is(err, syscall.ECONNRESET) {
		t.Fatal(err)
	}
}

func TestAStallOfOneDirectionLeavesTheOtherAlone(t *testing.T) {
	both(t, Faults{StallAt: 1000, StallFor: -1}, func(t *testing.T, from, to *net.TCPConn, passed func() int64) {
		data := content(100_000)
		send(t, from, data)
		expectRead(t, to, data[:1000])
		send(t, to, data)
		expectRead(t, from, data)
		expectNothing(t, to)
		if n := passed(); n != 1000 {
			t.Errorf("%d bytes were passed on", n)
		}
	})
}

func TestAnEndThatResetsResetsTheOther(t *testing.T) {
	both(t, Faults{}, func(t *testing.T, from, to *net.TCPConn, _ func() int64) {
		send(t, from, []byte("hello")) // the proxy has reached both
		expectRead(t, to, []byte("hello"))
		check(t, from.SetLinger(0))
		check(t, from.Close())
		expectReset(t, to, nil)
	})
}

func TestEachConnectionHasItsOwnScript(t *testing.T) {
	echo := newEcho(t)
	proxy, err := New(echo, func(n int) Script { return Script{ToClient: Faults{TruncateAt: int64(n + 1)}} })
	check(t, err)
	defer func() { check(t, proxy.Close()) }()
	for n := range 5 {
		conn, err := net.Dial("tcp", proxy.Addr())
		check(t, err)
		send(t, conn, content(100))
		expectRead(t, conn, content(100)[:n+1])
		expectEOF(t, conn)
		check(t, conn.Close())
	}
	if a, b := proxy.Passed(5); a != 0 || b != 0 {
		t.Error("bytes were counted of a connection that there is not")
	}
}

// newEcho returns the address of a server that sends back what it gets.
func newEcho(t *testing.T) string {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := lis.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				_, _ = io.Copy(conn, conn)
				_ = conn.Close()
			})
		}
	})
	t.Cleanup(func() {
		check(t, lis.Close())
		wg.Wait()
	})
	return lis.Addr().String()
}

func TestCloseEndsWhateverIsGoingOn(t *testing.T) {
	for name, faults := range map[string]Faults{
		"nothing":     {},
		"a delay":     {Delay: 2 * time.Second},
		"a rate":      {Rate: 1},
		"a stall":     {StallFor: time.Hour},
		"for good":    {StallFor: -1},
		"a blackhole": {BlackholeAt: 1},
		"half closed": {HalfCloseAt: 1},
		"truncated":   {TruncateAt: 1},
	} {
		t.Run(name, func(t *testing.T) {
			client, target, proxy := through(t, Script{ToTarget: faults, ToClient: faults})
			// More than the proxy and the kernel hold, so that writers block.
			var wg sync.WaitGroup
			wg.Go(func() { _, _ = client.Write(make([]byte, 64<<20)) })
			wg.Go(func() { _, _ = target.Write(make([]byte, 64<<20)) })
			check(t, proxy.Close())
			wg.Wait() // both were reset
			check(t, proxy.Close())
			if _, err := net.Dial("tcp", proxy.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("dialing a closed proxy: %v", err)
			}
		})
	}
}

func TestWhatGoesWrongInTheProxyIsReportedByClose(t *testing.T) {
	if _, err := New("nowhere", nil); err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("a target without a port: %v", err)
	}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	check(t, lis.Close())
	for target, script := range map[string]Script{
		lis.Addr().String(): {},
		newEcho(t):          {ToTarget: Faults{Split: -3}},
	} {
		proxy, err := New(target, func(int) Script { return script })
		check(t, err)
		expectRefusal(t, proxy)
		if err := proxy.Close(); err == nil || !strings.Contains(err.Error(), "refused") && !strings.Contains(err.Error(), "Split -3") {
			t.Errorf("Close: %v", err)
		}
	}
}

// BenchmarkThroughput moves bytes over a link of 25 ms each way.
func BenchmarkThroughput(b *testing.B) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = lis.Close() }()
	late := Faults{Delay: 25 * time.Millisecond}
	proxy, err := New(lis.Addr().String(), func(int) Script { return Script{ToTarget: late, ToClient: late} })
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = proxy.Close() }()
	conn, err := net.Dial("tcp", proxy.Addr())
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	other, err := lis.Accept()
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	chunk := make([]byte, 1<<20)
	go func() {
		for {
			if _, err := conn.Write(chunk); err != nil {
				return
			}
		}
	}()
	into := make([]byte, len(chunk))
	b.SetBytes(int64(len(into)))
	for b.Loop() {
		if _, err := io.ReadFull(other, into); err != nil {
			b.Fatal(err)
		}
	}
}
