package drpcwire_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"

	"github.com/zeebo/assert"
	stockwire "storj.io/drpc/drpcwire"

	"braid/drpcwire"
)

// varintBounds returns the numbers around which the length of the encoding or
// the width of the value changes.
func varintBounds() []uint64 {
	xs := []uint64{0, 1, math.MaxUint64, math.MaxUint64 - 1}
	for bits := 1; bits < 64; bits++ {
		xs = append(xs, 1<<bits-1, 1<<bits, 1<<bits+1)
	}
	return xs
}

func TestVarintsRoundTrip(t *testing.T) {
	rest := []byte("rest")
	for _, x := range varintBounds() {
		buf := drpcwire.AppendVarint([]byte("front"), x)
		assert.Equal(t, string(buf), string(stockwire.AppendVarint([]byte("front"), x)))
		assert.Equal(t, string(buf[5:]), string(binary.AppendUvarint(nil, x)))

		rem, got, ok, err := drpcwire.ReadVarint(append(buf[5:], rest...))
		assert.NoError(t, err)
		assert.True(t, ok)
		assert.Equal(t, got, x)
		assert.Equal(t, string(rem), "rest")
	}
}

func TestATruncatedVarintIsIncomplete(t *testing.T) {
	for _, x := range varintBounds() {
		whole := drpcwire.AppendVarint(nil, x)
		for n := range whole {
			rem, _, ok, err := drpcwire.ReadVarint(whole[:n])
			assert.NoError(t, err)
			assert.False(t, ok)
			assert.Equal(t, len(rem), n)
		}
	}
}

func TestAVarintOver64BitsIsRejected(t *testing.T) {
	nine := bytes.Repeat([]byte{0x80}, 9)
	for last := range 256 {
		_, got, ok, err := drpcwire.ReadVarint(append(nine[:9:9], byte(last), 0, 0))
		if last <= 1 {
			assert.NoError(t, err)
			assert.True(t, ok)
			assert.Equal(t, got, uint64(last)<<63)
		} else {
			assert.Error(t, err)
			assert.False(t, ok)
		}
	}
}

func TestALongerEncodingThanNeededIsAccepted(t *testing.T) {
	for _, tc := range []struct {
		buf  []byte
		want uint64
	}{
		{[]byte{0x80, 0x00}, 0},
		{[]byte{0x81, 0x80, 0x00}, 1},
		{[]byte{0xff, 0x80, 0x80, 0x80, 0x00}, 127},
		{append(bytes.Repeat([]byte{0x80}, 9), 0x00), 0},
		{append(bytes.Repeat([]byte{0xff}, 9), 0x00), math.MaxUint64 >> 1},
	} {
		rem, got, ok, err := drpcwire.ReadVarint(tc.buf)
		assert.NoError(t, err)
		assert.True(t, ok)
		assert.Equal(t, got, tc.want)
		assert.Equal(t, len(rem), 0)
	}
}

func FuzzVarint(f *testing.F) {
	for _, x := range varintBounds() {
		f.Add(drpcwire.AppendVarint(nil, x))
	}
	f.Add([]byte{})
	f.Add([]byte{0x81, 0x80, 0x00, 0x05})
	f.Add(bytes.Repeat([]byte{0xff}, 10))
	f.Add(append(bytes.Repeat([]byte{0xff}, 9), 2))
	f.Fuzz(func(t *testing.T, data []byte) {
		rem, got, ok, err := drpcwire.ReadVarint(data)
		stockRem, stockGot, stockOK, stockErr := stockwire.ReadVarint(data)
		switch {
		case overflows(data):
			// Stock drops the bits that do not fit into the tenth byte.
			if ok || err == nil {
				t.Fatalf("%x is over 64 bits and gave %d", data, got)
			}
			return
		case stockErr != nil || err != nil:
			t.Fatalf("%x: %v, stock %v", data, err, stockErr)
		case ok != stockOK || got != stockGot || !bytes.Equal(rem, stockRem):
			t.Fatalf("%x: %d %v %x, stock %d %v %x", data, got, ok, rem, stockGot, stockOK, stockRem)
		case !ok:
			return
		}
		again, x, ok, err := drpcwire.ReadVarint(drpcwire.AppendVarint(nil, got))
		if len(again) != 0 || x != got || !ok || err != nil {
			t.Fatalf("%d became %d %v %v, rest %x", got, x, ok, err, again)
		}
	})
}

// overflows reports whether data begins with ten bytes that can only be the
// encoding of an integer of more than 64 bits.
func overflows(data []byte) bool {
	for i, b := range data {
		if i == 9 {
			return b > 1
		}
		if b < 0x80 {
			return false
		}
	}
	return false
}
