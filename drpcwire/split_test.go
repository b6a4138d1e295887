package drpcwire_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/zeebo/assert"
	stockwire "storj.io/drpc/drpcwire"

	"braid/drpcwire"
	"braid/internal/drpctest"
)

func TestDataIsSplitAsByStock(t *testing.T) {
	big := make([]byte, 2*drpcwire.DefaultSplitSize)
	for _, size := range []int{0, 1, 2, 99, 100, 101, 65535, 65536, 65537, len(big)} {
		for _, n := range []int{-1, 0, 1, 100, 65536} {
			prefix, suffix := drpcwire.SplitData(big[:size], n)
			stockPrefix, stockSuffix := stockwire.SplitData(big[:size], n)
			assert.Equal(t, len(prefix), len(stockPrefix))
			assert.Equal(t, len(suffix), len(stockSuffix))
			if len(suffix) > 0 {
				assert.Equal(t, cap(prefix), len(prefix)) // appending to it must not reach the suffix
			}
		}
	}
}

func TestPacketsAreSplitAsByStock(t *testing.T) {
	rng := random(t)
	for range 300 {
		fr := randomFrame(rng, 400)
		n := rng.IntN(200) - 1
		var got, want []string
		assert.NoError(t, drpcwire.SplitN(
			drpcwire.Packet{Data: fr.Data, ID: fr.ID, Kind: fr.Kind, Control: fr.Control}, n,
			func(fr drpcwire.Frame) error { got = append(got, drpctest.Describe(fr)); return nil },
		))
		stock := toStock(fr)
		assert.NoError(t, stockwire.SplitN(
			stockwire.Packet{Data: stock.Data, ID: stock.ID, Kind: stock.Kind, Control: stock.Control}, n,
			func(fr stockwire.Frame) error { want = append(want, drpctest.Describe(fromStock(fr))); return nil },
		))
		assert.DeepEqual(t, got, want)
	}
}

func TestSplittingStopsAtTheFirstError(t *testing.T) {
	errStop := errors.New("stop")
	for stop := range 3 {
		t.Run(fmt.Sprint(stop), func(t *testing.T) {
			calls := 0
			err := drpcwire.SplitN(drpcwire.Packet{Data: make([]byte, 3)}, 1, func(drpcwire.Frame) error {
				if calls++; calls > stop {
					return errStop
				}
				return nil
			})
			assert.Equal(t, err, errStop)
			assert.Equal(t, calls, stop+1)
		})
	}
}
