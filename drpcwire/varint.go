package drpcwire

import (
	"encoding/binary"

	"storj.io/drpc"
)

// maxVarintLen is the most bytes that a 64-bit varint takes.
const maxVarintLen = binary.MaxVarintLen64

// ReadVarint reads a little-endian base-128 integer from the front of buf and
// returns what follows it. When buf ends inside the integer, ok is false and
// rem is buf. An integer that does not fit into 64 bits is an error. Encodings
// longer than they need to be are accepted, as storj.io/drpc accepts them.
func ReadVarint(buf []byte) (rem []byte, out uint64, ok bool, err error) {
	// One byte is by far the most frequent case: small ids, small lengths.
	if len(buf) > 0 && buf[0] < 0x80 {
		return buf[1:], uint64(buf[0]), true, nil
	}
	for i := 0; i < maxVarintLen; i++ {
		if i == len(buf) {
			return buf, 0, false, nil
		}
		b := buf[i]
		if i == maxVarintLen-1 && b > 1 {
			break // bits above the 64th
		}
		out |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			return buf[i+1:], out, true, nil
		}
	}
	return buf, 0, false, drpc.Error.New("varint exceeds 64 bits")
}

// AppendVarint appends the shortest encoding of x to buf.
func AppendVarint(buf []byte, x uint64) []byte { return binary.AppendUvarint(buf, x) }
