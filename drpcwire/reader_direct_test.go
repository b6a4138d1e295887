package drpcwire_test

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/zeebo/assert"

	"braid/drpcwire"
)

// sizes reads no more at once than the sizes say, in turn, and notes how much it was
// asked for.
type sizes struct {
	r     io.Reader
	most  []int
	asked []int
}

func (s *sizes) Read(p []byte) (int, error) {
	s.asked = append(s.asked, len(p))
	n := s.most[0]
	s.most = append(s.most[1:], n)
	return s.r.Read(p[:min(n, len(p))])
}

// assemble reads packets until the transport ends, large frames right into the
// assembler's storage, and counts the pieces that came that way.
func assemble(t *testing.T, r io.Reader, use func([]byte)) (direct int) {
	t.Helper()
	rd := drpcwire.NewReader(r)
	var asm drpcwire.Assembler
	for {
		var fr drpcwire.Frame
		var err error
		if left := rd.Remaining(); left > 0 && asm.Buffered() > 0 {
			room := asm.Reserve(int(min(left, 30_000)))
			fr, err = rd.ReadPiece(room)
			if err == nil && &fr.Data[0] == &room[0] {
				direct++
			}
		} else {
			fr, err = rd.ReadFrame()
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			return direct
		}
		pkt, done, err := asm.Append(fr, rd.Remaining(), 8<<20)
		if err != nil {
			t.Fatal(err)
		}
		if done {
			use(pkt.Data)
			asm.Use(nil)
		}
	}
}

func TestLargeFramesReadWhereTheyBelongAreWhole(t *testing.T) {
	rng := random(t)
	for range 50 {
		var data []byte
		var want [][]byte
		for id := uint64(1); id <= 6; id++ {
			msg := make([]byte, []int{0, 1, 100, 64 << 10, 200_000, 1 << 20}[rng.IntN(6)])
			for i := range msg {
				msg[i] = byte(rng.Uint32())
			}
			want = append(want, msg)
			for rest, size := msg, 1+rng.IntN(300_000); ; {
				n := min(size, len(rest))
				data = drpcwire.AppendFrame(data, drpcwire.Frame{
					ID: drpcwire.ID{Stream: 1, Message: id}, Kind: drpcwire.KindMessage, Data: rest[:n], Done: n == len(rest),
				})
				if rest = rest[n:]; len(rest) == 0 {
					break
				}
			}
		}
		most := make([]int, 1+rng.IntN(5))
		for i := range most {
			most[i] = 1 + rng.IntN(1<<(1+rng.IntN(17)))
		}
		for name, r := range map[string]io.Reader{
			"as asked":          bytes.NewReader(data),
			"in pieces":         &sizes{r: bytes.NewReader(data), most: most},
			"data with the EOF": iotest.DataErrReader(bytes.NewReader(data)),
		} {
			i := 0
			assemble(t, r, func(got []byte) {
				if i >= len(want) || !bytes.Equal(got, want[i]) {
					t.Errorf("%s: packet %d has %d bytes, want %d", name, i, len(got), len(want[min(i, 5)]))
				}
				i++
			})
			assert.Equal(t, i, len(want))
		}
	}
}

// One large frame after the other: most of each is copied once less, and no read
// asks for more than is wanted of it.
func TestMostOfALargeFrameIsReadWhereItBelongs(t *testing.T) {
	var data []byte
	for id := uint64(1); id <= 20; id++ {
		data = drpcwire.AppendFrame(data, message(1, id, 64<<10))
	}
	r := &sizes{r: bytes.NewReader(data), most: []int{1 << 20}}
	packets := 0
	direct := assemble(t, r, func(got []byte) {
		packets++
		assert.Equal(t, len(got), 64<<10)
	})
	assert.Equal(t, packets, 20)
	assert.True(t, direct >= 20)
	small := 0
	for _, n := range r.asked {
		if n <= 4<<10 {
			small++
		}
	}
	assert.True(t, small >= 18) // for the header of each
}

func TestAPieceThatEndsEarlyIsAnError(t *testing.T) {
	data := drpcwire.AppendFrame(nil, message(1, 1, 200_000))
	for _, cut := range []int{5_000, 70_000, 199_999} {
		rd := drpcwire.NewReader(bytes.NewReader(data[:cut]))
		var asm drpcwire.Assembler
		var err error
		for err == nil {
			var fr drpcwire.Frame
			if asm.Buffered() == 0 {
				fr, err = rd.ReadFrame()
			} else {
				fr, err = rd.ReadPiece(asm.Reserve(1000))
			}
			if err == nil {
				_, _, err = asm.Append(fr, rd.Remaining(), 1<<20)
			}
		}
		assert.Equal(t, err, io.ErrUnexpectedEOF)
	}
}

// The data of a piece may as well lie somewhere else.
func TestReservedRoomNeedNotBeUsed(t *testing.T) {
	var asm drpcwire.Assembler
	fr := func(data string, done bool) drpcwire.Frame {
		return drpcwire.Frame{ID: drpcwire.ID{Stream: 1, Message: 1}, Kind: drpcwire.KindMessage, Data: []byte(data), Done: done}
	}
	_, _, err := asm.Append(fr("one ", false), 0, 100)
	assert.NoError(t, err)
	room := asm.Reserve(50)
	assert.True(t, len(room) >= 50)
	copy(room, "what is in there is nobody's")
	_, _, err = asm.Append(fr("two ", false), 0, 100)
	assert.NoError(t, err)
	room = asm.Reserve(5)
	copy(room, "three")
	pkt, done, err := asm.Append(drpcwire.Frame{
		ID: drpcwire.ID{Stream: 1, Message: 1}, Kind: drpcwire.KindMessage, Data: room[:5], Done: true,
	}, 0, 100)
	assert.True(t, done && err == nil)
	assert.Equal(t, string(pkt.Data), "one two three")
}
