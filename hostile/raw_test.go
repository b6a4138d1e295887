package hostile_test

import (
	"context"
	"net"
	"sync"
	"time"

	"braid/drpcwire"
	"braid/internal/drpctest"
)

// raw is a client that writes what it likes.
type raw struct {
	a    *attacker
	nc   *net.TCPConn
	next uint64 // id of the next stream
	stop func() bool

	mu      sync.Mutex
	asked   map[uint64]bool // honest calls that are not answered; guarded by mu
	cut     bool            // the server has ended the connection; guarded by mu
	closing bool            // this end closes the connection; guarded by mu
	short   bool            // not all was written; guarded by mu

	credit map[uint64]int64 // granted beyond the initial window, by stream; guarded by mu
	more   chan struct{}    // has a token when credit may have come

	known chan struct{} // closed when the server has announced itself
	gone  chan struct{} // closed when nothing more is read
}

// dial connects; nil means that the attack is over or the server takes no more.
func (a *attacker) dial(read bool) *raw {
	var d net.Dialer
	nc, err := d.DialContext(a.ctx, "tcp", a.addr)
	if err != nil {
		a.note(func(r *report) { r.NoConns++ })
		return nil
	}
	a.note(func(r *report) { r.Conns++ })
	c := &raw{
		a: a, nc: nc.(*net.TCPConn), next: 1,
		asked: map[uint64]bool{}, credit: map[uint64]int64{}, more: make(chan struct{}, 1), known: make(chan struct{}), gone: make(chan struct{}),
	}
	// What is being written when the time is up must not hold up the end.
	c.stop = context.AfterFunc(a.ctx, func() { _ = nc.SetWriteDeadline(time.Unix(1, 0)) })
	if read {
		go c.read()
	} else {
		close(c.gone)
	}
	return c
}

// read takes what the server sends.
func (c *raw) read() {
	defer close(c.gone)
	rd := drpcwire.NewReader(c.nc)
	for known := false; ; {
		fr, err := rd.ReadFrame()
		if err != nil {
			c.mu.Lock()
			c.cut = !c.closing
			c.mu.Unlock()
			return
		}
		if fr.Kind == drpcwire.KindSettings && !known {
			known = true
			close(c.known)
		}
		c.mu.Lock()
		if n, ok := drpcwire.ParseCredit(fr.Data); ok && fr.Kind == drpcwire.KindWindowUpdate {
			c.credit[fr.ID.Stream] += int64(n)
			select {
			case c.more <- struct{}{}:
			default:
			}
		}
		asked := c.asked[fr.ID.Stream]
		if asked && (fr.Kind == drpcwire.KindMessage || fr.Kind == drpcwire.KindError) {
			delete(c.asked, fr.ID.Stream)
		}
		c.mu.Unlock()
		c.a.note(func(r *report) {
			r.Kinds[fr.Kind.String()]++
			switch {
			case asked && fr.Kind == drpcwire.KindMessage:
				r.Answered++
			case fr.Kind == drpcwire.KindError && len(fr.Data) >= 8:
				r.Errors[string(fr.Data[8:min(len(fr.Data), 80)])]++
			case fr.Kind == drpcwire.KindGoAway:
				r.Errors["goaway"]++
			}
		})
	}
}

// frame makes a frame of a whole packet.
func frame(kind drpcwire.Kind, stream, message uint64, data string) drpcwire.Frame {
	return drpcwire.Frame{
		ID: drpcwire.ID{Stream: stream, Message: message}, Kind: kind, Data: []byte(data), Done: true,
		Control: kind == drpcwire.KindCancel || kind > drpcwire.KindInvokeMetadata,
	}
}

// part makes a frame after which its packet is incomplete.
func part(kind drpcwire.Kind, stream, message uint64, data string) drpcwire.Frame {
	fr := frame(kind, stream, message, data)
	fr.Done = false
	return fr
}

// encode returns the bytes of frames.
func encode(frames ...drpcwire.Frame) (buf []byte) {
	for _, fr := range frames {
		buf = drpcwire.AppendFrame(buf, fr)
	}
	return buf
}

// write sends bytes, and reports whether that worked.
func (c *raw) write(buf []byte) bool {
	_, err := c.nc.Write(buf)
	if err != nil {
		c.mu.Lock()
		c.short = true
		c.mu.Unlock()
	}
	return err == nil
}

// send sends frames, and reports whether that worked.
func (c *raw) send(frames ...drpcwire.Frame) bool {
	c.a.note(func(r *report) { r.Frames += len(frames) })
	return c.write(encode(frames...))
}

// id takes the id of a new stream.
func (c *raw) id() uint64 {
	c.next += 2
	return c.next - 2
}

// settings are those of an honest client, which says that it knows its server if
// flags say so.
func settings(flags uint64) string { return settingsWith(flags, window) }

// settingsWith are settings with another window for what the server sends.
func settingsWith(flags, window uint64) string {
	return string(drpcwire.AppendSettings(nil, drpcwire.Settings{
		Version: drpcwire.Version, Window: window, MaxMessage: 4 << 20, Flags: flags,
	}))
}

// hello makes the two ends known to each other, as an honest client does. It
// reports false if the connection has ended.
func (c *raw) hello() bool {
	if !c.announce() {
		return false
	}
	return c.write(encode(frame(drpcwire.KindSettings, 0, 0, settings(drpcwire.FlagKnowsPeer))))
}

// announce is hello without the last word: the server must take it that what it
// gets was sent without knowledge of credit.
func (c *raw) announce() bool {
	id := c.id()
	c.ask(id)
	if !c.write(encode(
		frame(drpcwire.KindInvoke, id, 1, drpctest.Unary), frame(drpcwire.KindSettings, id, 2, settings(0)),
		frame(drpcwire.KindMessage, id, 3, "hello"), frame(drpcwire.KindCloseSend, id, 4, ""),
	)) {
		return false
	}
	select {
	case <-c.known:
		return true
	case <-c.gone:
		return false
	}
}

// ask notes that an honest call was made.
func (c *raw) ask(id uint64) {
	c.mu.Lock()
	c.asked[id] = true
	c.mu.Unlock()
	c.a.note(func(r *report) { r.Calls++ })
}

// pending returns how many honest calls are not answered.
func (c *raw) pending() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.asked)
}

// appendCall appends the frames of an honest call, unless some are pending.
func (c *raw) appendCall(buf []byte) []byte {
	if c.pending() >= 4 {
		return buf
	}
	id := c.id()
	c.ask(id)
	return append(buf, encode(
		frame(drpcwire.KindInvoke, id, 1, drpctest.Unary),
		frame(drpcwire.KindMessage, id, 2, "honest"),
		frame(drpcwire.KindCloseSend, id, 3, ""),
	)...)
}

// batch is about how much is written at once.
const batch = 16 << 10

// flood writes what next appends, again and again, and an honest call in front of
// each batch, until the connection or the attack is over.
func (c *raw) flood(next func(buf []byte) []byte) {
	var buf []byte
	for c.a.ctx.Err() == nil {
		buf = c.appendCall(buf[:0])
		frames := 0
		for len(buf) < batch {
			buf = next(buf)
			frames++
		}
		c.a.note(func(r *report) { r.Frames += frames })
		if !c.write(buf) {
			return
		}
	}
}

// floodAlone is flood without honest calls.
func (c *raw) floodAlone(next func(buf []byte) []byte) {
	for c.a.ctx.Err() == nil {
		var buf []byte
		frames := 0
		for len(buf) < batch {
			buf = next(buf)
			frames++
		}
		c.a.note(func(r *report) { r.Frames += frames })
		if !c.write(buf) {
			return
		}
	}
}

// window is what the server gives each stream to begin with.
const window = 64 << 10

// upload sends messages on a stream, as far as there is credit for them, from
// those that next returns, until it returns none. It reports false when it has to
// give up: at the end of the attack or of the connection, or when no more credit
// has come for a while.
func (c *raw) upload(id uint64, next func() (fr drpcwire.Frame, ok bool)) bool {
	return c.uploadWithin(20*time.Millisecond, id, next)
}

// uploadWithin is upload with another time to wait for credit.
func (c *raw) uploadWithin(wait time.Duration, id uint64, next func() (fr drpcwire.Frame, ok bool)) bool {
	spent := int64(0)
	for {
		fr, ok := next()
		if !ok {
			return true
		}
		if fr.Kind == drpcwire.KindMessage {
			spent += int64(len(fr.Data)) + drpcwire.FrameCost
		}
		for !c.covers(id, spent) {
			select {
			case <-c.more:
			case <-c.a.ctx.Done():
				return false
			case <-c.gone:
				return false
			case <-time.After(wait):
				return false
			}
		}
		if !c.send(fr) {
			return false
		}
	}
}

func (c *raw) covers(id uint64, spent int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return spent <= window+c.credit[id]
}

// same makes a step of flood of frames that are always the same.
func same(frames ...drpcwire.Frame) func(buf []byte) []byte {
	encoded := encode(frames...)
	return func(buf []byte) []byte { return append(buf, encoded...) }
}

// rest waits until the attack is over or the connection has ended.
func (c *raw) rest() {
	select {
	case <-c.a.ctx.Done():
	case <-c.gone:
		if c.a.ctx.Err() == nil && !c.isCut() { // nobody reads
			<-c.a.ctx.Done()
		}
	}
}

func (c *raw) isCut() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cut
}

// bye closes the connection, after the answers to the honest calls have come.
func (c *raw) bye() {
	defer c.stop()
	closed := func() bool {
		select {
		case <-c.gone:
			return true
		default:
			return false
		}
	}
	c.mu.Lock()
	short := c.short
	c.mu.Unlock()
	drpctest.Eventually(func() bool { return short || c.pending() == 0 || closed() })
	c.mu.Lock()
	c.closing = true
	cut, late := c.cut, len(c.asked)
	c.mu.Unlock()
	c.a.note(func(r *report) {
		switch {
		case cut:
			r.Ended++
		case !short: // or a call may not have left
			r.Late += late
		}
	})
	_ = c.nc.Close()
	<-c.gone
}

// again makes a connection and gives it to f, again and again until the attack is
// over.
func (a *attacker) again(f func(c *raw)) {
	for a.ctx.Err() == nil {
		if c := a.dial(true); c != nil {
			f(c)
			c.bye()
		}
	}
}

// known is again with connections on which the two ends know each other.
func (a *attacker) known(f func(c *raw)) {
	a.again(func(c *raw) {
		if c.hello() {
			f(c)
		}
	})
}

// deaf is again with connections that are known, and on which nothing is read any
// more: the server cannot get rid of what it has to say.
func (a *attacker) deaf(f func(c *raw)) {
	for a.ctx.Err() == nil {
		c := a.dial(false)
		if c == nil {
			continue
		}
		_ = c.nc.SetReadBuffer(4 << 10)
		id := c.id()
		if c.write(encode(frame(drpcwire.KindInvoke, id, 1, drpctest.Unary), frame(drpcwire.KindSettings, id, 2, settings(0)))) {
			f(c)
		}
		c.bye()
	}
}

// pause waits for so long, or until the end of the attack.
func (a *attacker) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-a.ctx.Done():
	}
}

// crowd makes n connections at the same time and gives each one to f.
func (a *attacker) crowd(n int, read bool, f func(c *raw)) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for i := 0; i < n && a.ctx.Err() == nil; i++ {
		if c := a.dial(read); c != nil {
			wg.Go(func() {
				defer c.bye()
				f(c)
			})
		}
	}
}
