package drpctest

import (
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"braid/drpcwire"
)

// Peer is the other end of a connection, driven by a test frame by frame.
//
// Frames are written and expected as short sentences, in this order and with
// only what applies:
//
//	s1 m2 Message "hello" more ctl
//
// is a frame of stream 1, message 2, kind Message, with that data, not done
// ("more") and with the control bit.
type Peer struct {
	tb     testing.TB
	tr     io.ReadWriteCloser
	frames chan string // what has come, in order; closed at the end
	err    error       // set before frames is closed
	all    atomic.Bool // see All
}

// All makes the peer hand out all frames. Without it pings, and the acknowledgement
// by which a client says that it knows its server, are dropped: they come at times
// that most tests do not care for.
func (p *Peer) All() { p.all.Store(true) }

// NewPeer starts a peer on a transport, which it closes at the end of the test.
func NewPeer(tb testing.TB, tr io.ReadWriteCloser) *Peer {
	p := &Peer{tb: tb, tr: tr, frames: make(chan string, 1<<16)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.read()
	}()
	tb.Cleanup(func() {
		_ = tr.Close()
		<-done
	})
	return p
}

func (p *Peer) read() {
	defer close(p.frames)
	rd := drpcwire.NewReader(p.tr)
	for {
		fr, err := rd.ReadFrame()
		if err != nil {
			p.err = err
			return
		}
		if !p.all.Load() && (fr.Kind == drpcwire.KindPing || fr.Kind == drpcwire.KindSettings && fr.ID.Stream == 0) {
			continue
		}
		p.frames <- Describe(fr)
	}
}

// Describe returns the sentence for a frame.
func Describe(fr drpcwire.Frame) string {
	var b strings.Builder
	fmt.Fprintf(&b, "s%d m%d %v", fr.ID.Stream, fr.ID.Message, fr.Kind)
	if len(fr.Data) > 0 {
		fmt.Fprintf(&b, " %q", fr.Data)
	}
	if !fr.Done {
		b.WriteString(" more")
	}
	if fr.Control {
		b.WriteString(" ctl")
	}
	return b.String()
}

// Parse is the inverse of Describe.
func Parse(sentence string) (fr drpcwire.Frame, err error) {
	head, rest, _ := strings.Cut(sentence, " \"")
	var kind string
	n, err := fmt.Sscanf(head, "s%d m%d %s", &fr.ID.Stream, &fr.ID.Message, &kind)
	if err != nil || n != 3 {
		return fr, fmt.Errorf("bad frame %q: %v", sentence, err)
	}
	if rest != "" {
		var data string
		if _, err := fmt.Sscanf("\""+rest, "%q", &data); err != nil {
			return fr, fmt.Errorf("bad data in %q: %v", sentence, err)
		}
		fr.Data = []byte(data)
		rest = rest[strings.LastIndex(rest, "\"")+1:]
	} else {
		rest = strings.TrimPrefix(head, fmt.Sprintf("s%d m%d %s", fr.ID.Stream, fr.ID.Message, kind))
	}
	for fr.Kind = 0; fr.Kind < 64 && fr.Kind.String() != kind; fr.Kind++ {
	}
	if fr.Kind == 64 {
		return fr, fmt.Errorf("bad kind in %q", sentence)
	}
	fr.Done = true
	for _, word := range strings.Fields(rest) {
		switch word {
		case "more":
			fr.Done = false
		case "ctl":
			fr.Control = true
		default:
			return fr, fmt.Errorf("bad word %q in %q", word, sentence)
		}
	}
	return fr, nil
}

// Send writes frames in one write.
func (p *Peer) Send(sentences ...string) {
	p.tb.Helper()
	var buf []byte
	for _, sentence := range sentences {
		fr, err := Parse(sentence)
		if err != nil {
			p.tb.Fatal(err)
		}
		buf = drpcwire.AppendFrame(buf, fr)
	}
	p.SendRaw(buf)
}

// SendRaw writes bytes.
func (p *Peer) SendRaw(buf []byte) {
	p.tb.Helper()
	if _, err := p.tr.Write(buf); err != nil {
		p.tb.Fatalf("peer cannot write: %v", err)
	}
}

// patience is how long a peer waits for what must come.
const patience = 30 * time.Second

// Expect waits for exactly these frames, in this order.
func (p *Peer) Expect(sentences ...string) {
	p.tb.Helper()
	for _, want := range sentences {
		got, ok := p.next()
		if !ok {
			p.tb.Fatalf("the connection ended (%v)\nwant %s", p.err, want)
		}
		if got != want {
			p.tb.Fatalf("got  %s\nwant %s", got, want)
		}
	}
}

// Next waits for the next frame; false means that the connection has ended.
func (p *Peer) Next() (string, bool) {
	p.tb.Helper()
	return p.next()
}

func (p *Peer) next() (string, bool) {
	p.tb.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case got, ok := <-p.frames:
		return got, ok
	case <-timer.C:
		p.tb.Fatal("no frame came")
		return "", false
	}
}

// ExpectNothing fails if a frame has come already. Inside a synctest bubble,
// after synctest.Wait, that means that none is coming.
func (p *Peer) ExpectNothing() {
	p.tb.Helper()
	select {
	case got, ok := <-p.frames:
		if ok {
			p.tb.Fatalf("got %s\nwant nothing", got)
		}
		p.tb.Fatalf("the connection ended (%v), want nothing", p.err)
	default:
	}
}

// ExpectClosed waits for the end of the connection, without another frame.
func (p *Peer) ExpectClosed() {
	p.tb.Helper()
	if got, ok := p.next(); ok {
		p.tb.Fatalf("got %s\nwant the end of the connection", got)
	}
}

// Close closes the peer's end of the transport.
func (p *Peer) Close() { _ = p.tr.Close() }

// Fail makes the connection fail with err for the other side, once it has read
// what is on its way. The peer's transport must be an *End.
func (p *Peer) Fail(err error) { p.tr.(*End).Fail(err) }
