package drpcmanager_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"braid/drpcmanager"
	"braid/drpcstream"
	"braid/drpcwire"
)

// flood is a client that sends what it likes to a server.
type flood struct {
	t    *testing.T
	man  *drpcmanager.Manager
	conn net.Conn
	base uint64 // what the heap held before
	buf  []byte // not sent yet
	read sync.WaitGroup

	mu      sync.Mutex
	streams []*drpcstream.Stream // whose handlers run; guarded by mu
	next    uint64
}

// newFlood starts a server. Its handlers do nothing but what handle does, and never
// return.
func newFlood(t *testing.T, opts drpcmanager.Options, handle func(*drpcstream.Stream, string)) *flood {
	t.Helper()
	a, b := net.Pipe()
	f := &flood{t: t, conn: b, buf: make([]byte, 0, 256<<10), next: 1}
	f.base = heap()
	f.man = drpcmanager.NewServer(t.Context(), a, opts, drpcmanager.Hooks{
		Handle: func(s *drpcstream.Stream, rpc string) {
			f.mu.Lock()
			f.streams = append(f.streams, s)
			f.mu.Unlock()
			handle(s, rpc)
		},
	})
	return f
}

// listen makes the client read, and throw away, what the server sends.
func (f *flood) listen() *flood {
	f.read.Go(func() { _, _ = io.Copy(io.Discard, f.conn) })
	return f
}

func (f *flood) close() {
	_ = f.conn.Close()
	_ = f.man.CloseNow(drpcmanager.ErrClosed)
	f.read.Wait()
	f.streams = nil // a timer that was stopped may keep what it would call for a while
}

func heap() uint64 {
	for range 3 { // what is in a sync.Pool outlives two
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// frame sends a frame, with others.
func (f *flood) frame(kind drpcwire.Kind, stream, message uint64, data []byte, done bool) {
	f.buf = drpcwire.AppendFrame(f.buf, drpcwire.Frame{
		ID: drpcwire.ID{Stream: stream, Message: message}, Kind: kind, Data: data,
		Done: done, Control: kind >= drpcwire.KindWindowUpdate,
	})
	if len(f.buf) > 64<<10 {
		f.flush()
	}
}

// flush returns when the server has handled all but the last of what was sent.
func (f *flood) flush() {
	_ = f.conn.SetWriteDeadline(time.Now().Add(20 * time.Second))
	if _, err := f.conn.Write(f.buf); err != nil {
		f.t.Fatalf("the server takes no more: %v (%v)", err, f.man.Err())
	}
	f.buf = f.buf[:0]
}

// settle returns when the server has handled all that was sent.
func (f *flood) settle() {
	f.flush()
	f.frame(60, 0, 0, nil, true) // achieves nothing
	f.flush()
}

// held returns how much more the heap holds than at the beginning.
func (f *flood) held() int64 {
	f.settle()
	if f.man.Err() != nil {
		f.t.Errorf("the connection has ended: %v", f.man.Err())
	}
	return int64(heap()) - int64(f.base)
}

// open opens a stream.
func (f *flood) open(metadata []byte, rpc string) (id uint64) {
	id = f.next
	f.next += 2
	if metadata != nil {
		f.frame(drpcwire.KindInvokeMetadata, id, 1, metadata, true)
	}
	f.frame(drpcwire.KindInvoke, id, 2, []byte(rpc), true)
	return id
}

// introduce opens a stream and makes the client known, who does not know of its
// credit yet.
func (f *flood) introduce() {
	id := f.open(nil, "/first")
	s := drpcwire.Settings{Version: 1, Window: 1 << 20, Flags: 0}
	f.frame(drpcwire.KindSettings, id, 3, drpcwire.AppendSettings(nil, s), true)
	f.settle()
}

// announce is introduce, and the client knows of its credit.
func (f *flood) announce() {
	f.introduce()
	s := drpcwire.Settings{Version: 1, Window: 1 << 20, Flags: drpcwire.FlagKnowsPeer}
	f.frame(drpcwire.KindSettings, 0, 0, drpcwire.AppendSettings(nil, s), true)
	f.settle()
}

var zeros = make([]byte, 1<<20)

// fill sends messages of this size until the initial window is used up.
func (f *flood) fill(id uint64, window, size int) {
	for msg := uint64(10); window >= size+drpcwire.FrameCost; msg++ {
		f.frame(drpcwire.KindMessage, id, msg, zeros[:size], true)
		window -= size + drpcwire.FrameCost
	}
}

// grow sends a message that is never done, of n bytes, on a stream whose handler
// waits for it: as much at a time as there is credit for. It reports whether all of
// it found credit.
func (f *flood) grow(id uint64, n int) bool {
	f.settle()
	f.mu.Lock()
	s := f.streams[len(f.streams)-1]
	f.mu.Unlock()
	for patience := 0; n > 0 && patience < 1000; {
		most := min(int(s.Outstanding())-drpcwire.FrameCost, 60<<10, n)
		if most <= 0 {
			patience++
			time.Sleep(10 * time.Microsecond) // the handler may be on its way to its receive
			continue
		}
		f.frame(drpcwire.KindMessage, id, 10, zeros[:most], false)
		f.settle()
		n, patience = n-most, 0
	}
	return n == 0
}

// end ends a stream by an Error with this much text.
func (f *flood) end(id uint64, text int, done bool) {
	f.frame(drpcwire.KindError, id, 1<<40, zeros[:8+text], done)
}

// metadata returns as much as there may be, in as many pairs as there may be.
func metadata(bytesOf, pairs int) []byte {
	var buf bytes.Buffer
	for i := range pairs {
		value := bytesOf/pairs - 9
		buf.Write([]byte{'\n', byte(value + 7), '\n', 3, byte('a' + i/26), byte('a' + i%26), 'k', 0x12, byte(value)})
		buf.Write(zeros[:value])
	}
	return buf.Bytes()
}

// terms are the terms of the formula in docs/limits.md, "The most a connection can
// hold", in bytes.
type terms struct{ live, ended, growth, opening, reader, writer int }

func (m terms) sum() int { return m.live + m.ended + m.growth + m.opening + m.reader + m.writer }

// profile is what the formula is made of.
type profile struct{ streams, initial, budget, message, metadata, pairs, name int }

var (
	defaults = profile{1024, 64 << 10, 64 << 20, 4 << 20, 16 << 10, 128, 1 << 10}
	small    = profile{64, 16 << 10, 4 << 20, 1 << 20, 4 << 10, 32, 256}
)

func (p profile) options() drpcmanager.Options {
	return drpcmanager.Options{
		Reader: drpcwire.ReaderOptions{MaximumBufferSize: p.message},
		Window: drpcmanager.Window{Initial: p.initial, Budget: p.budget},
		Limits: drpcmanager.Limits{
			Streams: p.streams, Metadata: p.metadata, MetadataPairs: p.pairs, MethodName: p.name,
			IdleFrames: -1, WriteTimeout: -1, // what measures is idle, and slow
		},
	}
}

// call is what a call takes beside its messages.
func (p profile) call() int { return 4<<10 + 2*p.metadata + 100*p.pairs + p.name }

// uncredited is what may be held of a stream without credit before it is charged to
// the budget.
const uncredited = 64 << 10

// terms are those of any peer.
func (p profile) terms() terms { return p.termsFor(max(p.initial, uncredited)) }

// termsFor are those of a peer that has this much of a window for each stream.
func (p profile) termsFor(window int) terms {
	call := p.call()
	return terms{
		live:    p.streams * (2*window + 64<<10 + 128<<10 + call),
		ended:   p.streams * (2*window + 64<<10 + call),
		growth:  2 * (p.budget + 2*p.message),
		opening: 2*(256<<10) + 16*(2*p.metadata+2*p.name),
		reader:  64 << 10,
		writer:  45 << 20,
	}
}

// TestAHostilePeerHoldsNoMoreThanTheFormula: each term of the formula by itself,
// and all at once.
func TestAHostilePeerHoldsNoMoreThanTheFormula(t *testing.T) {
	for name, p := range map[string]profile{"defaults": defaults, "small": small} {
		if name == "defaults" && testing.Short() {
			continue
		}
		all := p.termsFor(p.initial) // which it keeps to
		t.Logf("%s: at most %d MiB: %+v", name, all.sum()>>20, all)
		calls, messages := p.streams*p.call(), p.streams*2*p.initial
		for what, c := range map[string]struct {
			bound int
			least int // in percent of it by default, or the attack is none; 0: not by default
			do    func(f *flood)
		}{
			"messages of a byte":       {calls + messages, 0, func(f *flood) { p.fillAll(f, 1) }},
			"messages of 2,049":        {calls + messages, 60, func(f *flood) { p.fillAll(f, 2049) }},
			"messages in pieces":       {calls + messages, 0, func(f *flood) { p.fillAllInPieces(f) }},
			"incomplete errors":        {calls + p.streams*128<<10, 60, func(f *flood) { p.incompleteErrors(f) }},
			"metadata":                 {calls, 40, func(f *flood) { p.openAll(f) }},
			"invokes on live streams":  {calls, 0, func(f *flood) { p.invokesOnLiveStreams(f) }},
			"messages after CloseSend": {calls, 0, func(f *flood) { p.messagesAfterCloseSend(f) }},
			"deadlines in a message":   {calls, 0, func(f *flood) { p.deadlinesInAMessage(f) }},
			"storage of others":        {calls, 0, func(f *flood) { p.storageOfOthers(f) }},
			"ended, and unread":        {all.ended, 60, func(f *flood) { p.endAll(f, p.streams) }},
			"large messages":           {calls + all.growth, 0, func(f *flood) { p.growAll(f, p.message/2+1) }},
			"abandoned messages":       {calls + all.growth, 0, func(f *flood) { p.abandonAll(f) }},
			"incomplete invokes":       {p.call() + all.opening, 0, func(f *flood) { p.open16(f) }},
			"refusals, not read":       {p.call() + all.writer, 0, func(f *flood) { p.refuseMany(f) }},
			"all at once":              {all.sum(), 50, func(f *flood) { p.everything(f) }},
		} {
			if name == "defaults" && c.least == 0 {
				continue // the small profile shows it in less time
			}
			t.Run(name+"/"+what, func(t *testing.T) {
				f := newFlood(t, p.options(), waitForMessages)
				defer f.close()
				if what != "refusals, not read" && what != "all at once" {
					f.listen()
				}
				f.announce()
				c.do(f)
				held, bound := f.held(), int64(c.bound)+128<<10
				t.Logf("%9d KiB held of %9d (%d %%)", held>>10, bound>>10, 100*held/bound)
				if held > bound {
					t.Errorf("%d bytes are held, more than %d", held, bound)
				}
				if name == "defaults" && held < bound/100*int64(c.least) {
					t.Errorf("%d bytes are held, less than %d %% of %d", held, c.least, bound)
				}
			})
		}
	}
}

// TestAPeerWithoutCreditHoldsNoMoreThanTheFormula: one that is not known, and one that
// does not acknowledge that it knows its credit.
func TestAPeerWithoutCreditHoldsNoMoreThanTheFormula(t *testing.T) {
	for who, greet := range map[string]func(*flood){
		"not known":        func(f *flood) { f.open(nil, "/first") },
		"not acknowledged": (*flood).introduce,
	} {
		for name, p := range map[string]profile{"defaults": defaults, "small": small} {
			if name == "defaults" && testing.Short() {
				continue
			}
			all := p.terms()
			calls, growth := p.streams*p.call(), 2*(p.budget+p.message)
			for what, c := range map[string]struct {
				bound int
				least int // in percent of it, or the attack is none; all at once, by default only
				do    func(f *flood)
			}{
				"unfinished messages": {calls + p.streams*2*max(p.initial, uncredited) + growth, 30, func(f *flood) { p.unfinished(f) }},
				"queued messages":     {calls + p.streams*2*max(p.initial, uncredited) + growth, 40, func(f *flood) { p.overfill(f) }},
				"all at once":         {all.sum(), 40, func(f *flood) { p.everythingWithoutCredit(f) }},
			} {
				t.Run(who+"/"+name+"/"+what, func(t *testing.T) {
					opts := p.options()
					opts.Limits.QueueTimeout = time.Millisecond
					f := newFlood(t, opts, func(*drpcstream.Stream, string) {})
					defer f.close()
					if what != "all at once" {
						f.listen()
					}
					greet(f)
					c.do(f)
					held, bound := f.held(), int64(c.bound)+128<<10
					t.Logf("%9d KiB held of %9d (%d %%)", held>>10, bound>>10, 100*held/bound)
					if held > bound {
						t.Errorf("%d bytes are held, more than %d", held, bound)
					}
					if (name == "defaults" || what != "all at once") && held < bound/100*int64(c.least) {
						t.Errorf("%d bytes are held, less than %d %% of %d", held, c.least, bound)
					}
				})
			}
		}
	}
}

// unfinished has a message come on each stream that is never done: as much as is not
// charged, then more than half of what there may be.
func (p profile) unfinished(f *flood) {
	ids := p.openAll(f)
	for _, size := range []int{uncredited/2 + 1, p.message / 2} {
		for _, id := range ids {
			for n := size; n > 0; n -= 60 << 10 {
				f.frame(drpcwire.KindMessage, id, 10, zeros[:min(n, 60<<10)], false)
			}
		}
	}
}

// overfill queues messages on each stream: as many as are not charged, then more.
func (p profile) overfill(f *flood) {
	ids := p.openAll(f)
	for _, id := range ids {
		f.fill(id, uncredited, 2049)
	}
	for _, id := range ids {
		for msg := uint64(1000); msg < 1010; msg++ {
			f.frame(drpcwire.KindMessage, id, msg, zeros[:33<<10], true)
		}
	}
}

// everythingWithoutCredit does all of it that can be done at once.
func (p profile) everythingWithoutCredit(f *flood) {
	p.initial = uncredited
	p.refuseMany(f)
	large := 0
	for left := p.budget + p.message; left > 0; left -= p.message / 2 {
		id := f.open(nil, "/large")
		for n := p.message/2 + 1 + uncredited; n > 0; n -= 60 << 10 {
			f.frame(drpcwire.KindMessage, id, 10, zeros[:min(n, 60<<10)], false)
		}
		large++
	}
	p.endAll(f, p.streams-1-large)
	name := strings.Repeat("n", p.name)
	for range p.streams - 1 - large - 16 {
		id := f.open(metadata(p.metadata, p.pairs), name)
		f.fill(id, p.initial, 2049)
		f.end(id, 64<<10, false)
	}
	p.open16(f)
}

// The table of docs/limits.md has the same numbers.
func TestTheMostAConnectionCanHoldIsThatOfTheDocument(t *testing.T) {
	text, err := os.ReadFile(limitsFile)
	if err != nil {
		t.Fatal(err)
	}
	part := section(t, string(text), "The most a connection can hold")
	d, s := defaults.terms(), small.terms()
	for name, want := range map[string][2]int{
		"live streams":                        {d.live, s.live},
		"handlers of streams that have ended": {d.ended, s.ended},
		"growth":                              {d.growth, s.growth},
		"incomplete Invokes":                  {d.opening, s.opening},
		"reading":                             {d.reader, s.reader},
		"writing":                             {d.writer, s.writer},
		"**all**":                             {d.sum(), s.sum()},
	} {
		row := regexp.MustCompile(`(?m)^\| ` + regexp.QuoteMeta(name) + ` \|.*\| (\d+) MiB \| (\d+) MiB \|$`).FindStringSubmatch(part)
		if row == nil {
			t.Errorf("the document has no row %q", name)
			continue
		}
		for i := range want {
			if got := fmt.Sprint((want[i] + 1<<19) >> 20); got != row[1+i] {
				t.Errorf("%s: the document says %s MiB, the formula %s", name, row[1+i], got)
			}
		}
	}
}

// waitForMessages is the handler of streams that are to receive.
func waitForMessages(s *drpcstream.Stream, rpc string) {
	if rpc == "/receive" {
		go func() { _, _ = s.RawRecv() }()
	}
}

func (p profile) openAll(f *flood) (ids []uint64) {
	name := strings.Repeat("n", p.name)
	for range p.streams - 1 {
		ids = append(ids, f.open(metadata(p.metadata, p.pairs), name))
	}
	return ids
}

func (p profile) fillAll(f *flood, size int) {
	for _, id := range p.openAll(f) {
		f.fill(id, p.initial, size)
	}
}

// fillAllInPieces has frames that make storage grow when there is little in it.
func (p profile) fillAllInPieces(f *flood) {
	for _, id := range p.openAll(f) {
		for msg, left := uint64(10), p.initial; left >= 258+2*drpcwire.FrameCost; msg++ {
			f.frame(drpcwire.KindMessage, id, msg, zeros[:257], false)
			f.frame(drpcwire.KindMessage, id, msg, zeros[:1], true)
			left -= 258 + 2*drpcwire.FrameCost
		}
	}
}

func (p profile) incompleteErrors(f *flood) {
	for _, id := range p.openAll(f) {
		f.end(id, 64<<10, false)
	}
}

func (p profile) invokesOnLiveStreams(f *flood) {
	for _, id := range p.openAll(f) {
		for range 4 {
			f.frame(drpcwire.KindInvoke, id, 10, zeros[:64<<10], false)
		}
	}
}

func (p profile) messagesAfterCloseSend(f *flood) {
	for _, id := range p.openAll(f) {
		f.frame(drpcwire.KindCloseSend, id, 10, nil, true)
		f.frame(drpcwire.KindMessage, id, 11, zeros[:p.initial-drpcwire.FrameCost], false)
	}
}

// deadlinesInAMessage has calls whose deadline passes while a message is incomplete.
func (p profile) deadlinesInAMessage(f *flood) {
	for range p.streams - 1 {
		id := f.next
		f.next += 2
		f.frame(drpcwire.KindTimeout, id, 1, drpcwire.AppendTimeout(nil, 20*time.Millisecond), true)
		f.frame(drpcwire.KindInvoke, id, 2, []byte("/slow"), true)
		f.frame(drpcwire.KindMessage, id, 3, zeros[:p.initial-drpcwire.FrameCost], false)
	}
	f.settle()
	for _, s := range f.streams[1:] {
		<-s.Terminated()
	}
}

// storageOfOthers has small messages come whenever the storage of a large one is
// free, and then ends the streams.
func (p profile) storageOfOthers(f *flood) {
	ids := p.openAll(f)
	for _, id := range ids {
		f.fill(id, p.initial, 2049)
	}
	for msg := uint64(1000); msg < 1007; msg++ {
		f.settle()
		for _, s := range f.streams[1:] {
			if _, err := s.RawRecv(); err != nil {
				f.t.Fatal(err)
			}
		}
		for _, id := range ids {
			f.frame(drpcwire.KindMessage, id, msg, zeros[:1], true)
		}
	}
	for _, id := range ids {
		f.end(id, 0, true)
	}
}

// endAll leaves n streams behind that have ended, with their handlers running.
func (p profile) endAll(f *flood, n int) {
	name := strings.Repeat("n", p.name)
	for range n {
		id := f.open(metadata(p.metadata, p.pairs), name)
		f.fill(id, p.initial, 2049)
		f.end(id, 64<<10, true)
	}
}

// growAll makes large messages come until there is no more budget.
func (p profile) growAll(f *flood, size int) (streams int) {
	for streams = 1; f.grow(f.open(nil, "/receive"), size) && streams < p.streams-1; streams++ {
	}
	return streams
}

// abandonAll gives large messages up when they are almost there.
func (p profile) abandonAll(f *flood) {
	for range min(p.streams-1, 40) {
		id := f.open(nil, "/receive")
		f.grow(id, p.message-1)
		f.frame(drpcwire.KindMessage, id, 11, zeros[:1], false)
	}
}

func (p profile) open16(f *flood) {
	for range 16 {
		id := f.next
		f.next += 2
		f.frame(drpcwire.KindInvokeMetadata, id, 1, metadata(p.metadata, p.pairs), true)
		f.frame(drpcwire.KindInvoke, id, 2, zeros[:p.name-1], false)
	}
}

// refuseMany makes the server refuse calls, and does not read why.
func (p profile) refuseMany(f *flood) {
	bad := bytes.Repeat([]byte{'\n', 0}, p.pairs+1)
	for range 40_000 {
		f.open(bad, "/refused")
	}
}

// everything does all of it that can be done at once.
func (p profile) everything(f *flood) {
	p.refuseMany(f)
	large := p.growAll(f, p.message/2+1)
	p.endAll(f, p.streams-1-large)
	name := strings.Repeat("n", p.name)
	for range p.streams - 1 - large - 16 {
		id := f.open(metadata(p.metadata, p.pairs), name)
		f.fill(id, p.initial, 2049)
		f.end(id, 64<<10, false)
	}
	p.open16(f)
}
