package drpcstream

import (
	"testing"
	"unsafe"
)

// A connection may have a hundred thousand streams open. The sizes are those of classes of
// the runtime's allocator (runtime/sizeclasses.go), less what it puts in front of large
// objects that have pointers: one byte more takes a tenth more memory.
func TestAStreamIsSmall(t *testing.T) {
	if unsafe.Sizeof(uintptr(0)) != 8 {
		t.Skip("sizes are those of 64 bits")
	}
	const header, streamClass, contextClass = 8, 704, 96
	if n := unsafe.Sizeof(Stream{}); n+header > streamClass {
		t.Errorf("a stream has %d bytes, and room is for %d", n, streamClass-header)
	}
	if n := unsafe.Sizeof(streamCtx{}); n > contextClass {
		t.Errorf("the context of a stream has %d bytes, and room is for %d", n, contextClass)
	}
}
