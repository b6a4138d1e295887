package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares a text with a file in testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what it was; look at it, and run with -update if it is right:\n%s", path, got)
	}
}

// document returns the document of some results.
func document(t *testing.T, res *Results) string {
	t.Helper()
	var out bytes.Buffer
	if err := WriteDocument(&out, res, Options{Plots: "results", Raw: "results/results.txt"}); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestADocumentIsTheSameForTheSameFigures(t *testing.T) {
	golden(t, "RESULTS.md", []byte(document(t, fakeResults())))
}

func TestAnIncompleteRunIsMarked(t *testing.T) {
	res := fakeResults()
	res.Incomplete = "interrupted in round 4"
	for _, row := range res.Rows[:1] {
		for _, side := range row.Sides {
			side.Samples = side.Samples[:3]
		}
	}
	for _, row := range res.Rows[1:] {
		for _, side := range row.Sides {
			side.Samples = nil
		}
	}
	text := document(t, res)
	for _, want := range []string{
		"**Incomplete: interrupted in round 4.**", "(3 of 6 rounds)", "(0 of 6 rounds)", "not measured", "~ (p=0.100)",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %q in:\n%s", want, text)
		}
	}
	if strings.Contains(text, "(results/procs.svg)") {
		t.Error("a plot of nothing is embedded")
	}
}

func TestNothingAtAllIsADocumentToo(t *testing.T) {
	if text := document(t, &Results{}); !strings.HasPrefix(text, "# Results\n") {
		t.Errorf("got %q", text)
	}
	res := fakeResults()
	for _, row := range res.Rows {
		row.Sides = nil
	}
	document(t, res)
}

func TestABaseThatFailedHasNoRatios(t *testing.T) {
	res := fakeResults()
	res.row(cell(Unary, 64, 16)).side(Base).Failed = "broken"
	if text := document(t, res); !strings.Contains(text, "| Unary/callers=64/size=16B/transport=tcp       |         failed |     - |") {
		t.Errorf("the overview does not say that braid failed:\n%s", text)
	}
	if !res.Failed() {
		t.Error("the results do not say that something failed")
	}
}

func TestAPlotIsWellFormedAndNamesEverything(t *testing.T) {
	res := fakeResults()
	axes := map[Axis][]string{
		Callers: {"callers at once", "calls a second", "1,000"},
		Sizes:   {"size of a message", "payload, MB/s", "64MiB"},
		Procs:   {"GOMAXPROCS", "speed, relative to GOMAXPROCS=1", "4"},
		Latency: {"percentile of calls", "latency, microseconds", "p99.9"},
	}
	for _, p := range res.Plots {
		var out bytes.Buffer
		if err := WriteSVG(&out, res, p); err != nil {
			t.Fatal(err)
		}
		texts := svgTexts(t, out.Bytes())
		names := append(axes[p.Axis], p.Title)
		for _, s := range res.Stacks {
			names = append(names, s.Name)
		}
		for _, name := range names {
			if !slices.Contains(texts, name) {
				t.Errorf("%s has no text %q but %q", p.File, name, texts)
			}
		}
		if !strings.Contains(out.String(), `style="fill:#FFFFFF"`) {
			t.Errorf("%s has no white background", p.File)
		}
		if strings.Contains(out.String(), "NaN") || strings.Contains(out.String(), "Inf") {
			t.Errorf("%s has places that are no numbers", p.File)
		}
	}
}

// svgTexts returns all text in an SVG file.
func svgTexts(t *testing.T, svg []byte) []string {
	t.Helper()
	var texts []string
	for decoder := xml.NewDecoder(bytes.NewReader(svg)); ; {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return texts
		}
		if err != nil {
			t.Fatal(err)
		}
		if text, ok := token.(xml.CharData); ok {
			texts = append(texts, strings.TrimSpace(string(text)))
		}
	}
}

func TestAPlotOfNothingIsAnError(t *testing.T) {
	err := WriteSVG(io.Discard, fakeResults(), Plot{File: "x.svg", Cells: []Cell{cell(PingPong, 5, 5)}})
	if err == nil || !strings.Contains(err.Error(), "x.svg: there is nothing to draw") {
		t.Errorf("got %v", err)
	}
}

func TestNoTwoStacksLookTheSame(t *testing.T) {
	res := &Results{}
	for _, name := range []string{"braid", "a", "b", "c", "d", "e", "f", "g", "h", "floor"} {
		res.Stacks = append(res.Stacks, Stack{Name: name})
	}
	seen := make(map[any]string)
	for _, s := range res.Stacks {
		look := styleOf(res, s.Name)
		if other, ok := seen[look.line.Color]; ok {
			t.Errorf("%s has the colour of %s", s.Name, other)
		}
		seen[look.line.Color] = s.Name
		if plain := len(look.line.Dashes) == 0; plain != (s.Name == Base) {
			t.Errorf("the line of %s has the dashes %v", s.Name, look.line.Dashes)
		}
	}
}
