package drpcstream

import "sync/atomic"

// aheadFrom is the size of a message, in bytes, from which on its storage is made ahead.
const aheadFrom = 64 << 10

// ahead gives storage for a whole large message when the first part of it has come, where
// the large messages before it on the connection were as large. Otherwise storage doubles
// as a message arrives, as its size is not known, and all of it is copied once. One stream
// at a time has storage that its peer has not paid for, so the connection holds one message
// more than it otherwise would, at most.
type ahead struct {
	last, before int // sizes of the last two large messages; owned by the connection's reader
	user         atomic.Pointer[Stream]
}

// arrived is told how much of a message is there, and whether that is all of it. It is
// called by the reader, which is taking a frame of the stream.
func (a *ahead) arrived(s *Stream, size int, done bool) {
	switch {
	case size < aheadFrom:
	case done:
		a.last, a.before = size, a.last
		a.leave(s)
	case min(a.last, a.before) > size && a.user.CompareAndSwap(nil, s):
		s.asm.Expect(min(a.last, a.before, s.cfg.Limit))
	}
}

// leave is told that nothing of a message is kept any more, or all of it.
func (a *ahead) leave(s *Stream) {
	if a.user.Load() == s {
		a.user.Store(nil) // only the reader changes it to s
	}
}
