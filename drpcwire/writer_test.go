package drpcwire_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/zeebo/assert"
	stockwire "storj.io/drpc/drpcwire"

	"braid/drpcwire"
)

// writeFunc is a transport made of a function.
type writeFunc func(p []byte) (int, error)

func (f writeFunc) Write(p []byte) (int, error) { return f(p) }

// recorder is a transport that keeps what each Write was given.
type recorder struct{ writes [][]byte }

func (r *recorder) Write(p []byte) (int, error) {
	r.writes = append(r.writes, bytes.Clone(p))
	return len(p), nil
}

func TestAWriterWritesAsStocks(t *testing.T) {
	rng := random(t)
	for range 200 {
		size := []int{0, 1, 30, 100, 1000}[rng.IntN(5)]
		var got, want recorder
		w, stock := drpcwire.NewWriter(&got, size), stockwire.NewWriter(&want, size)
		var trace []string
		for range rng.IntN(60) {
			fr := randomFrame(rng, 60)
			switch op := rng.IntN(10); {
			case op < 5:
				trace = append(trace, fmt.Sprint("WriteFrame ", fr))
				assert.NoError(t, w.WriteFrame(fr))
				assert.NoError(t, stock.WriteFrame(toStock(fr)))
			case op < 8:
				// Without the control bit, which stock loses here.
				trace = append(trace, fmt.Sprint("WritePacket ", fr))
				assert.NoError(t, w.WritePacket(drpcwire.Packet{Data: fr.Data, ID: fr.ID, Kind: fr.Kind}))
				sfr := toStock(fr)
				assert.NoError(t, stock.WritePacket(stockwire.Packet{Data: sfr.Data, ID: sfr.ID, Kind: sfr.Kind}))
			case op < 9:
				trace = append(trace, "Flush")
				assert.NoError(t, w.Flush())
				assert.NoError(t, stock.Flush())
			default:
				trace = append(trace, "Reset")
				assert.True(t, w.Reset() == w)
				stock.Reset()
			}
			if w.Empty() != stock.Empty() || fmt.Sprintf("%x", got) != fmt.Sprintf("%x", want) {
				t.Fatalf("size %d, after %q:\n%x, empty %v\n%x, empty %v", size, trace, got, w.Empty(), want, stock.Empty())
			}
		}
	}
}

func TestAPacketIsWrittenWithItsControlBit(t *testing.T) {
	var got recorder
	w := drpcwire.NewWriter(&got, 1)
	fr := frame(t, `s1 m2 Cancel ctl`)
	assert.NoError(t, w.WritePacket(drpcwire.Packet{ID: fr.ID, Kind: fr.Kind, Control: fr.Control}))
	assert.DeepEqual(t, got.writes, [][]byte{drpcwire.AppendFrame(nil, fr)})
}

func TestAWriterFlushesByItselfAtItsSize(t *testing.T) {
	fr := frame(t, `s1 m1 Message "0123456789"`) // 14 bytes
	for size, want := range map[int]int{13: 1, 14: 1, 15: 0, -1: 0, 0: 0} {
		var got recorder
		w := drpcwire.NewWriter(&got, size)
		assert.NoError(t, w.WriteFrame(fr))
		assert.Equal(t, len(got.writes), want)
		assert.Equal(t, w.Empty(), want == 1)
	}
}

func TestAFailedWriteIsReported(t *testing.T) {
	errTransport := errors.New("transport is gone")
	fr := frame(t, `s1 m1 Message "hello"`)
	for name, tc := range map[string]struct {
		transport writeFunc
		want      error
	}{
		"error":            {func([]byte) (int, error) { return 0, errTransport }, errTransport},
		"part and error":   {func(p []byte) (int, error) { return 1, errTransport }, errTransport},
		"short, no error":  {func(p []byte) (int, error) { return len(p) - 1, nil }, io.ErrShortWrite},
		"nothing at all":   {func([]byte) (int, error) { return 0, nil }, io.ErrShortWrite},
		"negative, no err": {func([]byte) (int, error) { return -1, nil }, io.ErrShortWrite},
	} {
		t.Run(name, func(t *testing.T) {
			w := drpcwire.NewWriter(tc.transport, 1000)
			assert.NoError(t, w.WriteFrame(fr))
			assert.Equal(t, w.Flush(), tc.want)
			assert.True(t, w.Empty()) // what was not written is not tried again
			assert.NoError(t, w.Flush())

			w = drpcwire.NewWriter(tc.transport, 1)
			assert.Equal(t, w.WriteFrame(fr), tc.want)
			assert.Equal(t, w.WritePacket(drpcwire.Packet{ID: fr.ID}), tc.want)
		})
	}
}

func TestAWriterMayBeUsedFromManyGoroutines(t *testing.T) {
	var got recorder
	w := drpcwire.NewWriter(&got, 100)
	fr := frame(t, `s1 m1 Message "hello"`)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				if err := w.WriteFrame(fr); err != nil {
					t.Error(err)
				}
				_ = w.Empty()
				if err := w.Flush(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	assert.Equal(t, len(bytes.Join(got.writes, nil)), 8*100*len(drpcwire.AppendFrame(nil, fr)))
}
