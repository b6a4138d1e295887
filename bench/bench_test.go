package bench

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"braid/bench/internal/floor"
	"braid/bench/internal/job"
	"braid/bench/internal/measure"
	"braid/bench/internal/rig"
	"braid/bench/internal/stack"
)

const kib, mib = 1 << 10, 1 << 20

// BenchmarkUnary measures calls: one operation is one call that returned.
func BenchmarkUnary(b *testing.B) {
	benchStacks(b, job.Unary, rig.TCP, []int{1, 64, 1000}, []int{16, kib})
	benchStacks(b, job.Unary, rig.TLS, []int{64}, []int{16})
	benchStacks(b, job.Unary, rig.Processes, []int{1, 64}, []int{16})
}

// BenchmarkUpload measures messages from the client to the server: one operation
// is one message that arrived.
func BenchmarkUpload(b *testing.B) {
	benchStacks(b, job.Upload, rig.TCP, []int{1}, []int{16, kib, mib, 64 * mib})
	benchStacks(b, job.Upload, rig.TCP, []int{16}, []int{kib})
	benchStacks(b, job.Upload, rig.TLS, []int{1}, []int{mib})
	benchStacks(b, job.Upload, rig.Processes, []int{1}, []int{mib})
}

// BenchmarkDownload measures messages from the server to the client: one
// operation is one message that arrived.
func BenchmarkDownload(b *testing.B) {
	benchStacks(b, job.Download, rig.TCP, []int{1}, []int{16, kib, mib, 64 * mib})
	benchStacks(b, job.Download, rig.TCP, []int{16}, []int{kib})
}

// BenchmarkPingPong measures streams that stay open: one operation is one
// message and its answer.
func BenchmarkPingPong(b *testing.B) {
	benchStacks(b, job.PingPong, rig.TCP, []int{1, 64}, []int{16})
}

// BenchmarkOpenClose measures short streams: one operation opens a stream,
// sends one message, receives one, and closes the stream.
func BenchmarkOpenClose(b *testing.B) {
	benchStacks(b, job.OpenClose, rig.TCP, []int{1, 64}, []int{16})
}

// BenchmarkMixed measures small calls beside uploads that never pause: one
// operation is one call that returned. What the uploads allocate meanwhile counts
// with it.
func BenchmarkMixed(b *testing.B) {
	benchStacks(b, job.Mixed, rig.TCP, []int{4}, []int{16})
}

// BenchmarkIdle measures calls beside streams that are open and do nothing: one
// operation is one call that returned. The metrics of a stream are what the
// streams, of both ends, take by being open.
func BenchmarkIdle(b *testing.B) {
	benchStacks(b, job.Idle, rig.TCP, []int{200}, []int{16})
}

// BenchmarkConnections measures calls of a thousand callers, who share a number of
// connections: one operation is one call that returned.
func BenchmarkConnections(b *testing.B) {
	benchStacks(b, job.Connections, rig.TCP, []int{1, 100, 1000}, []int{16})
}

// BenchmarkFloor measures the ways to write that the floor has: one operation is
// one echo over one TCP connection with nothing around it.
func BenchmarkFloor(b *testing.B) {
	for _, callers := range []int{1, 64, 1000} {
		for _, yields := range []int{floor.Direct, 0, 1, 2} {
			c := benchCase{kind: job.Unary, callers: callers, size: 16, stack: stack.FloorOf(yields)}
			c.run(b, fmt.Sprintf("callers=%d/size=16B/writer=%s", callers, writerName(yields)))
		}
	}
}

// writerName names a way of writing.
func writerName(yields int) string {
	if yields == floor.Direct {
		return "direct"
	}
	return fmt.Sprintf("yield%d", yields)
}

// benchStacks measures a kind of work with every stack.
func benchStacks(b *testing.B, kind job.Kind, transport rig.Transport, callers, sizes []int) {
	for _, n := range callers {
		for _, size := range sizes {
			for _, st := range stack.All() {
				name := kind.Case(n, size)
				if transport != rig.TCP {
					name += "/transport=" + string(transport)
				}
				c := benchCase{kind: kind, transport: transport, callers: n, size: size, stack: st}
				c.run(b, name+"/stack="+st.Name)
			}
		}
	}
}

// benchCase is one benchmark.
type benchCase struct {
	kind          job.Kind
	transport     rig.Transport
	callers, size int
	stack         stack.Stack
}

// run measures. What is measured is started when it is first wanted and kept
// while b.N grows, so that a thousand connections are opened once only. It is
// gone before the next benchmark starts.
func (c benchCase) run(b *testing.B, name string) {
	var s *started
	b.Run(name, func(b *testing.B) {
		if err := c.kind.Check(c.stack, c.callers, c.size); err != nil {
			b.Skip(err)
		}
		if s == nil {
			s = c.start(b)
			if err := s.job.Run(min(warmUp, max(1, warmBytes/c.size))); err != nil {
				b.Fatal(err)
			}
		}
		b.SetBytes(int64(c.size))
		b.ReportAllocs() // Of both sides, if the server is in the same process.
		b.ResetTimer()
		if err := s.job.Run(b.N); err != nil {
			b.Fatal(err)
		}
		if s.idle != nil {
			b.ReportMetric(s.idle.Bytes, "bytes/stream")
			b.ReportMetric(s.idle.Goroutines, "goroutines/stream")
		}
	})
	if s != nil {
		s.close(b)
	}
}

// How much work is done before anything is measured, in units and in bytes.
const (
	warmUp    = 100
	warmBytes = 16 * mib
)

// started is what a benchmark works with.
type started struct {
	rig  *rig.Rig
	job  job.Job
	idle *measure.Idle // of job.Idle alone
}

// start starts a server, a client and a job.
func (c benchCase) start(b *testing.B) *started {
	b.Helper()
	ctx := b.Context()
	var before measure.Footprints
	var err error
	if c.kind.Name == job.Idle.Name {
		if before, err = measure.Reference(ctx, c.stack, c.transport, c.size); err != nil {
			b.Fatal(err)
		}
	}
	s := new(started)
	s.rig, err = rig.Start(ctx, c.stack, rig.Config{Transport: c.transport, Setup: c.kind.Setup(c.callers, c.size)})
	if err != nil {
		b.Fatal(err)
	}
	if note := s.rig.Note(); note != "" {
		b.Log(note)
	}
	// The job outlives this run of the benchmark, and so its context.
	s.job, err = c.kind.New(context.WithoutCancel(ctx), job.Load{Client: s.rig.Client(), Callers: c.callers, Size: c.size})
	if err != nil {
		s.rig.Kill()
		b.Fatal(err)
	}
	if c.kind.Name == job.Idle.Name {
		after, err := measure.FootprintsOf(s.rig)
		if err != nil {
			b.Fatal(err)
		}
		s.idle = after.Per(before, c.callers)
	}
	return s
}

// close ends everything.
func (s *started) close(b *testing.B) {
	if err := errors.Join(s.job.Close(), s.rig.Close()); err != nil {
		b.Error(err)
	}
}
