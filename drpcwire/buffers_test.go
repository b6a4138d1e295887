package drpcwire_test

import (
	"bytes"
	"math/bits"
	"sync"
	"testing"

	"github.com/zeebo/assert"

	"braid/drpcwire"
)

const (
	large    = drpcwire.LargeBuffer
	tooBig   = 64<<20 + 1 // storage of this capacity is not kept
	attempts = 100        // of what sync.Pool may refuse now and then
)

func TestStorageGrowsToWhatIsAskedFor(t *testing.T) {
	for _, have := range []int{0, 1, 100, large / 2, large/2 + 1, large, 3 * large, 8 << 20, 9 << 20} {
		for _, n := range []int{0, 1, have - 1, have, have + 1, 2 * have, 2*have + 1, have + large, 10 << 20} {
			if n < 0 {
				continue
			}
			buf := bytes.Repeat([]byte{0xa5}, have)
			got := drpcwire.Grow(buf[:have:have], n)
			assert.Equal(t, len(got), have)
			assert.True(t, cap(got) >= n)
			assert.Equal(t, bytes.Count(got, []byte{0xa5}), have)
			if n <= have {
				assert.Equal(t, cap(got), have) // it is the same storage
			} else if cap(got) > 2*max(n, 2*have) {
				t.Errorf("from %d, asked for %d, got %d", have, n, cap(got))
			}
		}
	}
}

func TestReleasedStorageIsUsedAgain(t *testing.T) {
	for range attempts {
		buf := drpcwire.Grow(nil, 3*large)[:1]
		drpcwire.Release(buf)
		if again := drpcwire.Grow(nil, 4*large)[:1]; &again[0] == &buf[0] {
			return
		}
	}
	t.Errorf("not once in %d attempts", attempts)
}

func TestOutgrownStorageIsUsedAgain(t *testing.T) {
	for range attempts {
		buf := drpcwire.Grow(nil, large)[:1]
		_ = drpcwire.Grow(buf, 2*large)
		if again := drpcwire.Grow(nil, large)[:1]; &again[0] == &buf[0] {
			return
		}
	}
	t.Errorf("not once in %d attempts", attempts)
}

func TestWhatArrivesInPiecesIsMovedSeldom(t *testing.T) {
	var buf []byte
	moves := 0
	for n := 1000; n < 4<<20; n += 1000 {
		if n > cap(buf) {
			moves++
		}
		buf = drpcwire.Grow(buf, n)[:n]
	}
	assert.True(t, moves <= 14) // 1000 doubled 13 times is more than 4 MiB
}

func TestStorageThatIsSmallOrHugeOrOddIsNotShared(t *testing.T) {
	for _, n := range []int{1, large / 2, large - 1, large + 1, 3 * large, tooBig, 128 << 20} {
		buf := make([]byte, n)
		for _, ask := range []int{n, 1 << (bits.Len(uint(n)) - 1)} {
			for range attempts {
				drpcwire.Release(buf)
				if got := drpcwire.Grow(nil, ask); &got[:1][0] == &buf[0] {
					t.Fatalf("storage of %d bytes was shared", n)
				}
				if n > 3*large {
					break // it takes a while to make these
				}
			}
		}
	}
	drpcwire.Release(nil)
}

func TestStorageIsNeverInTwoHands(t *testing.T) {
	var wg sync.WaitGroup
	for i := range byte(8) {
		wg.Go(func() {
			for range 100 {
				buf := drpcwire.Grow(nil, large)
				for len(buf) < 3*large {
					n := len(buf) + large/2
					buf = drpcwire.Grow(buf, n)[:n]
					for j := n - large/2; j < n; j += 1000 {
						buf[j] = i
					}
				}
				for j := 0; j < len(buf); j += large / 2 {
					if buf[j] != i {
						t.Errorf("%d reads %d", i, buf[j])
					}
				}
				drpcwire.Release(buf)
			}
		})
	}
	wg.Wait()
}

// TestStorageOfTheCallerIsNotShared is about a program that reads every packet
// into the same storage, as it may: of a packet that does not fit, it gets the
// data elsewhere, and goes on with what it has.
func TestStorageOfTheCallerIsNotShared(t *testing.T) {
	big := drpcwire.AppendFrame(nil, drpcwire.Frame{
		Data: make([]byte, 2*large), ID: drpcwire.ID{Stream: 1, Message: 1}, Done: true,
	})
	mine := make([]byte, large)
	for range attempts {
		_, err := drpcwire.NewReader(bytes.NewReader(big)).ReadPacketUsing(mine)
		assert.NoError(t, err)
		other := drpcwire.Grow(nil, large)[:1] // anybody else's next message
		if &other[0] == &mine[0] {
			t.Fatal("the storage is in two hands")
		}
	}
}
