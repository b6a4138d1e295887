package faultproxy

import (
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fake is one end of a link whose other side is the test. What the link writes
// to it is noted with the time.
type fake struct {
	in     chan []byte // what the link reads; closed for the end
	closed chan struct{}
	once   sync.Once
	begin  time.Time

	mu     sync.Mutex
	writes []written // guarded by mu, like fin
	fin    time.Duration
}

// written is one write, or several that came at the same time.
type written struct {
	at   time.Duration
	text string
}

func newFake() *fake {
	return &fake{in: make(chan []byte), closed: make(chan struct{}), begin: time.Now(), fin: -1}
}

func (f *fake) Read(p []byte) (int, error) {
	select {
	case data, ok := <-f.in:
		if !ok {
			return 0, io.EOF
		}
		return copy(p, data), nil
	case <-f.closed:
		return 0, net.ErrClosed
	}
}

func (f *fake) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writes = append(f.writes, written{time.Since(f.begin), string(p)})
	return len(p), nil
}

func (f *fake) CloseWrite() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fin = time.Since(f.begin)
	return nil
}

func (f *fake) Close() error {
	f.once.Do(func() { close(f.closed) })
	return nil
}

func (*fake) SetLinger(int) error { return nil }

// expect fails unless exactly these writes have been made.
func (f *fake) expect(t *testing.T, want ...written) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.writes) != len(want) {
		t.Fatalf("got %d writes %v\nwant %d %v", len(f.writes), f.writes, len(want), want)
	}
	for i, w := range want {
		if f.writes[i] != w {
			t.Fatalf("write %d is %v, want %v", i, f.writes[i], w)
		}
	}
}

// expectEnd fails unless the direction has ended at that time; -1 is not at all.
func (f *fake) expectEnd(t *testing.T, want time.Duration) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fin != want {
		t.Fatalf("the end came at %v, want %v", f.fin, want)
	}
}

// bubble runs a link with virtual time, and sees to its end.
func bubble(t *testing.T, faults Faults, test func(t *testing.T, client, target *fake)) {
	synctest.Test(t, func(t *testing.T) {
		client, target := newFake(), newFake()
		l := newLink(client, target, Script{ToTarget: faults})
		done := make(chan struct{})
		go func() {
			defer close(done)
			l.run()
		}()
		test(t, client, target)
		l.reset()
		<-done
	})
}

const ms = time.Millisecond

func TestADelayShiftsEachByteAndTheEnd(t *testing.T) {
	bubble(t, Faults{Delay: 25 * ms}, func(t *testing.T, client, target *fake) {
		var want []written
		for i := range 100 { // four times as many as a delay in which one waits for another would let pass
			client.in <- []byte{byte(i)}
			want = append(want, written{time.Since(target.begin) + 25*ms, string([]byte{byte(i)})})
			time.Sleep(ms)
		}
		close(client.in)
		time.Sleep(24 * ms)
		synctest.Wait()
		target.expect(t, want...)
		target.expectEnd(t, -1)
		time.Sleep(ms)
		synctest.Wait()
		target.expectEnd(t, 125*ms)
	})
}

func TestARateSpacesTheBytes(t *testing.T) {
	bubble(t, Faults{Rate: 1000, Delay: 10 * ms}, func(t *testing.T, client, target *fake) {
		client.in <- []byte("abcdef")
		time.Sleep(100 * ms) // the link is idle meanwhile, and saves nothing up
		client.in <- []byte("gh")
		time.Sleep(100 * ms)
		synctest.Wait()
		target.expect(t, written{12 * ms, "ab"}, written{14 * ms, "cd"}, written{16 * ms, "ef"}, written{112 * ms, "gh"})
	})
}

func TestSplitWritesNoMoreThanThatAtOnce(t *testing.T) {
	for split, want := range map[int][]written{
		1: {{0, "a"}, {0, "b"}, {0, "c"}, {0, "d"}, {0, "e"}},
		2: {{0, "ab"}, {0, "cd"}, {0, "e"}},
		5: {{0, "abcde"}},
		9: {{0, "abcde"}},
	} {
		bubble(t, Faults{Split: split}, func(t *testing.T, client, target *fake) {
			client.in <- []byte("abcde")
			synctest.Wait()
			target.expect(t, want...)
		})
	}
}

func TestAStallHoldsBackWhatFollowsItsByte(t *testing.T) {
	for at, want := range map[int64][]written{
		AtStart: {{time.Second, "abcde"}},
		0:       {{time.Second, "abcde"}},
		2:       {{0, "ab"}, {time.Second, "cde"}},
		5:       {{0, "abcde"}},
	} {
		bubble(t, Faults{StallAt: at, StallFor: time.Second}, func(t *testing.T, client, target *fake) {
			client.in <- []byte("abcde")
			time.Sleep(time.Minute)
			synctest.Wait()
			target.expect(t, want...)
		})
	}
}

func TestAStallForGoodHoldsBackTheEndToo(t *testing.T) {
	bubble(t, Faults{StallAt: 3, StallFor: -1}, func(t *testing.T, client, target *fake) {
		client.in <- []byte("abcde")
		close(client.in)
		time.Sleep(1000 * time.Hour)
		synctest.Wait()
		target.expect(t, written{0, "abc"})
		target.expectEnd(t, -1)
	})
}

func TestFaultsAtOnePlaceHappenInTheOrderOfTheirFields(t *testing.T) {
	faults := Faults{StallAt: 3, StallFor: time.Second, HalfCloseAt: 3, ResetAt: 5}
	bubble(t, faults, func(t *testing.T, client, target *fake) {
		client.in <- []byte("abcd")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		target.expect(t, written{0, "abc"})
		target.expectEnd(t, time.Second) // after the stall
		select {
		case <-target.closed:
			t.Fatal("the reset came too early")
		default:
		}
		client.in <- []byte("e") // it vanishes, and counts
		synctest.Wait()
		<-target.closed
		<-client.closed
	})
}

// A link of 1 Gbit/s with 25 ms each way has 3.1 MB on its way in each
// direction, and its acknowledgements take as long again.
func TestTheProxyTakesWhatALinkHasInFlightBeforeAnythingArrives(t *testing.T) {
	const want = 2 * 125_000_000 / 40
	for _, rate := range []int64{0, 125_000_000} {
		bubble(t, Faults{Delay: 25 * ms, Rate: rate, StallFor: -1}, func(t *testing.T, client, target *fake) {
			chunk, taken := make([]byte, readSize), 0
			for full := false; !full; {
				synctest.Wait()
				select {
				case client.in <- chunk:
					taken += len(chunk)
				default:
					full = true // the link is not reading
				}
			}
			target.expect(t)
			if taken < want || taken > 3*want {
				t.Errorf("rate %d: %d bytes were taken, want %d at least, and a bound", rate, taken, want)
			}
		})
	}
}

func TestScriptsThatMakeNoSenseAreRefused(t *testing.T) {
	for _, bad := range []Faults{
		{Delay: -1}, {Rate: -1}, {Split: -1}, {StallAt: 5}, {StallAt: AtStart}, {Delay: time.Hour},
		{Delay: 3 * time.Second, Rate: 1 << 40},
	} {
		for _, script := range []Script{{ToTarget: bad}, {ToClient: bad}} {
			if err := script.Validate(); err == nil {
				t.Errorf("%+v is accepted", script)
			}
		}
	}
	for _, good := range []Faults{{}, {Delay: 2 * time.Second}, {Delay: time.Hour, Rate: 1000}, {StallAt: 5, StallFor: -1}} {
		if err := (Script{ToTarget: good, ToClient: good}).Validate(); err != nil {
			t.Errorf("%+v is refused: %v", good, err)
		}
	}
}
