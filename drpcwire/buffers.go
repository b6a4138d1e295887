package drpcwire

import (
	"math/bits"
	"sync"
)

// Storage for messages that a stream does not keep itself, and for what a writer has
// pending, is shared by all of the process, and goes to the garbage collector when nobody
// wants it: a stream that once had large messages, or many at once, holds on to little.
const (
	minClass = 10 // 1 KiB
	maxClass = 26 // 64 MiB; what is larger is not kept
)

// LargeBuffer is the capacity from which storage is shared.
const LargeBuffer = 1 << minClass

var classes [maxClass + 1]sync.Pool // of *[]byte with a capacity of 1<<index

// Grow returns storage with the contents of buf and a capacity of at least n.
// The old storage must not be used any more.
func Grow(buf []byte, n int) []byte {
	if n <= cap(buf) {
		return buf
	}
	// Twice the capacity each time, so that a message that arrives in pieces is
	// copied once over, and no more is taken than twice what has arrived, or the
	// smallest size that is shared.
	double := max(n, 2*cap(buf))
	if n <= LargeBuffer/2 {
		return append(make([]byte, 0, min(double, LargeBuffer/2)), buf...)
	}
	n = double
	class := max(bits.Len(uint(n-1)), minClass)
	var grown []byte
	if class > maxClass {
		grown = make([]byte, 0, n)
	} else if p, ok := classes[class].Get().(*[]byte); ok {
		grown = (*p)[:0]
	} else {
		grown = make([]byte, 0, 1<<class)
	}
	grown = append(grown, buf...)
	Release(buf)
	return grown
}

// Release shares storage that is large, and does nothing with any other.
func Release(buf []byte) {
	class := bits.Len(uint(cap(buf))) - 1
	if class < minClass || class > maxClass || cap(buf) != 1<<class {
		return
	}
	shared := buf // buf itself would be moved to the heap also where it is not shared
	classes[class].Put(&shared)
}
