package blob

import (
	"bytes"
	"errors"
	"testing"
)

func TestAStampIsCheckedInEverySize(t *testing.T) {
	for _, size := range []int{0, 1, 7, 8, 15, 16, 17, 24, 1000} {
		p := make([]byte, size)
		Fill(p)
		const n = uint64(3)<<47 | 0x0102030405
		Stamp(p, n)
		if err := Check(p, size, n); err != nil {
			t.Errorf("%d bytes: %v", size, err)
		}
		if err := Check(p, size+1, n); !errors.As(err, new(*WrongError)) {
			t.Errorf("%d bytes are taken for %d: %v", size, size+1, err)
		}
		if err := Check(p, size, n+1); size > 0 && !errors.As(err, new(*WrongError)) {
			t.Errorf("%d bytes: another number is taken for it: %v", size, err)
		}
		if _, ok := TallyOf(p); ok {
			t.Errorf("%d bytes are taken for a tally", size)
		}
		if size < 16 {
			continue
		}
		p[size-1] ^= 0x80
		if err := Check(p, size, n); err == nil {
			t.Errorf("%d bytes: the end is not looked at", size)
		}
	}
}

func TestTheEncodingKeepsTheBytes(t *testing.T) {
	in := Message{Data: []byte("bytes")}
	buf, err := Encoding{}.MarshalAppend([]byte("before "), &in)
	if err != nil || string(buf) != "before bytes" {
		t.Errorf("%q, %v", buf, err)
	}
	plain, err := Encoding{}.Marshal(&in)
	if err != nil || string(plain) != "bytes" {
		t.Errorf("%q, %v", plain, err)
	}
	out := Message{Data: make([]byte, 0, 100)}
	room := &out.Data[:1][0]
	if err := (Encoding{}).Unmarshal(plain, &out); err != nil || !bytes.Equal(out.Data, in.Data) {
		t.Errorf("%q, %v", out.Data, err)
	}
	if &out.Data[0] != room {
		t.Error("its memory was not used again")
	}
	plain[0] = 'B'
	if string(out.Data) != "bytes" {
		t.Error("it shares memory with the connection")
	}
	if _, err := (Encoding{}).Marshal("text"); err == nil {
		t.Error("a string is a message")
	}
	if err := (Encoding{}).Unmarshal(nil, new(int)); err == nil {
		t.Error("an int is a message")
	}
}

func TestTalliesAndAsksAreReadBack(t *testing.T) {
	want := Tally{Messages: 12, Bytes: 1 << 40}
	p := want.AppendTo(nil)
	if got, ok := TallyOf(p); !ok || got != want {
		t.Errorf("%+v, %v", got, ok)
	}
	if _, ok := TallyOf(append(p, 0)); ok {
		t.Error("a longer one is a tally")
	}
	if got, ok := AskOf(Ask{Size: MaxSize}.AppendTo(nil)); !ok || got.Size != MaxSize {
		t.Errorf("%+v, %v", got, ok)
	}
	for _, p := range [][]byte{nil, make([]byte, 7), make([]byte, 9), Ask{Size: MaxSize + 1}.AppendTo(nil), Ask{Size: 1 << 63}.AppendTo(nil)} {
		if _, ok := AskOf(p); ok {
			t.Errorf("%x is an ask", p)
		}
	}
}

func TestTheDescriptionEnds(t *testing.T) {
	d := Description{}
	if _, _, _, _, ok := d.Method(d.NumMethods()); ok {
		t.Error("there is one more")
	}
}
