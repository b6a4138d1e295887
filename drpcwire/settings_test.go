package drpcwire_test

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"github.com/zeebo/assert"
	"storj.io/drpc"

	"braid/drpcwire"
)

// The ids of the settings, as they are on the wire.
const (
	idVersion = 1 + iota
	idWindow
	idStreams
	idMaxMessage
	idFlags
)

// pairs encodes ids and values.
func pairs(values ...uint64) (buf []byte) {
	for _, v := range values {
		buf = drpcwire.AppendVarint(buf, v)
	}
	return buf
}

func TestSettingsRoundTrip(t *testing.T) {
	for _, s := range []drpcwire.Settings{
		{Version: 1},
		{Version: 1, Window: drpcwire.MinWindow, Streams: 1, MaxMessage: 1, Flags: 1},
		{Version: 1, Window: 64 << 10, Streams: 1024, MaxMessage: 4 << 20, Flags: drpcwire.FlagAcceptsStreams},
		{Version: 1, MaxMessage: 4 << 20},
		{
			Version: drpcwire.MaxCredit, Window: drpcwire.MaxCredit, Streams: drpcwire.MaxCredit,
			MaxMessage: drpcwire.MaxCredit, Flags: math.MaxUint64,
		},
	} {
		data := drpcwire.AppendSettings([]byte("front"), s)
		got, err := drpcwire.ParseSettings(data[len("front"):])
		assert.NoError(t, err)
		assert.Equal(t, got, s)
	}
}

func TestSettingsThatAreZeroAreNotSent(t *testing.T) {
	assert.Equal(t, len(drpcwire.AppendSettings(nil, drpcwire.Settings{})), 0)
	assert.Equal(t, string(drpcwire.AppendSettings(nil, drpcwire.Settings{Version: 1})), string(pairs(idVersion, 1)))
}

func TestSettingsMayComeInAnyOrder(t *testing.T) {
	got, err := drpcwire.ParseSettings(pairs(idFlags, 1, idMaxMessage, 4, idStreams, 3, idWindow, 2000, idVersion, 1))
	assert.NoError(t, err)
	assert.Equal(t, got, drpcwire.Settings{Version: 1, Window: 2000, Streams: 3, MaxMessage: 4, Flags: 1})
}

func TestUnknownSettingsAreIgnored(t *testing.T) {
	for _, unknown := range []uint64{0, idFlags + 1, 99, 1 << 32, math.MaxUint64} {
		// They mean nothing, so neither does a value or how often they come.
		data := pairs(unknown, 0, idVersion, 1, unknown, 0, unknown, math.MaxUint64)
		got, err := drpcwire.ParseSettings(data)
		if err != nil || got != (drpcwire.Settings{Version: 1}) {
			t.Errorf("id %d: %+v, %v", unknown, got, err)
		}
	}
}

func TestSettingsAreRangeChecked(t *testing.T) {
	for id := uint64(idVersion); id <= idFlags; id++ {
		low, high := uint64(1), uint64(drpcwire.MaxCredit)
		if id == idFlags {
			low, high = 0, math.MaxUint64
		}
		if id == idWindow {
			low = drpcwire.MinWindow
		}
		for _, value := range []uint64{0, 1, drpcwire.MinWindow - 1, drpcwire.MinWindow, drpcwire.MaxCredit - 1, drpcwire.MaxCredit, drpcwire.MaxCredit + 1, 1 << 63, math.MaxUint64} {
			data := pairs(idVersion, 1, id, value)
			if id == idVersion {
				data = pairs(id, value)
			}
			s, err := drpcwire.ParseSettings(data)
			if value < low || value > high {
				assert.True(t, drpc.ProtocolError.Has(err))
				assert.Equal(t, s, drpcwire.Settings{})
				continue
			}
			assert.NoError(t, err)
			assert.Equal(t, []uint64{s.Version, s.Window, s.Streams, s.MaxMessage, s.Flags}[id-1], value)
		}
	}
}

func TestMalformedSettingsAreRefused(t *testing.T) {
	for name, data := range map[string][]byte{
		"nothing":                  nil,
		"no version":               pairs(idWindow, 5000),
		"only what is unknown":     pairs(99, 1),
		"an id without a value":    pairs(idVersion, 1, idWindow),
		"a value that is cut":      append(pairs(idVersion, 1, idWindow), 0x80),
		"an id that is cut":        append(pairs(idVersion, 1), 0x80),
		"an id over 64 bits":       append(append(pairs(idVersion, 1), bytes.Repeat([]byte{0xff}, 9)...), 2, 1),
		"a value over 64 bits":     append(append(pairs(idVersion, 1, 99), bytes.Repeat([]byte{0xff}, 9)...), 2),
		"a version twice":          pairs(idVersion, 1, idVersion, 1),
		"a window twice":           pairs(idVersion, 1, idWindow, 5000, idWindow, 6000),
		"a stream count twice":     pairs(idVersion, 1, idStreams, 5, idStreams, 5),
		"a message size twice":     pairs(idVersion, 1, idMaxMessage, 5, idStreams, 5, idMaxMessage, 5),
		"flags twice":              pairs(idVersion, 1, idFlags, 1, idFlags, 1),
		"bad after all that is ok": pairs(idVersion, 1, idWindow, 5000, idStreams, 0),
	} {
		t.Run(name, func(t *testing.T) {
			s, err := drpcwire.ParseSettings(data)
			assert.True(t, drpc.ProtocolError.Has(err))
			assert.Equal(t, s, drpcwire.Settings{})
		})
	}
}

func TestFlagsTwiceAreRefusedEvenIfTheyAreZero(t *testing.T) {
	for _, data := range [][]byte{
		pairs(idVersion, 1, idFlags, 0, idFlags, 0),
		pairs(idVersion, 1, idFlags, 0, idFlags, 1),
	} {
		_, err := drpcwire.ParseSettings(data)
		assert.True(t, drpc.ProtocolError.Has(err))
	}
}

func TestSettingsThatAreTooLongAreRefused(t *testing.T) {
	data := pairs(idVersion, 1)
	for len(data) < drpcwire.MaxSettingsLen {
		data = append(data, pairs(99, 1)...)
	}
	assert.Equal(t, len(data), drpcwire.MaxSettingsLen)
	_, err := drpcwire.ParseSettings(data)
	assert.NoError(t, err)
	_, err = drpcwire.ParseSettings(append(data, pairs(99, 1)...))
	assert.True(t, drpc.ProtocolError.Has(err))
}

func TestASettingsFrameIsAWholeControlFrame(t *testing.T) {
	fr := drpcwire.SettingsFrame(drpcwire.ID{Stream: 3, Message: 2}, []byte("data"))
	assert.True(t, sameFrame(fr, frame(t, `s3 m2 Settings "data" ctl`)))
}

func FuzzSettings(f *testing.F) {
	f.Add(pairs(idVersion, 1))
	f.Add(pairs(idVersion, 1, idWindow, 65536, idStreams, 1024, idMaxMessage, 4<<20, idFlags, 1))
	f.Add(pairs(99, 1, idVersion, 1, idFlags, math.MaxUint64))
	f.Add(pairs(idVersion, 0))
	f.Add([]byte(strings.Repeat("\xff", 20)))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := drpcwire.ParseSettings(data)
		if err != nil {
			if !drpc.ProtocolError.Has(err) || s != (drpcwire.Settings{}) {
				t.Fatalf("%x: %+v, %v", data, s, err)
			}
			return
		}
		if len(data) > drpcwire.MaxSettingsLen || s.Version == 0 {
			t.Fatalf("%x: %+v", data, s)
		}
		for _, value := range []uint64{s.Version, s.Window, s.Streams, s.MaxMessage} {
			if value > drpcwire.MaxCredit {
				t.Fatalf("%x: %+v", data, s)
			}
		}
		again, err := drpcwire.ParseSettings(drpcwire.AppendSettings(nil, s))
		if err != nil || again != s {
			t.Fatalf("%+v became %+v, %v", s, again, err)
		}
	})
}
