package drpcwire

import (
	"encoding/binary"
	"errors"
	"unicode/utf8"

	"storj.io/drpc"
	"storj.io/drpc/drpcerr"
)

// Error codes that braid itself sends. They have gRPC's numbers, as
// drpcerr.Unimplemented has.
const (
	CodeDeadlineExceeded  = 4
	CodeResourceExhausted = 8
	CodeInternal          = 13
	CodeUnavailable       = 14
)

// MaxErrorText is the most bytes of an error's text that are sent; a longer
// text is cut. It keeps a handler's error from filling the peer's logs.
const MaxErrorText = 16 << 10

// MarshalError encodes err: its code (see drpcerr.Code) as eight bytes, big
// endian, then its text.
func MarshalError(err error) []byte {
	text := cutText(err.Error(), MaxErrorText)
	buf := make([]byte, 8, 8+len(text))
	binary.BigEndian.PutUint64(buf, drpcerr.Code(err))
	return append(buf, text...)
}

// cutText returns at most limit bytes of text, not ending inside of a character.
func cutText(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	cut := limit
	for cut > limit-utf8.UTFMax && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut]
}

// ShortenError returns what MarshalError has encoded with at most limit bytes of text.
func ShortenError(data []byte, limit int) []byte {
	if len(data) <= 8+limit {
		return data
	}
	return data[:8+len(cutText(string(data[8:]), limit))]
}

// UnmarshalError decodes what MarshalError encoded into an error with that text
// and code. Data too short for a code gives an error that says so and holds
// the data.
func UnmarshalError(data []byte) error {
	if len(data) < 8 {
		return drpc.ProtocolError.New("error packet of %d bytes, shorter than its code: %q", len(data), data)
	}
	return drpcerr.WithCode(errors.New(string(data[8:])), binary.BigEndian.Uint64(data))
}

// Exhausted makes an error with the code CodeResourceExhausted.
func Exhausted(format string, args ...any) error {
	return drpcerr.WithCode(drpc.Error.New(format, args...), CodeResourceExhausted)
}

// CancelCode is the reason in the data of a KindCancel packet.
type CancelCode uint64

const (
	CancelCanceled CancelCode = 0 // the caller gave up; encoded as no data at all
	CancelDeadline CancelCode = 1 // the caller's deadline passed
	CancelRefused  CancelCode = 2 // the call was never started; a retry is safe
)

// AppendCancel appends the data of a KindCancel packet. storj.io/drpc ignores it.
func AppendCancel(buf []byte, code CancelCode) []byte {
	if code == CancelCanceled {
		return buf
	}
	return AppendVarint(buf, uint64(code))
}

// ParseCancel decodes the data of a KindCancel packet. Data that is absent,
// malformed or of an unknown value means CancelCanceled: the stream is over in
// any case.
func ParseCancel(data []byte) CancelCode {
	if _, code, ok, err := ReadVarint(data); ok && err == nil && code <= uint64(CancelRefused) {
		return CancelCode(code)
	}
	return CancelCanceled
}
