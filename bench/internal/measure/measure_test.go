package measure

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"braid/bench/internal/blob"
	"braid/bench/internal/job"
	"braid/bench/internal/stack"
)

// brief measures as little as possible.
var brief = Options{Time: time.Millisecond, Warm: time.Millisecond}

func TestEveryStackIsMeasuredOverEveryTransport(t *testing.T) {
	works := []Cell{{Work: "Mixed", Callers: 1, Size: 16}, {Work: "Unary", Callers: 2, Size: 16}, {Work: "Upload", Callers: 1, Size: 1 << 10}}
	for _, transport := range []string{TCP, TLS, Processes} {
		for _, cell := range works {
			cell.Transport = transport
			for _, st := range stack.All() {
				t.Run(fmt.Sprintf("%v/stack=%s", cell, st.Name), func(t *testing.T) {
					if err := Supports(st, cell); err != nil {
						t.Skip(err)
					}
					opts := brief
					if cell.Work == "Mixed" {
						opts = Options{Time: 30 * time.Millisecond} // for some of the bulk to arrive
					}
					f, err := Measure(t.Context(), st, cell, opts)
					if err != nil {
						t.Fatal(err)
					}
					checkFigures(t, st, cell, f)
				})
			}
		}
	}
}

// checkFigures checks that there are the figures that the cell has, and no
// others.
func checkFigures(t *testing.T, st stack.Stack, cell Cell, f Figures) {
	t.Helper()
	if f.Ops < 1 || f.Elapsed < brief.Time*3/4 {
		t.Errorf("%d operations in %v", f.Ops, f.Elapsed)
	}
	if separate := cell.Transport == Processes; math.IsNaN(f.BytesPerOp) != separate || math.IsNaN(f.AllocsPerOp) != separate {
		t.Errorf("%v bytes and %v allocations per operation", f.BytesPerOp, f.AllocsPerOp)
	}
	if oneWay := cell.Work == "Upload"; oneWay != (f.Latency == nil) {
		t.Errorf("latencies: %v", f.Latency)
	} else if !oneWay && f.Latency.TotalCount() != f.Ops {
		t.Errorf("%d latencies of %d operations", f.Latency.TotalCount(), f.Ops)
	}
	if mixed := cell.Work == "Mixed"; mixed != (f.BulkBytes > 0) {
		t.Errorf("%d bytes of bulk", f.BulkBytes)
	}
	if f.Idle != nil {
		t.Errorf("streams that idle: %+v", f.Idle)
	}
	if st.Multiplexed && f.Conns != 1 || f.Conns < 1 {
		t.Errorf("%d connections", f.Conns)
	}
}

func TestIdleStreamsTakeMemoryAndGoroutines(t *testing.T) {
	for _, transport := range []string{TCP, Processes} {
		cell := Cell{Work: "Idle", Callers: 100, Size: 16, Transport: transport}
		f, err := Measure(t.Context(), stack.Braid(), cell, brief)
		if err != nil {
			t.Fatal(err)
		}
		i := f.Idle
		if i == nil || f.Ops < 1 || i.Bytes < 500 || i.Bytes > 100_000 || i.Goroutines < 0.9 || i.Goroutines > 4 {
			t.Fatalf("%s: %+v after %d operations", transport, i, f.Ops)
		}
		if transport == TCP && !(math.IsNaN(i.ServerBytes) && math.IsNaN(i.ServerGoroutines)) {
			t.Errorf("the server in this process is told apart: %+v", i)
		}
		if transport == Processes && !(i.ServerBytes > 0 && i.ServerBytes < i.Bytes && i.ServerGoroutines >= 0.9) {
			t.Errorf("the server: %+v", i)
		}
	}
}

func TestLatenciesAreLeftOutIfNobodyWantsThem(t *testing.T) {
	opts := brief
	opts.NoLatency = true
	f, err := Measure(t.Context(), stack.Floor(), Cell{Work: "Unary", Callers: 1, Size: 16, Transport: TCP}, opts)
	if err != nil || f.Latency != nil || f.Ops < 1 {
		t.Errorf("%+v, %v", f, err)
	}
}

func TestEveryCellMakesSense(t *testing.T) {
	seen := make(map[Cell]bool)
	var names []string
	for _, cell := range Cells() {
		if seen[cell] {
			t.Errorf("%v is there twice", cell)
		}
		seen[cell] = true
		if err := Supports(stack.Braid(), cell); err != nil {
			t.Errorf("%v: %v", cell, err)
		}
		names = append(names, cell.String())
	}
	for _, want := range []string{"Unary/callers=64/size=16B", "Download/streams=16/size=1MiB", "Upload/streams=1/size=64MiB", "PingPong/streams=64/size=16B/transport=tls"} {
		if !slices.Contains(names, want) {
			t.Errorf("%q is not among %q", want, names)
		}
	}
}

func TestWhatCannotBeMeasuredIsRefused(t *testing.T) {
	cell := Cell{Work: "Unary", Callers: 1, Size: 16, Transport: TCP}
	with := func(change func(*Cell)) Cell {
		c := cell
		change(&c)
		return c
	}
	for want, c := range map[string]Cell{
		`work "Sleep" is none of`:        with(func(c *Cell) { c.Work = "Sleep" }),
		`transport "pigeons" is none of`: with(func(c *Cell) { c.Transport = "pigeons" }),
		"0 callers":                      with(func(c *Cell) { c.Callers = 0 }),
		"messages of 15 bytes":           with(func(c *Cell) { c.Size = 15 }),
		"no streams to the server":       with(func(c *Cell) { c.Work = "Upload" }),
	} {
		if _, err := Measure(t.Context(), stack.NetRPC(), c, brief); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: got %v, want %q", c, err, want)
		}
		if err := Supports(stack.NetRPC(), c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: got %v, want %q", c, err, want)
		}
	}
	for _, opts := range []Options{{}, {Time: -1}, {Time: 1, Warm: -1}} {
		if _, err := Measure(t.Context(), stack.NetRPC(), cell, opts); err == nil || !strings.Contains(err.Error(), "has to be positive") {
			t.Errorf("%+v: got %v", opts, err)
		}
	}
}

// stuck is a stack whose calls, after the first, do what call does.
func stuck(call func(context.Context) error) stack.Stack {
	return stack.Stack{
		Name: "stuck",
		Serve: func(ctx context.Context, lis net.Listener, _ *stack.Service, _ stack.Setup) error {
			<-ctx.Done()
			return lis.Close()
		},
		Client: func(context.Context, stack.Dial, stack.Setup) (stack.Client, error) {
			return &stuckClient{call: call}, nil
		},
	}
}

type stuckClient struct {
	call   func(context.Context) error
	called bool // the first call has been made, which is before all others
}

func (c *stuckClient) Echo(ctx context.Context, in, out *blob.Blob) error {
	if c.called {
		return c.call(ctx)
	}
	c.called = true
	*out = *in
	return nil
}

func (*stuckClient) Open(context.Context, stack.Method) (stack.Stream, error) {
	return nil, errors.New("no streams here")
}

func (*stuckClient) Close() error { return nil }

func TestTheContextEndsWhatHangs(t *testing.T) {
	reason := errors.New("no more patience")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Millisecond, reason)
	defer cancel()
	hang := stuck(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
	cell := Cell{Work: "Unary", Callers: 1, Size: 16, Transport: TCP}
	if _, err := Measure(ctx, hang, cell, Options{Time: time.Hour}); !errors.Is(err, reason) {
		t.Errorf("got %v, want %v", err, reason)
	}
}

func TestWorkThatFailsIsAnError(t *testing.T) {
	broken := errors.New("broken today")
	st := stuck(func(context.Context) error { return broken })
	cell := Cell{Work: "Unary", Callers: 1, Size: 16, Transport: TCP}
	f, err := Measure(t.Context(), st, cell, brief)
	if !errors.Is(err, broken) || f.Ops != 0 {
		t.Errorf("got %+v, %v, want %v", f, err, broken)
	}
	cell.Work = "PingPong"
	if _, err := Measure(t.Context(), st, cell, brief); err == nil || !strings.Contains(err.Error(), "no streams here") {
		t.Errorf("got %v", err)
	}
}

// counted is a job whose units take some time.
type counted struct {
	units int
	took  time.Duration
}

func (c *counted) Run(n int) error {
	c.units += n
	time.Sleep(time.Duration(n) * c.took) // in a bubble, where time is virtual
	return nil
}

func (*counted) Close() error { return nil }

var _ job.Job = (*counted)(nil)

func TestAJobIsRunForAboutTheTimeGiven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &counted{took: 100 * time.Microsecond}
		work, err := RunFor(t.Context(), c, 20*time.Millisecond, 1)
		if want := (Work{Units: 200, Took: 20 * time.Millisecond}); err != nil || work != want || c.units != want.Units {
			t.Errorf("%+v, %v, and the job did %d units, want %+v", work, err, c.units, want)
		}
	})
	if got := (Work{Units: 10, Took: time.Second}).fitting(3 * time.Second); got != 30 {
		t.Errorf("%d units fit, want 30", got)
	}
	if got := (Work{Units: 1, Took: time.Hour}).fitting(time.Second); got != 1 {
		t.Errorf("%d units fit, want at least one", got)
	}
}
