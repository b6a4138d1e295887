package drpcstream

import (
	"os"
	"strings"
	"testing"
)

// docRows returns the rows of the table in docs/streams.md whose header begins
// with these columns.
func docRows(t *testing.T, header string) (rows [][]string) {
	t.Helper()
	text, err := os.ReadFile("../docs/streams.md")
	if err != nil {
		t.Fatal(err)
	}
	inside := false
	for _, line := range strings.Split(string(text), "\n") {
		switch {
		case strings.HasPrefix(line, header):
			inside = true
		case !strings.HasPrefix(line, "|"):
			inside = false
		case inside && !strings.HasPrefix(line, "|--"):
			cells := strings.Split(strings.Trim(line, "|"), "|")
			for i := range cells {
				cells[i] = strings.TrimSpace(cells[i])
			}
			rows = append(rows, cells)
		}
	}
	if len(rows) == 0 {
		t.Fatalf("docs/streams.md has no table %q", header)
	}
	return rows
}

func TestTheTransitionsAreThoseOfTheDocument(t *testing.T) {
	var allowed [Closed + 1][Closed + 1]bool
	byName := map[string]State{}
	for s := Init; s <= Closed; s++ {
		byName[s.String()] = s
	}
	for _, row := range docRows(t, "| From | To |") {
		from, ok := byName[row[0]]
		if !ok {
			t.Fatalf("the document has a state %q", row[0])
		}
		for _, name := range strings.FieldsFunc(row[1], func(r rune) bool { return r == ',' || r == ' ' }) {
			to, ok := byName[name]
			if !ok {
				t.Fatalf("the document has a state %q", name)
			}
			allowed[from][to] = true
		}
	}
	for from := Init; from <= Closed; from++ {
		for to := Init; to <= Closed; to++ {
			if from.CanBecome(to) != allowed[from][to] {
				t.Errorf("%v to %v: code %v, document %v", from, to, from.CanBecome(to), allowed[from][to])
			}
			var s Stream
			s.state.Store(uint32(from))
			if did := s.setState(to); did != allowed[from][to] {
				t.Errorf("setState %v to %v returned %v", from, to, did)
			}
			want := from
			if allowed[from][to] {
				want = to
			}
			if s.State() != want {
				t.Errorf("setState %v to %v left %v", from, to, s.State())
			}
		}
	}
	if rows := docRows(t, "| State | What happens"); len(rows) != int(Closed)+1 {
		t.Errorf("the document describes %d states of %d", len(rows), Closed+1)
	}
	if State(9).CanBecome(Closed) || Closed.CanBecome(State(9)) || State(9).String() != "State(9)" {
		t.Error("a state that does not exist takes part")
	}
}
