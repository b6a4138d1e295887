// Package promises checks that the documents say what is there.
package promises

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = "../.."

// Every test that docs/behaviours.md names exists.
func TestThePromisesHaveTheirTests(t *testing.T) {
	declared := map[string]bool{}
	function := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, match := range function.FindAllSubmatch(text, -1) {
			declared[string(match[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "docs", "behaviours.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for _, line := range strings.Split(string(text), "\n") {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| Id ") {
			continue
		}
		rows++
		names := regexp.MustCompile("`(Test\\w+|Fuzz\\w+)`").FindAllStringSubmatch(line, -1)
		if len(names) == 0 {
			t.Errorf("no test for: %s", line)
		}
		for _, name := range names {
			if !declared[name[1]] {
				t.Errorf("there is no %s, for: %.60s", name[1], line)
			}
		}
	}
	if rows < 50 {
		t.Errorf("docs/behaviours.md has %d rows", rows)
	}
}

// Every file and section that a document links to exists.
func TestTheLinksOfTheDocumentsLead(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for _, name := range []string{"README.md", "CHANGELOG.md", "docs", "bench", "examples", "tools"} {
		err := filepath.WalkDir(filepath.Join(root, name), func(path string, d fs.DirEntry, err error) error {
			switch {
			case err == nil && d.IsDir() && d.Name() == "testdata":
				return filepath.SkipDir
			case err != nil || !strings.HasSuffix(path, ".md"):
				return err
			}
			text, err := os.ReadFile(path)
			for _, match := range link.FindAllSubmatch(text, -1) {
				checkLink(t, path, string(match[1]))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func checkLink(t *testing.T, from, link string) {
	if strings.Contains(link, "://") {
		return
	}
	file, section, _ := strings.Cut(link, "#")
	target := from
	if file != "" {
		target = filepath.Join(filepath.Dir(from), file)
	}
	text, err := os.ReadFile(target)
	if section == "" {
		if _, err := os.Stat(target); err != nil {
			t.Errorf("%s links to %s: %v", from, link, err)
		}
		return
	}
	heading := regexp.MustCompile(`(?mi)^#+ ` + strings.ReplaceAll(regexp.QuoteMeta(section), "-", `[^\w\n]+`) + `\W*$`)
	if err != nil || !heading.Match(text) {
		t.Errorf("%s links to %s: no such section (%v)", from, link, err)
	}
}
