package drpcmanager_test

import (
	"testing"
	"testing/synctest"
	"time"

	"braid/drpcmanager"
	"braid/drpcstream"
	"braid/drpcwire"
	"braid/internal/drpctest"
	"braid/internal/simnet"
)

// longLink is a link with a round trip of 50 ms and 1 Gbit/s: 6.25 MB fit on it.
var longLink = simnet.Path{Delay: 25 * time.Millisecond, Rate: 125_000_000, Buffer: 4 << 20}

// link is a client and a server at the two ends of a simulated link, known to each
// other.
type link struct {
	client, server *drpcmanager.Manager
	streams        chan *drpcstream.Stream // that the server is given
}

func newLink(t *testing.T, path simnet.Path, opts drpcmanager.Options) *link {
	t.Helper()
	a, b := simnet.Link(path, path)
	l := &link{streams: make(chan *drpcstream.Stream, 1000)}
	l.server = drpcmanager.NewServer(t.Context(), b, opts, drpcmanager.Hooks{
		Handle: func(s *drpcstream.Stream, _ string) { l.streams <- s },
	})
	l.client = drpcmanager.NewClient(a, opts)
	client, server := l.open(t)
	_ = client.CloseSend()
	_ = server.Return(nil)
	_, _ = drpctest.Recv(client)
	time.Sleep(time.Second)
	if !l.client.PeerKnown() || !l.server.PeerKnown() {
		t.Fatal("the two ends do not know each other")
	}
	return l
}

func (l *link) open(t *testing.T) (client, server *drpcstream.Stream) {
	t.Helper()
	client = open(t, l.client, t.Context(), "/rpc")
	return client, <-l.streams
}

func (l *link) close() {
	_ = l.client.CloseNow(drpcmanager.ErrClosed)
	_ = l.server.CloseNow(drpcmanager.ErrClosed)
}

// pump sends messages of a size on one end until the stream ends, and returns how
// many bytes the other end has received after warm and then for another period.
func pump(from, to *drpcstream.Stream, size int, warm, period time.Duration) (warmed, then int) {
	go func() {
		for from.RawWrite(drpcwire.KindMessage, make([]byte, size)) == nil {
		}
	}()
	start := time.Now()
	for {
		data, err := to.RawRecv()
		switch at := time.Since(start); {
		case err != nil || at > warm+period:
			to.Cancel(nil)
			return warmed, then
		case at < warm:
			warmed += len(data)
		default:
			then += len(data)
		}
	}
}

// A static window of 64 KiB would give 1.3 MB/s here, which is 10 Mbit/s.
func TestASingleStreamFillsALongLink(t *testing.T) {
	for name, up := range map[string]bool{"upload": true, "download": false} {
		for _, size := range []int{1 << 10, 64 << 10, 1 << 20} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l := newLink(t, longLink, drpcmanager.Options{})
					defer l.close()
					from, to := l.open(t)
					if !up {
						from, to = to, from
					}
					warm, period := 2*time.Second, 3*time.Second
					if testing.Short() {
						warm, period = time.Second, time.Second
					}
					_, got := pump(from, to, size, warm, period)
					rate := float64(got) / period.Seconds()
					t.Logf("messages of %d bytes: %.1f MB/s of %d", size, rate/1e6, longLink.Rate/1e6)
					if rate < 0.8*float64(longLink.Rate) {
						t.Errorf("messages of %d bytes: %.1f MB/s, less than 80 %% of the link", size, rate/1e6)
					}
				})
			})
		}
	}
}

// One stream may have half of the budget, and gives back when others come: each of n
// has one share of n+1 in the end.
func TestGrowthStaysWithinTheBudgetAndShrinksBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const budget = 8 << 20
		l := newLink(t, longLink, drpcmanager.Options{Window: drpcmanager.Window{Budget: budget}})
		defer l.close()
		grown := func() int64 {
			n, _ := l.server.Flow()
			if n > budget {
				t.Errorf("windows have grown by %d, more than %d", n, budget)
			}
			return n
		}
		var receivers []*drpcstream.Stream
		start := func() {
			from, to := l.open(t)
			receivers = append(receivers, to)
			go pump(from, to, 32<<10, time.Hour, 0)
		}
		start()
		time.Sleep(2 * time.Second)
		alone, _ := receivers[0].Window()
		if n := grown(); n < budget/4 || n > budget/2 {
			t.Errorf("one stream has grown by %d", n)
		}
		for range 7 {
			start()
		}
		for range 50 {
			time.Sleep(100 * time.Millisecond)
			grown()
		}
		for i, s := range receivers {
			switch window, _ := s.Window(); {
			case i == 0 && window >= alone/2:
				t.Errorf("the first stream still has %d of %d", window, alone)
			case window < budget/9/2 || window > budget/9*2:
				t.Errorf("stream %d has a window of %d, a fair share is %d", i, window, budget/9)
			}
		}
		for _, s := range receivers {
			s.Cancel(nil)
		}
		time.Sleep(time.Second)
		if n := grown(); n != 0 {
			t.Errorf("%d are not given back", n)
		}
	})
}

// A reader that stops leaves the others what they need; one that is slow is not
// given a window that it does not use.
func TestASlowReaderIsNotGivenALargeWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLink(t, longLink, drpcmanager.Options{})
		defer l.close()
		from, to := l.open(t)
		go func() {
			for from.RawWrite(drpcwire.KindMessage, make([]byte, 1000)) == nil {
			}
		}()
		for range 3000 {
			if _, err := to.RawRecv(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond) // 100 KB/s
		}
		if window, _ := to.Window(); window != 64<<10 {
			t.Errorf("100 KB/s over a round trip of 50 ms got a window of %d", window)
		}
	})
}
