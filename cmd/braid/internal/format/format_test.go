package format

import (
	"math"
	"testing"
	"time"
)

func TestNumber(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0", 7: "7", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000", -1: "-1",
		math.MinInt64: "-9,223,372,036,854,775,808",
	} {
		if got := Number(n); got != want {
			t.Errorf("%d is written as %q", n, got)
		}
	}
}

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 1<<20 - 1: "1.0 MiB",
		1 << 30: "1.0 GiB", math.MaxInt64: "8.0 EiB",
	} {
		if got := Bytes(n); got != want {
			t.Errorf("%d is written as %q", n, got)
		}
	}
}

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 ns", 999: "999 ns", time.Microsecond: "1.00 µs", 12345: "12.3 µs", 123456: "123 µs",
		9999 * time.Microsecond: "10.0 ms", 1500 * time.Millisecond: "1.50 s", time.Hour: "3600 s",
	} {
		if got := Duration(d); got != want {
			t.Errorf("%d is written as %q", d, got)
		}
	}
}

func TestLine(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "plain, 100 µs": "plain, 100 µs", "two\nlines": `two\nlines`,
		"\x1b[2Jgone": `\x1b[2Jgone`, "not\xffUTF-8": `not\ufffdUTF-8`, `back\slash 'x'`: `back\slash 'x'`,
	} {
		if got := Line(text); got != want {
			t.Errorf("%q is written as %s", text, got)
		}
	}
}

func TestPath(t *testing.T) {
	for p, want := range map[string]string{
		"a/b c": "a/b c", "Ünï": "Ünï", "": `""`, "new\nline": `"new\nline"`,
		"\x1b[31mred": `"\x1b[31mred"`, "\xff": `"\xff"`, `say "x"`: `"say \"x\""`,
	} {
		if got := Path(p); got != want {
			t.Errorf("%q is written as %s", p, got)
		}
	}
}
