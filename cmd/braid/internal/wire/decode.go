package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// ErrMalformed is wrapped by every error of a decoder: the bytes are not a
// message of the kind that was expected.
var ErrMalformed = errors.New("malformed message")

// malformed makes an error that says what is wrong with the bytes.
func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// decoder takes fields off the front of a message. The first failure sticks,
// and everything that is read after it is zero, so that the parser of a message
// can be written without a test after each field.
type decoder struct {
	buf []byte
	err error
}

// fail records the first failure.
func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = malformed(format, args...)
		d.buf = nil
	}
}

// tag takes the first byte of the message.
func (d *decoder) tag() tag {
	if len(d.buf) == 0 {
		d.fail("it is empty")
		return 0
	}
	t := tag(d.buf[0])
	d.buf = d.buf[1:]
	return t
}

// number takes a varint.
func (d *decoder) number(field string) uint64 {
	v, n := binary.Uvarint(d.buf)
	switch {
	case n == 0:
		d.fail("%s is cut short", field)
		return 0
	case n < 0:
		d.fail("%s is above 64 bits", field)
		return 0
	case n > 1 && d.buf[n-1] == 0:
		d.fail("%s is not in its shortest form", field)
		return 0
	}
	d.buf = d.buf[n:]
	return v
}

// size takes a number of bytes, which has to fit the int64 that files use.
func (d *decoder) size(field string) int64 {
	v := d.number(field)
	if v > math.MaxInt64 {
		d.fail("%s is above 63 bits", field)
		return 0
	}
	return int64(v)
}

// bytes takes a length and that many bytes. What it returns is part of the
// message and has to be copied to be kept.
func (d *decoder) bytes(field string, limit int) []byte {
	n := d.number(field)
	switch {
	case n > uint64(limit):
		d.fail("%s has %d bytes, which is above the limit of %d", field, n, limit)
		return nil
	case n > uint64(len(d.buf)):
		d.fail("%s is cut short", field)
		return nil
	}
	b := d.buf[:n]
	d.buf = d.buf[n:]
	return b
}

// fixed fills dst.
func (d *decoder) fixed(field string, dst []byte) {
	if len(d.buf) < len(dst) {
		d.fail("%s is cut short", field)
		clear(dst)
		return
	}
	copy(dst, d.buf)
	d.buf = d.buf[len(dst):]
}

// flag takes a yes or no.
func (d *decoder) flag(field string) bool {
	var b [1]byte
	d.fixed(field, b[:])
	if b[0] > 1 {
		d.fail("%s is %d, neither yes nor no", field, b[0])
	}
	return b[0] == 1
}

// finish returns the first failure. Bytes that nobody took are one.
func (d *decoder) finish() error {
	if len(d.buf) > 0 {
		d.fail("%d bytes follow its last field", len(d.buf))
	}
	return d.err
}

// appendBytes appends a length and that many bytes.
func appendBytes[T ~string | ~[]byte](buf []byte, b T) []byte {
	buf = binary.AppendUvarint(buf, uint64(len(b)))
	return append(buf, b...)
}

// appendFlag appends a yes or no.
func appendFlag(buf []byte, yes bool) []byte {
	if yes {
		return append(buf, 1)
	}
	return append(buf, 0)
}
