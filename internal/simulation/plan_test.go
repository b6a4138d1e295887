package simulation_test

import (
	"fmt"
	"math/rand/v2"
	"time"

	"braid/drpcmanager"
	"braid/drpcstream"
	"braid/drpcwire"
	"braid/internal/simnet"
)

// maxMessage is the largest message limit of a plan, in bytes.
const maxMessage = 96 << 10

// grid is what all durations of a plan may be multiples of, the link's included, so
// that much happens at the same instant: what then comes first is up to the scheduler.
const grid = 10 * time.Millisecond

// plan is all that the seed decides. Two runs of a plan differ only in how
// goroutines that are ready at the same instant take turns.
type plan struct {
	seed           uint64
	grid           time.Duration // see grid
	toServer       simnet.Path
	toClient       simnet.Path
	client, server drpcmanager.Options
	limit          int // largest message, both ways
	streams        []streamPlan
	fault          faultPlan
	finish         finishPlan
	sampleEvery    time.Duration
}

// fault is what befalls the link.
type fault int

const (
	noFault      fault = iota
	shortPause         // in one or both directions; the connection survives it
	longPause          // it does not
	cut                // both directions, what is in flight is lost
	cutAfter           // behind a byte
	blackhole          // one direction; the peer vanishes
	blackholeAll       // both
)

type faultPlan struct {
	what     fault
	at       time.Duration
	toServer bool // which direction, or both for a pause
	both     bool
	lasts    time.Duration
	after    int64 // bytes
}

// finish is how a side ends the connection before the streams have ended.
type finish int

const (
	noFinish finish = iota
	shutdown
	closeIt
)

type finishPlan struct {
	what   finish
	server bool // which side
	at     time.Duration
	within time.Duration // of the context that Shutdown is given
}

// order says which side of a stream sends when.
type order int

const (
	together    order = iota
	serverAfter       // the server sends when the client has closed its side
	clientAfter       // the client sends when the server has closed its side
	pingPong          // each side sends a burst, then receives one
	unary             // NewUnaryStream
)

// ender is what ends a stream before its time.
type ender int

const (
	nobody ender = iota
	cancelContext
	deadline
	clientCloses
	clientCancels
	clientErrs
	serverCloses
	serverCancels
	serverErrs
	returnsNil
	returnsError
	tooLarge // the client sends a message over the limit
	enders
)

func (e ender) String() string {
	return [...]string{"nobody", "cancelContext", "deadline", "clientCloses", "clientCancels", "clientErrs",
		"serverCloses", "serverCancels", "serverErrs", "returnsNil", "returnsError", "tooLarge"}[e]
}

type streamPlan struct {
	index  int
	start  time.Duration
	order  order
	ender  ender
	at     time.Duration // of the end, from the start of the stream on that side
	manual bool
	linger time.Duration // of the handler, when it is done with the stream
	sides  [2]sidePlan   // client, server
}

// sidePlan is what one side of a stream does.
type sidePlan struct {
	seed  uint64
	sizes []int

	sendPause   time.Duration // before a message, at most; 0: none
	sendTimeout time.Duration
	recvPause   time.Duration // between receives, at most
	recvStop    time.Duration // before the first receive
	burst       int           // messages received between pauses
	recvTimeout time.Duration
	never       bool // receives nothing until the stream has ended; there is an ender, then
}

// picker makes choices.
type picker struct {
	*rand.Rand
	grid time.Duration // durations are multiples of it; 0: any
}

func newPicker(seed, what uint64, grid time.Duration) picker {
	return picker{rand.New(rand.NewPCG(seed, what)), grid}
}

// in reports true once in n times.
func (r picker) in(n int) bool { return r.IntN(n) == 0 }

// upTo returns a duration from 0 to d, more often a short one.
func (r picker) upTo(d time.Duration) time.Duration {
	f := r.Float64()
	d = time.Duration(f * f * float64(d))
	if r.grid > 0 {
		return d.Round(r.grid)
	}
	return d
}

// timeout is upTo without zero.
func (r picker) timeout(d time.Duration) time.Duration { return max(r.upTo(d), r.grid, 1) }

// size returns a number from lo to hi, each order of magnitude equally often.
func (r picker) size(lo, hi int) int {
	for n := hi; ; n /= 4 {
		if n <= lo || r.in(3) {
			return lo + r.IntN(max(n-lo, 0)+1)
		}
	}
}

func newPlan(seed uint64) *plan {
	r := newPicker(seed, 0, 0)
	if r.in(3) {
		r.grid = grid
	}
	p := &plan{seed: seed, grid: r.grid, sampleEvery: time.Millisecond + r.upTo(100*time.Millisecond)}
	manual := r.in(6)
	p.fault = newFault(r)
	if manual && p.fault.what != cut && p.fault.what != cutAfter {
		p.fault = faultPlan{}
	}
	p.finish = newFinish(r)
	p.toServer, p.toClient = newPath(r, seed, 1, manual), newPath(r, seed, 2, manual)
	window := [2]int{drpcwire.MinWindow << r.IntN(7), drpcwire.MinWindow << r.IntN(7)}
	p.limit = min(maxMessage, window[r.IntN(2)]*(1+r.IntN(16))+r.IntN(100))
	p.client, p.server = p.options(r, window[0]), p.options(r, window[1])
	p.server.Limits.Streams = 1 + r.IntN(6)
	p.client.Multiplex = drpcmanager.Multiplex(r.IntN(2))
	if r.in(20) {
		p.client.Multiplex = drpcmanager.MultiplexNever
	}
	volume := 256 << 10
	for i := range 1 + r.IntN(10) {
		p.streams = append(p.streams, p.newStream(r, i, manual, &volume))
	}
	return p
}

func (p *plan) options(r picker, window int) drpcmanager.Options {
	o := drpcmanager.Options{
		Reader: drpcwire.ReaderOptions{MaximumBufferSize: p.limit},
		Window: drpcmanager.Window{Initial: window},
		Stream: drpcstream.Options{SplitSize: []int{0, -1, 60 + r.IntN(300), 300 + r.IntN(8<<10)}[r.IntN(4)]},
	}
	if r.in(25) {
		o.Window.Initial = -1
	} else if r.in(2) {
		o.Window.Maximum = window * (1 + r.IntN(20))
	}
	o.Window.Budget = []int{-1, 1 + r.IntN(window), window + r.IntN(4*p.limit), 0}[r.IntN(4)]
	if r.in(2) {
		o.Keepalive.Interval = 10*time.Second + r.upTo(20*time.Second)
	}
	// Without credit a stream that is not received from holds up its connection, and
	// must not do so until that is taken for dead.
	o.Limits.QueueTimeout = 3 * time.Second
	if r.in(3) {
		o.Limits.IdleFrames, o.Limits.IdleFramesPerSecond = 10+r.IntN(50), 1
	}
	if r.in(4) {
		o.WriterBufferSize = 1 + r.IntN(8<<10)
	}
	if r.in(4) {
		o.Stream.MaximumBufferSize = 1 + r.IntN(8<<10)
	}
	return o
}

// newPath returns a direction of the link. Where streams gather messages it is a
// fast one: with sends held back in the writer, a receive hands the lock of the
// senders on, and a bubble does not see through that.
func newPath(r picker, seed, which uint64, fast bool) simnet.Path {
	jitter, split := newPicker(seed, 10*which, 0), newPicker(seed, 10*which+1, 0)
	p := simnet.Path{Delay: r.upTo(80 * time.Millisecond)}
	if !fast && r.grid == 0 {
		if r.in(2) {
			p.Rate = int64(40<<10) << r.IntN(10)
		}
		if r.in(2) {
			p.Buffer = 1 + r.size(64, 64<<10)
		}
		if r.in(3) {
			p.Window = r.size(2<<10, 256<<10)
		}
	}
	if most := r.upTo(20 * time.Millisecond); r.in(3) && r.grid == 0 {
		p.Jitter = func() time.Duration { return jitter.upTo(most) }
	}
	if most := r.size(200, 32<<10); r.in(3) {
		p.MaxRead = func() int { return split.size(1, most) }
	}
	return p
}

func newFault(r picker) faultPlan {
	f := faultPlan{at: r.upTo(3 * time.Second), toServer: r.in(2), both: r.in(2)}
	if !r.in(3) {
		return f
	}
	f.what = shortPause + fault(r.IntN(6))
	f.after = int64(r.size(1, 64<<10))
	if f.what == shortPause {
		f.lasts = r.upTo(5 * time.Second)
	} else {
		f.lasts = 20*time.Second + r.upTo(2*time.Minute)
	}
	return f
}

func newFinish(r picker) finishPlan {
	f := finishPlan{server: r.in(2), at: r.upTo(3 * time.Second), within: r.upTo(20 * time.Second)}
	switch r.IntN(8) {
	case 0:
		f.what = shutdown
	case 1:
		f.what = shutdown
		f.within = time.Hour
	case 2:
		if r.in(2) {
			f.what = closeIt
		}
	}
	return f
}

func (p *plan) newStream(r picker, i int, manual bool, volume *int) streamPlan {
	s := streamPlan{
		index: i, start: r.upTo(time.Second), order: order(r.IntN(5)),
		at: r.upTo(2 * time.Second), manual: manual && r.in(2),
	}
	if r.in(6) {
		s.linger = r.upTo(time.Second)
	}
	if r.in(3) {
		s.ender = ender(1 + r.IntN(int(enders)-1))
	}
	for k := range s.sides {
		s.sides[k] = p.newSide(r, volume)
		s.sides[k].never = s.ender != nobody && s.ender != tooLarge && r.in(3)
	}
	if s.sides[1].never && p.server.Window.Budget != 0 && sum(s.sides[0].sizes) > p.server.Window.Initial/2 {
		// What a client sends before it knows of credit holds up the connection, and
		// the end of its stream, where the budget has no room for it.
		s.sides[1].never = false
	}
	if s.order == unary {
		s.sides[0].sizes = []int{r.size(0, min(p.limit, max(*volume, 100)))}
		s.sides[0].never, s.sides[1].never = false, false // nobody else ends it while the request is sent
	}
	if p.client.Multiplex == drpcmanager.MultiplexNever {
		s.sides[0].never = false // it is not told that the handler has returned
	}
	if s.manual {
		s.order = pingPong // one goroutine for each side, see newPath
	}
	if s.order == pingPong {
		s.sides[0].never, s.sides[1].never = false, false
	}
	return s
}

func sum(sizes []int) (n int) {
	for _, size := range sizes {
		n += size + drpcwire.FrameCost
	}
	return n
}

func (p *plan) newSide(r picker, volume *int) sidePlan {
	s := sidePlan{seed: r.Uint64(), burst: 1 + r.IntN(10)}
	for range r.size(0, 12) {
		n := min(r.size(0, p.limit), *volume)
		if r.in(6) {
			n = min(p.limit, *volume)
		}
		*volume -= n
		s.sizes = append(s.sizes, n)
	}
	if r.in(3) {
		s.sendPause = r.upTo(300 * time.Millisecond)
	}
	if r.in(4) {
		s.sendTimeout = r.timeout(time.Second)
	}
	if r.in(3) {
		s.recvPause = r.upTo(300 * time.Millisecond)
	}
	if r.in(4) {
		s.recvStop = r.upTo(5 * time.Second)
	}
	if r.in(4) {
		s.recvTimeout = r.timeout(time.Second)
	}
	return s
}

// lossy reports whether the plan may end the connection before the streams do.
func (p *plan) lossy() bool {
	return p.fault.what > shortPause || p.finish.what == closeIt || p.finish.what == shutdown && p.finish.within < time.Hour
}

// slow reports whether what is on its way may take longer than a second.
func (p *plan) slow() bool {
	for _, path := range []simnet.Path{p.toServer, p.toClient} {
		if path.Rate > 0 && path.Rate < 1<<20 || path.Window > 0 && path.Window < 64<<10 || p.fault.what == shortPause {
			return true
		}
	}
	return false
}

func (p *plan) String() string {
	text := fmt.Sprintf("limit %d, fault %+v, finish %+v\n client %+v\n server %+v\n to server %+v\n to client %+v\n",
		p.limit, p.fault, p.finish, p.client, p.server, p.toServer, p.toClient)
	for _, s := range p.streams {
		text += fmt.Sprintf(" stream %+v\n", s)
	}
	return text
}
