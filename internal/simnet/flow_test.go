package simnet

import (
	"bytes"
	"io"
	"math"
	"math/rand"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// jitter returns a seeded func for Path.Jitter.
func jitter(seed int64, most time.Duration) func() time.Duration {
	random := rand.New(rand.NewSource(seed))
	return func() time.Duration { return time.Duration(random.Int63n(int64(most))) }
}

// drain reads until the end, in a goroutine, with a buffer of size.
func drain(t *testing.T, c *Conn, size int) <-chan int64 {
	done := make(chan int64, 1)
	go func() {
		p, total := make([]byte, size), int64(0)
		for {
			n, err := c.Read(p)
			total += int64(n)
			if err != nil {
				if err != io.EOF {
					t.Errorf("Read: %v", err)
				}
				done <- total
				return
			}
		}
	}()
	return done
}

// throughput returns the bytes per second that total bytes get, in writes of
// size.
func throughput(t *testing.T, a, b *Conn, total int64, size int) float64 {
	t.Helper()
	begin := time.Now()
	done := drain(t, b, 64<<10)
	p := make([]byte, size)
	for left := total; left > 0; left -= int64(size) {
		write(t, a, p)
	}
	a.CloseWrite()
	if got := <-done; got != total {
		t.Fatalf("%d bytes read; want %d", got, total)
	}
	return float64(total) / time.Since(begin).Seconds()
}

func within(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if math.Abs(got-want) > tolerance*want {
		t.Errorf("%s: %.0f bytes per second; want %.0f", what, got, want)
	}
}

func TestThroughputIsTheRate(t *testing.T) {
	for _, rate := range []int64{777, 56_000, 1_000_003, 125_000_000, 3_000_000_000} {
		in(t, Path{Delay: ms, Rate: rate}, Path{Delay: ms}, func(t *testing.T, a, b *Conn) {
			size := 1 << 10
			if rate > 100_000_000 {
				size = 1 << 20
			}
			blocks := max(10, rate/int64(size)/16)
			within(t, "throughput", throughput(t, a, b, blocks*int64(size), size), float64(rate), 0.02)
		})
	}
}

func TestASingleByteTakesTheDelay(t *testing.T) {
	in(t, Path{Delay: 42 * ms}, Path{}, func(t *testing.T, a, b *Conn) {
		for range 3 {
			begin := time.Now()
			read := startRead(b)
			write(t, a, []byte("x"))
			wantElapsed(t, begin, 0)
			if r := <-read; r.n != 1 || r.err != nil {
				t.Fatalf("Read: %d, %v", r.n, r.err)
			}
			wantElapsed(t, begin, 42*ms)
		}
	})
	in(t, Path{Delay: 42 * ms, Rate: 1000}, Path{}, func(t *testing.T, a, b *Conn) {
		begin := time.Now()
		write(t, a, []byte("x"))
		wantRead(t, b, "x")
		wantElapsed(t, begin, 43*ms) // a thousandth of a second to transmit
	})
}

func TestALargeWriteIsReadableProgressively(t *testing.T) {
	in(t, Path{Rate: 125_000_000}, Path{}, func(t *testing.T, a, b *Conn) {
		begin := time.Now()
		go a.Write(pattern(1 << 20))
		p := make([]byte, 1<<20)
		for total := 0; total < len(p); {
			n, err := b.Read(p)
			if err != nil || n > 16<<10 {
				t.Fatalf("Read: %d, %v; want at most 16 KiB", n, err)
			}
			total += n
			due := time.Duration(total) * 8 * time.Nanosecond
			if got := time.Since(begin); got < due || got > due+time.Nanosecond {
				t.Fatalf("byte %d came after %v; want %v", total, got, due)
			}
		}
	})
}

func TestABlockedWriteContinuesAsSoonAsThereIsRoom(t *testing.T) {
	in(t, Path{Rate: 1000, Buffer: 10}, Path{}, func(t *testing.T, a, b *Conn) {
		begin := time.Now()
		write(t, a, pattern(10))
		wantElapsed(t, begin, 0)
		write(t, a, pattern(1))
		wantElapsed(t, begin, 1*ms)
		write(t, a, pattern(4))
		wantElapsed(t, begin, 5*ms)
	})
}

func TestASmallWindowGivesOneWindowPerRoundTrip(t *testing.T) {
	for _, window := range []int{1000, 8 << 10, 64 << 10} {
		there := Path{Delay: 30 * ms, Rate: 1e9, Window: window}
		in(t, there, Path{Delay: 20 * ms}, func(t *testing.T, a, b *Conn) {
			got := throughput(t, a, b, int64(window)*200, window)
			within(t, "throughput", got, float64(window)/0.050, 0.02)
		})
	}
}

func TestAWindowIsTransmittedInParts(t *testing.T) {
	there := Path{Delay: ms / 2, Rate: 100e6, Window: 16_000}
	in(t, there, Path{Delay: ms / 2}, func(t *testing.T, a, b *Conn) {
		within(t, "throughput", throughput(t, a, b, 3_200_000, 16_000), 16e6, 0.03)
	})
}

func TestFractionsOfANanosecondAddUp(t *testing.T) {
	in(t, Path{Rate: 3}, Path{}, func(t *testing.T, a, b *Conn) {
		begin := time.Now()
		write(t, a, []byte("abcabc"))
		wantRead(t, b, "abcabc")
		wantElapsed(t, begin, 2*time.Second)
	})
}

func TestALargeWindowDoesNotLimit(t *testing.T) {
	there := Path{Delay: 30 * ms, Rate: 1e7, Window: 1e7 / 10}
	in(t, there, Path{Delay: 20 * ms}, func(t *testing.T, a, b *Conn) {
		within(t, "throughput", throughput(t, a, b, 100e6, 1e5), 1e7, 0.02)
	})
}

func TestAReaderThatDoesNotReadBlocksTheSender(t *testing.T) {
	there := Path{Delay: 3 * ms, Rate: 1e6, Window: 1000, Buffer: 300}
	in(t, there, Path{Delay: 7 * ms}, func(t *testing.T, a, b *Conn) {
		blocked := startWrite(a, 2000)
		time.Sleep(time.Minute)
		stillBlocked(t, blocked)
		if w, d := a.Written(), a.Delivered(); w != 1300 || d != 1000 {
			t.Fatalf("%d written, %d delivered; want 1300 and 1000", w, d)
		}
		// ten bytes read make room for ten, when the sender hears of them
		wantRead(t, b, string(pattern(10)))
		time.Sleep(7 * ms)
		synctest.Wait()
		if got := a.Written(); got != 1300 {
			t.Fatalf("%d written before the transmission; want 1300", got)
		}
		time.Sleep(10 * time.Microsecond)
		synctest.Wait()
		if got := a.Written(); got != 1310 {
			t.Fatalf("%d written; want 1310", got)
		}
		stillBlocked(t, blocked)
		if _, err := io.ReadFull(b, make([]byte, 1990)); err != nil {
			t.Fatal(err)
		}
		if r := <-blocked; r.n != 2000 || r.err != nil {
			t.Fatalf("Write: %d, %v", r.n, r.err)
		}
	})
}

// What nobody reads or writes in the meantime happens at the same times.
func TestALateLookFindsWhatAnEarlyOneWould(t *testing.T) {
	run := func(look bool) (took time.Duration) {
		in(t, Path{Delay: 5 * ms, Rate: 100_000, Window: 500, Buffer: 10_000}, Path{Delay: 5 * ms}, func(t *testing.T, a, b *Conn) {
			begin := time.Now()
			write(t, a, pattern(5000))
			for i := range 100 {
				time.Sleep(ms)
				if look {
					a.Delivered()
				}
				if i%25 == 0 {
					wantRead(t, b, string(pattern(5000)[i*4:i*4+100]))
				}
			}
			rest := make([]byte, 5000-400)
			if _, err := io.ReadFull(b, rest); err != nil || !bytes.Equal(rest, pattern(5000)[400:]) {
				t.Errorf("the rest is wrong: %v", err)
			}
			took = time.Since(begin)
		})
		return took
	}
	if early, late := run(true), run(false); early != late {
		t.Errorf("it took %v and %v", early, late)
	}
}

func TestJitterDelaysAndNeverReorders(t *testing.T) {
	run := func(seed int64) (times []time.Duration) {
		in(t, Path{Delay: ms, Jitter: jitter(seed, 50*ms)}, Path{}, func(t *testing.T, a, b *Conn) {
			begin := time.Now()
			go func() {
				for i := range 100 {
					a.Write([]byte{byte(i)})
					time.Sleep(ms)
				}
			}()
			for i := range 100 {
				wantRead(t, b, string([]byte{byte(i)}))
				times = append(times, time.Since(begin)-time.Duration(i)*ms)
			}
		})
		return times
	}
	times := run(1)
	if lo, hi := slices.Min(times), slices.Max(times); lo < ms || hi < 30*ms || hi > 51*ms {
		t.Errorf("delays from %v to %v", lo, hi)
	}
	if !slices.Equal(times, run(1)) {
		t.Error("the same seed gave other delays")
	}
	if slices.Equal(times, run(2)) {
		t.Error("another seed gave the same delays")
	}
}

func TestNegativeJitterCountsAsZero(t *testing.T) {
	early := func() time.Duration { return -time.Hour }
	in(t, Path{Delay: ms, Jitter: early}, Path{}, func(t *testing.T, a, b *Conn) {
		begin := time.Now()
		write(t, a, []byte("x"))
		wantRead(t, b, "x")
		wantElapsed(t, begin, ms)
	})
}

// Bubbles are for tests, so this is what moving the bytes costs without delays.
func BenchmarkBulk(b *testing.B) {
	sender, receiver := Link(Path{}, Path{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		io.Copy(io.Discard, receiver)
	}()
	p := make([]byte, 64<<10)
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	for b.Loop() {
		sender.Write(p)
	}
	sender.Close()
	<-done
}
