package drpcmanager_test

import (
	"io"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"braid/drpcmanager"
	"braid/drpcstream"
	"braid/internal/drpctest"
	"braid/internal/simnet"
)

// A process that stands still now and then, as for the collection of garbage, is not
// taken for dead as long as it stands still for less than the timeout of keepalive;
// one that does so for longer is.
func TestAPeerThatPausesIsNotTakenForDead(t *testing.T) { // F22
	const interval, timeout = 10 * time.Second, 700 * time.Millisecond
	for _, tc := range []struct {
		pause time.Duration
		dead  bool
	}{{500 * time.Millisecond, false}, {interval + 2*timeout, true}} {
		synctest.Test(t, func(t *testing.T) {
			e := newEnds(t, simnet.Path{}, simnet.Path{}, keepalive(interval, timeout), never)
			rng := rand.New(rand.NewPCG(1, 0))
			for range 2000 {
				// Nothing gets through, and pings come at any time of it.
				e.nc.Pause()
				e.ns.Pause()
				time.Sleep(tc.pause)
				e.nc.Resume()
				e.ns.Resume()
				time.Sleep(time.Duration(rng.Int64N(int64(time.Second))))
			}
			switch err := e.client.Err(); {
			case !tc.dead && err != nil:
				t.Errorf("pauses of %v: %v", tc.pause, err)
			case tc.dead:
				lostTo(t, err, drpcmanager.ErrKeepalive)
			}
		})
	}
}

// lossy is a path with a round trip of 200 ms, a congestion window of 64 KiB and a
// loss of 5 %: what is lost comes a round trip later, or several if the repetition is
// lost, too, and holds up what is behind it.
func lossy(seed uint64) simnet.Path {
	const roundTrip = 200 * time.Millisecond
	rng := rand.New(rand.NewPCG(seed, 0))
	return simnet.Path{
		Delay: roundTrip / 2, Rate: 12_500_000, Window: 64 << 10,
		Jitter: func() (late time.Duration) {
			for wait := roundTrip; rng.IntN(20) == 0; wait *= 2 {
				late += wait
			}
			return late
		},
	}
}

// carried returns how many bytes the link carries in a period without braid.
func carried(period time.Duration) (n int64) {
	a, b := simnet.Link(lossy(1), lossy(2))
	go func() {
		for buf := make([]byte, 16<<10); ; {
			if _, err := a.Write(buf); err != nil {
				return
			}
		}
	}()
	time.AfterFunc(period, func() { _ = a.Close() })
	n, _ = io.Copy(io.Discard, b)
	_ = b.Close()
	return n
}

// On a long link that loses packets a stream has what the link carries, calls beside it
// are answered, and nothing is taken for dead.
func TestALinkThatLosesPacketsIsUsed(t *testing.T) { // F8
	synctest.Test(t, func(t *testing.T) {
		const warm, period = 10 * time.Second, 120 * time.Second
		bare := float64(carried(warm+period)) * float64(period) / float64(warm+period)

		e := newEnds(t, lossy(1), lossy(2), drpcmanager.Options{}, drpcmanager.Options{})
		from := open(t, e.client, t.Context(), "/bulk")
		to := <-e.handlers
		slowest, calls := time.Duration(0), 0
		stop, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			for {
				select {
				case <-stop:
					return
				default:
				}
				began := time.Now()
				echoOnce(t, e.stream)
				slowest = max(slowest, time.Since(began))
				calls++
			}
		}()
		_, got := pump(from, to, 32<<10, warm, period)
		close(stop)
		<-done
		t.Logf("%.0f of %.0f KB/s; %d calls beside it, the slowest took %v", float64(got)/period.Seconds()/1e3, bare/period.Seconds()/1e3, calls, slowest)
		if float64(got) < 0.8*bare {
			t.Errorf("a stream got %d bytes through, and the link carries %.0f", got, bare)
		}
		if calls == 0 || slowest > 10*time.Second {
			t.Errorf("%d calls beside it, of which one took %v", calls, slowest)
		}
		if err := e.client.Err(); err != nil {
			t.Error(err)
		}
	})
}

func echoOnce(t *testing.T, s *drpcstream.Stream) {
	if err := drpctest.Send(s, "x"); err != nil {
		t.Errorf("send: %v", err)
	}
	if _, err := drpctest.Recv(s); err != nil {
		t.Errorf("receive: %v", err)
	}
}
