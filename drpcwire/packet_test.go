package drpcwire_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"testing"

	"github.com/zeebo/assert"
	"storj.io/drpc"

	"braid/drpcwire"
	"braid/internal/drpctest"
)

// What Append may say instead of a packet.
const (
	partial  = "-"
	broken   = "protocol error"
	tooLarge = "too large"
)

// answer puts what Append returned into a sentence.
func answer(pkt drpcwire.Packet, done bool, err error) string {
	switch {
	case errors.Is(err, drpcwire.ErrTooLarge) && !done:
		return tooLarge
	case drpc.ProtocolError.Has(err) && !done:
		return broken
	case err != nil:
		return "unexpected: " + err.Error()
	case !done:
		return partial
	}
	return drpctest.Describe(drpcwire.Frame{
		Data: pkt.Data, ID: pkt.ID, Kind: pkt.Kind, Control: pkt.Control, Done: true,
	})
}

func TestFramesOfAStreamFollowTheRules(t *testing.T) {
	type steps [][2]string // a frame, and what Append says to it
	for name, steps := range map[string]steps{
		"a whole packet": {
			{`s1 m1 Message "hello"`, `s1 m1 Message "hello"`},
		},
		"frames are joined": {
			{`s1 m1 Message "a" more`, partial},
			{`s1 m1 Message more`, partial},
			{`s1 m1 Message "b" more`, partial},
			{`s1 m1 Message "c"`, `s1 m1 Message "abc"`},
		},
		"a packet may be empty": {
			{`s1 m1 Message more`, partial},
			{`s1 m1 Message`, `s1 m1 Message`},
			{`s1 m2 CloseSend`, `s1 m2 CloseSend`},
		},
		"ids may have gaps": {
			{`s1 m5 Message "a"`, `s1 m5 Message "a"`},
			{`s1 m900 Message "b"`, `s1 m900 Message "b"`},
			{`s1 m18446744073709551615 Message "c"`, `s1 m18446744073709551615 Message "c"`},
		},
		"an id does not go back": {
			{`s1 m5 Message "a"`, `s1 m5 Message "a"`},
			{`s1 m4 Message "b"`, broken},
		},
		"an id does not go back within a packet": {
			{`s1 m5 Message "a" more`, partial},
			{`s1 m4 Message "b"`, broken},
		},
		"an id does not go back to an abandoned packet": {
			{`s1 m5 Message "a" more`, partial},
			{`s1 m6 Message "b" more`, partial},
			{`s1 m5 Message "c"`, broken},
		},
		"an id is not used again after done": {
			{`s1 m1 Message "a"`, `s1 m1 Message "a"`},
			{`s1 m1 Message "b"`, broken},
		},
		"the highest id is not used again after done": {
			{`s1 m18446744073709551615 Message`, `s1 m18446744073709551615 Message`},
			{`s1 m18446744073709551615 Message`, broken},
			{`s1 m1 Message`, broken},
		},
		"an id is not used again with another kind": {
			{`s1 m1 Message "a"`, `s1 m1 Message "a"`},
			{`s1 m1 CloseSend`, broken},
		},
		"a higher id drops what is being assembled": {
			{`s1 m1 Message "lost" more`, partial},
			{`s1 m2 Message "kept" more`, partial},
			{`s1 m2 Message "!"`, `s1 m2 Message "kept!"`},
		},
		"a higher id may change the kind": {
			{`s1 m1 Message "lost" more`, partial},
			{`s1 m2 Cancel ctl`, `s1 m2 Cancel ctl`},
		},
		"the kind does not change within a packet": {
			{`s1 m1 Message "a" more`, partial},
			{`s1 m1 Error "b"`, broken},
		},
		"message id 0 is not for packets": {
			{`s1 m0 Message "a"`, broken},
			{`s1 m1 Message "a" more`, partial},
			{`s1 m0 Message "b"`, broken},
		},
		"the control bit of any frame counts for the packet": {
			{`s1 m1 Message "a" more`, partial},
			{`s1 m1 Message "b" more ctl`, partial},
			{`s1 m1 Message "c"`, `s1 m1 Message "abc" ctl`},
		},
		"the control bit of a dropped packet does not": {
			{`s1 m1 Message "a" more ctl`, partial},
			{`s1 m2 Message "b"`, `s1 m2 Message "b"`},
			{`s1 m3 Message "c" ctl`, `s1 m3 Message "c" ctl`},
			{`s1 m4 Message "d"`, `s1 m4 Message "d"`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var asm drpcwire.Assembler
			for _, step := range steps {
				assert.Equal(t, answer(asm.Append(frame(t, step[0]), 0, 100)), step[1])
			}
		})
	}
}

func TestAPacketUpToTheLimitIsAccepted(t *testing.T) {
	const limit = 1000
	data := make([]byte, limit+1)
	message := func(id uint64, n int, done bool) drpcwire.Frame {
		return drpcwire.Frame{ID: drpcwire.ID{Stream: 1, Message: id}, Kind: drpcwire.KindMessage, Data: data[:n], Done: done}
	}
	for size := limit - 1; size <= limit+1; size++ {
		for _, first := range []int{0, 1, size / 2, size - 1, size} {
			t.Run(fmt.Sprintf("%d of %d first", first, size), func(t *testing.T) {
				// In two frames.
				var asm drpcwire.Assembler
				_, done, err := asm.Append(message(1, first, false), 0, limit)
				if first <= limit {
					assert.NoError(t, err)
					assert.False(t, done)
					pkt, done, err := asm.Append(message(1, size-first, true), 0, limit)
					assert.Equal(t, done, size <= limit)
					assert.Equal(t, len(pkt.Data) == size, size <= limit)
					assert.Equal(t, errors.Is(err, drpcwire.ErrTooLarge), size > limit)
				} else {
					assert.True(t, errors.Is(err, drpcwire.ErrTooLarge))
				}

				// In one frame that comes in pieces: the first piece tells.
				asm = drpcwire.Assembler{}
				_, _, err = asm.Append(message(1, first, false), uint64(size-first), limit)
				assert.Equal(t, errors.Is(err, drpcwire.ErrTooLarge), size > limit)
			})
		}
	}
}

func TestNothingIsStoredOfAPacketOverTheLimit(t *testing.T) {
	const limit = 1000
	data := make([]byte, 10*limit)
	for _, buffered := range []int{0, 1, limit} {
		for _, tc := range []struct {
			data int
			more uint64
		}{
			{limit + 1, 0},
			{10 * limit, 0},
			{limit, 1},
			{0, limit + 1},
			{1, math.MaxInt64},
			{0, 1 << 63},
			{0, math.MaxUint64 - limit},
			{1, math.MaxUint64},
			{limit, math.MaxUint64},
			{0, math.MaxUint64},
		} {
			var asm drpcwire.Assembler
			fr := drpcwire.Frame{ID: drpcwire.ID{Stream: 1, Message: 1}, Kind: drpcwire.KindMessage}
			fr.Data = data[:buffered]
			_, _, err := asm.Append(fr, 0, limit)
			assert.NoError(t, err)

			fr.Data = data[:tc.data]
			allocs := testing.AllocsPerRun(1, func() { _, _, err = asm.Append(fr, tc.more, limit) })
			assert.True(t, errors.Is(err, drpcwire.ErrTooLarge))
			assert.Equal(t, asm.Buffered(), buffered)
			assert.Equal(t, allocs, 0.0)
		}
	}
}

func TestALimitBelowZeroAcceptsNothing(t *testing.T) {
	var asm drpcwire.Assembler
	assert.Equal(t, answer(asm.Append(frame(t, "s1 m1 Message"), 0, -1)), tooLarge)
	assert.Equal(t, answer(asm.Append(frame(t, "s1 m2 Message"), 0, 0)), "s1 m2 Message")
}

func TestBufferedCountsUnfinishedPacketsOnly(t *testing.T) {
	var asm drpcwire.Assembler
	assert.Equal(t, asm.Buffered(), 0)
	for _, step := range []struct {
		sentence string
		want     int
	}{
		{`s1 m1 Message "abc" more`, 3},
		{`s1 m1 Message "de" more`, 5},
		{`s1 m2 Message "f" more`, 1},
		{`s1 m2 Message "g"`, 0},
	} {
		_, _, err := asm.Append(frame(t, step.sentence), 0, 100)
		assert.NoError(t, err)
		assert.Equal(t, asm.Buffered(), step.want)
	}
}

func TestAnOwnerThatGivesNewStorageKeepsTheOld(t *testing.T) {
	var asm drpcwire.Assembler
	var kept [][]byte
	for _, text := range []string{"one", "two", "three"} {
		storage := make([]byte, 3, 16)
		asm.Use(storage)
		assert.Equal(t, asm.Buffered(), 0)
		pkt, done, err := asm.Append(drpcwire.Frame{
			Data: []byte(text), ID: drpcwire.ID{Stream: 1, Message: uint64(len(kept) + 1)}, Done: true,
		}, 0, 100)
		assert.NoError(t, err)
		assert.True(t, done)
		assert.True(t, &pkt.Data[0] == &storage[0])
		kept = append(kept, pkt.Data)
	}
	assert.Equal(t, string(bytes.Join(kept, []byte(" "))), "one two three")
}

func TestAPacketIsACopyOfItsFrames(t *testing.T) {
	var asm drpcwire.Assembler
	fr := frame(t, `s1 m1 Message "hello"`)
	pkt, _, _ := asm.Append(fr, 0, 100)
	clear(fr.Data)
	assert.Equal(t, string(pkt.Data), "hello")
}

// asmModel says what an Assembler should answer. It keeps all frames of the
// packet and joins them only at the end.
type asmModel struct {
	last    uint64
	kind    drpcwire.Kind
	ended   bool
	control bool
	parts   [][]byte
}

func (m *asmModel) append(fr drpcwire.Frame, more uint64, limit int) string {
	if fr.ID.Message == 0 || fr.ID.Message < m.last || fr.ID.Message == m.last && (m.ended || fr.Kind != m.kind) {
		return broken
	}
	if fr.ID.Message > m.last {
		*m = asmModel{last: fr.ID.Message, kind: fr.Kind}
	}
	size := len(bytes.Join(append(m.parts[:len(m.parts):len(m.parts)], fr.Data), nil))
	if sum, carry := bits.Add64(uint64(size), more, 0); carry != 0 || sum > uint64(limit) {
		return tooLarge
	}
	m.parts, m.control, m.ended = append(m.parts, fr.Data), m.control || fr.Control, fr.Done
	if !fr.Done {
		return partial
	}
	whole := drpcwire.Frame{ID: fr.ID, Kind: fr.Kind, Done: true, Control: m.control, Data: bytes.Join(m.parts, nil)}
	return drpctest.Describe(whole)
}

func FuzzAssembler(f *testing.F) {
	// Four bytes make a frame: the step of the id, kind and bits, the length of
	// the data, what follows in the same frame.
	f.Add([]byte{1, 0x05, 3, 0, 1, 0x05, 3, 0})
	f.Add([]byte{1, 0x04, 3, 0, 0, 0x84, 9, 0, 0, 0x05, 0, 0, 3, 0x04, 1, 0, 2, 0x09, 1, 0})
	f.Add([]byte{1, 0x04, 30, 0, 0, 0x04, 30, 0, 0, 0x05, 5, 0})
	f.Add([]byte{1, 0x04, 30, 250, 2, 0x06, 30, 34, 1, 0x05, 5, 0})
	f.Fuzz(func(t *testing.T, program []byte) {
		const limit = 64
		var asm drpcwire.Assembler
		var model asmModel
		var id uint64
		for len(program) >= 4 {
			op := program[:4]
			program = program[4:]
			id += uint64(int8(op[0])) // down at times, and from 0 to the top
			fr := drpcwire.Frame{
				ID: drpcwire.ID{Stream: 1, Message: id}, Kind: drpcwire.Kind(op[1]>>1) & 0x03,
				Done: op[1]&1 != 0, Control: op[1]&0x80 != 0, Data: bytes.Repeat(op[:1], int(op[2]%80)),
			}
			more := uint64(op[3])
			if op[3] >= 128 {
				more = math.MaxUint64 - uint64(op[3]-128)
			}
			if fr.Done {
				more = 0 // nothing follows the last piece
			}
			want := model.append(fr, more, limit)
			if got := answer(asm.Append(fr, more, limit)); got != want {
				t.Fatalf("%s, %d more: got %s, want %s", drpctest.Describe(fr), more, got, want)
			}
			if want == tooLarge {
				return // the owner gives up the stream
			}
			if asm.Buffered() > limit {
				t.Fatalf("%d bytes are held", asm.Buffered())
			}
		}
	})
}
