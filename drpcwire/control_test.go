package drpcwire_test

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/zeebo/assert"
	"storj.io/drpc"

	"braid/drpcwire"
)

// numbers are those at which an encoding has one byte more, or a limit lies.
var numbers = []uint64{
	0, 1, 127, 128, drpcwire.MinWindow, 1<<14 - 1, 1 << 14, drpcwire.MaxCredit, drpcwire.MaxCredit + 1,
	math.MaxInt64, math.MaxInt64 + 1, math.MaxUint64,
}

// overlong is a number of more than 64 bits.
var overlong = bytes.Repeat([]byte{0xff}, 10)

func TestCreditRoundTrip(t *testing.T) {
	for _, n := range numbers {
		fr := drpcwire.CreditFrame(7, n)
		got, ok := drpcwire.ParseCredit(fr.Data)
		assert.That(t, ok)
		assert.Equal(t, got, n)
		fr.Data = nil
		assert.Equal(t, fr, drpcwire.Frame{
			ID: drpcwire.ID{Stream: 7}, Kind: drpcwire.KindWindowUpdate, Control: true, Done: true,
		})
	}
}

// A number may be longer than it needs to be, and nothing may follow it.
func TestCreditIsOneNumber(t *testing.T) {
	n, ok := drpcwire.ParseCredit([]byte{0x85, 0x80, 0x00})
	assert.That(t, ok)
	assert.Equal(t, n, uint64(5))
	for name, data := range map[string][]byte{
		"nothing":           nil,
		"cut off":           {0x80},
		"two numbers":       {1, 2},
		"a trailing zero":   {1, 0},
		"more than 64 bits": overlong,
		"text":              []byte("\x01text"),
	} {
		if n, ok := drpcwire.ParseCredit(data); ok {
			t.Errorf("%s parsed as %d", name, n)
		}
	}
}

func TestPingIsEightBytes(t *testing.T) {
	for n := range 3 * drpcwire.PingLen {
		data := []byte("0123456789abcdefghijklmn")[:n]
		ping, ok := drpcwire.ParsePing(data)
		assert.Equal(t, ok, n == drpcwire.PingLen)
		if ok {
			assert.Equal(t, string(ping[:]), string(data))
		}
	}
}

func TestGoAwayRoundTrip(t *testing.T) {
	for _, last := range numbers {
		for _, code := range numbers {
			for _, text := range []string{"", "why", strings.Repeat("x", 1<<10)} {
				g := drpcwire.GoAway{Last: last, Code: code, Text: text}
				fr := drpcwire.GoAwayFrame(g)
				got, err := drpcwire.ParseGoAway(fr.Data)
				assert.NoError(t, err)
				assert.Equal(t, got, g)
				assert.That(t, fr.Kind == drpcwire.KindGoAway && fr.Control && fr.Done && fr.ID == drpcwire.ID{})
			}
		}
	}
}

func TestAGoAwayWithoutItsNumbersIsMalformed(t *testing.T) {
	for name, data := range map[string][]byte{
		"nothing":             nil,
		"one number":          {1},
		"first cut off":       {0x80},
		"second cut off":      {1, 0x80},
		"first over 64 bits":  append(overlong[:10:10], 1),
		"second over 64 bits": append([]byte{1}, overlong...),
	} {
		g, err := drpcwire.ParseGoAway(data)
		if !drpc.ProtocolError.Has(err) || g != (drpcwire.GoAway{}) {
			t.Errorf("%s: %+v, %v", name, g, err)
		}
	}
}

// The text is cut to 1 KiB when it is sent, and when it has come from a peer that
// does not; never inside of a character.
func TestALongGoAwayTextIsCut(t *testing.T) {
	const limit = 1 << 10
	for _, char := range []string{"x", "é", "€", "😀"} {
		for shift := range len(char) {
			text := strings.Repeat("y", shift) + strings.Repeat(char, limit)
			data := drpcwire.GoAwayFrame(drpcwire.GoAway{Last: 1, Code: 2, Text: text}).Data
			sent, err := drpcwire.ParseGoAway(data)
			assert.NoError(t, err)
			received, err := drpcwire.ParseGoAway(append([]byte{1, 2}, text...))
			assert.NoError(t, err)
			assert.Equal(t, received, sent)
			if n := len(sent.Text); n > limit || n <= limit-len(char) {
				t.Errorf("%s, shifted by %d: %d bytes are left", char, shift, n)
			}
			if !utf8.ValidString(sent.Text) || !strings.HasPrefix(text, sent.Text) || len(data) != 2+len(sent.Text) {
				t.Errorf("%s, shifted by %d: cut to %q", char, shift, sent.Text)
			}
		}
	}
	// What is no text at all is cut as well.
	g, err := drpcwire.ParseGoAway(append([]byte{1, 2}, bytes.Repeat([]byte{0x80}, 2*limit)...))
	assert.NoError(t, err)
	assert.That(t, len(g.Text) <= limit)
}

func TestTimeoutRoundTrip(t *testing.T) {
	for _, us := range []time.Duration{0, 1, 127, 128, 999_999, 1_000_000, 3_600_000_000, math.MaxInt64 / 1000} {
		want := us * time.Microsecond
		got, err := drpcwire.ParseTimeout(drpcwire.AppendTimeout(nil, want))
		assert.NoError(t, err)
		assert.Equal(t, got, want)
	}
	assert.Equal(t, string(drpcwire.AppendTimeout([]byte("front"), time.Millisecond)), "front\xe8\a")
}

// What is left is rounded up: it is nothing only if there is nothing.
func TestTimeoutsAreRoundedUp(t *testing.T) {
	for left, want := range map[time.Duration]time.Duration{
		math.MinInt64:               0,
		-time.Second:                0,
		-1:                          0,
		1:                           time.Microsecond,
		999:                         time.Microsecond,
		1000:                        time.Microsecond,
		1001:                        2 * time.Microsecond,
		time.Second + 1:             time.Second + time.Microsecond,
		math.MaxInt64 - 807 - 1_000: math.MaxInt64 - 807 - 1_000,
		math.MaxInt64:               math.MaxInt64,
	} {
		got, err := drpcwire.ParseTimeout(drpcwire.AppendTimeout(nil, left))
		assert.NoError(t, err)
		if got != want {
			t.Errorf("%d ns became %d, want %d", left, got, want)
		}
	}
}

// A timeout beyond 292 years is the longest there is, and not one in the past.
func TestATimeoutThatIsTooLongIsTheLongest(t *testing.T) {
	for _, us := range []uint64{math.MaxInt64/1000 + 1, math.MaxInt64, math.MaxInt64 + 1, math.MaxUint64} {
		got, err := drpcwire.ParseTimeout(drpcwire.AppendVarint(nil, us))
		assert.NoError(t, err)
		assert.Equal(t, got, time.Duration(math.MaxInt64))
	}
}

func TestATimeoutIsOneNumber(t *testing.T) {
	for name, data := range map[string][]byte{
		"nothing":           nil,
		"cut off":           {0x80},
		"two numbers":       {1, 2},
		"more than 64 bits": overlong,
	} {
		if left, err := drpcwire.ParseTimeout(data); !drpc.ProtocolError.Has(err) || left != 0 {
			t.Errorf("%s: %v, %v", name, left, err)
		}
	}
}

// What can be parsed at all is the same after it was made anew.
func FuzzControl(f *testing.F) {
	for _, data := range [][]byte{
		nil, {0}, {1, 0}, {0x80}, {0x80, 8}, overlong, {1, 2, 'w', 'h', 'y'}, []byte("12345678"),
		append([]byte{1, 2}, strings.Repeat("é", 1<<10)...),
	} {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if n, ok := drpcwire.ParseCredit(data); ok {
			again, ok := drpcwire.ParseCredit(drpcwire.CreditFrame(1, n).Data)
			assert.That(t, ok && again == n)
		}
		if ping, ok := drpcwire.ParsePing(data); ok {
			assert.Equal(t, string(ping[:]), string(data))
		}
		if g, err := drpcwire.ParseGoAway(data); err == nil {
			again, err := drpcwire.ParseGoAway(drpcwire.GoAwayFrame(g).Data)
			assert.NoError(t, err)
			assert.Equal(t, again, g)
		}
		left, err := drpcwire.ParseTimeout(data)
		if _, ok := drpcwire.ParseCredit(data); ok != (err == nil) {
			t.Fatalf("%q is one number, or not: %v", data, err)
		}
		if err == nil {
			again, err := drpcwire.ParseTimeout(drpcwire.AppendTimeout(nil, left))
			assert.That(t, err == nil && again == left && left >= 0)
		}
	})
}
