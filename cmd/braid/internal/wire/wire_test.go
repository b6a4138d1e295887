package wire

import (
	"bytes"
	"errors"
	"io/fs"
	"reflect"
	"strings"
	"testing"

	"storj.io/drpc"
)

// samples are messages of every kind, small and at their limits.
func samples() []message {
	return []message{
		&Echo{Number: 7, Payload: []byte("hello")},
		&Echo{Number: 1<<64 - 1, Payload: make([]byte, MaxPayload)},
		&UploadID{1, 2, 3},
		&Outcome{State: Canceled, Size: 1<<63 - 1},
		&UploadFrame{Step: Header, ID: UploadID{9}, Path: "a/b", Perm: 0o640, Size: 12, WantReady: true},
		&UploadFrame{Step: Header, Path: strings.Repeat("x", MaxPath), Perm: fs.ModePerm},
		&UploadFrame{Step: Header, Path: "not\xffUTF-8\n"},
		&UploadFrame{Step: Chunk, Data: []byte{0}},
		&UploadFrame{Step: Chunk, Data: make([]byte, MaxChunk)},
		&UploadFrame{Step: End, Size: 300, Sum: Sum{5}},
		&UploadReply{Step: Ready},
		&UploadReply{Step: Receipt, Size: 4, Sum: Sum{6}},
		&ChatFrame{Event: Join, Room: "r", Name: strings.Repeat("n", MaxName)},
		&ChatFrame{Event: Welcome, Members: 3},
		&ChatFrame{Event: Line, Number: 1, Last: true, Text: "hi"},
		&ChatFrame{Event: Heard, Name: "n", Number: 2, Text: strings.Repeat("t", MaxText)},
	}
}

// fresh returns an empty message of the same type.
func fresh(m message) message {
	return reflect.New(reflect.TypeOf(m).Elem()).Interface().(message)
}

func TestMessagesComeBackAsTheyWere(t *testing.T) {
	for _, m := range samples() {
		buf, err := Codec{}.Marshal(m)
		if err != nil {
			t.Fatalf("%T: %v", m, err)
		}
		got := fresh(m)
		if err := (Codec{}).Unmarshal(buf, got); err != nil {
			t.Fatalf("%T: %v", m, err)
		}
		again, err := Codec{}.Marshal(got)
		if err != nil || !bytes.Equal(buf, again) {
			t.Errorf("%T came back as another message: %v, %v", m, got, err)
		}
	}
}

func TestMarshalAppendKeepsWhatIsThere(t *testing.T) {
	buf, err := Codec{}.MarshalAppend([]byte("before"), &UploadReply{Step: Ready})
	if err != nil || string(buf) != "before"+string([]byte{byte(tagReady)}) {
		t.Fatalf("%q, %v", buf, err)
	}
}

func TestUnmarshalCopiesWhatItKeeps(t *testing.T) {
	buf, err := Codec{}.Marshal(&UploadFrame{Step: Chunk, Data: []byte("data")})
	if err != nil {
		t.Fatal(err)
	}
	var got UploadFrame
	if err := (Codec{}).Unmarshal(buf, &got); err != nil {
		t.Fatal(err)
	}
	clear(buf)
	if string(got.Data) != "data" {
		t.Fatalf("the buffer of the connection shows through: %q", got.Data)
	}
}

func TestEveryPrefixOfAMessageIsRefused(t *testing.T) {
	for _, m := range samples() {
		buf, err := Codec{}.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		for n := 0; n < len(buf); n += max(1, len(buf)/50) {
			if err := (Codec{}).Unmarshal(buf[:n], fresh(m)); !errors.Is(err, ErrMalformed) {
				t.Errorf("%d of %d bytes of %T: %v", n, len(buf), m, err)
			}
		}
	}
}

func TestMalformedMessagesAreRefused(t *testing.T) {
	sum := strings.Repeat("s", 32)
	id := strings.Repeat("i", 16)
	tests := []struct {
		name  string
		into  message
		bytes string
		want  string
	}{
		{"nothing", new(Echo), "", "empty"},
		{"tag of another message", new(Echo), "\x05", "tag 5"},
		{"upload tag on a reply", new(UploadReply), "\x02", "tag 2"},
		{"tag that does not exist", new(ChatFrame), "\xff", "tag 255"},
		{"bytes at the end", new(UploadReply), "\x05x", "1 bytes follow"},
		{"number of 65 bits", new(Echo), "\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02\x00", "64 bits"},
		{"number in a long form", new(Echo), "\x01\x80\x00\x00", "shortest"},
		{"size of 64 bits", new(UploadFrame), "\x04\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01" + sum, "63 bits"},
		{"length beyond the end", new(Echo), "\x01\x00\x05abcd", "cut short"},
		{"length above the limit", new(Echo), "\x01\x00\xff\xff\xff\x7f", "above the limit"},
		{"path above the limit", new(UploadFrame), "\x02" + id + "\x81\x20" + strings.Repeat("p", MaxPath+1), "above the limit"},
		{"type bits in the permissions", new(UploadFrame), "\x02" + id + "\x00\x80\x80\x80\x80\x08\x00\x00", "permission"},
		{"flag that is neither", new(UploadFrame), "\x02" + id + "\x00\x00\x00\x02", "neither yes nor no"},
		{"empty chunk", new(UploadFrame), "\x03\x00", "empty"},
		{"state that does not exist", new(Outcome), "\x08\x09\x00", "state 9"},
		{"nobody joins", new(ChatFrame), "\x09\x01r\x00", "empty"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := Codec{}.Unmarshal([]byte(test.bytes), test.into)
			if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, want an error with %q", err, test.want)
			}
		})
	}
}

func TestWhatTheProtocolDoesNotAllowIsNotSent(t *testing.T) {
	for _, m := range []drpc.Message{
		&Echo{Payload: make([]byte, MaxPayload+1)},
		&Outcome{State: 0},
		&Outcome{State: Stored, Size: -1},
		&UploadFrame{Step: Header, Path: strings.Repeat("x", MaxPath+1)},
		&UploadFrame{Step: Header, Path: "x", Perm: fs.ModeSetuid},
		&UploadFrame{Step: Header, Path: "x", Size: -1},
		&UploadFrame{Step: Chunk},
		&UploadFrame{Step: Chunk, Data: make([]byte, MaxChunk+1)},
		&UploadFrame{Step: End, Size: -1},
		&UploadFrame{Step: Ready},
		&UploadReply{Step: Header},
		&UploadReply{Step: Receipt, Size: -1},
		&ChatFrame{Event: Join, Room: "r"},
		&ChatFrame{Event: Join, Room: strings.Repeat("r", MaxName+1), Name: "n"},
		&ChatFrame{Event: Line, Text: strings.Repeat("t", MaxText+1)},
		&ChatFrame{Event: Heard, Name: strings.Repeat("n", MaxName+1)},
		&ChatFrame{},
		"not a message",
		nil,
	} {
		if buf, err := (Codec{}).Marshal(m); err == nil {
			t.Errorf("%T %v was encoded as %d bytes", m, m, len(buf))
		}
	}
	if err := (Codec{}).Unmarshal([]byte{1}, "not a message"); err == nil {
		t.Error("a string was decoded")
	}
}

func TestTrafficCountsWhatPasses(t *testing.T) {
	traffic := new(Traffic)
	c := Codec{traffic: traffic}
	buf, err := c.MarshalAppend(make([]byte, 100), &UploadReply{Step: Ready})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Unmarshal(buf[100:], new(UploadReply)); err != nil {
		t.Fatal(err)
	}
	_ = c.Unmarshal(nil, new(UploadReply))
	got := []int64{
		traffic.Sent.Load(), traffic.SentBytes.Load(),
		traffic.Received.Load(), traffic.ReceivedSize.Load(),
	}
	if !reflect.DeepEqual(got, []int64{1, 1, 1, 1}) {
		t.Fatalf("counted %v", got)
	}
}

func TestDescriptionEndsAfterItsMethods(t *testing.T) {
	d := Description{}
	for n := range d.NumMethods() {
		if _, _, _, _, ok := d.Method(n); !ok {
			t.Errorf("method %d is missing", n)
		}
	}
	if _, _, _, _, ok := d.Method(d.NumMethods()); ok {
		t.Error("there is one more method")
	}
}

func TestCodesSurviveWrapping(t *testing.T) {
	err := WithCode(errors.New("no"), BadPath)
	if CodeOf(err) != BadPath || CodeOf(errors.New("no")) != 0 {
		t.Fatal("the code is lost")
	}
}

// FuzzUnmarshal lets every decoder read the same bytes. What one accepts has to
// have that one encoding.
func FuzzUnmarshal(f *testing.F) {
	for _, m := range samples() {
		if buf, err := (Codec{}).Marshal(m); err == nil && len(buf) < 1000 {
			f.Add(buf)
		}
	}
	f.Fuzz(func(t *testing.T, buf []byte) {
		for _, m := range []message{
			new(Echo), new(UploadID), new(Outcome), new(UploadFrame), new(UploadReply), new(ChatFrame),
		} {
			err := Codec{}.Unmarshal(buf, m)
			if err != nil {
				if !errors.Is(err, ErrMalformed) {
					t.Fatalf("%T: an error of another kind: %v", m, err)
				}
				continue
			}
			again, err := Codec{}.Marshal(m)
			if err != nil || !bytes.Equal(buf, again) {
				t.Fatalf("%T: %x was read and is written as %x, %v", m, buf, again, err)
			}
		}
	})
}

func TestTheStalledStreamsAreAServiceOfTheirOwn(t *testing.T) {
	d := StallDescription{}
	for n := range d.NumMethods() {
		rpc, _, recv, method, ok := d.Method(n)
		if !ok || recv == nil || method == nil || !strings.HasPrefix(rpc, "/braid.copy.Stall/") {
			t.Errorf("method %d is %q", n, rpc)
		}
	}
	if _, _, _, _, ok := d.Method(d.NumMethods()); ok {
		t.Error("there is one more")
	}
}
