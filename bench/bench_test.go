package bench

import (
	"fmt"
	"testing"

	"braid/bench/internal/floor"
	"braid/bench/internal/job"
	"braid/bench/internal/rig"
)

// BenchmarkUnary measures calls: one operation is one call that returned. With
// braid all callers share one connection; with stock each has its own, out of
// a pool.
func BenchmarkUnary(b *testing.B) {
	for _, callers := range []int{1, 64, 1000} {
		for _, size := range []int{16, 1 << 10} {
			benchStacks(b, job.Unary, callers, size)
		}
	}
}

// BenchmarkUpload measures messages from the client to the server over one
// stream: one operation is one message that arrived.
func BenchmarkUpload(b *testing.B) {
	for _, size := range []int{16, 1 << 10, 1 << 20} {
		benchStacks(b, job.Upload, 1, size)
	}
}

// BenchmarkDownload measures messages from the server to the client over one
// stream: one operation is one message that arrived.
func BenchmarkDownload(b *testing.B) {
	for _, size := range []int{16, 1 << 10, 1 << 20} {
		benchStacks(b, job.Download, 1, size)
	}
}

// BenchmarkPingPong measures streams that stay open: one operation is one
// message and its answer.
func BenchmarkPingPong(b *testing.B) {
	for _, streams := range []int{1, 64} {
		benchStacks(b, job.PingPong, streams, 16)
	}
}

// BenchmarkOpenClose measures short streams: one operation opens a stream,
// sends one message, receives one, and closes the stream.
func BenchmarkOpenClose(b *testing.B) {
	for _, streams := range []int{1, 64} {
		benchStacks(b, job.OpenClose, streams, 16)
	}
}

// BenchmarkFloor measures what an echo over one TCP connection costs with
// nothing around it: one operation is one echo.
func BenchmarkFloor(b *testing.B) {
	for _, callers := range []int{1, 64, 1000} {
		for _, yields := range []int{floor.Direct, 0, 1, 2} {
			name := fmt.Sprintf("callers=%d/size=16B/writer=%s", callers, writerName(yields))
			benchJob(b, name, 16, func(testing.TB) (job.Job, func(), error) {
				f, err := floor.New(callers, 16, yields)
				return f, func() {}, err
			})
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
func benchStacks(b *testing.B, kind job.Kind, callers, size int) {
	for _, st := range rig.Stacks() {
		name := kind.Case(callers, size) + "/stack=" + st.Name
		benchJob(b, name, size, func(tb testing.TB) (job.Job, func(), error) {
			r, err := rig.Start(st, callers)
			if err != nil {
				return nil, nil, err
			}
			if r.Note() != "" {
				tb.Log(r.Note())
			}
			j, err := kind.New(r.Conn(), callers, size)
			return j, func() { closeRig(tb, r) }, err
		})
	}
}

// benchJob measures a job. The job is made when it is first wanted and kept
// while b.N grows, so that a thousand connections are opened once only. It is
// gone before the next benchmark starts.
func benchJob(b *testing.B, name string, size int, start func(testing.TB) (job.Job, func(), error)) {
	var j job.Job
	var stop func()
	b.Run(name, func(b *testing.B) {
		if j == nil {
			var err error
			if j, stop, err = start(b); err != nil {
				b.Fatal(err)
			}
			if err := j.Run(warmUp); err != nil {
				b.Fatal(err)
			}
		}
		b.SetBytes(int64(size))
		b.ReportAllocs() // Of both sides: the server is in the same process.
		b.ResetTimer()
		if err := j.Run(b.N); err != nil {
			b.Fatal(err)
		}
	})
	if j == nil {
		return
	}
	if err := j.Close(); err != nil {
		b.Error(err)
	}
	stop()
}

// warmUp is how many units of work are done before anything is measured.
const warmUp = 100

// closeRig stops a rig.
func closeRig(tb testing.TB, r *rig.Rig) {
	tb.Helper()
	if err := r.Close(); err != nil {
		tb.Error(err)
	}
}
