package drpcmanager

import "time"

// bucket counts frames that achieve nothing. It starts full, is refilled with time
// and lets the peer be as long as there is something in it. It is owned by the
// reader.
type bucket struct {
	size, perSecond float64
	tokens          float64
	at              time.Time // when tokens was right
}

func newBucket(size, perSecond int) bucket {
	return bucket{size: float64(size), perSecond: float64(perSecond), tokens: float64(size)}
}

// take removes one token, and reports false if there was none.
func (b *bucket) take(now time.Time) bool {
	if !b.at.IsZero() {
		b.tokens = min(b.size, b.tokens+now.Sub(b.at).Seconds()*b.perSecond)
	}
	b.at = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
