package drpctest

import (
	"testing"

	"braid/drpcwire"
)

func TestSentencesRoundTrip(t *testing.T) {
	for _, s := range []string{
		`s1 m2 Message "hello" more ctl`,
		`s3 m1 Invoke "a \" b more"`,
		`s1 m9 CloseSend`,
		`s0 m0 Kind(40) ctl`,
		`s1 m1 Cancel "\x02" ctl`,
	} {
		fr, err := Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		if got := Describe(fr); got != s {
			t.Errorf("got %s want %s", got, s)
		}
		_, again, ok, err := drpcwire.ParseFrame(drpcwire.AppendFrame(nil, fr))
		if !ok || err != nil || Describe(again) != s {
			t.Errorf("on the wire %s became %s", s, Describe(again))
		}
	}
	for _, s := range []string{"", "s1 Message", "s1 m1 Nothing", `s1 m1 Message "x`, "s1 m1 Message maybe"} {
		if fr, err := Parse(s); err == nil {
			t.Errorf("%q parsed as %s", s, Describe(fr))
		}
	}
}
