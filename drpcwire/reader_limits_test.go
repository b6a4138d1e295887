package drpcwire_test

import (
	"bytes"
	"errors"
	"io"
	"math"
	"runtime"
	"testing"
	"testing/iotest"

	"github.com/zeebo/assert"
	"storj.io/drpc"

	"braid/drpcwire"
)

// allocated returns how many bytes f allocates, freed ones included.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// smallChange is what a Reader, an error and the transports of a test take.
const smallChange = 4 << 10

func TestADeclaredLengthIsNotAllocated(t *testing.T) {
	for _, length := range []uint64{
		drpcwire.ReadBufferMax - 10,
		drpcwire.ReadBufferMax,
		drpcwire.MaxFrameLength - 1,
		drpcwire.MaxFrameLength,
		drpcwire.MaxFrameLength + 1,
		math.MaxInt32,
		math.MaxUint32,
		1 << 62,
		math.MaxInt64,
		1 << 63,
		math.MaxUint64 - 3, // with the header added it would wrap around
		math.MaxUint64,
	} {
		for _, sent := range []int{0, 1, 1000, 100_000} {
			data := drpcwire.AppendVarint([]byte{0x05, 1, 1}, length)
			data = append(data, make([]byte, min(uint64(sent), length-1))...)
			want := endIncomplete
			if length > drpcwire.MaxFrameLength {
				want = endMalformed
			}
			for _, wrap := range []func(io.Reader) io.Reader{
				func(r io.Reader) io.Reader { return r }, iotest.HalfReader,
			} {
				var err error
				tr := wrap(bytes.NewReader(data))
				got := allocated(func() {
					rd := drpcwire.NewReader(tr)
					for err == nil {
						_, err = rd.ReadFrame()
					}
				})
				assert.Equal(t, endOfRead(err), want)
				if limit := 2*len(data) + drpcwire.ReadBufferMax + drpcwire.ReadBufferMin + smallChange; got > uint64(limit) {
					t.Errorf("%d bytes declared, %d sent: %d allocated", length, len(data), got)
				}
			}
		}
	}
}

func TestTheBufferGrowsWithWhatArrives(t *testing.T) {
	// Small frames, and a transport that always has more.
	one := drpcwire.AppendFrame(nil, frame(t, `s1 m1 Message "hello"`))
	data := bytes.Repeat(one, 4*drpcwire.ReadBufferMax/len(one))
	got := allocated(func() {
		rd := drpcwire.NewReader(bytes.NewReader(data))
		var err error
		for err == nil {
			_, err = rd.ReadFrame()
		}
		assert.Equal(t, err, io.EOF)
		assert.Equal(t, rd.BufferSize(), drpcwire.ReadBufferMax)
	})
	// The sizes that were passed through on the way add up to less than the last.
	assert.True(t, got <= 2*drpcwire.ReadBufferMax+smallChange)

	// A transport with little at a time leaves the buffer as it is.
	rd := drpcwire.NewReader(iotest.OneByteReader(bytes.NewReader(data)))
	for range 1000 {
		_, err := rd.ReadFrame()
		assert.NoError(t, err)
	}
	assert.Equal(t, rd.BufferSize(), drpcwire.ReadBufferMin)
}

func TestReadingAllocatesNothingOnceTheBufferIsThere(t *testing.T) {
	data := drpcwire.AppendFrame(nil, frame(t, `s1 m1 Message "hello"`))
	data = append(data, drpcwire.AppendFrame(nil, drpcwire.Frame{Data: make([]byte, 100_000)})...)
	rd := drpcwire.NewReader(&endless{data: data})
	read := func() {
		for range 10 {
			if _, err := rd.ReadFrame(); err != nil {
				t.Fatal(err)
			}
		}
	}
	read()
	assert.Equal(t, testing.AllocsPerRun(100, read), 0.0)
}

// endless is a transport that sends the same bytes over and over.
type endless struct {
	data []byte
	pos  int
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.data[e.pos:])
	e.pos = (e.pos + n) % len(e.data)
	return n, nil
}

// readFunc is a transport made of a function.
type readFunc func(p []byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

func TestATransportThatReturnsNothingForEverIsGivenUp(t *testing.T) {
	for name, front := range map[string][]byte{
		"at the start": nil,
		"in a header":  {0x05, 1},
		"in data":      {0x05, 1, 1, 200, 1, 'x'},
		"in a piece":   {0x05, 1, 1, 0xff, 0xff, 0x7f},
	} {
		t.Run(name, func(t *testing.T) {
			reads := 0
			nothing := readFunc(func([]byte) (int, error) { reads++; return 0, nil })
			_, err := readSentences(drpcwire.NewReader(&then{first: front, next: nothing}))
			assert.True(t, errors.Is(err, io.ErrNoProgress))
			assert.True(t, drpc.InternalError.Has(err))
			assert.Equal(t, reads, drpcwire.MaxEmptyReads)
		})
	}
}

// then is io.MultiReader that does not take a read of nothing for an end.
type then struct {
	first []byte
	next  io.Reader
}

func (r *then) Read(p []byte) (int, error) {
	if len(r.first) > 0 {
		n := copy(p, r.first)
		r.first = r.first[n:]
		return n, nil
	}
	return r.next.Read(p)
}

func TestAFewReadsOfNothingAreBorne(t *testing.T) {
	data := drpcwire.AppendFrame(nil, frame(t, `s1 m1 Message "hello"`))
	reads := 0
	tr := readFunc(func(p []byte) (int, error) {
		if reads++; reads%drpcwire.MaxEmptyReads != 0 {
			return 0, nil
		}
		if len(data) == 0 {
			return 0, io.ErrClosedPipe
		}
		p[0], data = data[0], data[1:]
		return 1, nil
	})
	got, _ := readSentences(drpcwire.NewReader(tr))
	assert.DeepEqual(t, got, []string{`s1 m1 Message "hello"`})
}

func TestATransportThatLiesAboutItsReadIsAnError(t *testing.T) {
	for name, lie := range map[string]func(p []byte) int{
		"negative":      func([]byte) int { return -1 },
		"one too many":  func(p []byte) int { return len(p) + 1 },
		"very negative": func([]byte) int { return math.MinInt },
		"huge":          func([]byte) int { return math.MaxInt },
	} {
		for _, front := range [][]byte{nil, {0x05, 1}, {0x05, 1, 1, 0xff, 0xff, 0x7f}} {
			for _, with := range []error{nil, io.EOF} {
				t.Run(name, func(t *testing.T) {
					liar := readFunc(func(p []byte) (int, error) { return lie(p), with })
					rd := drpcwire.NewReader(&then{first: front, next: liar})
					_, err := readSentences(rd)
					assert.True(t, drpc.InternalError.Has(err))
					assert.Equal(t, rd.Buffered() <= len(front), true)
				})
			}
		}
	}
}

func TestTheLimitOfAReaderHasADefault(t *testing.T) {
	for _, n := range []int{0, -1, math.MinInt} {
		assert.Equal(t, drpcwire.ReaderOptions{MaximumBufferSize: n}.Limit(), drpcwire.DefaultMaximumBufferSize)
	}
	assert.Equal(t, drpcwire.ReaderOptions{MaximumBufferSize: 7}.Limit(), 7)
}
