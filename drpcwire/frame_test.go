package drpcwire_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/zeebo/assert"
	stockwire "storj.io/drpc/drpcwire"

	"braid/drpcwire"
	"braid/internal/drpctest"
)

// randomFrame returns a frame of any kind with up to maxData bytes.
func randomFrame(rng *rand.Rand, maxData int) drpcwire.Frame {
	return drpcwire.Frame{
		Data:    randomBytes(rng, rng.IntN(maxData+1)),
		ID:      drpcwire.ID{Stream: randomUint(rng), Message: randomUint(rng)},
		Kind:    drpcwire.Kind(rng.UintN(64)),
		Done:    rng.UintN(2) == 0,
		Control: rng.UintN(2) == 0,
	}
}

// sameFrame reports whether two frames are equal; absent data is empty data.
func sameFrame(a, b drpcwire.Frame) bool {
	return a.ID == b.ID && a.Kind == b.Kind && a.Done == b.Done && a.Control == b.Control &&
		bytes.Equal(a.Data, b.Data)
}

func TestFramesAreEncodedAsStocks(t *testing.T) {
	rng := random(t)
	var got, want []byte
	for range 2000 {
		fr := randomFrame(rng, 300)
		got, want = got[:0], want[:0]
		got = drpcwire.AppendFrame(append(got, "front"...), fr)
		want = stockwire.AppendFrame(append(want, "front"...), toStock(fr))
		if !bytes.Equal(got, want) {
			t.Fatalf("%s: %x, stock %x", drpctest.Describe(fr), got, want)
		}
		if size := drpcwire.Size(fr, fr); size < 2*(len(got)-len("front")) {
			t.Fatalf("%s takes %d bytes twice, Size says %d", drpctest.Describe(fr), len(got), size)
		}
	}
}

func TestEveryKindRoundTripsWithEveryBitAndLength(t *testing.T) {
	data := bytes.Repeat([]byte{0xa5}, 16384)
	for kind := range drpcwire.Kind(64) {
		for bits := range 4 {
			for _, n := range []int{0, 1, 16384} {
				fr := drpcwire.Frame{
					Data: data[:n], ID: drpcwire.ID{Stream: 3, Message: 300}, Kind: kind,
					Done: bits&1 != 0, Control: bits&2 != 0,
				}
				buf := drpcwire.AppendFrame(nil, fr)
				assert.Equal(t, buf[0], byte(bits>>1)<<7|byte(kind)<<1|byte(bits&1))

				rem, got, ok, err := drpcwire.ParseFrame(append(buf, "rest"...))
				assert.NoError(t, err)
				assert.True(t, ok)
				assert.Equal(t, string(rem), "rest")
				assert.True(t, sameFrame(got, fr))

				_, stock, ok, err := stockwire.ParseFrame(buf)
				assert.NoError(t, err)
				assert.True(t, ok)
				assert.True(t, sameFrame(fromStock(stock), fr))
			}
		}
	}
}

func TestAKindIsCutToSixBits(t *testing.T) {
	// A wider kind must not spill into the control bit.
	buf := drpcwire.AppendFrame(nil, drpcwire.Frame{Kind: 0xff})
	assert.Equal(t, buf[0], byte(0x7e))
}

func TestEveryPrefixOfAFrameIsIncomplete(t *testing.T) {
	for _, sentence := range []string{
		`s1 m1 Close`,
		`s1 m2 Message "hello"`,
		`s18446744073709551615 m18446744073709551615 Kind(63) "x" more ctl`,
		fmt.Sprintf("s300 m70000 Message %q", bytes.Repeat([]byte("x"), 200)),
	} {
		buf := drpcwire.AppendFrame(nil, frame(t, sentence))
		for n := range buf {
			rem, fr, ok, err := drpcwire.ParseFrame(buf[:n])
			assert.NoError(t, err)
			assert.False(t, ok)
			assert.Equal(t, len(rem), n)
			assert.True(t, sameFrame(fr, drpcwire.Frame{}))
		}
	}
}

func TestALengthIsNotBelievedBeforeTheDataIsThere(t *testing.T) {
	for _, length := range []uint64{5, 1 << 31, 1 << 62, 1 << 63, math.MaxUint64} {
		buf := drpcwire.AppendVarint([]byte{0x05, 1, 1}, length)
		_, _, ok, err := drpcwire.ParseFrame(append(buf, "four"...))
		assert.NoError(t, err)
		assert.False(t, ok)
	}
}

func TestAMalformedFrameIsAnError(t *testing.T) {
	overlong := append(bytes.Repeat([]byte{0xff}, 9), 2)
	for field := range 3 {
		buf := []byte{0x05}
		for i := range 3 {
			if i == field {
				buf = append(buf, overlong...)
			} else {
				buf = append(buf, 1)
			}
		}
		buf = append(buf, "data"...)
		rem, _, ok, err := drpcwire.ParseFrame(buf)
		assert.Error(t, err)
		assert.False(t, ok)
		assert.Equal(t, len(rem), len(buf))
	}
}

func TestAFramesDataCannotGrowIntoTheNext(t *testing.T) {
	buf := drpcwire.AppendFrame(nil, frame(t, `s1 m1 Message "one"`))
	rem, fr, _, _ := drpcwire.ParseFrame(append(buf, "rest"...))
	_ = append(fr.Data, "more"...)
	assert.Equal(t, string(rem), "rest")
}

func TestNamesAreStocks(t *testing.T) {
	for kind := range drpcwire.Kind(64) {
		want := stockwire.Kind(kind).String()
		if kind >= drpcwire.KindWindowUpdate && kind <= drpcwire.KindTrailer {
			assert.NotEqual(t, kind.String(), want)
			continue
		}
		assert.Equal(t, kind.String(), want)
	}
	fr := frame(t, `s7 m8 Message "four" more ctl`)
	assert.Equal(t, fr.String(), toStock(fr).String())
	assert.Equal(t, fr.ID.String(), toStock(fr).ID.String())
	pkt := drpcwire.Packet{Data: fr.Data, ID: fr.ID, Kind: fr.Kind}
	assert.Equal(t, pkt.String(), stockwire.Packet{
		Data: fr.Data, ID: stockwire.ID(fr.ID), Kind: stockwire.Kind(fr.Kind),
	}.String())
}

func TestIDsAreOrderedByStreamThenMessage(t *testing.T) {
	var ids []drpcwire.ID
	for _, s := range []uint64{0, 1, 2, math.MaxUint64} {
		for _, m := range []uint64{0, 1, 2, math.MaxUint64} {
			ids = append(ids, drpcwire.ID{Stream: s, Message: m})
		}
	}
	for i := range ids {
		for j := range ids {
			assert.Equal(t, ids[i].Less(ids[j]), i < j)
			assert.Equal(t, ids[i].Less(ids[j]), stockwire.ID(ids[i]).Less(stockwire.ID(ids[j])))
		}
	}
}

func FuzzParseFrame(f *testing.F) {
	for _, tc := range goldenCases {
		f.Add(tc.encode(f))
	}
	f.Add([]byte{})
	f.Add(append([]byte{0x05, 1, 1}, bytes.Repeat([]byte{0xff}, 9)...))
	f.Fuzz(func(t *testing.T, data []byte) {
		rem, fr, ok, err := drpcwire.ParseFrame(data)
		stockRem, stockFr, stockOK, stockErr := stockwire.ParseFrame(data)
		switch {
		case err != nil:
			if ok || stockErr == nil && !headerOverflows(data) {
				t.Fatalf("%x is an error (%v), stock %v", data, err, stockErr)
			}
			return
		case stockErr != nil || ok != stockOK || !bytes.Equal(rem, stockRem):
			t.Fatalf("%x: ok %v rest %x, stock %v %x %v", data, ok, rem, stockOK, stockRem, stockErr)
		case !ok:
			return
		case !sameFrame(fr, fromStock(stockFr)):
			t.Fatalf("%x: %s, stock %s", data, drpctest.Describe(fr), drpctest.Describe(fromStock(stockFr)))
		}
		// Encoding gives the shortest form, so it is stable from then on.
		short := drpcwire.AppendFrame(nil, fr)
		rem, again, ok, err := drpcwire.ParseFrame(short)
		if len(rem) != 0 || !ok || err != nil || !sameFrame(again, fr) {
			t.Fatalf("%s became %s, rest %x, ok %v, %v", drpctest.Describe(fr), drpctest.Describe(again), rem, ok, err)
		}
		if !bytes.Equal(drpcwire.AppendFrame(nil, again), short) {
			t.Fatalf("%s is not encoded the same twice", drpctest.Describe(fr))
		}
	})
}

// headerOverflows reports whether one of the three integers of the frame at the
// front of data is over 64 bits.
func headerOverflows(data []byte) bool {
	for range 3 {
		data = data[1:]
		if overflows(data) {
			return true
		}
		for len(data) > 0 && data[0] >= 0x80 {
			data = data[1:]
		}
		if len(data) == 0 {
			return false
		}
	}
	return false
}
