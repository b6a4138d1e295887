package drpcwire_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/zeebo/assert"
	"storj.io/drpc"
	"storj.io/drpc/drpcerr"
	stockwire "storj.io/drpc/drpcwire"

	"braid/drpcwire"
)

func TestErrorsAreEncodedAsByStock(t *testing.T) {
	for _, text := range []string{"", "boom", "two\nlines", "\xff not utf-8", strings.Repeat("x", drpcwire.MaxErrorText)} {
		for _, code := range []uint64{0, 1, drpcerr.Unimplemented, 1 << 40, math.MaxUint64} {
			err := fmt.Errorf("wrapped: %w", drpcerr.WithCode(errors.New(text), code))
			data := drpcwire.MarshalError(err)
			want := stockwire.MarshalError(err)
			assert.Equal(t, string(data), string(want[:min(len(want), 8+drpcwire.MaxErrorText)]))

			got := drpcwire.UnmarshalError(data)
			assert.Equal(t, got.Error(), err.Error()[:len(data)-8])
			assert.Equal(t, drpcerr.Code(got), code)

			stock := stockwire.UnmarshalError(data)
			assert.Equal(t, got.Error(), stock.Error())
			assert.Equal(t, drpcerr.Code(got), drpcerr.Code(stock))
		}
	}
}

func TestALongErrorTextIsCut(t *testing.T) {
	for _, n := range []int{drpcwire.MaxErrorText - 1, drpcwire.MaxErrorText, drpcwire.MaxErrorText + 1, 10 * drpcwire.MaxErrorText} {
		text := strings.Repeat("x", n)
		data := drpcwire.MarshalError(drpcerr.WithCode(errors.New(text), 5))
		assert.Equal(t, len(data), 8+min(n, drpcwire.MaxErrorText))
		got := drpcwire.UnmarshalError(data)
		assert.Equal(t, got.Error(), text[:min(n, drpcwire.MaxErrorText)])
		assert.Equal(t, drpcerr.Code(got), uint64(5))
	}
}

func TestErrorDataWithoutACodeIsStillAnError(t *testing.T) {
	for _, data := range []string{"", "x", "1234567"} {
		err := drpcwire.UnmarshalError([]byte(data))
		assert.True(t, drpc.ProtocolError.Has(err))
		assert.True(t, strings.Contains(err.Error(), data))
		assert.Equal(t, drpcerr.Code(err), uint64(0))
	}
	err := drpcwire.UnmarshalError([]byte("\x00\x00\x00\x00\x00\x00\x00\x05"))
	assert.Equal(t, err.Error(), "")
	assert.Equal(t, drpcerr.Code(err), uint64(5))
}

func TestAnErrorIsACopyOfItsData(t *testing.T) {
	data := []byte("\x00\x00\x00\x00\x00\x00\x00\x05text")
	err := drpcwire.UnmarshalError(data)
	clear(data)
	assert.Equal(t, err.Error(), "text")
}

func TestCancelCodesRoundTrip(t *testing.T) {
	for code, data := range map[drpcwire.CancelCode]string{
		drpcwire.CancelCanceled: "", // the only form that stock ever sends
		drpcwire.CancelDeadline: "\x01",
		drpcwire.CancelRefused:  "\x02",
	} {
		assert.Equal(t, string(drpcwire.AppendCancel([]byte("front"), code)), "front"+data)
		assert.Equal(t, drpcwire.ParseCancel([]byte(data)), code)
	}
}

func TestACancelThatCannotBeReadIsACancel(t *testing.T) {
	for _, data := range []string{
		"\x00", "\x03", "\x80", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
		"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
	} {
		assert.Equal(t, drpcwire.ParseCancel([]byte(data)), drpcwire.CancelCanceled)
	}
	// What follows the code is room for later versions.
	assert.Equal(t, drpcwire.ParseCancel([]byte("\x02 and more")), drpcwire.CancelRefused)
}
