package drpcwire_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"

	"github.com/zeebo/assert"
	stockwire "storj.io/drpc/drpcwire"

	"braid/drpcwire"
	"braid/internal/drpctest"
)

// packetReader returns the sentence for the next packet, or what kind of error
// came in its place.
type packetReader func() (sentence string, ended bool)

func readPackets(r io.Reader, limit int) packetReader {
	rd := drpcwire.NewReaderWithOptions(r, drpcwire.ReaderOptions{MaximumBufferSize: limit})
	return func() (string, bool) {
		pkt, err := rd.ReadPacket()
		return answerTo(pkt, err)
	}
}

func readStockPackets(r io.Reader, limit int) packetReader {
	rd := stockwire.NewReaderWithOptions(r, stockwire.ReaderOptions{MaximumBufferSize: limit})
	return func() (string, bool) {
		pkt, err := rd.ReadPacket()
		return answerTo(drpcwire.Packet{
			Data: pkt.Data, ID: drpcwire.ID(pkt.ID), Kind: drpcwire.Kind(pkt.Kind), Control: pkt.Control,
		}, err)
	}
}

func answerTo(pkt drpcwire.Packet, err error) (string, bool) {
	// Stock calls the end of the transport EOF wherever it strikes.
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "EOF", true
	}
	return answer(pkt, err == nil, err), err != nil
}

// packetFrames returns the bytes of frames of which most follow the rules of a
// connection that carries one stream at a time.
func packetFrames(rng *rand.Rand) (buf []byte, sentences []string) {
	fr := drpcwire.Frame{ID: drpcwire.ID{Stream: 1, Message: 1}, Kind: drpcwire.KindInvoke}
	for range 1 + rng.IntN(30) {
		fr.Data = randomBytes(rng, rng.IntN(20))
		if rng.IntN(200) == 0 {
			fr.Data = randomBytes(rng, rng.IntN(80_000))
		}
		fr.Done, fr.Control = rng.IntN(3) > 0, rng.IntN(4) == 0
		buf = drpcwire.AppendFrame(buf, fr)
		sentences = append(sentences, fmt.Sprintf("%v %d bytes", fr, len(fr.Data)))

		switch n := rng.IntN(60); {
		case n == 0: // the rules are broken in a way that stock notices
			fr.ID.Message -= rng.Uint64N(min(fr.ID.Message, 3) + 1)
		case n == 1:
			fr.ID.Stream--
		case n == 2:
			fr.Kind = drpcwire.Kind(rng.UintN(64))
		case n < 10: // the packet is given up
			fr.ID.Message += 1 + rng.Uint64N(3)
			fr.Kind = drpcwire.KindMessage
		case n < 15:
			fr.ID = drpcwire.ID{Stream: fr.ID.Stream + 1 + rng.Uint64N(3), Message: 1 + rng.Uint64N(3)}
			fr.Kind = drpcwire.KindInvoke
		case fr.Done:
			fr.ID.Message++
			fr.Kind = drpcwire.Kind(rng.UintN(64))
		}
	}
	return buf, sentences
}

func TestPacketsAreReadAsByStock(t *testing.T) {
	rng := random(t)
	var broke int
	for range 300 {
		buf, sentences := packetFrames(rng)
		one := func(io.Reader) io.Reader { return iotest.OneByteReader(bytes.NewReader(buf)) }
		all := func(io.Reader) io.Reader { return bytes.NewReader(buf) }
		some := func(io.Reader) io.Reader { return &chunks{rng: rng, data: buf, max: 200, err: io.EOF} }
		for i, transport := range []func(io.Reader) io.Reader{one, all, some} {
			if i == 0 && len(buf) > 2000 {
				continue // byte by byte, stock takes a time that grows with the square
			}
			next, stock := readPackets(transport(nil), 0), readStockPackets(transport(nil), 0)
			for ended := false; !ended; {
				var got, want string
				got, ended = next()
				want, _ = stock()
				if got != want {
					t.Fatalf("%q\ngot   %.100s\nstock %.100s", sentences, got, want)
				}
				if got == broken {
					broke++
				}
			}
		}
	}
	if broke < 30 {
		t.Errorf("only %d inputs broke a rule", broke)
	}
}

func TestAPacketIsLimitedAsByStock(t *testing.T) {
	const limit = 1000
	for _, sizes := range [][]int{
		{limit - 1}, {limit}, {limit + 1}, {10 * limit}, {100 * limit},
		{limit - 1, 1}, {limit, 0}, {limit, 1}, {limit / 2, limit/2 + 1}, {1, limit}, {0, 0, limit, 0}, {0, limit + 1},
	} {
		t.Run(fmt.Sprint(sizes), func(t *testing.T) {
			var buf []byte
			var total int
			for i, n := range sizes {
				total += n
				buf = drpcwire.AppendFrame(buf, drpcwire.Frame{
					Data: make([]byte, n), ID: drpcwire.ID{Stream: 1, Message: 1}, Done: i == len(sizes)-1,
				})
			}
			// Stock counts what it has read ahead as part of the packet, so it is
			// given one byte at a time.
			got, _ := readPackets(iotest.OneByteReader(bytes.NewReader(buf)), limit)()
			want, _ := readStockPackets(iotest.OneByteReader(bytes.NewReader(buf)), limit)()
			assert.Equal(t, got, want)
			assert.Equal(t, got == broken, total > limit)
			// For braid it makes no difference.
			again, _ := readPackets(bytes.NewReader(buf), limit)()
			assert.Equal(t, again, got)
		})
	}
}

func TestAPacketOverTheLimitIsNotedBeforeItArrives(t *testing.T) {
	// The length alone tells, so no data has to be there.
	data := drpcwire.AppendVarint([]byte{0x05, 1, 1}, 1<<20)
	data = append(data, 'x')
	got, _ := readPackets(bytes.NewReader(data), 1<<20-1)()
	assert.Equal(t, got, broken)
	got, _ = readPackets(bytes.NewReader(data), 1<<20)()
	assert.Equal(t, got, "EOF")
}

func TestMessageIDZeroBreaksTheRulesOnEveryStream(t *testing.T) {
	// Stock notices it only where the id goes down by it.
	for _, stream := range []uint64{1, 2, 100} {
		buf := drpcwire.AppendFrame(nil, frame(t, `s1 m1 Message "a"`))
		buf = drpcwire.AppendFrame(buf, drpcwire.Frame{ID: drpcwire.ID{Stream: stream}, Kind: drpcwire.KindInvoke, Done: true})
		next := readPackets(bytes.NewReader(buf), 0)
		got, _ := next()
		assert.Equal(t, got, `s1 m1 Message "a"`)
		got, _ = next()
		assert.Equal(t, got, broken)
	}
}

func TestAPacketIsReadIntoTheStorageThatIsGiven(t *testing.T) {
	var buf []byte
	for _, sentence := range []string{
		`s1 m1 Message "dropped" more`,
		`s1 m2 Message "dropped too" more`,
		`s2 m1 Message "he" more`,
		`s2 m1 Message "llo"`,
		`s2 m2 Message`,
		`s2 m3 Message "a text that is longer than the storage"`,
	} {
		buf = drpcwire.AppendFrame(buf, frame(t, sentence))
	}
	rd := drpcwire.NewReader(bytes.NewReader(buf))
	stock := stockwire.NewReader(bytes.NewReader(buf))
	for _, storage := range [][]byte{make([]byte, 5, 16), make([]byte, 16), make([]byte, 16), nil} {
		pkt, err := rd.ReadPacketUsing(storage)
		want, stockErr := stock.ReadPacketUsing(bytes.Clone(storage))
		if err != nil {
			assert.Equal(t, err, io.EOF)
			assert.Equal(t, stockErr, io.EOF)
			continue
		}
		assert.NoError(t, stockErr)
		assert.Equal(t, string(pkt.Data), string(want.Data))
		if n := len(pkt.Data); n > 0 && n <= cap(storage) {
			assert.True(t, &pkt.Data[0] == &storage[:1][0])
		}
	}
}

func TestTheControlBitOfAnyFrameCountsForThePacket(t *testing.T) {
	var buf []byte
	for _, sentence := range []string{
		`s1 m1 Message "a" more ctl`, `s1 m2 Message "b" more`, `s1 m2 Message "c" more ctl`, `s1 m2 Message "d"`,
		`s1 m3 Message "e" more`, `s1 m3 Message "f"`,
	} {
		buf = drpcwire.AppendFrame(buf, frame(t, sentence))
	}
	next, stock := readPackets(bytes.NewReader(buf), 0), readStockPackets(bytes.NewReader(buf), 0)
	for _, want := range []string{`s1 m2 Message "bcd" ctl`, `s1 m3 Message "ef"`, "EOF"} {
		got, _ := next()
		assert.Equal(t, got, want)
		got, _ = stock()
		assert.Equal(t, got, want)
	}
}

func TestSplitPacketsAreReadBack(t *testing.T) {
	rng := random(t)
	var buf []byte
	var want []string
	for i := range uint64(50) {
		pkt := drpcwire.Packet{
			Data: randomBytes(rng, rng.IntN(1000)), ID: drpcwire.ID{Stream: 1, Message: i + 1},
			Kind: drpcwire.KindMessage, Control: rng.IntN(2) == 0,
		}
		assert.NoError(t, drpcwire.SplitN(pkt, 1+rng.IntN(300), func(fr drpcwire.Frame) error {
			buf = drpcwire.AppendFrame(buf, fr)
			return nil
		}))
		want = append(want, drpctest.Describe(drpcwire.Frame{
			Data: pkt.Data, ID: pkt.ID, Kind: pkt.Kind, Control: pkt.Control, Done: true,
		}))
	}
	next := readPackets(bytes.NewReader(buf), 0)
	for _, sentence := range append(want, "EOF") {
		got, _ := next()
		assert.Equal(t, got, sentence)
	}
}
