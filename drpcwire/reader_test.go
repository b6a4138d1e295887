package drpcwire_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/zeebo/assert"
	"storj.io/drpc"

	"braid/drpcwire"
	"braid/internal/drpctest"
)

// readFrames reads until the error, which it returns. The pieces of a frame that
// came in pieces are joined again; cut says that the last frame did not come to
// its end.
func readFrames(rd *drpcwire.Reader) (frames []drpcwire.Frame, cut bool, err error) {
	return readFramesBy(rd, (*drpcwire.Reader).ReadFrame)
}

// readFramesBy is readFrames by means of a certain method.
func readFramesBy(
	rd *drpcwire.Reader, read func(*drpcwire.Reader) (drpcwire.Frame, error),
) (frames []drpcwire.Frame, cut bool, err error) {
	for {
		fr, err := read(rd)
		if err != nil {
			return frames, cut, err
		}
		if !cut {
			fr.Data = bytes.Clone(fr.Data)
			frames = append(frames, fr)
		} else {
			whole := &frames[len(frames)-1]
			if fr.ID != whole.ID || fr.Kind != whole.Kind || fr.Control != whole.Control || len(fr.Data) == 0 {
				return frames, cut, fmt.Errorf("%v is not a piece of %v", fr, whole)
			}
			whole.Data = append(whole.Data, fr.Data...)
			whole.Done = fr.Done
		}
		if cut = rd.Remaining() > 0; cut && fr.Done {
			return frames, cut, fmt.Errorf("%v is done, and %d bytes remain", fr, rd.Remaining())
		}
	}
}

// readSentences is readFrames for frames that are short.
func readSentences(rd *drpcwire.Reader) (sentences []string, err error) {
	frames, cut, err := readFrames(rd)
	for i, fr := range frames {
		sentence := drpctest.Describe(fr)
		if cut && i == len(frames)-1 {
			sentence += " cut"
		}
		sentences = append(sentences, sentence)
	}
	return sentences, err
}

// endOfRead tells the three ends of reading apart in the words of the golden files.
func endOfRead(err error) string {
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return endIncomplete
	case errors.Is(err, io.EOF):
		return endClean
	case drpc.ProtocolError.Has(err):
		return endMalformed
	default:
		return fmt.Sprint("unexpected: ", err)
	}
}

// chunks is a transport that returns its bytes in chunks of random size, with
// reads that return nothing in between, and the last chunk with its error or
// before it.
type chunks struct {
	rng  *rand.Rand
	data []byte
	max  int // most bytes in a chunk
	err  error
}

func (c *chunks) Read(p []byte) (int, error) {
	if c.rng.IntN(8) == 0 {
		return 0, nil
	}
	n := copy(p, c.data[:min(len(c.data), 1+c.rng.IntN(c.max))])
	c.data = c.data[n:]
	if len(c.data) == 0 && (n == 0 || c.rng.IntN(2) == 0) {
		return n, c.err
	}
	return n, nil
}

// bufferBounds returns lengths of data around which the way through the reader
// changes.
func bufferBounds() (sizes []int) {
	for _, n := range []int{0, drpcwire.ReadBufferMin, drpcwire.ReadBufferMax} {
		for d := -8; d <= 2; d++ { // the header that wire makes takes four to six bytes
			sizes = append(sizes, max(n+d, 0))
		}
	}
	return append(sizes, 200_000)
}

// wire returns random frames and their bytes.
func wire(rng *rand.Rand, sizes []int) (buf []byte, frames []drpcwire.Frame) {
	for _, n := range sizes {
		fr := randomFrame(rng, 0)
		fr.ID = drpcwire.ID{Stream: rng.Uint64N(100), Message: rng.Uint64N(100)}
		fr.Data = randomBytes(rng, n)
		buf = drpcwire.AppendFrame(buf, fr)
		frames = append(frames, fr)
	}
	return buf, frames
}

func TestFramesDoNotDependOnHowTheyWereRead(t *testing.T) {
	rng := random(t)
	sizes := bufferBounds()
	rng.Shuffle(len(sizes), func(i, j int) { sizes[i], sizes[j] = sizes[j], sizes[i] })
	buf, want := wire(rng, sizes)
	for name, transport := range map[string]func(io.Reader) io.Reader{
		"all at once":       func(r io.Reader) io.Reader { return r },
		"half of each":      iotest.HalfReader,
		"byte by byte":      iotest.OneByteReader,
		"data with the EOF": iotest.DataErrReader,
		"bytes with EOF":    func(r io.Reader) io.Reader { return iotest.DataErrReader(iotest.OneByteReader(r)) },
		"small chunks":      func(io.Reader) io.Reader { return &chunks{rng: rng, data: buf, max: 300, err: io.EOF} },
		"medium chunks":     func(io.Reader) io.Reader { return &chunks{rng: rng, data: buf, max: 9_000, err: io.EOF} },
		"large chunks":      func(io.Reader) io.Reader { return &chunks{rng: rng, data: buf, max: 100_000, err: io.EOF} },
	} {
		t.Run(name, func(t *testing.T) {
			rd := drpcwire.NewReader(transport(bytes.NewReader(buf)))
			got, _, err := readFrames(rd)
			assert.Equal(t, endOfRead(err), endClean)
			assert.True(t, slices.EqualFunc(got, want, sameFrame))
			assert.Equal(t, rd.Buffered(), 0)
			assert.True(t, rd.BufferSize() <= drpcwire.ReadBufferMax)
		})
	}
}

func TestPiecesOfALargeFrameMakeTheSamePacket(t *testing.T) {
	rng := random(t)
	const limit = 4 << 20
	for _, n := range []int{drpcwire.ReadBufferMax, drpcwire.ReadBufferMax + 1, 300_000} {
		fr := drpcwire.Frame{
			ID: drpcwire.ID{Stream: 1, Message: 1}, Kind: drpcwire.KindMessage,
			Data: randomBytes(rng, n), Done: true, Control: true,
		}
		buf := drpcwire.AppendFrame(nil, fr)
		rd := drpcwire.NewReader(&chunks{rng: rng, data: buf, max: 50_000, err: io.EOF})
		var asm drpcwire.Assembler
		for left := uint64(n); ; {
			piece, err := rd.ReadFrame()
			assert.NoError(t, err)
			left -= uint64(len(piece.Data))
			assert.Equal(t, rd.Remaining(), left)
			pkt, done, err := asm.Append(piece, rd.Remaining(), limit)
			assert.NoError(t, err)
			assert.Equal(t, done, left == 0)
			if done {
				assert.Equal(t, answer(pkt, done, err), drpctest.Describe(fr))
				break
			}
		}
		_, err := rd.ReadFrame()
		assert.Equal(t, err, io.EOF)
	}
}

func TestAPieceIsReturnedAsSoonAsThereIsOne(t *testing.T) {
	// The rest of the frame never comes; a reader that waited for it would fail.
	head := drpcwire.AppendVarint([]byte{0x05, 1, 1}, 1<<20)
	errNoMore := errors.New("no more")
	for _, n := range []int{1, 100, 5000} {
		data := append(bytes.Clone(head), make([]byte, n)...)
		rd := drpcwire.NewReader(io.MultiReader(bytes.NewReader(data), iotest.ErrReader(errNoMore)))
		var got int
		for {
			fr, err := rd.ReadFrame()
			if err != nil {
				assert.Equal(t, err, errNoMore)
				break
			}
			assert.False(t, fr.Done)
			got += len(fr.Data)
		}
		assert.Equal(t, got, n)
		assert.Equal(t, rd.Remaining(), uint64(1<<20-n))
	}
}

func TestEOFBetweenFramesIsTellableFromEOFWithin(t *testing.T) {
	rng := random(t)
	buf, want := wire(rng, []int{0, 1, 300, drpcwire.ReadBufferMax + 4000, 0, 7})
	ends := []int{0} // where the frames end
	for rem := buf; len(rem) > 0; {
		var ok bool
		rem, _, ok, _ = drpcwire.ParseFrame(rem)
		assert.True(t, ok)
		ends = append(ends, len(buf)-len(rem))
	}
	whole := 0 // frames before the cut
	for cut := 0; cut <= len(buf); cut++ {
		if whole+1 < len(ends) && cut == ends[whole+1] {
			whole++
		}
		// In the middle of the large frame one offset is as good as another.
		if near := cut-ends[whole] < 320 || whole+1 < len(ends) && ends[whole+1]-cut < 320; !near && cut%1009 != 0 {
			continue
		}
		for _, transport := range []func(io.Reader) io.Reader{
			func(r io.Reader) io.Reader { return r }, iotest.DataErrReader,
		} {
			rd := drpcwire.NewReader(transport(bytes.NewReader(buf[:cut])))
			got, inside, err := readFrames(rd)
			if inside {
				got = got[:len(got)-1]
			}
			assert.True(t, slices.EqualFunc(got, want[:whole], sameFrame))
			if cut == ends[whole] {
				assert.False(t, inside)
				assert.Equal(t, err, io.EOF)
			} else {
				assert.Equal(t, err, io.ErrUnexpectedEOF)
			}
			_, again := rd.ReadFrame()
			assert.Equal(t, again, err)
		}
	}
	assert.Equal(t, whole, len(want))
}

func TestTheTransportsErrorComesAfterTheLastFrame(t *testing.T) {
	errTransport := errors.New("transport is gone")
	first := drpcwire.AppendFrame(nil, frame(t, `s1 m1 Message "hello"`))
	for name, data := range map[string][]byte{
		"between frames": first,
		"in a header":    append(bytes.Clone(first), 0x05),
		"in data":        append(bytes.Clone(first), 0x05, 1, 2, 200, 1, 'x'),
		"in a piece":     append(bytes.Clone(first), 0x05, 1, 2, 0xff, 0xff, 0x7f),
	} {
		t.Run(name, func(t *testing.T) {
			for _, together := range []bool{false, true} {
				tr := io.MultiReader(bytes.NewReader(data), iotest.ErrReader(errTransport))
				if together {
					tr = iotest.DataErrReader(tr)
				}
				rd := drpcwire.NewReader(tr)
				got, err := readSentences(rd)
				assert.DeepEqual(t, got, []string{`s1 m1 Message "hello"`})
				assert.Equal(t, err, errTransport)
				_, again := rd.ReadFrame()
				assert.Equal(t, again, errTransport)
			}
		})
	}
}

func TestATransportIsNotReadAgainAfterItsError(t *testing.T) {
	buf := drpcwire.AppendFrame(nil, frame(t, `s1 m1 Message "hello"`))
	for _, n := range []int{0, 3, len(buf)} {
		reads := 0
		rd := drpcwire.NewReader(readFunc(func(p []byte) (int, error) {
			if reads++; reads > 1 {
				t.Errorf("read %d", reads)
			}
			return copy(p, buf[:n]), io.ErrClosedPipe
		}))
		got, _, err := readFrames(rd)
		assert.Equal(t, len(got), n/len(buf))
		assert.Equal(t, err, io.ErrClosedPipe)
		_, err = rd.ReadFrame()
		assert.Equal(t, err, io.ErrClosedPipe)
	}
}

func TestAFrameThatWasReadCannotGrowIntoTheNext(t *testing.T) {
	buf := drpcwire.AppendFrame(nil, frame(t, `s1 m1 Message "one"`))
	buf = drpcwire.AppendFrame(buf, frame(t, `s1 m2 Message "two"`))
	buf = append(drpcwire.AppendVarint(append(buf, 0x05, 1, 3), drpcwire.ReadBufferMax), make([]byte, 100)...)
	rd := drpcwire.NewReader(bytes.NewReader(buf))
	for _, want := range []string{`s1 m1 Message "one"`, `s1 m2 Message "two"`} {
		fr, err := rd.ReadFrame()
		assert.NoError(t, err)
		assert.Equal(t, drpctest.Describe(fr), want)
		_ = append(fr.Data, "overwritten"...)
	}
	piece, err := rd.ReadFrame()
	assert.NoError(t, err)
	assert.Equal(t, cap(piece.Data), len(piece.Data))
}

func TestMalformedBytesAreAProtocolError(t *testing.T) {
	overlong := append(bytes.Repeat([]byte{0xff}, 9), 2)
	for _, front := range [][]byte{{0x05}, {0x05, 1}, {0x05, 1, 1}} {
		data := drpcwire.AppendFrame(nil, frame(t, `s1 m1 Message "hello"`))
		data = append(append(append(data, front...), overlong...), make([]byte, 100)...)
		for _, tr := range []io.Reader{bytes.NewReader(data), iotest.OneByteReader(bytes.NewReader(data))} {
			got, err := readSentences(drpcwire.NewReader(tr))
			assert.DeepEqual(t, got, []string{`s1 m1 Message "hello"`})
			assert.True(t, drpc.ProtocolError.Has(err))
		}
	}
}

func FuzzReader(f *testing.F) {
	for _, tc := range goldenCases {
		f.Add(tc.encode(f), uint64(1))
	}
	f.Add(drpcwire.AppendVarint([]byte{0x05, 1, 1}, 1<<62), uint64(2))
	f.Add(append(drpcwire.AppendVarint([]byte{0x05, 1, 1}, 1<<30), "abc"...), uint64(3))
	f.Add(append(drpcwire.AppendVarint([]byte{0x05, 1, 1}, 65_530), make([]byte, 70_000)...), uint64(4))
	f.Add(append(drpcwire.AppendVarint([]byte{0x84, 1, 1}, 66_000), make([]byte, 70_000)...), uint64(5))
	f.Fuzz(func(t *testing.T, data []byte, seed uint64) {
		rng := seeded(seed)
		var frames [4][]drpcwire.Frame
		var ends [4]string
		for i, tr := range []io.Reader{
			bytes.NewReader(data),
			&chunks{rng: rng, data: data, max: 20, err: io.EOF},
			&chunks{rng: rng, data: data, max: 20_000, err: io.EOF},
			&chunks{rng: rng, data: data, max: 20_000, err: io.EOF},
		} {
			rd := drpcwire.NewReader(tr)
			read := (*drpcwire.Reader).ReadFrame
			if i == 3 {
				read = new(unbatched).ReadFrame
			}
			got, cut, err := readFramesBy(rd, read)
			frames[i], ends[i] = got, fmt.Sprint(err, cut)
			if rd.BufferSize() > drpcwire.ReadBufferMax {
				t.Fatalf("the buffer has grown to %d bytes", rd.BufferSize())
			}
			// Four bytes at least make a frame, so reading has to come to an end.
			if len(got) > len(data)/4+1 {
				t.Fatalf("%d frames from %d bytes", len(got), len(data))
			}
		}
		for i := range frames {
			if !slices.EqualFunc(frames[i], frames[0], sameFrame) || ends[i] != ends[0] {
				t.Fatalf("%v, %s\n%v, %s", frames[0], ends[0], frames[i], ends[i])
			}
		}
		if ends[0] != fmt.Sprint(io.EOF, false) {
			return
		}
		// What was read to the end is what parsing the bytes at once gives.
		var parsed []drpcwire.Frame
		for rem := data; len(rem) > 0; {
			next, fr, ok, err := drpcwire.ParseFrame(rem)
			if !ok || err != nil {
				t.Fatalf("the reader took %x, ParseFrame does not: %v", rem, err)
			}
			parsed = append(parsed, fr)
			rem = next
		}
		if !slices.EqualFunc(parsed, frames[0], sameFrame) {
			t.Fatalf("%v\n%v", frames[0], parsed)
		}
	})
}
