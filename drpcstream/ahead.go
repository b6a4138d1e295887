package drpcstream

import "sync/atomic"

// aheadFrom is the size of a message, in bytes, from which on it is large, and its storage
// is made ahead.
const aheadFrom = 64 << 10

// ahead gives storage for a whole large message when the first part of it has come, where
// the last two large messages of the connection were as large. Otherwise storage doubles
// as a message arrives, as its size is not known, and all of it is copied once. One stream
// at a time has storage that its peer has not paid for, so the connection holds one message
// more than it otherwise would, at most; and storage that no message came to is made again
// only after two more that did.
type ahead struct {
	last, before int // sizes of the last two large messages; owned by the connection's reader

	user   atomic.Pointer[Stream]
	wasted atomic.Bool // no message came to what user had
}

// arrived is told how much of a message is there, and whether that is all of it. It is
// called by the reader, which is taking a frame of the stream.
func (a *ahead) arrived(s *Stream, size int, done bool) {
	if size < aheadFrom {
		return
	}
	if a.wasted.Load() {
		a.wasted.Store(false)
		a.last, a.before = 0, 0
	}
	switch {
	case done:
		a.last, a.before = size, a.last
		a.release(s)
	case min(a.last, a.before) > size && a.user.CompareAndSwap(nil, s):
		s.asm.Expect(min(a.last, a.before, s.cfg.Limit))
	}
}

// leave is told that nothing of a message is kept any more.
func (a *ahead) leave(s *Stream) {
	if a.release(s) {
		a.wasted.Store(true)
	}
}

// release lets another stream be the user. The stream's taking is held, so nobody else
// does so for the same stream.
func (a *ahead) release(s *Stream) (was bool) {
	if was = a.user.Load() == s; was {
		a.user.Store(nil)
	}
	return was
}
