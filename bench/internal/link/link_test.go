package link

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"braid/bench/internal/blob"
)

func TestALinkIsReadFromItsText(t *testing.T) {
	for text, want := range map[string]Link{
		"5ms,100M":         {Delay: 5 * time.Millisecond, Rate: 100e6},
		"5ms, 1Gbit/s":     {Delay: 5 * time.Millisecond, Rate: 1e9},
		"0s,2.5Mbit/s":     {Rate: 2.5e6},
		"1m,100kbit/s":     {Delay: time.Minute, Rate: 100e3},
		"250us,0":          {Delay: 250 * time.Microsecond},
		"0,100000":         {Rate: 100e3},
		"1ms,1000000bit/s": {Delay: time.Millisecond, Rate: 1e6},
	} {
		if got, err := Parse(text); err != nil || got != want {
			t.Errorf("%q is read as %+v, %v, want %+v", text, got, err, want)
		}
	}
}

func TestALinkThatMakesNoSenseIsRefused(t *testing.T) {
	for text, want := range map[string]string{
		"":             "not delay,rate",
		"5ms":          "not delay,rate",
		"5,1M":         "delay",
		"-1ms,1M":      "delay has to be from 0",
		"1m1ms,1M":     "delay has to be from 0",
		"5ms,fast":     "not a number",
		"5ms,":         "not a number",
		"5ms,1MB":      "not a number",
		"5ms,1M,2":     "not a number",
		"5ms,-1M":      "not 0 and not at least",
		"5ms,99999":    "not 0 and not at least",
		"5ms,NaN":      "not 0 and not at least",
		"5ms,1e308G":   "not 0 and not at least",
		"5ms,infbit/s": "not 0 and not at least",
	} {
		if got, err := Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is read as %+v, %v, want an error with %q", text, got, err, want)
		}
	}
}

func TestSendBuffersFollowTheLinkWhereTheKernelWouldStartTooLarge(t *testing.T) {
	for text, want := range map[string]int{
		"5ms,100M": 250_000,
		"0s,100M":  64 << 10, // some are needed without any delay
		"5ms,1G":   0,        // what the kernel starts with is about right
		"5ms,0":    0,
	} {
		l, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := l.SendBuffer(); got != want {
			t.Errorf("over %q a send buffer has %d bytes, want %d", text, got, want)
		}
	}
}

// connect returns the two ends of a connection over a link.
func connect(t *testing.T, l Link) (near, far *net.TCPConn) {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	proxy, err := Listen(lis.Addr().String(), l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := proxy.Close(); err != nil {
			t.Error(err)
		}
	})
	client, err := net.Dial("tcp", proxy.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	server, err := lis.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	return client.(*net.TCPConn), server.(*net.TCPConn)
}

func TestEveryByteArrivesBothWaysAndSoDoesTheEnd(t *testing.T) {
	near, far := connect(t, Link{Delay: time.Millisecond, Rate: 1e9})
	for _, way := range []struct{ from, to *net.TCPConn }{{near, far}, {far, near}} {
		want := blob.New(1<<20+1, 7).Data
		sent := make(chan error, 1)
		go func() {
			_, err := way.from.Write(want)
			sent <- errors.Join(err, way.from.CloseWrite())
		}()
		got, err := io.ReadAll(way.to)
		if err != nil {
			t.Fatal(err)
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("%d bytes arrived that are not the %d sent", len(got), len(want))
		}
	}
}

// No byte may be early. How late it is depends on the machine.
func TestARoundTripTakesTheDelayTwice(t *testing.T) {
	const delay = 20 * time.Millisecond
	near, far := connect(t, Link{Delay: delay})
	echoed := make(chan error, 1)
	go func() {
		_, err := io.CopyN(far, far, 1)
		echoed <- err
	}()
	began := time.Now()
	if _, err := near.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(near, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 2*delay {
		t.Errorf("a round trip took %v over a link of %v each way", took, delay)
	}
	if err := <-echoed; err != nil {
		t.Error(err)
	}
}

func TestBytesArriveNoFasterThanTheRate(t *testing.T) {
	const size, least = 1_000_000, 100 * time.Millisecond
	near, far := connect(t, Link{Rate: 80e6})
	began := time.Now()
	sent := make(chan error, 1)
	go func() {
		_, err := near.Write(make([]byte, size))
		sent <- err
	}()
	if _, err := io.ReadFull(far, make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < least {
		t.Errorf("%d bytes took %v, and the rate allows for %v", size, took, least)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

func TestAnEndThatIsGoneEndsTheOther(t *testing.T) {
	near, far := connect(t, Link{})
	if err := far.SetLinger(0); err != nil {
		t.Fatal(err)
	}
	if err := far.Close(); err != nil { // with a reset
		t.Fatal(err)
	}
	if _, err := near.Read(make([]byte, 1)); err == nil {
		t.Error("a byte was read of a connection that is gone")
	}
}

func TestCloseEndsAConnectionThatNobodyReads(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	proxy, err := Listen(lis.Addr().String(), Link{Delay: time.Millisecond, Rate: 10e9})
	if err != nil {
		t.Fatal(err)
	}
	near, err := net.Dial("tcp", proxy.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	far, err := lis.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	if _, err := near.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	sent := make(chan error, 1)
	go func() {
		for {
			if _, err := near.Write(make([]byte, 1<<20)); err != nil {
				sent <- err
				return
			}
		}
	}()
	if err := proxy.Close(); err != nil {
		t.Fatal(err)
	}
	<-sent // an error, since nothing takes the bytes any more
}
