package faults_test

import (
	"flag"
	"math/rand/v2"
	"testing"
	"time"

	"braid/internal/drpctest"
	"braid/internal/faultproxy"
)

var (
	seedFlag = flag.Uint64("faults.seed", 0, "the seed of the first history, below 2^55; 0 takes a random one")
	nFlag    = flag.Int("faults.n", 0, "the number of histories; 0 means 2000, 300 with -short, 1 with -faults.seed")
)

func TestMain(m *testing.M) {
	faultproxy.RunIfAsked()
	drpctest.Main(m)
}

// histories returns the first seed and the number of seeds that follow each
// other from there.
func histories(t *testing.T) (first uint64, n int) {
	first, n = *seedFlag, *nFlag
	switch {
	case n < 0 || first>>55 != 0:
		t.Fatalf("-faults.seed=%d -faults.n=%d: out of range", first, n)
	case n > 0:
	case first != 0:
		n = 1
	case testing.Short():
		n = 300
	default:
		n = 2000
	}
	if first == 0 {
		first = 1 + rand.Uint64N(1<<54)
	}
	return first, n
}

// margin is how much longer than its deadline anything may take. It is wide
// because the machine may be shared and the race detector on: what is looked for
// are calls that hang, not slow ones.
const margin = 10 * time.Second
