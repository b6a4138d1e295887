package drpcmanager_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"braid/drpcmanager"
	"braid/drpcstream"
	"braid/drpcwire"
	"braid/internal/drpctest"
)

// program is a sequence of bytes that is read as operations on a connection. The
// random tests and the fuzz targets share it: a failing input of the one is an
// input of the other.
type program struct{ rest []byte }

// next returns a number below n, and 0 when the program is at its end.
func (p *program) next(n int) int {
	if len(p.rest) == 0 {
		return 0
	}
	b := p.rest[0]
	p.rest = p.rest[1:]
	return int(b) % n
}

func (p *program) bytes(n int) []byte {
	n = min(n, len(p.rest))
	b := p.rest[:n]
	p.rest = p.rest[n:]
	return b
}

// randomProgram returns the program of a seed.
func randomProgram(seed uint64, n int) []byte {
	rng := rand.NewChaCha8([32]byte(binary.LittleEndian.AppendUint64(make([]byte, 24, 32), seed)))
	buf := make([]byte, n)
	_, _ = rng.Read(buf)
	return buf
}

// hostile is one end of a connection, its application, and a peer that may send
// anything at all.
type hostile struct {
	program
	man     *drpcmanager.Manager
	own     *drpctest.End // the manager's
	peer    *drpctest.End
	message uint64 // ids that the peer uses rise, mostly

	ctx     context.Context
	cancel  context.CancelFunc
	streams []*used
	acc     accepted
	wg      sync.WaitGroup // blocking operations of the application
}

// used is a stream in the hands of the application. It sends and receives from
// one goroutine at a time each; the channels are locks that a synctest bubble
// sees through, as it does not through a mutex.
type used struct {
	*drpcstream.Stream
	sending, receiving chan struct{}
}

func newUsed(s *drpcstream.Stream) *used {
	return &used{s, make(chan struct{}, 1), make(chan struct{}, 1)}
}

// do runs f in a goroutine, when its turn on the lock has come.
func (h *hostile) do(lock chan struct{}, f func()) {
	h.wg.Go(func() {
		lock <- struct{}{}
		f()
		<-lock
	})
}

// runHostile runs a program: whatever the peer does, nothing panics, everything
// the application does returns once the connection has ended, and nothing is
// left behind.
func runHostile(t *testing.T, code []byte) {
	h := &hostile{program: program{code}}
	h.own, h.peer = drpctest.Pipe()
	h.ctx, h.cancel = context.WithCancel(t.Context())
	go func() { _, _ = io.Copy(io.Discard, h.peer) }()
	opts := drpcmanager.Options{Reader: drpcwire.ReaderOptions{MaximumBufferSize: 1 << 10}}
	if h.next(2) == 0 {
		opts.Multiplex = drpcmanager.Multiplex(h.next(3))
		h.man = drpcmanager.NewClient(h.own, opts)
	} else {
		h.man = drpcmanager.NewServer(t.Context(), h.own, opts, drpcmanager.Hooks{Handle: h.acc.handle})
	}
	for len(h.rest) > 0 {
		h.step()
	}
	synctest.Wait()
	if h.next(2) == 0 {
		h.cancel()
	}
	_ = h.man.Close()
	_ = h.peer.Close()
	h.cancel()
	h.wg.Wait()
	synctest.Wait() // a canceled context ends its stream from a goroutine of its own
	h.take()
	for _, s := range h.streams {
		if !s.IsTerminated() {
			t.Errorf("%v has not ended with its connection", s)
		}
		s.Cancel(context.Canceled)
		if !s.IsFinished() || s.Context().Err() == nil {
			t.Errorf("%v is not finished", s)
		}
	}
	if n := h.man.Streams(); n != 0 {
		t.Errorf("%d streams are still registered", n)
	}
}

// take adds what the server was handed since.
func (h *hostile) take() {
	h.acc.mu.Lock()
	defer h.acc.mu.Unlock()
	for _, s := range h.acc.streams {
		h.streams = append(h.streams, newUsed(s))
	}
	h.acc.streams = nil
}

func (h *hostile) step() {
	switch h.next(14) {
	case 12, 13:
		h.control()
	case 0, 1, 2, 3:
		h.frame(drpcwire.Kind(1+h.next(7)), h.next(8) == 0)
	case 4:
		h.frame(drpcwire.Kind(h.next(64)), true)
	case 5:
		_, _ = h.peer.Write(h.bytes(h.next(20)))
	case 6:
		settings := drpcwire.Settings{Version: 1, MaxMessage: uint64(h.next(100)), Flags: uint64(h.next(4))}
		if h.next(4) > 0 {
			settings.Window = drpcwire.MinWindow + uint64(h.next(256)*h.next(256))
		}
		settings.Streams = uint64(h.next(10))
		data := drpcwire.AppendSettings(nil, settings)
		_, _ = h.peer.Write(drpcwire.AppendFrame(nil, drpcwire.SettingsFrame(drpcwire.ID{Stream: 1, Message: 2}, data)))
	case 7:
		h.open()
	case 8, 9:
		h.use()
	case 10:
		synctest.Wait()
		h.take()
	case 11:
		switch h.next(12) {
		case 0:
			h.own.Limit(h.next(100))
		case 1:
			h.own.Limit(-1)
		case 2:
			time.Sleep(4 * time.Second)
		case 3:
			h.peer.Fail(errors.New("failed"))
		}
	}
}

// control has the peer send one of braid's own frames, with data that makes sense.
func (h *hostile) control() {
	stream := uint64(h.next(9))
	var fr drpcwire.Frame
	switch h.next(5) {
	case 0:
		fr = drpcwire.CreditFrame(stream, uint64(h.next(256))<<h.next(33))
	case 1:
		fr = drpcwire.Frame{Kind: drpcwire.KindPing, Control: true, Done: true, Data: h.bytes(8)}
	case 2:
		fr = drpcwire.Frame{Kind: drpcwire.KindPong, Control: true, Done: true, Data: []byte{7: byte(h.next(3))}}
	case 3:
		fr = drpcwire.GoAwayFrame(drpcwire.GoAway{Last: stream, Code: uint64(h.next(3)), Text: "no"})
	case 4:
		h.message++
		fr = drpcwire.Frame{
			ID: drpcwire.ID{Stream: stream, Message: h.message}, Kind: drpcwire.KindTimeout, Control: true, Done: true,
			Data: drpcwire.AppendTimeout(nil, time.Duration(h.next(256)*h.next(256))*time.Millisecond),
		}
	}
	_, _ = h.peer.Write(drpcwire.AppendFrame(nil, fr))
}

// frame has the peer send a frame that is mostly in order.
func (h *hostile) frame(kind drpcwire.Kind, control bool) {
	if h.next(4) > 0 {
		h.message++
	}
	message := h.message
	if h.next(16) == 0 {
		message = uint64(h.next(256))
	}
	_, _ = h.peer.Write(drpcwire.AppendFrame(nil, drpcwire.Frame{
		ID:      drpcwire.ID{Stream: uint64(h.next(9)), Message: message},
		Kind:    kind,
		Control: control,
		Done:    h.next(4) > 0,
		Data:    make([]byte, h.next(250)*h.next(8)),
	}))
}

// open has the application open a stream, which may have to wait for its turn.
func (h *hostile) open() {
	unary := h.next(2) == 0
	size := h.next(200)
	ctx, cancel := h.ctx, func() {}
	if h.next(3) == 0 {
		ctx, cancel = context.WithTimeout(h.ctx, time.Second)
	}
	opened := make(chan *drpcstream.Stream, 1)
	h.wg.Go(func() {
		defer close(opened)
		var s *drpcstream.Stream
		var err error
		if unary {
			s, err = h.man.NewUnaryStream(ctx, "/rpc", nil, make([]byte, size))
		} else {
			s, err = h.man.NewClientStream(ctx, "/rpc", nil)
		}
		if err == nil {
			opened <- s
		}
	})
	context.AfterFunc(h.ctx, cancel)
	synctest.Wait()
	select {
	case s := <-opened:
		if s != nil {
			h.streams = append(h.streams, newUsed(s))
		}
	default: // it waits, and ends when its context does
		h.wg.Go(func() {
			if s := <-opened; s != nil {
				_ = s.Close()
			}
		})
	}
}

// use has the application do something with one of its streams.
func (h *hostile) use() {
	if len(h.streams) == 0 {
		return
	}
	s := h.streams[h.next(len(h.streams))]
	size := h.next(256) * h.next(256)
	switch h.next(15) {
	case 12:
		s.SetSendTimeout(time.Duration(size) * time.Millisecond)
	case 13:
		s.SetRecvTimeout(time.Duration(size) * time.Millisecond)
	case 14:
		if h.next(8) == 0 {
			ctx, cancel := context.WithTimeout(h.ctx, time.Duration(size)*time.Millisecond)
			h.wg.Go(func() { _ = h.man.Shutdown(ctx); cancel() })
		}
	case 0, 1, 2:
		h.do(s.receiving, func() { _, _ = drpctest.Recv(s) })
	case 3, 4, 5:
		h.do(s.sending, func() { _ = s.RawWrite(drpcwire.KindMessage, make([]byte, size)) })
	case 6:
		h.do(s.sending, func() { _ = s.CloseSend() })
	case 7:
		_ = s.Close()
	case 8:
		_ = s.SendError(errBoom)
	case 9:
		s.Cancel(context.Canceled)
	case 10:
		s.SetManualFlush(size%2 == 0)
	case 11:
		_ = s.Return(nil)
	}
}

var errBoom = errors.New("boom")

func TestHostilePeersAtRandom(t *testing.T) {
	seeds := 3000
	if testing.Short() {
		seeds = 300
	}
	for seed := range uint64(seeds) {
		synctest.Test(t, func(t *testing.T) { runHostile(t, randomProgram(seed, 400)) })
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func FuzzHostilePeer(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(randomProgram(seed, 300))
	}
	f.Fuzz(func(t *testing.T, code []byte) {
		if len(code) > 4096 {
			return // longer programs find nothing that several short ones do not
		}
		synctest.Test(t, func(t *testing.T) { runHostile(t, code) })
	})
}

// pair is two ends that both behave, and many streams between them.
type pair struct {
	program
	t       *testing.T
	client  *drpcmanager.Manager
	server  *drpcmanager.Manager
	streams []*talk
	wg      sync.WaitGroup

	mu    sync.Mutex
	talks map[string]*talk // by rpc
}

// talk is one stream of a pair: two senders and two receivers.
type talk struct {
	name           string
	ended          atomic.Bool // by something else than both sides finishing
	client, server side
}

// side is one end of a talk. Its sender and its receiver each do what they are
// told, one after the other.
type side struct {
	stream *drpcstream.Stream
	sends  chan int // sizes; closed: CloseSend or Return
	recvs  chan int // numbers of messages; closed: until the end
	sent   int      // owned by the sender
}

// runPair runs a program on a connection where nobody breaks a rule: what is
// received on a stream is what was sent on it, in order, whole, and all of it
// if the stream ends regularly; whatever ends a stream is not felt by another.
func runPair(t *testing.T, code []byte) {
	p := &pair{program: program{code}, t: t, talks: map[string]*talk{}}
	a, b := drpctest.Pipe()
	p.server = drpcmanager.NewServer(t.Context(), b, drpcmanager.Options{}, drpcmanager.Hooks{Handle: p.handle})
	p.client = drpcmanager.NewClient(a, drpcmanager.Options{Stream: drpcstream.Options{SplitSize: 1 + p.next(200)}})
	for len(p.rest) > 0 {
		p.step()
	}
	for _, talk := range p.streams {
		for _, side := range []*side{&talk.client, &talk.server} {
			close(side.sends)
			close(side.recvs)
		}
	}
	p.wg.Wait() // everybody comes to an end
	if p.client.Err() != nil || p.server.Err() != nil {
		t.Errorf("the connection ended: %v, %v", p.client.Err(), p.server.Err())
	}
	synctest.Wait()
	if p.client.Streams() != 0 || p.server.Streams() != 0 {
		t.Errorf("%d and %d streams are left", p.client.Streams(), p.server.Streams())
	}
	_ = p.client.Close()
	_ = p.server.Close()
}

func (p *pair) step() {
	if len(p.streams) == 0 || p.next(8) == 0 && len(p.streams) < 20 {
		p.open()
		return
	}
	talk := p.streams[p.next(len(p.streams))]
	side := &talk.client
	if p.next(2) == 0 {
		side = &talk.server
	}
	switch p.next(10) {
	case 0, 1, 2, 3:
		side.sends <- p.next(100) * (1 + p.next(30))
	case 4, 5, 6, 7:
		side.recvs <- p.next(5)
	case 8:
		synctest.Wait()
	case 9:
		if p.next(4) > 0 {
			return
		}
		talk.ended.Store(true)
		switch p.next(4) {
		case 0:
			side.stream.Cancel(context.Canceled)
		case 1:
			_ = side.stream.Close()
		case 2:
			_ = side.stream.SendError(errBoom)
		case 3:
			_ = talk.server.stream.Return(errBoom)
		}
	}
}

func (p *pair) open() {
	newSide := func() side { return side{sends: make(chan int, 5000), recvs: make(chan int, 5000)} }
	talk := &talk{name: fmt.Sprintf("/%d", len(p.streams)), client: newSide(), server: newSide()}
	p.mu.Lock()
	p.talks[talk.name] = talk
	p.mu.Unlock()
	if len(p.streams) == 1 {
		synctest.Wait() // for the answer to the first stream, so that this one need not wait
	}
	s, err := p.client.NewClientStream(p.t.Context(), talk.name, nil)
	if err != nil {
		p.t.Errorf("open: %v", err)
		return
	}
	talk.client.stream = s
	p.streams = append(p.streams, talk)
	p.wg.Go(func() { p.send(talk, &talk.client, "c"); _ = s.CloseSend() })
	p.wg.Go(func() { p.recv(talk, &talk.client, "s") })
	synctest.Wait()
	if talk.server.stream == nil {
		p.t.Errorf("%s was not handed to the server", talk.name)
	}
}

func (p *pair) handle(s *drpcstream.Stream, rpc string) {
	p.mu.Lock()
	talk := p.talks[rpc]
	p.mu.Unlock()
	talk.server.stream = s
	sent, received := make(chan struct{}), make(chan struct{})
	p.wg.Go(func() { p.send(talk, &talk.server, "s"); close(sent) })
	p.wg.Go(func() { p.recv(talk, &talk.server, "c"); close(received) })
	p.wg.Go(func() { <-sent; <-received; _ = s.Return(nil) })
}

// message is the n-th message of one direction of a talk.
func (talk *talk) message(from string, n, size int) string {
	return fmt.Sprintf("%s %s %d %0*d", talk.name, from, n, size, 0)
}

func (p *pair) send(talk *talk, side *side, from string) {
	for size := range side.sends {
		if err := drpctest.Send(side.stream, talk.message(from, side.sent, size)); err != nil {
			if !side.stream.IsTerminated() {
				p.t.Errorf("%s %s: Send: %v on a live stream", talk.name, from, err)
			}
			continue
		}
		side.sent++
	}
}

func (p *pair) recv(talk *talk, side *side, from string) {
	received := 0
	for open := true; ; {
		n := 1
		if open {
			if n, open = <-side.recvs; !open {
				n = 1
			}
		}
		for range n {
			got, err := drpctest.Recv(side.stream)
			if err != nil {
				p.end(talk, from, received, err)
				return
			}
			if want := talk.message(from, received, len(got)-len(talk.message(from, received, 0))+1); got != want {
				p.t.Errorf("%s %s: message %d is %.40q, want %.40q", talk.name, from, received, got, want)
			}
			received++
		}
	}
}

// end checks what a receiver got against what was sent: all of it, if the end
// was a regular one.
func (p *pair) end(talk *talk, from string, received int, err error) {
	sender := &talk.client
	if from == "s" {
		sender = &talk.server
	}
	if err == io.EOF && !talk.ended.Load() {
		if received != sender.sent {
			p.t.Errorf("%s %s: %d of %d messages came before io.EOF", talk.name, from, received, sender.sent)
		}
	} else if !talk.ended.Load() {
		p.t.Errorf("%s %s: Recv: %v, and nobody has ended it", talk.name, from, err)
	}
}

func TestTwoEndsAtRandom(t *testing.T) {
	seeds := 1000
	if testing.Short() {
		seeds = 100
	}
	for seed := range uint64(seeds) {
		synctest.Test(t, func(t *testing.T) { runPair(t, randomProgram(seed, 600)) })
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func FuzzTwoEnds(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(randomProgram(seed, 300))
	}
	f.Fuzz(func(t *testing.T, code []byte) {
		if len(code) > 4096 {
			return
		}
		synctest.Test(t, func(t *testing.T) { runPair(t, code) })
	})
}
