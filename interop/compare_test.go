package interop_test

import (
	"fmt"
	"slices"
	"testing"

	"storj.io/drpc"

	"braid/internal/drpctest"
)

// playPair plays the script over loopback TCP.
//
// The tap, if there is one, records what each end writes.
func playPair(t *testing.T, p pair, o options, tap *tap) map[string][]string {
	t.Helper()
	pl := newPlay(t)
	pl.moody = o.SoftCancel && p.client.name == "stock"
	m := p.server.mux()
	must(t, m.Register(&pl.stage, drpctest.Desc{}))
	addr := drpctest.Serve(t, tap.server(p.server.server(m, o)))
	pl.dial = func() conn { return p.client.open(t, tap.client(drpctest.Dial(t, addr)), o) }
	return pl.run(script())
}

// difference is one line of the script's outcome that is another one with braid,
// on purpose.
type difference struct {
	what         string // braid does
	step         string
	stock, braid string                       // the line
	applies      func(p pair, hard bool) bool // hard: without SoftCancel
}

func braidClient(p pair, _ bool) bool     { return p.client.name == "braid" }
func braidClientHard(p pair, h bool) bool { return braidClient(p, h) && h }
func braidClientSoft(p pair, h bool) bool { return braidClient(p, h) && !h }
func bothBraid(p pair, _ bool) bool       { return braidClient(p, false) && p.server.name == "braid" }
func stockHangsUp(p pair, hard bool) bool {
	return p.client.name == "stock" && p.server.name == "braid" && hard
}

// differences is the whole list. Everything else is the same.
var differences = []difference{
	// A cancellation costs the stream, and never the connection. Stock needs
	// SoftCancel for that, and then it holds only while nothing is being sent.
	{"the connection survives", "unary call is canceled", `next call: fails`, `next call: "next"`, braidClientHard},
	{"the connection survives", "unary call's deadline passes", `next call: fails`, `next call: "next"`, braidClientHard},
	{"the connection survives", "unary call is canceled", `next call: either`, `next call: "next"`, braidClientSoft},
	{"the connection survives", "unary call's deadline passes", `next call: either`, `next call: "next"`, braidClientSoft},
	{"the connection survives", "stream is canceled", `next call: fails`, `next call: "next"`, braidClientHard},
	{"the connection survives", "stream's deadline passes", `next call: fails`, `next call: "next"`, braidClientHard},

	// io.EOF from a send means that the peer has ended the stream. Where it was
	// the caller's own context, that one's error says so.
	{"a send tells why", "stream is canceled", `send: EOF`, `send: canceled`, braidClient},
	{"a send tells why", "stream's deadline passes", `send: EOF`, `send: deadline exceeded`, braidClient},

	// Cancel has a code, so that a deadline is one on both sides.
	{"the context tells why", "stream's deadline passes", `context: canceled`, `context: deadline exceeded`, braidClient},
	{"the deadline travels", "handler sees the deadline", `server: deadline: false`, `server: deadline: true`, bothBraid},
	{"the server learns why", "unary call's deadline passes",
		`server: context: canceled`, `server: context: deadline exceeded`, bothBraid},
	{"the server learns why", "stream's deadline passes",
		`server: recv: canceled, context: canceled, send: EOF`,
		`server: recv: deadline exceeded, context: deadline exceeded, send: EOF`, bothBraid},

	// The connection being gone is not the regular end of the stream. To a
	// handler, it still is a cancellation.
	{"a lost connection is not io.EOF", "stream is canceled",
		`server: recv: canceled, context: canceled, send: EOF`,
		`server: recv: canceled, context: canceled, send: canceled`, stockHangsUp},
	{"a lost connection is not io.EOF", "stream's deadline passes",
		`server: recv: canceled, context: canceled, send: EOF`,
		`server: recv: canceled, context: canceled, send: canceled`, stockHangsUp},
}

// expected is what the reference says, with the differences that apply.
func expected(t *testing.T, reference map[string][]string, p pair, hard bool) map[string][]string {
	want := make(map[string][]string, len(reference))
	for step, lines := range reference {
		want[step] = slices.Clone(lines)
	}
	for _, d := range differences {
		if !d.applies(p, hard) {
			continue
		}
		i := slices.Index(reference[d.step], d.stock)
		if i < 0 {
			t.Errorf("%s (%s): stock does not say %s", d.step, d.what, d.stock)
			continue
		}
		want[d.step][i] = d.braid
	}
	return want
}

// TestEveryCombinationHasStocksOutcomes plays one script over all four
// combinations and compares what client and server get to see: the shapes of
// call, metadata, errors with and without code, ends by either side, cancel and
// deadline (M1). Stock with stock is the reference.
func TestEveryCombinationHasStocksOutcomes(t *testing.T) {
	for _, soft := range []bool{false, true} {
		t.Run(fmt.Sprintf("SoftCancel=%v", soft), func(t *testing.T) {
			o := options{SoftCancel: soft}
			reference := playPair(t, pairs[0], o, nil)
			for _, p := range pairs[1:] {
				t.Run(p.String(), func(t *testing.T) {
					got := playPair(t, p, o, nil)
					want := expected(t, reference, p, !soft)
					for _, s := range script() {
						compare(t, s.name, got[s.name], want[s.name])
					}
				})
			}
		})
	}
}

// compare reports the lines that are not what they should be.
func compare(t *testing.T, step string, got, want []string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		g, w := "(nothing)", "(nothing)"
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w {
			t.Errorf("%s, line %d:\ngot  %s\nwant %s", step, i+1, g, w)
		}
	}
}

// TestHundredCallsInARowOfEachShape makes them on one connection (M1).
func TestHundredCallsInARowOfEachShape(t *testing.T) {
	forEachPair(t, func(t *testing.T, p pair) {
		c := p.connect(t, &drpctest.Service{}, options{})
		for _, s := range shapes {
			for i := range 100 {
				if err := s.call(bg, c, fmt.Sprintf("%s-%d", s.name, i)); err != nil {
					t.Fatalf("%s, call %d: %v", s.name, i, err)
				}
			}
		}
	})
}

// TestBothSidesMaySendAtOnce, more than all buffers on the way can hold.
func TestBothSidesMaySendAtOnce(t *testing.T) {
	const messages = 20
	exchange := func(stream drpc.Stream) error {
		sent := later(func() error {
			for range messages {
				if err := drpctest.Send(stream, large); err != nil {
					return fmt.Errorf("send: %w", err)
				}
			}
			return stream.CloseSend()
		})
		for range messages {
			got, err := drpctest.Recv(stream)
			if err := check(got, err, large); err != nil {
				return fmt.Errorf("recv: %w", err)
			}
		}
		return <-sent
	}
	forEachPair(t, func(t *testing.T, p pair) {
		c := p.connect(t, &drpctest.Service{BidiFn: exchange}, options{})
		must(t, stream(bg, c, drpctest.Bidi, exchange))
	})
}
