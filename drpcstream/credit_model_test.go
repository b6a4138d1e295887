package drpcstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"braid/drpcwire"
)

// creditModel is several streams that share a budget. Each has a sender, which is
// an outflow alone, and a receiver, which is a whole Stream; frames and grants are
// on their way between them until an operation delivers them. Nothing runs by
// itself, so a program of operations gives the same result each time, and what must
// hold is checked after each of them.
type creditModel struct {
	tb      testing.TB
	choose  choices
	over    bool // the program is
	name    string
	trace   [][2]uint8 // operation and stream of each step
	budget  *Budget
	window  int64
	largest int // message, in bytes
	split   int // most data in a frame
	clock   time.Duration
	rtt     time.Duration
	streams []*creditStream
}

// choices is where a program comes from: it returns a number below n, which is at
// most 256, and false at the end.
type choices func(n int) (int, bool)

func fromSeed(seed uint64, steps int) choices {
	rng := rand.New(rand.NewPCG(seed, 1))
	return func(n int) (int, bool) {
		steps--
		return rng.IntN(n), steps >= 0
	}
}

func fromBytes(data []byte) choices {
	return func(n int) (int, bool) {
		if len(data) == 0 {
			return 0, false
		}
		x := int(data[0]) % n
		data = data[1:]
		return x, true
	}
}

// windows is an owner that has announced windows.
type windows struct {
	alone
	own, peer int64
}

func (w windows) Windows() (own, peer int64) { return w.own, w.peer }

// handshake is when the two ends of a stream learn of credit.
type handshake int

const (
	knownBefore   handshake = iota // the stream is opened with credit in force
	receiverFirst                  // it grants what the sender does not wait for yet
	senderFirst                    // it waits for what the receiver does not grant yet
)

// creditStream is one stream of the model. It is the flowOwner of its receiver.
type creditStream struct {
	m      *creditModel
	shakes handshake
	shaken bool // the handshake has begun

	// The sender.
	out     outflow
	lastMsg uint64
	pending bool  // a message is being sent
	rest    int   // what is left of it
	whole   int   // what of it was sent
	closed  bool  // it has sent CloseSend
	gone    bool  // it sends nothing any more
	lowest  int64 // credit, if it was below zero from the beginning

	// On their way, in order.
	frames []transit
	back   []int64 // grants; markers below zero

	// The receiver.
	s       *Stream
	strict  bool
	waiting bool  // the application waits for a message
	lent    bool  // it has one, and has not released it
	queue   []int // lengths of the messages that have arrived and were not received
	ended   bool  // by the receiver
}

const (
	markKnown = -1 // the receiver has started its flow
	markEnded = -2 // the receiver has ended the stream
)

// transit is a frame on its way, or the sender's word that it knows of its credit.
type transit struct {
	fr        drpcwire.Frame
	continued bool
	whole     int // length of its message up to its end
	known     bool
}

func (c *creditStream) Retain()            {}
func (c *creditStream) Release()           {}
func (c *creditStream) grant(n int64)      { c.back = append(c.back, n) }
func (c *creditStream) extendWindow() bool { return c.s.recv.extend() }

func (c *creditStream) now() (now, roundTrip time.Duration) { return c.m.clock, c.m.rtt }

func (c *creditStream) patience() time.Duration { return 0 }

// newCreditModel makes a model whose dimensions are chosen, too.
func newCreditModel(tb testing.TB, name string, w *drpcwire.MuxWriter, choose choices) *creditModel {
	m := &creditModel{tb: tb, name: name, choose: choose, clock: 1}
	m.window = []int64{drpcwire.MinWindow, drpcwire.MinWindow + 1, 2000, 4096}[m.pick(4)]
	m.largest = int(m.window) * (1 + m.pick(8))
	m.split = []int{64 << 10, 1000, 300, 64}[m.pick(4)]
	m.rtt = []time.Duration{0, time.Millisecond, 50 * time.Millisecond}[m.pick(3)]
	total := []int64{0, 1, 500, m.window, 2*m.window + 100, 3 * int64(m.largest), 1 << 20}[m.pick(7)]
	m.budget = NewBudget(total, []int64{m.window, 4 * m.window, 64 * m.window}[m.pick(3)])
	for i := range 1 + m.pick(5) {
		c := &creditStream{m: m}
		if m.pick(3) == 0 {
			c.shakes = handshake(m.pick(3))
		}
		var owner windows
		if c.shakes == knownBefore {
			owner = windows{own: m.window, peer: m.window}
			c.out.start(m.window)
			c.shaken, c.strict = true, true
		}
		cfg := &Config{Owner: owner, Writer: w, Limit: m.largest, Budget: m.budget, HoldSize: 1}
		c.s = New(context.Background(), cfg, nil)
		c.s.recv.flow.owner = c
		c.s.Accept(uint64(i+1), drpcwire.Assembler{}, time.Time{})
		m.streams = append(m.streams, c)
	}
	return m
}

// newDiscard returns a writer to nowhere.
func newDiscard(tb testing.TB) *drpcwire.MuxWriter {
	w := drpcwire.NewMuxWriter(io.Discard, drpcwire.MuxWriterOptions{})
	tb.Cleanup(func() {
		w.Stop(context.Canceled)
		<-w.Done()
	})
	return w
}

func (m *creditModel) pick(n int) int {
	x, ok := m.choose(n)
	if !ok {
		m.over = true
		return 0
	}
	return x
}

func (m *creditModel) fatalf(format string, args ...any) {
	m.tb.Helper()
	for i := max(len(m.trace)-60, 0); i < len(m.trace); i++ {
		m.tb.Logf("%d: stream %d: %s", i+1, m.trace[i][1]+1, operationNames[m.trace[i][0]])
	}
	m.tb.Logf("window %d, largest %d, split %d, budget %d, %d streams",
		m.window, m.largest, m.split, m.budget.total, len(m.streams))
	m.tb.Fatalf("%s, step %d: %s", m.name, len(m.trace), fmt.Sprintf(format, args...))
}

// operations are what may happen at any time, as often as they are listed.
var operations = []struct {
	name string
	do   func(*creditStream)
}{
	{"begin", (*creditStream).begin},
	{"begin", (*creditStream).begin},
	{"send", func(c *creditStream) { c.send() }},
	{"send", func(c *creditStream) { c.send() }},
	{"send all", func(c *creditStream) { c.sendAll() }},
	{"deliver", func(c *creditStream) { c.deliver() }},
	{"deliver", func(c *creditStream) { c.deliver() }},
	{"deliver all", func(c *creditStream) { c.deliverAll() }},
	{"grant", func(c *creditStream) { c.deliverBack() }},
	{"grant", func(c *creditStream) { c.deliverBack() }},
	{"wait", (*creditStream).wait},
	{"wait", (*creditStream).wait},
	{"turn away", (*creditStream).turnAway},
	{"take", (*creditStream).take},
	{"take", (*creditStream).take},
	{"release", (*creditStream).release},
	{"release", (*creditStream).release},
	{"receive all", func(c *creditStream) { c.receiveAll() }},
	{"abandon", func(c *creditStream) { c.pending = false }},
	{"handshake", (*creditStream).handshake},
	{"time", func(c *creditStream) { c.m.pass() }},
	{"end", (*creditStream).end},
}

// operationNames are those of operations.
var operationNames []string

func init() {
	for _, op := range operations {
		operationNames = append(operationNames, op.name)
	}
}

// run executes the program, and then lets all that is going on come to its end.
func (m *creditModel) run() {
	for {
		op := m.pick(len(operations))
		i := m.pick(len(m.streams))
		if m.over {
			break
		}
		m.trace = append(m.trace, [2]uint8{uint8(op), uint8(i)})
		operations[op].do(m.streams[i])
		m.check()
	}
	m.finish()
}

func (m *creditModel) pass() {
	m.clock += []time.Duration{0, 100 * time.Microsecond, 3 * time.Millisecond, time.Second}[m.pick(4)]
}

// begin begins a message, of a size that is close to some limit.
func (c *creditStream) begin() {
	w := int(c.m.window)
	sizes := [...]int{0, 1, w / 16, w/4 - drpcwire.FrameCost, w / 2, w - drpcwire.FrameCost, w - drpcwire.FrameCost + 1,
		w + 1, 2 * w, 3*w + 5, c.m.largest}
	size := min(sizes[c.m.pick(len(sizes))], c.m.largest)
	if c.pending || c.gone {
		return
	}
	c.start(size)
}

func (c *creditStream) start(size int) {
	c.pending, c.rest, c.whole = true, size, 0
	c.lastMsg++
}

var zeros = make([]byte, 1<<20)

// send sends the next frame of the message, if there is credit for it.
func (c *creditStream) send() (sent bool) {
	if !c.pending {
		return false
	}
	n, ok := c.out.piece(c.rest, min(c.rest, c.m.split))
	if !ok {
		return false
	}
	c.out.spend(n)
	c.rest -= n
	c.whole += n
	c.pending = c.rest > 0
	c.frames = append(c.frames, transit{whole: c.whole, fr: drpcwire.Frame{
		ID: drpcwire.ID{Stream: c.s.id, Message: c.lastMsg}, Kind: drpcwire.KindMessage, Data: zeros[:n], Done: !c.pending,
	}})
	return true
}

func (c *creditStream) sendAll() (sent bool) {
	for c.send() {
		sent = true
	}
	return sent
}

// deliver delivers the next frame, or the first piece of it.
func (c *creditStream) deliver() (delivered bool) {
	if len(c.frames) == 0 {
		return false
	}
	next := &c.frames[0]
	if next.known {
		c.frames = c.frames[1:]
		c.strict = true
		if c.shakes == senderFirst {
			c.s.StartReceiving(c.m.window)
		}
		return true
	}
	in := Arrival{Frame: next.fr, Continued: next.continued, Strict: c.strict}
	if c.blocks(in, next.whole) {
		return false
	}
	whole := next.whole
	if n := len(in.Data); n > 1 && in.Kind == drpcwire.KindMessage && !c.m.over && c.m.pick(4) == 0 {
		next.fr.Data, next.continued = in.Data[n/2:], true
		in.Data, in.Done, in.More = in.Data[:n/2], false, uint64(n-n/2)
	} else {
		c.frames = c.frames[1:]
	}
	ended := c.s.IsTerminated()
	queued := in.Kind == drpcwire.KindMessage && in.Done && !ended && c.s.recv.err == nil
	lacks := c.lacks(in)
	if _, err := c.s.HandleFrame(in); err != nil {
		c.m.fatalf("%v of stream %d: %v", in.Frame, c.s.id, err)
	}
	if in.Kind == drpcwire.KindMessage && !ended && c.s.IsTerminated() {
		if !lacks {
			c.m.fatalf("stream %d was ended by %v", c.s.id, in.Frame)
		}
		c.pending, c.gone, queued = false, true, false
	}
	if queued {
		c.queue = append(c.queue, whole)
	}
	return true
}

// blocks reports whether the reader would wait for the application with this frame.
func (c *creditStream) blocks(in Arrival, whole int) bool {
	r := &c.s.recv
	if c.s.IsTerminated() || r.err != nil || r.head == r.tail {
		return false
	}
	return r.flow.initial == 0 && r.fullLocked(whole) || c.lacks(in)
}

// lacks reports whether a frame comes without credit, and without budget for that.
func (c *creditStream) lacks(in Arrival) bool {
	r := &c.s.recv
	f, b := &r.flow, c.m.budget
	if in.cost() == 0 || r.covers(in.cost()) || c.strict && f.initial > 0 {
		return false
	}
	had := f.granted
	if f.initial == 0 {
		had = f.consumed + freeWithoutCredit
	}
	more := r.received.Load() + in.cost() - had - f.debt
	return more > 0 && b.used.Load()+more > b.total && (r.head != r.tail || b.head != nil && b.head != f)
}

func (c *creditStream) deliverAll() (delivered bool) {
	for c.deliver() {
		delivered = true
	}
	return delivered
}

// deliverBack delivers the next grant, joined with the one behind it now and then.
func (c *creditStream) deliverBack() (delivered bool) {
	if len(c.back) == 0 {
		return false
	}
	n := c.back[0]
	c.back = c.back[1:]
	switch n {
	case markKnown:
		c.startSending()
		return true
	case markEnded:
		c.pending, c.gone = false, true
		return true
	}
	if len(c.back) > 0 && c.back[0] > 0 && c.m.pick(2) == 0 {
		n += c.back[0]
		c.back = c.back[1:]
	}
	if c.gone {
		return true
	}
	if overflow, useless := c.out.grant(uint64(n)); overflow || useless {
		c.m.fatalf("grant of %d on stream %d: overflow %v, useless %v", n, c.s.id, overflow, useless)
	}
	return true
}

func (c *creditStream) startSending() {
	c.out.start(c.m.window)
	c.lowest = c.out.credit
	c.frames = append(c.frames, transit{known: true})
}

// handshake puts credit in force on a stream that was opened without.
func (c *creditStream) handshake() {
	if c.shaken {
		return
	}
	c.shaken = true
	if c.shakes == senderFirst {
		c.startSending()
		return
	}
	c.back = append(c.back, markKnown)
	c.s.StartReceiving(c.m.window)
}

// wait does what acquire does before it parks.
func (c *creditStream) wait() {
	r := &c.s.recv
	defer c.m.budget.passOn()
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.waiting || c.lent || r.head != r.tail || r.err != nil {
		return
	}
	c.waiting, r.reading = true, true
	r.extendLocked()
	if r.arrived == nil {
		r.arrived = make(chan struct{}, 1)
	}
}

// turnAway does what acquire does when its wait is over without a message.
func (c *creditStream) turnAway() {
	r := &c.s.recv
	defer c.m.budget.passOn()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !c.waiting {
		return
	}
	if !r.reading {
		<-r.arrived
	}
	c.waiting, r.reading = false, false
}

// take receives the next message, if there is one.
func (c *creditStream) take() {
	r := &c.s.recv
	if c.lent || c.waiting && r.reading {
		return
	}
	c.turnAway()
	if r.head == r.tail {
		if len(c.queue) > 0 {
			c.m.fatalf("%d messages of stream %d are lost", len(c.queue), c.s.id)
		}
		return
	}
	msg, err := r.acquire()
	if err != nil || len(c.queue) == 0 || len(msg) != c.queue[0] {
		c.m.fatalf("received %d bytes on stream %d, %v, want those of %v", len(msg), c.s.id, err, c.queue)
	}
	c.queue, c.lent = c.queue[1:], true
}

func (c *creditStream) release() {
	if c.lent {
		c.lent = false
		c.s.free()
	}
}

// receiveAll receives what is there, and waits for more. What it had before is released,
// which may be what others wait for.
func (c *creditStream) receiveAll() (moved bool) {
	moved = c.lent
	for c.release(); ; c.release() {
		if c.take(); !c.lent {
			break
		}
		moved = true
	}
	c.wait()
	return moved
}

// end ends the stream, or its sending side, in one of many ways.
func (c *creditStream) end() {
	how := c.m.pick(16)
	last := drpcwire.Frame{Kind: drpcwire.KindCloseSend, Done: true}
	switch how {
	case 0:
		c.discard(func() { c.s.Cancel(errors.New("canceled")) })
		return
	case 1:
		c.discard(func() { _ = c.s.Close() })
		return
	case 2:
		_ = c.s.CloseSend() // then the sender's CloseSend ends the stream
		return
	case 3:
		last.Kind = drpcwire.KindCancel
	case 4:
		last.Kind = drpcwire.KindError
		last.Data = drpcwire.MarshalError(errors.New("error"))
	case 5:
		// A sender that goes on after this breaks the rules, and only itself.
		c.closed = true
	case 6:
		c.closed = true
		last.Done = false // and never comes to its end
	default:
		return
	}
	if c.gone {
		return
	}
	c.pending = false
	c.gone = !c.closed
	c.lastMsg++
	last.ID = drpcwire.ID{Stream: c.s.id, Message: c.lastMsg}
	c.frames = append(c.frames, transit{fr: last})
	if !last.Done {
		c.lastMsg++ // the next packet has another kind
	}
}

func (c *creditStream) discard(end func()) {
	c.turnAway()
	end()
	c.queue = nil
	if !c.ended {
		c.ended = true
		c.back = append(c.back, markEnded)
	}
}
