package drpcmanager_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"storj.io/drpc"

	"braid/drpcmanager"
	"braid/drpcserver"
	"braid/drpcwire"
	"braid/internal/drpctest"
)

func TestOptionsThatCannotBeAreRefused(t *testing.T) {
	type opts = drpcmanager.Options
	window := func(w drpcmanager.Window) opts { return opts{Window: w} }
	const both, serverOnly = "both", "server"
	for _, c := range []struct {
		opts opts
		who  string
		want string
	}{
		{window(drpcmanager.Window{Initial: 1023}), both, "Window.Initial is 1023, less than 1024"},
		{window(drpcmanager.Window{Maximum: 64<<10 - 1}), both, "Window.Maximum is 65535, less than Window.Initial, 65536"},
		{window(drpcmanager.Window{Maximum: -1}), both, "Window.Maximum is -1, less than Window.Initial, 65536"},
		{window(drpcmanager.Window{Initial: 64<<10 + 1}), serverOnly,
			"Limits.Streams (1024) with a Window.Initial of 65537 could hold more than Window.Total (67108864)"},
		{opts{Limits: drpcmanager.Limits{Streams: 1025}}, serverOnly,
			"Limits.Streams (1025) with a Window.Initial of 65536 could hold more than Window.Total (67108864)"},
		{opts{Keepalive: drpcmanager.Keepalive{Interval: 10*time.Second - 1}}, both, "Keepalive.Interval is 9.999999999s, less than 10s"},
		{opts{Keepalive: drpcmanager.Keepalive{Timeout: -1}}, both, "Keepalive.Timeout is -1ns"},
		{opts{Multiplex: -1}, both, "Multiplex is Multiplex(-1)"},
		{opts{Multiplex: drpcmanager.MultiplexNever + 1}, both, "Multiplex is Multiplex(3)"},
	} {
		t.Run(c.want, func(t *testing.T) { testRefusedOptions(t, c.opts, c.who == serverOnly, c.want) })
	}
}

// On 32 bits there is no int that is too large for a window.
func TestAWindowLargerThanAnyCreditIsRefused(t *testing.T) {
	tooLarge := drpcwire.MaxCredit
	tooLarge++
	if tooLarge < 0 {
		t.Skip("an int has 32 bits")
	}
	for _, w := range []drpcmanager.Window{{Initial: tooLarge, Total: -1}, {Maximum: tooLarge}} {
		testRefusedOptions(t, drpcmanager.Options{Window: w}, false, "a window of more than 2147483647 bytes")
	}
}

func testRefusedOptions(t *testing.T, opts drpcmanager.Options, serverOnly bool, want string) {
	want = "invalid options: " + want
	refused := func(who string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) || !drpc.ClosedError.Has(err) {
			t.Errorf("%s: got %v", who, err)
		}
	}
	a, b := drpctest.Pipe()
	man := drpcmanager.NewServer(t.Context(), a, opts, drpcmanager.Hooks{})
	<-man.Closed()
	refused("server", man.Err())
	if err := man.CloseNow(drpcmanager.ErrClosed); err != nil {
		t.Error(err)
	}
	if _, err := b.Write([]byte("x")); err == nil {
		t.Error("the transport is open")
	}
	a, _ = drpctest.Pipe()
	refused("ServeOne", drpcserver.NewWithOptions(nil, drpcserver.Options{Manager: opts}).ServeOne(t.Context(), a))

	a, _ = drpctest.Pipe()
	man = drpcmanager.NewClient(a, opts)
	_, err := man.NewClientStream(t.Context(), "/rpc", nil)
	if serverOnly {
		if err != nil {
			t.Errorf("a client, whom it does not concern, got %v", err)
		}
	} else {
		refused("client", err)
		_, unary := man.NewUnaryStream(t.Context(), "/rpc", nil, nil)
		refused("unary call", unary)
	}
	_ = man.CloseNow(drpcmanager.ErrClosed)
}

func TestOptionsAtTheirLimitsAreTaken(t *testing.T) {
	for name, opts := range map[string]drpcmanager.Options{
		"zero":                        {},
		"the smallest window":         {Window: drpcmanager.Window{Initial: 1 << 10, Maximum: 1 << 10}},
		"the largest window":          {Window: drpcmanager.Window{Initial: 1<<31 - 1, Maximum: 1<<31 - 1, Total: -1}},
		"a window above the maximum":  {Window: drpcmanager.Window{Initial: 32 << 20, Total: -1}}, // which follows
		"all that there may be":       {Limits: drpcmanager.Limits{Streams: 1 << 16}, Window: drpcmanager.Window{Initial: 1 << 10}},
		"no flow control":             {Limits: drpcmanager.Limits{Streams: 1 << 30}, Window: drpcmanager.Window{Initial: -1}},
		"any number of streams":       {Limits: drpcmanager.Limits{Streams: -1}},
		"no bound for initial ones":   {Limits: drpcmanager.Limits{Streams: 1 << 20}, Window: drpcmanager.Window{Total: -1}},
		"no growth":                   {Window: drpcmanager.Window{Budget: -1}},
		"pings as often as there may": {Keepalive: drpcmanager.Keepalive{Interval: 10 * time.Second, Timeout: 1}},
		"no pings":                    {Keepalive: drpcmanager.Keepalive{Interval: -1}},
	} {
		bubble(t, name, func(t *testing.T) {
			o := newOverLimit(t, opts)
			o.lives()
		})
	}
}

// Where negative means no limit, what is far above the default is taken.
func TestNegativeMeansNoLimit(t *testing.T) {
	none := func(l drpcmanager.Limits) drpcmanager.Options {
		return drpcmanager.Options{Limits: l, Keepalive: drpcmanager.Keepalive{Interval: -1}}
	}
	bubble(t, "Streams", func(t *testing.T) {
		o := newOverLimit(t, none(drpcmanager.Limits{Streams: -1}))
		for id := 3; id < 5000; id += 2 {
			o.Send(fmt.Sprintf(`s%d m1 Invoke "/a"`, id))
		}
		o.lives()
		if got := len(o.acc.names()); got != 2500 || o.man.Streams() != got {
			t.Errorf("%d handlers run", got)
		}
	})
	bubble(t, "MethodName, Metadata, MetadataPairs, IncompleteBytes", func(t *testing.T) {
		o := newOverLimit(t, none(drpcmanager.Limits{MethodName: -1, Metadata: -1, MetadataPairs: -1, IncompleteBytes: -1}))
		o.SendRaw(openWith(3, pairsOf(50_000), strings.Repeat("n", 300_000)))
		o.lives()
		if names := o.acc.names(); len(names) != 2 || len(names[1]) != 300_000 {
			t.Errorf("%d calls were taken", len(names))
		}
	})
	bubble(t, "IncompleteInvokes and InvokeTimeout", func(t *testing.T) {
		o := newOverLimit(t, none(drpcmanager.Limits{IncompleteInvokes: -1, InvokeTimeout: -1}))
		for id := 3; id < 300; id += 2 {
			o.Send(fmt.Sprintf(`s%d m1 Invoke "/a" more`, id))
		}
		time.Sleep(1000 * time.Hour)
		o.lives()
		o.ExpectNothing()
	})
	bubble(t, "IdleFrames", func(t *testing.T) {
		o := newOverLimit(t, none(drpcmanager.Limits{IdleFrames: -1}))
		o.Send(repeat(10_000, `s0 m0 Kind(60) ctl`)...)
		o.lives()
	})
	bubble(t, "IdleFramesPerSecond", func(t *testing.T) {
		o := newOverLimit(t, none(drpcmanager.Limits{IdleFramesPerSecond: -1}))
		for range 10 {
			o.Send(repeat(1000, `s0 m0 Kind(60) ctl`)...)
			time.Sleep(time.Millisecond)
			o.lives()
		}
	})
	bubble(t, "FrameTimeout", func(t *testing.T) {
		o := newOverLimit(t, none(drpcmanager.Limits{FrameTimeout: -1}))
		fr := data(drpcwire.KindMessage, 1, 5, 100, true)
		o.SendRaw(fr[:50])
		time.Sleep(1000 * time.Hour)
		o.SendRaw(fr[50:])
		o.lives()
	})
	bubble(t, "QueueTimeout", func(t *testing.T) {
		q := newFullQueue(t, none(drpcmanager.Limits{QueueTimeout: -1}), func(*drpctest.Peer) {})
		q.fill(4097, 0)
		time.Sleep(1000 * time.Hour)
		q.waits()
		if _, err := q.acc.get(t, 1).RawRecv(); err != nil {
			t.Error(err)
		}
		q.goesOn()
		if q.acc.get(t, 1).IsTerminated() {
			t.Error("the stream has ended")
		}
	})
}

// A window that is negative is none: the peer is told of none, and sends as it
// likes.
func TestWithoutAWindowThereIsNoCredit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		man, peer, acc := newServer(t, drpcmanager.Options{Window: drpcmanager.Window{Initial: -1}})
		peer.Send(`s1 m1 Invoke "/a"`, `s1 m2 `+settings)
		peer.Expect(`s1 m1 Settings "\x01\x01\x03\x80\b\x04\x80\x80\x80\x02" ctl`)
		peer.Send(acknowledgement)
		for i := range uint64(10) {
			peer.SendRaw(data(drpcwire.KindMessage, 1, 5+i, 64<<10, true))
		}
		synctest.Wait()
		for range 10 {
			if got, err := drpctest.Recv(acc.get(t, 0)); len(got) != 64<<10 || err != nil {
				t.Errorf("got %d bytes, %v", len(got), err)
			}
		}
		peer.ExpectNothing()
		if own, credit := acc.get(t, 0).Window(); own != 0 || credit != 0 || man.Err() != nil {
			t.Errorf("windows of %d and %d (%v)", own, credit, man.Err())
		}
	})
}

// fullQueue is a server whose client does not keep to credit. Stream 3 is filled, and
// stream 1 shows whether the reader goes on.
type fullQueue struct {
	*drpctest.Peer
	t   *testing.T
	man *drpcmanager.Manager
	acc *accepted

	heard atomic.Int64 // messages that have come on stream 1
	asked int64        // as many have been looked for
}

// newFullQueue opens the streams; in between, the client announces itself or does not.
func newFullQueue(t *testing.T, opts drpcmanager.Options, announce func(*drpctest.Peer)) *fullQueue {
	t.Helper()
	man, peer, acc := newServer(t, opts)
	peer.Send(`s1 m1 Invoke "/other"`)
	announce(peer)
	peer.Send(`s3 m1 Invoke "/full"`)
	synctest.Wait()
	q := &fullQueue{Peer: peer, t: t, man: man, acc: acc}
	go func() { // until the connection ends
		for {
			if _, err := q.acc.get(t, 0).RawRecv(); err != nil {
				return
			}
			q.heard.Add(1)
		}
	}()
	return q
}

// fill sends n messages of this size on stream 3, and one on stream 1.
func (q *fullQueue) fill(n, size int) {
	for msg := range n {
		q.SendRaw(data(drpcwire.KindMessage, 3, uint64(5+msg), size, true))
	}
	q.Send(`s1 m900 Message "hello"`)
}

// waits checks that the reader does not go on, and that nobody is told anything.
func (q *fullQueue) waits() {
	q.t.Helper()
	synctest.Wait()
	q.ExpectNothing()
	if q.heard.Load() != q.asked {
		q.t.Error("the reader goes on")
	}
	if s := q.acc.get(q.t, 1); s.IsTerminated() {
		q.t.Error("the stream has ended")
	}
}

// goesOn checks that it does.
func (q *fullQueue) goesOn() {
	q.t.Helper()
	synctest.Wait()
	if q.asked++; q.heard.Load() != q.asked {
		q.t.Errorf("the other stream got %d messages, want %d (%v)", q.heard.Load(), q.asked, q.man.Err())
	}
}

// refused checks that stream 3, and nothing else, has ended because there is no room.
func (q *fullQueue) refused() {
	q.t.Helper()
	const text = "drpc: too much has come without flow control and is not received"
	got, _ := q.Next()
	if !strings.HasPrefix(got, "s3 m") || !strings.HasSuffix(got, ` Error "\x00\x00\x00\x00\x00\x00\x00\b`+text+`"`) {
		q.t.Errorf("the peer is told %s", got)
	}
	q.goesOn()
	s := q.acc.get(q.t, 1)
	for {
		if _, err := s.RawRecv(); err != nil { // what is queued comes first
			if !resourceExhausted(err) || !strings.Contains(err.Error(), strings.TrimPrefix(text, "drpc: ")) {
				q.t.Errorf("the handler got %v", err)
			}
			return
		}
	}
}

// unused checks that the budget has got back all that it gave.
func (q *fullQueue) unused() {
	q.t.Helper()
	if used, _ := q.man.Flow(); used != 0 || q.man.Err() != nil {
		q.t.Errorf("%d bytes of the budget are in use (%v)", used, q.man.Err())
	}
}

// announceOnly makes the client known that does not know of its credit yet.
func announceOnly(peer *drpctest.Peer) {
	peer.Send(`s1 m2 ` + settings)
	peer.Next()
}

func TestAFullQueueHoldsUpItsConnectionForSoLong(t *testing.T) {
	type opts = drpcmanager.Options
	unknown := func(*drpctest.Peer) {}
	budget := drpcmanager.Window{Budget: -1}
	for name, c := range map[string]struct {
		opts     opts
		announce func(*drpctest.Peer)
		n, size  int // messages that fill the queue
		timeout  time.Duration
	}{
		"4,096 messages":         {opts{}, unknown, 4096, 0, 5 * time.Minute},
		"1 MiB":                  {opts{}, unknown, 16, 64 << 10, 5 * time.Minute},
		"a time of its own":      {opts{Limits: drpcmanager.Limits{QueueTimeout: time.Second}}, unknown, 4096, 0, time.Second},
		"no budget":              {opts{Window: budget}, unknown, 64, 1<<10 - drpcwire.FrameCost, 5 * time.Minute},
		"a known peer":           {opts{Window: budget}, announceOnly, 64, 1<<10 - drpcwire.FrameCost, 3 * time.Second},
		"a known peer, no limit": {opts{Window: budget, Limits: drpcmanager.Limits{QueueTimeout: -1}}, announceOnly, 64, 1<<10 - drpcwire.FrameCost, 3 * time.Second},
	} {
		bubble(t, name, func(t *testing.T) {
			q := newFullQueue(t, c.opts, c.announce)
			q.fill(c.n, c.size)
			q.goesOn()
			q.ExpectNothing()
			q.SendRaw(data(drpcwire.KindMessage, 3, 5000, c.size, true))
			q.Send(`s1 m901 Message "hello"`)
			time.Sleep(c.timeout - 1)
			q.waits()
			time.Sleep(time.Nanosecond)
			q.refused()
			q.unused()
		})
	}
}

// largeMessage sends a message of n bytes on a stream, in frames of 64 KiB.
func (q *fullQueue) largeMessage(stream, message uint64, n int) {
	for ; n > 64<<10; n -= 64 << 10 {
		q.SendRaw(data(drpcwire.KindMessage, stream, message, 64<<10, false))
	}
	q.SendRaw(data(drpcwire.KindMessage, stream, message, n, true))
}

// TestABudgetOfNothingTakesOneLargeMessageAtATime of a client without credit, whether
// the handler waits for it or not.
func TestABudgetOfNothingTakesOneLargeMessageAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newFullQueue(t, drpcmanager.Options{Window: drpcmanager.Window{Budget: -1}}, func(*drpctest.Peer) {})
		q.Send(`s5 m1 Invoke "/large"`)
		receive := func() {
			t.Helper()
			synctest.Wait()
			if got, err := drpctest.Recv(q.acc.get(t, 2)); len(got) != 4<<20 || err != nil {
				t.Fatalf("%d bytes, %v", len(got), err)
			}
		}
		for msg := range uint64(3) {
			q.largeMessage(5, 10+msg, 4<<20)
			receive()
		}
		got := make(chan int)
		go func() {
			msg, _ := q.acc.get(t, 2).RawRecv()
			got <- len(msg)
		}()
		synctest.Wait()
		q.largeMessage(5, 20, 4<<20)
		if n := <-got; n != 4<<20 {
			t.Errorf("who waited got %d bytes", n)
		}
		q.largeMessage(5, 21, 4<<20)
		q.largeMessage(3, 21, 4<<20) // while the other one exceeds the budget
		q.Send(`s1 m900 Message "hello"`)
		q.refused()
		receive()
		q.unused()
	})
}

// TestAClientWithoutCreditMayBeFasterThanItsHandler: the handler takes a second for
// each large message, and loses none.
func TestAClientWithoutCreditMayBeFasterThanItsHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newFullQueue(t, drpcmanager.Options{}, func(*drpctest.Peer) {})
		const messages = 20
		for msg := range uint64(messages) {
			q.largeMessage(3, 10+msg, 4<<20)
		}
		q.Send(`s3 m1000 CloseSend`, `s1 m900 Message "hello"`)
		s := q.acc.get(t, 1)
		for msg := range messages {
			time.Sleep(time.Second)
			if got, err := drpctest.Recv(s); len(got) != 4<<20 || err != nil {
				t.Fatalf("message %d: %d bytes, %v", msg, len(got), err)
			}
		}
		q.goesOn()
		q.unused()
	})
}

// docs/limits.md states for every limit its default, and the test that goes over it.

const limitsFile = "../docs/limits.md"

// inSource are the limits that are no option, and where the code has them.
var inSource = map[string]string{
	"frame sent":                        `../drpcwire/split.go: const DefaultSplitSize = 64 << 10`,
	"frame taken":                       `../drpcwire/reader.go: maxFrameLength = 1 << 30`,
	"text of an Error, sent":            `../drpcwire/error.go: const MaxErrorText = 16 << 10`,
	"text of an Error, taken":           `../drpcstream/recv.go: maxErrorData = 8 + 64<<10`,
	"data of Cancel, Close, CloseSend":  `../drpcstream/recv.go: maxEndData = 1 << 10`,
	"text of a GoAway":                  `../drpcwire/control.go: const maxGoAwayText = 1 << 10`,
	"data of Settings":                  `../drpcwire/settings.go: const maxSettingsLen = 1 << 10`,
	"credit":                            `../drpcwire/settings.go: const MaxCredit = 1<<31 - 1`,
	"grants for each frame sent":        `../drpcstream/outflow.go: const updatesPerFrame = 10`,
	"frames of streams that have ended": `../drpcmanager/control.go: const lateFrames = 16`,
	"pings too soon":                    `../drpcmanager/ping.go: maxStrikes = 3`,
	"messages queued, without credit":   `../drpcstream/ring.go: ringMaxSlots = 4096`,
	"bytes queued, without credit":      `../drpcstream/ring.go: ringMaxBytes = 1 << 20`,
	"not charged, without credit":       `../drpcstream/inflow.go: const freeWithoutCredit = 64 << 10`,
	"Limits.QueueTimeout":               `../drpcmanager/limits.go: or(l.QueueTimeout, 5*time.Minute`,
	"the same, of a known peer":         `../drpcstream/wait.go: const knownPatience = 3 * time.Second`,
	"queued for writing":                `../drpcwire/mux_writer.go: DefaultMaximumPending = 1 << 20`,
	"queued for writing, of a stream":   `../drpcwire/mux_writer.go: DefaultMaximumPendingPerStream = 64 << 10`,
	"ends and refusals not read":        `../drpcwire/mux_writer.go: overflowFactor = 8`,
	"MaximumConnections":                `../drpcserver/options.go: or(o.MaximumConnections, 10_000)`,
	"MaximumHandlers":                   `../drpcserver/options.go: or(o.MaximumHandlers, 65_536)`,
}

func TestTheTableOfLimitsIsThatOfTheCode(t *testing.T) {
	text, err := os.ReadFile(limitsFile)
	if err != nil {
		t.Fatal(err)
	}
	tests := declaredTests(t)
	defaults := drpcmanager.Defaults()
	seen := map[string]bool{}
	for _, line := range strings.Split(section(t, string(text), "The limits"), "\n") {
		cells := strings.Split(strings.Trim(line, "|"), "|")
		name := strings.Trim(strings.TrimSpace(cells[0]), "`")
		if len(cells) != 5 || name == "Limit" || strings.HasPrefix(name, "---") {
			continue
		}
		if seen[name] {
			t.Errorf("%s is there twice", name)
		}
		seen[name] = true
		want := number(strings.TrimSpace(cells[1]))
		switch {
		case inSource[name] != "":
			checkSource(t, name, inSource[name], want)
		case defaults[name] == 0:
			t.Errorf("%s: there is no such limit", name)
		case defaults[name] != want:
			t.Errorf("%s: the document says %s, the code %d", name, cells[1], defaults[name])
		}
		names := regexp.MustCompile("`(Test\\w+)`").FindAllStringSubmatch(cells[4], -1)
		if len(names) == 0 {
			t.Errorf("%s: no test", name)
		}
		for _, test := range names {
			if !tests[test[1]] {
				t.Errorf("%s: there is no %s", name, test[1])
			}
		}
	}
	for name := range defaults {
		if !seen[name] {
			t.Errorf("the document does not have %s", name)
		}
	}
	for name := range inSource {
		if !seen[name] {
			t.Errorf("the document does not have %s", name)
		}
	}
}

// checkSource checks that a file has the line, and that it says what the document
// does.
func checkSource(t *testing.T, name, where string, want int64) {
	file, line, _ := strings.Cut(where, ": ")
	source, err := os.ReadFile(file)
	if err != nil || !regexp.MustCompile(strings.ReplaceAll(regexp.QuoteMeta(line), " ", `\s+`)).Match(source) {
		t.Errorf("%s: %s has no %q (%v)", name, file, line, err)
	}
	_, expr, found := strings.Cut(line, "= ")
	if !found {
		_, expr, _ = strings.Cut(strings.TrimSuffix(line, ")"), ", ")
	}
	if got := eval(expr); got != want {
		t.Errorf("%s: the document says %d, %s %d", name, want, file, got)
	}
}

// eval evaluates what the constants above are made of.
func eval(expr string) int64 {
	if a, b, ok := strings.Cut(expr, " + "); ok {
		return eval(b) + 0*eval(a) // the code of an Error is not of its text
	}
	if a, b, ok := strings.Cut(expr, " - "); ok {
		return eval(a) - eval(b)
	}
	expr = strings.ReplaceAll(expr, " ", "")
	for unit, d := range map[string]time.Duration{"*time.Second": time.Second, "*time.Minute": time.Minute} {
		if a, ok := strings.CutSuffix(expr, unit); ok {
			return eval(a) * int64(d)
		}
	}
	if a, b, ok := strings.Cut(expr, "<<"); ok {
		return eval(a) << eval(b)
	}
	n, err := strconv.ParseInt(strings.ReplaceAll(expr, "_", ""), 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

// number reads "1,024", "64 KiB", "10 s", "5 min", "2^31-1".
func number(cell string) int64 {
	if base, ok := strings.CutPrefix(cell, "2^"); ok {
		exp, minus, _ := strings.Cut(base, "-")
		return 1<<number(exp) - number(minus)
	}
	digits, unit, _ := strings.Cut(cell, " ")
	n, err := strconv.ParseInt(strings.ReplaceAll(digits, ",", ""), 10, 64)
	if err != nil {
		return 0 // no default is; the caller tells
	}
	return n * map[string]int64{"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "s": int64(time.Second), "min": int64(time.Minute)}[unit]
}

// section returns the part of a document under a heading.
func section(t *testing.T, text, heading string) string {
	t.Helper()
	_, part, ok := strings.Cut(text, "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("%s has no section %q", limitsFile, heading)
	}
	part, _, _ = strings.Cut(part, "\n## ")
	return part
}

func declaredTests(t *testing.T) map[string]bool {
	t.Helper()
	declared := map[string]bool{}
	files, err := filepath.Glob("../*/*_test.go")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d files with tests (%v)", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			if errors.Is(err, os.ErrNotExist) {
				continue
			}
			t.Fatal(err)
		}
		for _, match := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllSubmatch(text, -1) {
			declared[string(match[1])] = true
		}
	}
	return declared
}
