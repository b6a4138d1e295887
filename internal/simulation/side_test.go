package simulation_test

import (
	"errors"
	"sync/atomic"
	"time"

	"storj.io/drpc/drpcerr"

	"braid/drpcstream"
	"braid/drpcwire"
	"braid/internal/drpctest"
)

// side is one end of a talk: a sender and a receiver.
type side struct {
	h      *history
	talk   *talk
	name   string
	server bool
	plan   sidePlan
	log    sendLog // what this side sends
	peer   *sendLog

	stream *drpcstream.Stream // set before anything else happens
	ended  moment             // of the stream
	done   chan struct{}      // closed when this side needs the stream no more

	drained chan struct{} // closed when nothing more will be received
	outcome error         // what the receiver got last; set before drained is closed
}

// moment is a time that may not have come.
type moment struct{ at atomic.Int64 }

func (m *moment) now() { m.at.CompareAndSwap(0, time.Now().UnixNano()) }

// use makes the side ready for its stream.
func (x *side) use(s *drpcstream.Stream) {
	x.stream = s
	x.h.register(x)
	x.h.wg.Go(func() {
		<-s.Terminated()
		x.ended.now()
	})
}

// op runs a call that may block. It has to return within a second after the stream
// has ended.
func (x *side) op(what string, f func() error) error {
	return x.h.op(x.talk.name+" "+x.name+" "+what, f, &x.ended)
}

// live reports whether the side may go on: nobody has ended the stream.
func (x *side) live() bool { return !x.stream.IsTerminated() }

// pause sleeps, but not past the end of the stream.
func (x *side) pause(d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-x.stream.Terminated():
	}
}

// sendAll sends what the plan has and closes the side.
func (x *side) sendAll() {
	r := newPicker(x.plan.seed, 1, x.h.plan.grid)
	for _, n := range x.plan.sizes {
		x.pause(r.upTo(x.plan.sendPause))
		if !x.send(r, n) {
			return
		}
	}
	if x.talk.plan.ender == tooLarge && !x.server {
		x.sendTooLarge()
	}
	x.closeSend()
}

// send sends one message. It reports false if the stream has ended.
func (x *side) send(r picker, n int) bool {
	timeout := time.Duration(0)
	if x.plan.sendTimeout > 0 && !r.in(3) {
		timeout = r.timeout(x.plan.sendTimeout)
	}
	x.stream.SetSendTimeout(timeout)
	began := time.Now()
	seq, buf := x.log.begin(n, x.h.client.man.PeerKnown())
	err := x.op("MsgSend", func() error {
		if r.in(2) {
			return x.stream.MsgSend(&drpctest.Msg{Data: buf}, drpctest.Enc{})
		}
		return x.stream.RawWrite(drpcwire.KindMessage, buf)
	})
	clear(buf) // it is ours again
	switch {
	case err == nil:
		x.log.end(seq, sent)
		return true
	case errors.Is(err, drpcstream.ErrTimeout):
		x.log.end(seq, abandoned)
		if took := time.Since(began); timeout == 0 || took < timeout {
			x.h.errorf("%s %s: a send has timed out after %v, with a timeout of %v", x.talk.name, x.name, took, timeout)
		}
		return true
	}
	x.log.end(seq, failed)
	if x.stream.Live() && (classify(err) != lost || !x.h.plan.lossy()) {
		x.h.errorf("%s %s: MsgSend: %v on a live stream", x.talk.name, x.name, err)
	}
	return false
}

func (x *side) closeSend() {
	x.stream.SetSendTimeout(0)
	x.log.closing()
	if err := x.op("CloseSend", x.stream.CloseSend); err == nil {
		x.log.closeSend()
	} else if x.stream.Live() && (classify(err) != lost || !x.h.plan.lossy()) {
		x.h.errorf("%s %s: CloseSend: %v on a live stream", x.talk.name, x.name, err)
	}
}

// sendTooLarge sends a message that the peer does not accept. Where it has said so,
// it is not sent and the stream lives.
func (x *side) sendTooLarge() {
	known := x.h.man(x).PeerLimit() > 0
	if !known {
		x.talk.act(tooLarge)
		x.log.addEarly(x.h.plan.limit + 1)
	}
	x.stream.SetSendTimeout(0)
	err := x.op("MsgSend", func() error {
		return x.stream.RawWrite(drpcwire.KindMessage, make([]byte, x.h.plan.limit+1))
	})
	if known && x.stream.Live() && drpcerr.Code(err) != drpcwire.CodeResourceExhausted {
		x.h.errorf("%s %s: a message over the limit: %v", x.talk.name, x.name, err)
	}
}

// recvAll receives until nothing more comes.
func (x *side) recvAll() {
	defer close(x.drained)
	if x.plan.never {
		<-x.stream.Terminated()
	}
	r := newPicker(x.plan.seed, 2, x.h.plan.grid)
	x.pause(x.plan.recvStop)
	for i := 1; ; i++ {
		if i%x.plan.burst == 0 {
			x.pause(r.upTo(x.plan.recvPause))
		}
		if !x.recv(r) {
			return
		}
	}
}

// recv receives one message. It reports false if that was the last.
func (x *side) recv(r picker) bool {
	for {
		timeout := time.Duration(0)
		if x.plan.recvTimeout > 0 && !r.in(3) {
			timeout = r.timeout(x.plan.recvTimeout)
		}
		x.stream.SetRecvTimeout(timeout)
		began := time.Now()
		var msg []byte
		err := x.op("MsgRecv", func() (err error) {
			if r.in(2) {
				var in drpctest.Msg
				err = x.stream.MsgRecv(&in, drpctest.Enc{})
				msg = in.Data
			} else {
				msg, err = x.stream.RawRecv()
			}
			return err
		})
		switch {
		case err == nil:
			if err := x.peer.receive(msg); err != nil {
				x.h.errorf("%s %s: %v", x.talk.name, x.name, err)
			}
			return true
		case errors.Is(err, drpcstream.ErrTimeout):
			x.h.count(func(t *tally) { t.recvTimeouts++ })
			if took := time.Since(began); timeout == 0 || took < timeout {
				x.h.errorf("%s %s: a receive has timed out after %v, with a timeout of %v", x.talk.name, x.name, took, timeout)
			}
			continue
		}
		x.outcome = err
		x.again(err)
		return false
	}
}

// again checks that the end of a stream stays what it is.
func (x *side) again(first error) {
	err := x.op("MsgRecv", func() error { _, err := x.stream.RawRecv(); return err })
	was, is := classify(first), classify(err)
	// A receive that has noticed the end of its context may have been late.
	late := is == eof && (was == canceled || was == expired)
	if is != was && is != local && is != returned && !late && !(was == eof && x.cancelsItself()) {
		x.h.errorf("%s %s: MsgRecv gave %v, and then %v", x.talk.name, x.name, first, err)
	}
}

// cancelsItself reports whether this side cancels the stream or its context: that may be
// behind the peer's last message, while the stream is still open for sending.
func (x *side) cancelsItself() bool {
	switch x.talk.plan.ender {
	case serverCancels:
		return x.server
	case clientCancels, cancelContext:
		return !x.server
	case deadline:
		return true // of both
	}
	return false
}

// exchange sends and receives in turns, in one goroutine.
func (x *side) exchange() {
	r := newPicker(x.plan.seed, 3, x.h.plan.grid)
	x.plan.sendTimeout = 0 // a message that is abandoned is not answered
	turns := len(x.plan.sizes)
	open := true
	if x.server {
		for i := 0; open && i < len(x.talk.client.plan.sizes); i++ {
			if open = x.recv(r); open && i < turns {
				x.send(r, x.plan.sizes[i])
			}
		}
	} else {
		for i := 0; open && i < turns; i++ {
			x.pause(r.upTo(x.plan.sendPause))
			open = x.send(r, x.plan.sizes[i])
			if i < len(x.talk.server.plan.sizes) {
				open = x.recv(r)
			}
		}
	}
	if open {
		x.closeSend()
		x.recvAll()
		return
	}
	if x.outcome == nil {
		x.recvAll()
		return
	}
	close(x.drained)
}

// run does what the side has to do with its stream, until both the sender and the
// receiver are done.
func (x *side) run() {
	o := x.talk.plan.order
	if o == pingPong {
		x.exchange()
		return
	}
	sent := make(chan struct{})
	x.h.wg.Go(func() {
		defer close(sent)
		switch {
		case o == unary && !x.server:
			return // it went with the call
		case o == serverAfter && x.server, o == clientAfter && !x.server, o == unary:
			<-x.drained
		}
		x.sendAll()
	})
	x.recvAll()
	<-sent
}

// class is what the end of a stream is to one side.
type class string

const (
	none     class = "nothing"
	eof      class = "io.EOF"
	canceled class = "canceled"
	expired  class = "deadline"
	failure  class = "the peer's error"
	large    class = "too large"
	local    class = "ended here"
	returned class = "handler returned"
	lost     class = "lost"
	refused  class = "refused"
)
