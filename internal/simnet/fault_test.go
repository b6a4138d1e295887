package simnet

import (
	"bytes"
	"io"
	"testing"
	"testing/synctest"
	"time"
)

func TestACutAtEveryOffsetDeliversExactlyTheBytesBefore(t *testing.T) {
	script := []string{"one", "", "three and", "f", "our", "the last of them"}
	var whole string
	for _, part := range script {
		whole += part
	}
	for cut := range len(whole) {
		path := Path{Delay: 2 * ms, Rate: 10_000, Buffer: 5, Window: 9}
		in(t, path, path, func(t *testing.T, a, b *Conn) {
			a.CutAfter(int64(cut), errTest)
			written := make(chan error, 1)
			go func() {
				total := 0
				for _, part := range script {
					n, err := a.Write([]byte(part))
					total += n
					if err != nil {
						if total != cut {
							t.Errorf("cut at %d: Write accepted %d", cut, total)
						}
						written <- err
						return
					}
				}
				written <- nil
			}()
			got, err := io.ReadAll(b)
			if string(got) != whole[:cut] || err != errTest {
				t.Errorf("cut at %d: read %q, %v", cut, got, err)
			}
			if err := <-written; err != errTest {
				t.Errorf("cut at %d: Write: %v", cut, err)
			}
			if w, d := a.Written(), a.Delivered(); w != int64(cut) || d != w {
				t.Errorf("cut at %d: %d written, %d delivered", cut, w, d)
			}
			for _, end := range []*Conn{a, b} {
				wantReadErr(t, end, errTest)
				wantWriteErr(t, end, errTest)
			}
			if err := a.CloseWrite(); err != errTest {
				t.Errorf("CloseWrite: %v", err)
			}
		})
	}
}

func TestCutAfterFailsThisEndAtOnceAndTheOtherBehindTheBytes(t *testing.T) {
	there := Path{Delay: 5 * ms, Rate: 1000} // three bytes take 3 ms
	in(t, there, Path{Delay: ms, Buffer: 5, Window: 10}, func(t *testing.T, a, b *Conn) {
		write(t, b, []byte("here"))
		time.Sleep(ms)
		blocked := startWrite(b, 20) // lost: it is on its way at the cut
		begin := time.Now()
		a.CutAfter(3, errTest)
		if n, err := a.Write([]byte("abcdef")); n != 3 || err != errTest {
			t.Fatalf("Write: %d, %v", n, err)
		}
		a.Close() // changes nothing for the other end
		time.Sleep(8*ms - 1)
		stillBlocked(t, blocked)
		if r := <-blocked; r.n != 11 || r.err != errTest {
			t.Fatalf("Write: %d, %v", r.n, r.err)
		}
		wantElapsed(t, begin, 8*ms)
		wantRead(t, b, "abc")
		wantReadErr(t, b, errTest)
	})
}

func TestWhatHadArrivedBeforeACutCanBeRead(t *testing.T) {
	for name, cut := range map[string]func(a *Conn){
		"Cut":      func(a *Conn) { a.Cut(errTest) },
		"CutAfter": func(a *Conn) { a.CutAfter(0, errTest) },
	} {
		in(t, Path{}, Path{Delay: ms}, func(t *testing.T, a, b *Conn) {
			write(t, b, []byte("arrived"))
			time.Sleep(ms)
			write(t, b, []byte("in flight"))
			cut(a)
			if got, err := io.ReadAll(a); string(got) != "arrived" || err != errTest {
				t.Errorf("%s: read %q, %v", name, got, err)
			}
			time.Sleep(time.Second)
			wantReadErr(t, a, errTest)
			if got := b.Delivered(); got != 7 {
				t.Errorf("%s: %d delivered; want 7", name, got)
			}
		})
	}
}

func TestCutAfterLessThanIsWrittenCutsBehindWhatIs(t *testing.T) {
	for _, n := range []int64{-1, 0, 2, 3} {
		in(t, Path{Delay: ms}, Path{}, func(t *testing.T, a, b *Conn) {
			write(t, a, []byte("abc"))
			read := startRead(a)
			a.CutAfter(n, nil)
			if r := <-read; r.err != ErrCut {
				t.Fatalf("Read: %v", r.err)
			}
			wantRead(t, b, "abc")
			wantReadErr(t, b, ErrCut)
		})
	}
}

func TestALaterCutAfterReplacesAnEarlierOne(t *testing.T) {
	in(t, Path{}, Path{}, func(t *testing.T, a, b *Conn) {
		a.CutAfter(2, io.ErrNoProgress)
		a.CutAfter(4, errTest)
		write(t, a, []byte("abcd")) // reaches the cut and not beyond
		wantWriteErr(t, a, errTest)
		wantRead(t, b, "abcd")
		wantReadErr(t, b, errTest)
		a.CutAfter(9, io.ErrNoProgress)
		wantWriteErr(t, a, errTest)
	})
}

func TestACutAfterTheEndOfTheDataEndsTheOthersWrites(t *testing.T) {
	in(t, Path{Delay: ms}, Path{Buffer: 5, Window: 5}, func(t *testing.T, a, b *Conn) {
		a.CloseWrite()
		time.Sleep(ms)
		blocked := startWrite(b, 20)
		a.CutAfter(0, errTest)
		if r := <-blocked; r.n != 10 || r.err != errTest {
			t.Fatalf("Write: %d, %v", r.n, r.err)
		}
		wantReadErr(t, b, io.EOF) // which had arrived
	})
	in(t, Path{Delay: ms}, Path{}, func(t *testing.T, a, b *Conn) {
		a.CloseWrite()
		a.CutAfter(0, errTest)
		wantReadErr(t, b, errTest) // the reset is faster than the end
	})
}

func TestCutLosesWhatIsInFlightAndUnblocksAll(t *testing.T) {
	path := Path{Delay: 5 * ms, Buffer: 5, Window: 10}
	in(t, path, path, func(t *testing.T, a, b *Conn) {
		var blocked []<-chan result
		for _, end := range []*Conn{a, b} {
			blocked = append(blocked, startRead(end), startWrite(end, 100))
		}
		time.Sleep(ms)
		begin := time.Now()
		a.Cut(errTest)
		a.Cut(io.ErrNoProgress) // the first error stays
		for i, done := range blocked {
			if r := <-done; r.err != errTest || r.n != i%2*15 {
				t.Errorf("operation %d: %d, %v", i, r.n, r.err)
			}
		}
		wantElapsed(t, begin, 0)
		time.Sleep(time.Second)
		for _, end := range []*Conn{a, b} {
			if got := end.Delivered(); got != 0 {
				t.Errorf("%d delivered", got)
			}
			if n := end.in.data.blocks.len(); n != 0 {
				t.Errorf("%d blocks are kept of what is lost", n)
			}
			wantReadErr(t, end, errTest)
			wantWriteErr(t, end, errTest)
		}
	})
}

func TestPauseAndResumeLoseNothing(t *testing.T) {
	there := Path{Delay: 5 * ms, Rate: 1e6, Buffer: 3000, Window: 20_000}
	in(t, there, Path{Delay: 5 * ms}, func(t *testing.T, a, b *Conn) {
		sent := pattern(1_000_000)
		go func() {
			a.Write(sent)
			a.CloseWrite()
		}()
		go func() {
			for range 20 {
				time.Sleep(7*ms + 13)
				a.Pause()
				time.Sleep(11 * ms)
				a.Resume()
			}
		}()
		begin := time.Now()
		got, err := io.ReadAll(b)
		if err != nil || !bytes.Equal(got, sent) {
			t.Fatalf("read %d bytes, %v", len(got), err)
		}
		wantElapsed(t, begin, time.Second+5*ms+20*11*ms)
	})
}

func TestNothingArrivesDuringAPause(t *testing.T) {
	in(t, Path{Delay: 5 * ms, Buffer: 100}, Path{}, func(t *testing.T, a, b *Conn) {
		write(t, a, []byte("arrived"))
		time.Sleep(5 * ms)
		write(t, a, []byte("in flight"))
		time.Sleep(2 * ms)
		a.Pause()
		a.Pause()
		wantRead(t, b, "arrived")
		read, blocked := startRead(b), startWrite(a, 150)
		time.Sleep(time.Hour)
		stillBlocked(t, read)
		stillBlocked(t, blocked)
		if w, d := a.Written(), a.Delivered(); w != 116 || d != 7 {
			t.Fatalf("%d written, %d delivered; want the Buffer full", w, d)
		}
		write(t, b, []byte("the other direction is open"))
		wantRead(t, a, "the other direction is open")
		begin := time.Now()
		a.Resume()
		a.Resume()
		if r := <-read; r.n != 9 || r.err != nil {
			t.Fatalf("Read: %d, %v", r.n, r.err)
		}
		wantElapsed(t, begin, 3*ms)
		if r := <-blocked; r.n != 150 || r.err != nil || !r.at.Equal(begin) {
			t.Fatalf("Write: %d, %v, after %v", r.n, r.err, r.at.Sub(begin))
		}
		wantRead(t, b, string(pattern(150)))
		wantElapsed(t, begin, 5*ms)
	})
}

func TestAPauseHoldsTheNewsOfCloseBack(t *testing.T) {
	in(t, Path{Delay: ms}, Path{Buffer: 5, Window: 5}, func(t *testing.T, a, b *Conn) {
		a.Pause()
		a.Close()
		read, blocked := startRead(b), startWrite(b, 20)
		time.Sleep(time.Hour)
		stillBlocked(t, read)
		stillBlocked(t, blocked)
		a.Resume()
		if r := <-read; r.err != io.EOF {
			t.Fatalf("Read: %v", r.err)
		}
		if r := <-blocked; r.err != io.ErrClosedPipe {
			t.Fatalf("Write: %v", r.err)
		}
	})
}

func TestABlackholeBlocksInTheEndAndCloseUnblocksIt(t *testing.T) {
	there := Path{Delay: 5 * ms, Rate: 1e6, Buffer: 300, Window: 1000}
	in(t, there, Path{}, func(t *testing.T, a, b *Conn) {
		write(t, a, []byte("before"))
		wantRead(t, b, "before")
		write(t, a, []byte("in flight"))
		a.Blackhole()
		blocked := startWrite(a, 10_000)
		wantRead(t, b, "in flight")
		read := startRead(b)
		time.Sleep(time.Hour)
		stillBlocked(t, blocked)
		stillBlocked(t, read)
		if w, d := a.Written(), a.Delivered(); w != 15+1300 || d != 15 {
			t.Fatalf("%d written, %d delivered; want Window and Buffer full", w, d)
		}
		if n := a.out.data.blocks.len(); n != 0 {
			t.Errorf("%d blocks are kept of what is lost", n)
		}
		write(t, b, []byte("the other direction is open"))
		wantRead(t, a, "the other direction is open")
		a.Close()
		if r := <-blocked; r.n != 1300 || r.err != io.ErrClosedPipe {
			t.Fatalf("Write: %d, %v", r.n, r.err)
		}
		time.Sleep(time.Hour)
		stillBlocked(t, read) // the end is lost too
		b.Close()
		<-read
	})
}

func TestOfABlackholedEndTheOtherLearnsNothing(t *testing.T) {
	in(t, Path{}, Path{Buffer: 5, Window: 10}, func(t *testing.T, a, b *Conn) {
		a.Blackhole()
		a.CutAfter(0, errTest)
		wantWriteErr(t, a, errTest)
		read, blocked := startRead(b), startWrite(b, 20)
		time.Sleep(time.Hour)
		stillBlocked(t, read)
		stillBlocked(t, blocked)
		b.Close()
		<-read
		if r := <-blocked; r.n != 15 || r.err != io.ErrClosedPipe {
			t.Fatalf("Write: %d, %v", r.n, r.err)
		}
	})
}

func TestAnEndWrittenBeforeABlackholeArrives(t *testing.T) {
	in(t, Path{Delay: ms, Rate: 1000}, Path{}, func(t *testing.T, a, b *Conn) {
		write(t, a, []byte("all"))
		a.CloseWrite()
		a.Blackhole()
		wantRead(t, b, "all")
		wantReadErr(t, b, io.EOF)
	})
}

func TestWhatIsBufferedAtABlackholeArrivesAndNoByteMore(t *testing.T) {
	in(t, Path{}, Path{}, func(t *testing.T, a, b *Conn) {
		a.Pause()
		write(t, a, []byte("before"))
		a.Blackhole()
		write(t, a, []byte("after"))
		a.Resume()
		wantRead(t, b, "before")
		if got := a.Delivered(); got != 6 {
			t.Fatalf("%d delivered; want 6", got)
		}
	})
}

func TestABlackholeSwallowsTheNewsOfClose(t *testing.T) {
	in(t, Path{}, Path{Buffer: 5, Window: 10}, func(t *testing.T, a, b *Conn) {
		a.Blackhole()
		a.Close()
		blocked := startWrite(b, 20)
		time.Sleep(time.Hour)
		stillBlocked(t, blocked)
		b.Close()
		<-blocked
	})
}

func TestCutAfterChangesNothingOnceClosed(t *testing.T) {
	in(t, Path{Delay: ms}, Path{}, func(t *testing.T, a, b *Conn) {
		a.Close()
		a.CutAfter(0, errTest)
		wantReadErr(t, b, io.EOF)
		wantWriteErr(t, b, io.ErrClosedPipe)
	})
}

// Faults, reads and writes at once from many goroutines: for the race detector,
// and to see that Close ends them all.
func TestFaultsFromAnyGoroutineLeaveNothingBehind(t *testing.T) {
	for seed := range int64(20) {
		path := Path{Delay: ms, Rate: 1e6, Buffer: 100, Window: 1000, Jitter: jitter(seed, ms)}
		in(t, path, path, func(t *testing.T, a, b *Conn) {
			for _, end := range []*Conn{a, b} {
				for range 2 {
					go io.Copy(io.Discard, end)
					go io.Copy(end, bytes.NewReader(pattern(50_000)))
				}
				pauses := jitter(seed+100, 3*ms)
				go func() {
					for range 10 {
						time.Sleep(pauses())
						end.Pause()
						time.Sleep(pauses())
						end.Resume()
						end.Delivered()
					}
				}()
			}
			time.Sleep(20 * ms)
			switch seed % 4 {
			case 0:
				a.Cut(errTest)
			case 1:
				a.CutAfter(10_000, errTest)
			case 2:
				a.Blackhole()
			case 3:
				a.CloseWrite()
			}
			time.Sleep(time.Second)
			a.Close()
			b.Close()
			synctest.Wait()
			for _, end := range []*Conn{a, b} {
				if n := end.in.data.blocks.len(); n != 0 {
					t.Errorf("%d blocks are kept", n)
				}
			}
		})
	}
}
