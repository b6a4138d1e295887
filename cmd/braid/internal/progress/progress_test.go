package progress

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"braid/cmd/braid/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// play shows a run of two files, one of which fails.
func play(d display, count *Count) {
	m := start(d, barEvery, count)
	count.Files.Add(1)
	count.Bytes.Add(1500)
	count.Calls.Add(12345)
	count.Lines.Add(7)
	count.Canceled.Add(2)
	m.Note("cannot copy %s", "this")
	m.Stop()
}

func TestLinesArePlain(t *testing.T) {
	var out bytes.Buffer
	play(newLines(&out, Total{Files: 2, Bytes: 3000}), new(Count))
	text := out.String()
	if strings.ContainsAny(text, "\r\x1b") {
		t.Errorf("there are control characters in %q", text)
	}
	for _, want := range []string{
		"0 B of 2.9 KiB  0 of 2 files, 0 calls, 0 lines of chat\n",
		"cannot copy this\n",
		"1.5 KiB of 2.9 KiB  1 of 2 files, 12,345 calls, 7 lines of chat, 2 streams canceled\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in:\n%s", want, text)
		}
	}
}

func TestTheBarIsDrawnInPlace(t *testing.T) {
	var out bytes.Buffer
	play(newBar(&out, Total{Files: 2, Bytes: 3000}), new(Count))
	text := out.String()
	for _, want := range []string{"\r", "0/2 files, 0 calls", "1/2 files, 12,345 calls", "cannot copy this\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in %q", want, text)
		}
	}
	if !strings.HasSuffix(text, "\n") {
		t.Errorf("the cursor stays behind the bar: %q", text)
	}
}

func TestStreamsThatAreHeldAreShown(t *testing.T) {
	count := new(Count)
	count.Held.Store(2)
	count.HeldBytes.Store(120 << 10)
	var lines, bar bytes.Buffer
	play(newLines(&lines, Total{Files: 2, Bytes: 3000}), count)
	play(newBar(&bar, Total{Files: 2, Bytes: 3000, Waits: true}), count)
	if !strings.Contains(lines.String(), ", 2 streams held after 120.0 KiB\n") {
		t.Errorf("the lines are %q", lines.String())
	}
	if text := bar.String(); !strings.Contains(text, " calls, 2 held") || strings.Contains(text, "B/s") {
		t.Errorf("the bar is %q", text)
	}
}

func TestTheBarEndsFullWhateverTheFilesDid(t *testing.T) {
	for name, total := range map[string]Total{
		"nothing to do": {}, "empty files": {Files: 1}, "a file that grew": {Files: 1, Bytes: 10},
	} {
		var out bytes.Buffer
		count := new(Count)
		m := start(newBar(&out, total), barEvery, count)
		count.Files.Add(total.Files)
		count.Bytes.Add(5 * total.Bytes)
		m.Stop()
		if !strings.Contains(out.String(), "100%") {
			t.Errorf("%s: %q", name, out.String())
		}
	}
}

func TestOnlyATerminalGetsABar(t *testing.T) {
	file, err := os.Create(t.TempDir() + "/file")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = r.Close(), w.Close() }()
	if IsTerminal(file) || IsTerminal(w) || IsTerminal(new(bytes.Buffer)) {
		t.Fatal("what is not a terminal was taken for one")
	}
	var out bytes.Buffer
	Start(&out, new(Count), Total{Files: 1, Bytes: 1}).Stop()
	if strings.ContainsAny(out.String(), "\r\x1b") {
		t.Errorf("not a terminal: %q", out.String())
	}
}
