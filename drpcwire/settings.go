package drpcwire

import "storj.io/drpc"

// Version is the version of braid's protocol that this package speaks.
const Version = 1

// Settings ids. See docs/wire.md, "Settings".
const (
	settingVersion    = 1
	settingWindow     = 2
	settingStreams    = 3
	settingMaxMessage = 4
	settingFlags      = 5
)

// FlagAcceptsStreams is the bit of Settings.Flags by which a peer says that it
// accepts streams opened by the other side.
const FlagAcceptsStreams = 1 << 0

// FlagKnowsPeer is the bit of Settings.Flags by which a client says that it has got
// its server's Settings: what it sends behind this frame keeps to its credit.
const FlagKnowsPeer = 1 << 1

// MaxCredit is the largest window and the largest credit there is: 2^31-1.
const MaxCredit = 1<<31 - 1

// maxSettingsLen bounds the data of a Settings frame. Today's five settings
// take at most 55 bytes; the rest is room for what later versions add.
const maxSettingsLen = 1 << 10

// Settings is what a peer says of itself when it announces that it is braid.
// A field that is zero was not sent.
type Settings struct {
	Version    uint64 // of the protocol; 1
	Window     uint64 // initial credit of each stream in bytes; absent: no flow control
	Streams    uint64 // streams that the receiver may have open at once
	MaxMessage uint64 // largest message accepted, in bytes
	Flags      uint64 // FlagAcceptsStreams, FlagKnowsPeer
}

// SettingsFrame makes a frame of encoded settings.
func SettingsFrame(id ID, data []byte) Frame {
	return Frame{ID: id, Kind: KindSettings, Control: true, Done: true, Data: data}
}

// AppendSettings appends the data of a KindSettings frame. Zero fields are left out.
func AppendSettings(buf []byte, s Settings) []byte {
	for _, f := range [...]struct{ id, value uint64 }{
		{settingVersion, s.Version},
		{settingWindow, s.Window},
		{settingStreams, s.Streams},
		{settingMaxMessage, s.MaxMessage},
		{settingFlags, s.Flags},
	} {
		if f.value != 0 {
			buf = AppendVarint(AppendVarint(buf, f.id), f.value)
		}
	}
	return buf
}

// ParseSettings decodes the data of a KindSettings frame. Unknown ids are
// ignored; a version is required; values out of range and a known id given
// twice are errors.
func ParseSettings(data []byte) (s Settings, err error) {
	if len(data) > maxSettingsLen {
		return Settings{}, drpc.ProtocolError.New("settings of %d bytes, more than %d", len(data), maxSettingsLen)
	}
	var seen [settingFlags + 1]bool
	for rem := data; len(rem) > 0; {
		var pair [2]uint64
		for i := range pair {
			var ok bool
			if rem, pair[i], ok, err = ReadVarint(rem); err != nil {
				return Settings{}, drpc.ProtocolError.New("settings: %v", err)
			} else if !ok {
				return Settings{}, drpc.ProtocolError.New("settings end inside a pair")
			}
		}
		if id := pair[0]; settingVersion <= id && id <= settingFlags {
			if seen[id] {
				return Settings{}, drpc.ProtocolError.New("setting %d given twice", id)
			}
			seen[id] = true
		}
		if err := s.set(pair[0], pair[1]); err != nil {
			return Settings{}, err
		}
	}
	if s.Version == 0 {
		return Settings{}, drpc.ProtocolError.New("settings without a version")
	}
	return s, nil
}

// set stores one value after checking it. Zero is out of range for every known
// setting but the flags: a zero window or message size could never be lived
// with, and absence already says "not offered".
func (s *Settings) set(id, value uint64) error {
	var field *uint64
	low, high := uint64(1), uint64(MaxCredit)
	switch id {
	case settingVersion:
		field = &s.Version
	case settingWindow:
		field, low = &s.Window, MinWindow
	case settingStreams:
		field = &s.Streams
	case settingMaxMessage:
		field = &s.MaxMessage
	case settingFlags:
		field, low, high = &s.Flags, 0, 1<<64-1
	default:
		return nil
	}
	if value < low || value > high {
		return drpc.ProtocolError.New("setting %d out of range: %d", id, value)
	}
	*field = value
	return nil
}
