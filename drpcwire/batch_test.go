package drpcwire_test

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/zeebo/assert"

	"braid/drpcwire"
	"braid/internal/drpctest"
)

// unbatched reads frames by way of batches, wherever there are any.
type unbatched struct {
	last  drpcwire.Frame
	batch []drpcwire.Frame
}

func (u *unbatched) ReadFrame(rd *drpcwire.Reader) (fr drpcwire.Frame, err error) {
	if len(u.batch) == 0 {
		b, ok := rd.PeekBatch(u.last.ID.Stream, 1000, 100_000)
		if !ok {
			u.last, err = rd.ReadFrame()
			return u.last, err
		}
		rd.Skip(b)
		size := 0
		for rest := b.Frames; len(rest) > 0; {
			_, fr, ok, err := drpcwire.ParseFrame(rest)
			if !ok || err != nil {
				return fr, err
			}
			fr.Data, rest = drpcwire.NextMessage(rest)
			fr.Data = bytes.Clone(fr.Data)
			size += len(fr.Data)
			u.batch = append(u.batch, fr)
		}
		first, last := u.batch[0].ID.Message, u.batch[len(u.batch)-1].ID.Message
		if b.First != first || b.Last != last || b.Messages != len(u.batch) || b.Size != size {
			panic("the batch is not what it says that it is")
		}
	}
	u.last, u.batch = u.batch[0], u.batch[1:]
	return u.last, nil
}

// peek returns the batch that comes first of what is buffered, as sentences.
func peek(t *testing.T, data []byte, stream uint64, longest int, most int64) []string {
	t.Helper()
	rd := drpcwire.NewReader(bytes.NewReader(data))
	if _, err := rd.ReadFrame(); err != nil {
		t.Fatal(err)
	}
	b, ok := rd.PeekBatch(stream, longest, most)
	assert.Equal(t, ok, b.Messages >= 2)
	if !ok {
		return nil
	}
	var got []string
	for rest := b.Frames; len(rest) > 0; {
		_, fr, _, _ := drpcwire.ParseFrame(rest)
		got = append(got, drpctest.Describe(fr))
		_, rest = drpcwire.NextMessage(rest)
	}
	return got
}

func TestABatchEndsBeforeWhatIsNotAPlainMessage(t *testing.T) {
	one, two := `s3 m2 Message "one"`, `s3 m300 Message "two"`
	for name, tc := range map[string]struct {
		third string
		want  int // messages of the batch
	}{
		"a message":                          {`s3 m301 Message "three"`, 3},
		"an empty one":                       {`s3 m301 Message`, 3},
		"of a large id":                      {`s3 m9000000000 Message "x"`, 3},
		"a message in several frames":        {`s3 m301 Message "x" more`, 2},
		"of another stream":                  {`s5 m301 Message "x"`, 2},
		"whose id goes back":                 {`s3 m299 Message "x"`, 2},
		"whose id is used again":             {`s3 m300 Message "x"`, 2},
		"with the control bit":               {`s3 m301 Message "x" ctl`, 2},
		"the end of the stream":              {`s3 m301 CloseSend`, 2},
		"longer than asked for":              {`s3 m301 Message "` + strings.Repeat("x", 101) + `"`, 2},
		"as long as asked for":               {`s3 m301 Message "` + strings.Repeat("x", 100) + `"`, 3},
		"beyond the credit that it may cost": {`s3 m301 Message "` + strings.Repeat("x", 40) + `"`, 2},
	} {
		most := int64(1000)
		if strings.HasPrefix(name, "beyond") {
			most = 3*drpcwire.FrameCost + 6 + 39
		}
		var data []byte
		for _, s := range []string{`s3 m1 Message "zero"`, one, two, tc.third} {
			data = drpcwire.AppendFrame(data, frame(t, s))
		}
		want := []string{one, two, tc.third}[:tc.want]
		assert.DeepEqual(t, peek(t, data, 3, 100, most), want)
		if got := peek(t, data[:len(data)-1], 3, 100, most); len(got) != 2 {
			t.Errorf("%s, cut: %q", name, got)
		}
	}
}

func TestOneMessageIsNoBatch(t *testing.T) {
	var data []byte
	for _, s := range []string{`s3 m1 Message "zero"`, `s3 m2 Message "one"`, `s3 m3 CloseSend`} {
		data = drpcwire.AppendFrame(data, frame(t, s))
	}
	assert.Equal(t, len(peek(t, data, 3, 100, 1000)), 0)
}

// Nothing is read for a batch, and what was looked at comes again.
func TestPeekBatchReadsNothing(t *testing.T) {
	var data []byte
	want := []string{`s3 m1 Message "a"`, `s3 m2 Message "b"`, `s3 m3 Message "c"`}
	for _, s := range want {
		data = drpcwire.AppendFrame(data, frame(t, s))
	}
	rd := drpcwire.NewReader(iotest.OneByteReader(bytes.NewReader(data)))
	var got []string
	for {
		if b, ok := rd.PeekBatch(3, 100, 1000); ok {
			t.Fatalf("%d bytes are buffered, and a batch of %d", rd.Buffered(), b.Messages)
		}
		fr, err := rd.ReadFrame()
		if err == io.EOF {
			break
		}
		assert.NoError(t, err)
		got = append(got, drpctest.Describe(fr))
	}
	assert.DeepEqual(t, got, want)
}

func TestABatchAllocatesNothing(t *testing.T) {
	var data []byte
	for id := range uint64(50) {
		data = drpcwire.AppendFrame(data, drpcwire.Frame{
			ID: drpcwire.ID{Stream: 3, Message: id + 100}, Kind: drpcwire.KindMessage, Done: true, Data: []byte("data"),
		})
	}
	rd := drpcwire.NewReader(bytes.NewReader(data))
	_, err := rd.ReadFrame()
	assert.NoError(t, err)
	allocs := testing.AllocsPerRun(100, func() {
		b, ok := rd.PeekBatch(3, 100, 100_000)
		if !ok || b.Messages != 49 {
			t.Fatalf("a batch of %d", b.Messages)
		}
		for rest := b.Frames; len(rest) > 0; {
			_, rest = drpcwire.NextMessage(rest)
		}
	})
	assert.Equal(t, allocs, 0.0)
}

func TestPeekCloseSendFindsOnlyThat(t *testing.T) {
	for _, tc := range []struct {
		next string
		want uint64
	}{
		{`s3 m2 CloseSend`, 2},
		{`s3 m900 CloseSend`, 900},
		{`s3 m1 CloseSend`, 0}, // the id of the message
		{`s5 m2 CloseSend`, 0},
		{`s3 m2 CloseSend ctl`, 0},
		{`s3 m2 CloseSend more`, 0},
		{`s3 m2 CloseSend "data"`, 0},
		{`s3 m2 Message "data"`, 0},
		{`s3 m2 Close`, 0},
	} {
		data := drpcwire.AppendFrame(nil, frame(t, `s3 m1 Message "one"`))
		data = drpcwire.AppendFrame(data, frame(t, tc.next))
		last := drpcwire.AppendFrame(nil, frame(t, `s3 m901 Error`))
		for _, cut := range []bool{false, true} {
			rd := drpcwire.NewReader(bytes.NewReader(append(data[:len(data):len(data)], last...)))
			if cut {
				rd = drpcwire.NewReader(iotest.OneByteReader(bytes.NewReader(data)))
			}
			fr, err := rd.ReadFrame()
			assert.NoError(t, err)
			got := rd.PeekCloseSend(fr.ID)
			if cut {
				assert.Equal(t, got, uint64(0)) // it is not there yet
				continue
			}
			if got != tc.want {
				t.Errorf("%s: got id %d", tc.next, got)
			}
			want := tc.next
			if got > 0 {
				rd.SkipCloseSend()
				want = `s3 m901 Error`
			}
			fr, err = rd.ReadFrame()
			assert.NoError(t, err)
			assert.Equal(t, drpctest.Describe(fr), want)
		}
	}
}
