package drpcwire_test

import (
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"braid/drpcwire"
)

// loopback returns a TCP connection whose other end reads all there is.
func loopback(b *testing.B) net.Conn {
	b.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if conn, err := lis.Accept(); err == nil {
			_, _ = io.Copy(io.Discard, struct{ io.Reader }{conn})
			_ = conn.Close()
		}
	}()
	conn, err := net.Dial("tcp", lis.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = conn.Close()
		<-done
		_ = lis.Close()
	})
	return conn
}

// BenchmarkMuxWriter measures streams that write at the same time, to a TCP
// connection: one operation is one frame. The timeout decides how large the
// pieces are that bulk data is written in.
func BenchmarkMuxWriter(b *testing.B) {
	for _, streams := range []int{1, 64} {
		for _, size := range []int{16, 64 << 10} {
			for _, timeout := range []time.Duration{0, 10 * time.Second} {
				b.Run(fmt.Sprintf("streams=%d/size=%d/timeout=%v", streams, size, timeout), func(b *testing.B) {
					m := drpcwire.NewMuxWriter(loopback(b), drpcwire.MuxWriterOptions{WriteTimeout: timeout})
					var ids atomic.Uint64
					b.SetParallelism(max(streams/2, 1))
					b.SetBytes(int64(size))
					b.ReportAllocs()
					b.RunParallel(func(pb *testing.PB) {
						var lane drpcwire.Lane
						buf := encoded(ids.Add(1), size)
						for pb.Next() {
							if err := send(m, &lane, buf, nil); err != nil {
								b.Error(err)
							}
						}
					})
					if err := m.Flush(nil); err != nil {
						b.Error(err)
					}
					m.Stop(nil)
					<-m.Done()
				})
			}
		}
	}
}
