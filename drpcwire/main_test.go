package drpcwire_test

import (
	"math/rand/v2"
	"testing"
	"time"

	stockwire "storj.io/drpc/drpcwire"

	"braid/drpcwire"
	"braid/internal/drpctest"
)

func TestMain(m *testing.M) { drpctest.Main(m) }

// random returns a source of random numbers and logs how to get it again.
func random(tb testing.TB) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	tb.Logf("seed %d", seed)
	return seeded(seed)
}

func seeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

// randomBytes returns n random bytes.
func randomBytes(rng *rand.Rand, n int) []byte {
	buf := make([]byte, n)
	for i := range buf {
		buf[i] = byte(rng.Uint32())
	}
	return buf
}

// randomUint returns a number of a random number of bits, so that small and
// huge ones are about as frequent.
func randomUint(rng *rand.Rand) uint64 { return rng.Uint64() >> rng.UintN(64) }

// toStock returns the same frame in stock's type.
func toStock(fr drpcwire.Frame) stockwire.Frame {
	return stockwire.Frame{
		Data:    fr.Data,
		ID:      stockwire.ID(fr.ID),
		Kind:    stockwire.Kind(fr.Kind),
		Done:    fr.Done,
		Control: fr.Control,
	}
}

// fromStock returns the same frame in braid's type.
func fromStock(fr stockwire.Frame) drpcwire.Frame {
	return drpcwire.Frame{
		Data:    fr.Data,
		ID:      drpcwire.ID(fr.ID),
		Kind:    drpcwire.Kind(fr.Kind),
		Done:    fr.Done,
		Control: fr.Control,
	}
}

// frame returns the frame of a sentence, see drpctest.Peer.
func frame(tb testing.TB, sentence string) drpcwire.Frame {
	tb.Helper()
	fr, err := drpctest.Parse(sentence)
	if err != nil {
		tb.Fatal(err)
	}
	return fr
}
