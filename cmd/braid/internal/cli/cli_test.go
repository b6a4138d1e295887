package cli

import (
	"errors"
	"io/fs"
	"math"
	"strings"
	"testing"

	"storj.io/drpc"
)

func TestSizesAreReadAndWritten(t *testing.T) {
	for text, want := range map[string]struct {
		n       int
		written string
	}{
		"0": {0, "0"}, "1": {1, "1"}, "1000": {1000, "1000"}, "32KiB": {32 << 10, "32KiB"},
		"32k": {32 << 10, "32KiB"}, "1M": {1 << 20, "1MiB"}, "1024": {1024, "1KiB"}, "5B": {5, "5"},
		"2047mib": {2047 << 20, "2047MiB"}, "2147483647": {math.MaxInt32, "2147483647"},
	} {
		var s size
		if err := s.Set(text); err != nil || int(s) != want.n || s.String() != want.written {
			t.Errorf("%q is read as %d and written as %q, %v", text, int(s), s.String(), err)
		}
	}
	for _, text := range []string{"", "KiB", "-1", "1.5KiB", "1 KiB", "1GiB", "1KB2", "1kk", "2048MiB", "99999999999", "0x10"} {
		s := size(7)
		if err := s.Set(text); err == nil || s != 7 {
			t.Errorf("%q is read as %d, %v", text, int(s), err)
		}
	}
}

func TestAPanicIsToldInOneLine(t *testing.T) {
	if got := explain(errors.New("handler panicked\ngoroutine 1:\nmain.main()")); got != "handler panicked" {
		t.Errorf("%q", got)
	}
}

func TestWhyLeavesThePathOut(t *testing.T) {
	err := &fs.PathError{Op: "openat", Path: "secret", Err: fs.ErrPermission}
	if got := why(err); got != fs.ErrPermission {
		t.Errorf("%v", got)
	}
	if got := why(drpc.ClosedError.New("x")); !strings.Contains(got.Error(), "x") {
		t.Errorf("%v", got)
	}
}

func TestWhatAPeerSaysCannotReachTheTerminal(t *testing.T) {
	var out strings.Builder
	env{stderr: &out}.complain("%v", errors.New("\x1b]0;owned\a\nbraid: all is well"))
	if got, want := out.String(), `braid: \x1b]0;owned\a\nbraid: all is well`+"\n"; got != want {
		t.Errorf("%q", got)
	}
}
