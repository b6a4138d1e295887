package report

import (
	"math"
	"strings"
	"testing"
)

func TestAnAimIsMetOnItsBoundButNotWhenAheadIsAsked(t *testing.T) {
	c := cell(Unary, 64, 16)
	for _, test := range []struct {
		aim   aim
		value float64
		met   bool
	}{
		{floorTimes(c, 2.5), 2.5, true},
		{floorTimes(c, 2.5), 2.51, false},
		{peerTimes(c, grpcStack, 9), 9, true},
		{peerTimes(c, grpcStack, 9), 8.99, false},
		{aheadOf(c, stockStack), 1, false},
		{aheadOf(c, stockStack), 1.01, true},
		{atMost(c, "things", 4, allocs), 4, true},
		{atMost(c, "things", 4, allocs), 4.01, false},
	} {
		if got := test.aim.met(test.value); got != test.met {
			t.Errorf("%s: %v counts as met: %v", test.aim.what, test.value, got)
		}
	}
}

func TestAnAimSaysByHowMuch(t *testing.T) {
	c := cell(Unary, 64, 16)
	row := &Row{Cell: c, Sides: []*Side{
		sideOf(Base, 100, 200, 300), sideOf(floorStack, 100, 100, 100), sideOf("slow", 900, 900, 900),
		sideOf("near", 220, 220, 220), sideOf("", 1, 1, 1),
	}}
	row.Sides[4] = &Side{Stack: "broken", Failed: "broken"}
	for _, test := range []struct {
		aim           aim
		value, result string
	}{
		{floorTimes(c, 2.5), "2.00x", "met by 20 %"},
		{floorTimes(c, 1.6), "2.00x", "missed by 25 %"},
		{peerTimes(c, "slow", 9), "4.50x", "missed by 50 %"},
		{peerTimes(c, "broken", 9), "-", "not measured"},
		{peerTimes(c, "nobody", 9), "-", "not measured"},
		{aheadOfAll(c), "1.10x (near)", "met by 10 %"},
	} {
		value, result := test.aim.verdict(row)
		if value != test.value || result != test.result {
			t.Errorf("%s: %q, %q, want %q, %q", test.aim.what, value, result, test.value, test.result)
		}
	}
	if m := nearest(nil); !math.IsNaN(m.value) {
		t.Errorf("the nearest peer of no row is at %v", m.value)
	}
}

func TestAimsAreDistinct(t *testing.T) {
	seen := make(map[string]bool)
	for _, a := range aims() {
		key := a.cell.Name() + " " + a.what
		if seen[key] {
			t.Errorf("%s is there twice", key)
		}
		seen[key] = true
		if strings.Contains(a.what, ".00") {
			t.Errorf("%q has digits that say nothing", a.what)
		}
	}
}
