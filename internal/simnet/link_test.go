package simnet

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const ms = time.Millisecond

var errTest = errors.New("test: reset")

// in runs a test in a bubble with a link of its own.
func in(t *testing.T, there, back Path, f func(t *testing.T, a, b *Conn)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		a, b := Link(there, back)
		defer a.Close()
		defer b.Close()
		f(t, a, b)
	})
}

// pattern returns n bytes that differ from their neighbours and do not repeat
// with the sizes of blocks.
func pattern(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i % 251)
	}
	return p
}

func write(t *testing.T, c io.Writer, p []byte) {
	t.Helper()
	if n, err := c.Write(p); n != len(p) || err != nil {
		t.Fatalf("Write of %d bytes: %d, %v", len(p), n, err)
	}
}

func wantRead(t *testing.T, c io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("read %q, %v; want %q", got, err, want)
	}
}

func wantReadErr(t *testing.T, c *Conn, want error) {
	t.Helper()
	if n, err := c.Read(make([]byte, 9)); n != 0 || err != want {
		t.Fatalf("Read: %d, %v; want 0, %v", n, err, want)
	}
}

func wantWriteErr(t *testing.T, c *Conn, want error) {
	t.Helper()
	if n, err := c.Write([]byte("late")); n != 0 || err != want {
		t.Fatalf("Write: %d, %v; want 0, %v", n, err, want)
	}
}

func wantElapsed(t *testing.T, start time.Time, want time.Duration) {
	t.Helper()
	if got := time.Since(start); got != want {
		t.Fatalf("it took %v; want %v", got, want)
	}
}

// result is what a Read or a Write in a goroutine came back with, and when.
type result struct {
	n   int
	err error
	at  time.Time
}

func start(f func() (int, error)) <-chan result {
	done := make(chan result, 1)
	go func() {
		n, err := f()
		done <- result{n, err, time.Now()}
	}()
	synctest.Wait()
	return done
}

func startRead(c *Conn) <-chan result {
	return start(func() (int, error) { return c.Read(make([]byte, 64)) })
}

func startWrite(c *Conn, n int) <-chan result {
	return start(func() (int, error) { return c.Write(pattern(n)) })
}

func stillBlocked(t *testing.T, done <-chan result) {
	t.Helper()
	synctest.Wait()
	select {
	case r := <-done:
		t.Fatalf("returned %d, %v; want it blocked", r.n, r.err)
	default:
	}
}

func TestBytesArriveAsWritten(t *testing.T) {
	for _, path := range []Path{
		{},
		{Delay: ms},
		{Rate: 1e6, Delay: ms},
		{Buffer: 1, Window: 1},
		{Buffer: 100, Window: 1000, Delay: ms, Rate: 1e7},
		{MaxRead: func() int { return 7 }},
		{Jitter: jitter(1, 5*ms), Delay: ms, Buffer: 5000},
	} {
		in(t, path, path, func(t *testing.T, a, b *Conn) {
			sent, random := pattern(200_000), rand.New(rand.NewSource(1))
			if path.Window == 1 {
				sent = sent[:1000]
			}
			go func() {
				for rest := sent; len(rest) > 0; {
					n := min(len(rest), 1+random.Intn(40_000))
					a.Write(rest[:n])
					rest = rest[n:]
				}
				a.CloseWrite()
			}()
			got, err := io.ReadAll(b)
			if err != nil || !bytes.Equal(got, sent) {
				t.Errorf("%+v: read %d bytes, %v; want the %d written", path, len(got), err, len(sent))
			}
			if w, d := a.Written(), a.Delivered(); w != int64(len(sent)) || d != w {
				t.Errorf("%+v: %d written, %d delivered; want %d", path, w, d, len(sent))
			}
		})
	}
}

func TestTheOtherEndsDirectionIsItsOwn(t *testing.T) {
	in(t, Path{Delay: 3 * ms}, Path{Delay: 10 * ms}, func(t *testing.T, a, b *Conn) {
		begin := time.Now()
		write(t, b, []byte("back"))
		write(t, a, []byte("there"))
		wantRead(t, b, "there")
		wantElapsed(t, begin, 3*ms)
		wantRead(t, a, "back")
		wantElapsed(t, begin, 10*ms)
	})
}

func TestAfterCloseWriteTheOtherEndReadsTheRestAndThenEOF(t *testing.T) {
	in(t, Path{Delay: 5 * ms}, Path{Delay: 5 * ms}, func(t *testing.T, a, b *Conn) {
		write(t, a, []byte("the rest"))
		if err := a.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if err := a.CloseWrite(); err != nil {
			t.Fatalf("second CloseWrite: %v", err)
		}
		wantWriteErr(t, a, io.ErrClosedPipe)
		wantRead(t, b, "the rest")
		wantReadErr(t, b, io.EOF)
		write(t, b, []byte("answer"))
		wantRead(t, a, "answer")
		a.Close()
		if err := a.CloseWrite(); err != io.ErrClosedPipe {
			t.Fatalf("CloseWrite after Close: %v", err)
		}
	})
}

func TestCloseWriteReachesAReaderThatWaitsADelayLater(t *testing.T) {
	in(t, Path{Delay: 5 * ms}, Path{}, func(t *testing.T, a, b *Conn) {
		begin := time.Now()
		read := startRead(b)
		a.CloseWrite()
		if r := <-read; r.n != 0 || r.err != io.EOF {
			t.Fatalf("Read: %d, %v; want io.EOF", r.n, r.err)
		}
		wantElapsed(t, begin, 5*ms)
	})
}

func TestCloseWriteUnblocksAWrite(t *testing.T) {
	in(t, Path{Window: 10, Buffer: 5}, Path{}, func(t *testing.T, a, b *Conn) {
		blocked := startWrite(a, 100)
		stillBlocked(t, blocked)
		a.CloseWrite()
		if r := <-blocked; r.n != 15 || r.err != io.ErrClosedPipe {
			t.Fatalf("Write: %d, %v", r.n, r.err)
		}
		if got, err := io.ReadAll(b); err != nil || !bytes.Equal(got, pattern(15)) {
			t.Fatalf("read %d bytes, %v; want the 15 accepted", len(got), err)
		}
	})
}

func TestCloseUnblocksItsOwnReadAndWrite(t *testing.T) {
	in(t, Path{Window: 10, Buffer: 5}, Path{}, func(t *testing.T, a, b *Conn) {
		read, blocked := startRead(a), startWrite(a, 100)
		secondRead, secondWrite := startRead(a), startWrite(a, 1)
		stillBlocked(t, read)
		stillBlocked(t, blocked)
		begin := time.Now()
		a.Close()
		if r := <-blocked; r.n != 15 || r.err != io.ErrClosedPipe {
			t.Errorf("Write: %d, %v", r.n, r.err)
		}
		for _, done := range []<-chan result{read, secondRead, secondWrite} {
			if r := <-done; r.n != 0 || r.err != io.ErrClosedPipe {
				t.Errorf("returned %d, %v", r.n, r.err)
			}
		}
		wantElapsed(t, begin, 0)
		if err := a.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
		wantReadErr(t, a, io.ErrClosedPipe)
		wantWriteErr(t, a, io.ErrClosedPipe)
	})
}

func TestTheOtherEndReadsWhatWasOnItsWayAtCloseAndThenEOF(t *testing.T) {
	in(t, Path{Delay: 5 * ms, Rate: 1000}, Path{}, func(t *testing.T, a, b *Conn) {
		begin := time.Now()
		write(t, a, pattern(100))
		a.Close()
		got, err := io.ReadAll(b)
		if err != nil || !bytes.Equal(got, pattern(100)) {
			t.Fatalf("read %d bytes, %v; want 100", len(got), err)
		}
		wantElapsed(t, begin, 105*ms)
	})
}

func TestTheOtherEndsWritesFailADelayAfterClose(t *testing.T) {
	in(t, Path{Delay: 5 * ms}, Path{Delay: 2 * ms, Window: 10, Buffer: 5}, func(t *testing.T, a, b *Conn) {
		// what b cannot read by then must not keep the news from it
		write(t, a, pattern(1000))
		blocked := startWrite(b, 100)
		begin := time.Now()
		a.Close()
		time.Sleep(5*ms - 1)
		stillBlocked(t, blocked)
		if r := <-blocked; r.n != 15 || r.err != io.ErrClosedPipe {
			t.Fatalf("Write: %d, %v", r.n, r.err)
		}
		wantElapsed(t, begin, 5*ms)
		wantWriteErr(t, b, io.ErrClosedPipe)
		if got, err := io.ReadAll(b); err != nil || len(got) != 1000 {
			t.Fatalf("read %d bytes, %v", len(got), err)
		}
	})
}

func TestCloseDiscardsWhatWasNotRead(t *testing.T) {
	in(t, Path{}, Path{Delay: ms}, func(t *testing.T, a, b *Conn) {
		write(t, b, pattern(50_000))
		time.Sleep(ms)
		write(t, b, pattern(50_000))
		a.Close()
		if n := a.in.data.blocks.len(); n != 0 {
			t.Errorf("%d blocks are kept", n)
		}
		wantReadErr(t, a, io.ErrClosedPipe)
	})
}

func TestMaxReadSplitsReads(t *testing.T) {
	for _, limit := range []int{1, 3, 0, -1} {
		in(t, Path{Delay: ms, MaxRead: func() int { return limit }}, Path{}, func(t *testing.T, a, b *Conn) {
			write(t, a, []byte("abcdefg"))
			a.CloseWrite()
			var got string
			for {
				p := make([]byte, 64)
				n, err := b.Read(p)
				if err == io.EOF {
					break
				}
				if n < 1 || n > max(1, limit) || err != nil {
					t.Fatalf("MaxRead %d: Read: %d, %v", limit, n, err)
				}
				got += string(p[:n])
			}
			if got != "abcdefg" {
				t.Fatalf("MaxRead %d: read %q", limit, got)
			}
		})
	}
}

func TestConcurrentWritesStayWhole(t *testing.T) {
	in(t, Path{Buffer: 3, Window: 5, Delay: ms}, Path{}, func(t *testing.T, a, b *Conn) {
		done := make(chan struct{}, 3)
		for _, letter := range []string{"a", "b", "c"} {
			go func() {
				a.Write([]byte(strings.Repeat(letter, 100)))
				done <- struct{}{}
			}()
		}
		go func() {
			for range cap(done) {
				<-done
			}
			a.CloseWrite()
		}()
		got, err := io.ReadAll(b)
		if err != nil || len(got) != 300 {
			t.Fatalf("read %d bytes, %v", len(got), err)
		}
		for i := 0; i < len(got); i += 100 {
			if part := string(got[i : i+100]); strings.Count(part, part[:1]) != 100 {
				t.Fatalf("mixed: %q", part)
			}
		}
	})
}

func TestAnEmptyReadOrWriteDoesNotWait(t *testing.T) {
	in(t, Path{Buffer: 1, Window: 1}, Path{}, func(t *testing.T, a, b *Conn) {
		write(t, a, []byte("xy"))
		write(t, a, nil)
		if n, err := a.Read(nil); n != 0 || err != nil {
			t.Fatalf("Read: %d, %v", n, err)
		}
	})
}

func TestANegativeLimitPanics(t *testing.T) {
	for name, path := range map[string]Path{
		"Delay": {Delay: -1}, "Rate": {Rate: -1}, "Buffer": {Buffer: -1}, "Window": {Window: -1},
	} {
		func() {
			defer func() {
				if got, want := fmt.Sprint(recover()), "simnet: negative "+name; got != want {
					t.Errorf("panic: %s; want %s", got, want)
				}
			}()
			Link(Path{}, path)
		}()
	}
}

// Outside of a bubble the same code runs on real time.
func TestALinkWorksInRealTime(t *testing.T) {
	path := Path{Delay: 2 * ms, Rate: 100e6, Window: 64 << 10, Buffer: 8 << 10}
	a, b := Link(path, path)
	defer a.Close()
	defer b.Close()
	go func() {
		io.Copy(b, b)
		b.CloseWrite()
	}()
	sent := pattern(300_000)
	go func() {
		a.Write(sent)
		a.CloseWrite()
	}()
	begin := time.Now()
	got, err := io.ReadAll(a)
	if err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("read %d bytes, %v", len(got), err)
	}
	// 300,000 bytes through a window of 65,536 take four more round trips
	if took := time.Since(begin); took < 5*4*ms-2*ms {
		t.Errorf("the echo took %v, which is faster than the link", took)
	}
}
