package store

import (
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// open opens a store in a new directory.
func open(t *testing.T, overwrite bool) (*Store, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "into")
	s, err := Open(dir, overwrite)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, dir
}

// put stores a file the regular way.
func put(s *Store, name, content string) error {
	f, err := s.Create(name, 0o640)
	if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := f.Write([]byte(content)); err != nil {
		return err
	}
	return f.Commit(int64(len(content)), sha256.Sum256([]byte(content)))
}

// visible returns the paths of what a user sees in a directory.
func visible(t *testing.T, dir string) []string {
	t.Helper()
	var paths []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case strings.HasPrefix(d.Name(), stagingPrefix):
			return fs.SkipDir
		case path != dir:
			rel, err := filepath.Rel(dir, path)
			paths = append(paths, filepath.ToSlash(rel))
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

func TestAFileAppearsOnlyWhenItIsCommitted(t *testing.T) {
	s, dir := open(t, false)
	f, err := s.Create("a/b/c", 0o750)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Abort()
	if _, err := f.Write([]byte("content")); err != nil {
		t.Fatal(err)
	}
	if got := visible(t, dir); got != nil {
		t.Fatalf("there is %v before the commit", got)
	}
	if err := f.Commit(7, sha256.Sum256([]byte("content"))); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(dir, "a", "b", "c"))
	if err != nil || string(got) != "content" {
		t.Fatalf("%q, %v", got, err)
	}
	info, err := os.Stat(filepath.Join(dir, "a", "b", "c"))
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" && info.Mode() != 0o750 {
		t.Errorf("its mode is %v", info.Mode())
	}
}

func TestACloseLeavesOnlyCompleteFiles(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := put(s, "whole", "x"); err != nil {
		t.Fatal(err)
	}
	f, err := s.Create("half", 0o600)
	if err != nil {
		t.Fatal(err)
	}
	f.Abort()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != "whole" {
		t.Fatalf("%v, %v", entries, err)
	}
}

func TestAMismatchLeavesNothing(t *testing.T) {
	s, dir := open(t, false)
	for _, test := range []struct {
		name string
		size int64
		sum  [32]byte
	}{
		{"digest", 4, sha256.Sum256([]byte("DATA"))},
		{"size", 5, sha256.Sum256([]byte("data"))},
	} {
		f, err := s.Create("sub/"+test.name, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte("data")); err != nil {
			t.Fatal(err)
		}
		if err := f.Commit(test.size, test.sum); !errors.Is(err, ErrMismatch) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	if got := visible(t, dir); got != nil {
		t.Errorf("there is %v", got)
	}
}

func TestWhatIsOnTheDiskIsReadBack(t *testing.T) {
	s, dir := open(t, false)
	f, err := s.Create("file", 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("data")); err != nil {
		t.Fatal(err)
	}
	// A disk that returns something else than what was written.
	if err := os.WriteFile(filepath.Join(dir, f.partial), []byte("dAta"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.Commit(4, sha256.Sum256([]byte("data"))); !errors.Is(err, ErrMismatch) {
		t.Fatal(err)
	}
	if got := visible(t, dir); got != nil {
		t.Errorf("there is %v", got)
	}
}

func TestHostilePathsAreRefused(t *testing.T) {
	s, dir := open(t, true)
	for _, name := range []string{
		"", "/", "/etc/passwd", "..", "../x", "a/../../x", "a/..", "a/../b", ".", "./a", "a/.", "a//b",
		"a/", "nul\x00byte", strings.Repeat("x", 256), s.staging + "/x", strings.ToUpper(s.staging) + "/x",
	} {
		if err := put(s, name, "x"); !errors.Is(err, ErrPath) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if got := visible(t, dir); got != nil {
		t.Errorf("there is %v", got)
	}
	outside, err := os.ReadDir(filepath.Dir(dir))
	if err != nil || len(outside) != 1 {
		t.Errorf("outside there is %v, %v", outside, err)
	}
}

func TestOddNamesAreFine(t *testing.T) {
	s, dir := open(t, false)
	names := []string{"...", "..a", "-rf", "a b", "new\nline", "~", "Ünïcödé", "not\xffUTF-8", `"quoted"`}
	if runtime.GOOS == "windows" || runtime.GOOS == "darwin" {
		names = []string{"..a", "-rf", "a b", "~"}
	}
	for _, name := range names {
		if err := put(s, name, "x"); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	slices.Sort(names)
	if got := visible(t, dir); !slices.Equal(got, names) {
		t.Errorf("there is %q", got)
	}
}

func TestSymbolicLinksDoNotLeadOut(t *testing.T) {
	s, dir := open(t, true)
	outside := t.TempDir()
	if err := os.Symlink(outside, filepath.Join(dir, "exit")); err != nil {
		t.Skip(err) // not everybody may make links on every system
	}
	if err := put(s, "exit/x", "x"); err == nil {
		t.Error("a file was stored through the link")
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) > 0 {
		t.Errorf("outside there is %v, %v", entries, err)
	}
	// A link in the place of the file itself is replaced, not followed.
	target := filepath.Join(outside, "target")
	if err := os.WriteFile(target, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := put(s, "link", "theirs"); err != nil {
		t.Error(err)
	}
	if got, err := os.ReadFile(target); err != nil || string(got) != "mine" {
		t.Errorf("the target is %q, %v", got, err)
	}
}

func TestExistingFilesStayUnlessOverwritten(t *testing.T) {
	for _, overwrite := range []bool{false, true} {
		s, dir := open(t, overwrite)
		if err := put(s, "file", "old"); err != nil {
			t.Fatal(err)
		}
		err, want := put(s, "file", "new"), "new"
		if !overwrite {
			want = "old"
			if !errors.Is(err, ErrExists) {
				t.Errorf("%v", err)
			}
		} else if err != nil {
			t.Error(err)
		}
		if got, err := os.ReadFile(filepath.Join(dir, "file")); err != nil || string(got) != want {
			t.Errorf("overwrite %v: %q, %v", overwrite, got, err)
		}
	}
}

func TestAFileThatAppearsMeanwhileStays(t *testing.T) {
	s, dir := open(t, false)
	f, err := s.Create("file", 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("theirs"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.Commit(0, sha256.Sum256(nil)); !errors.Is(err, ErrExists) {
		t.Error(err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "file")); err != nil || string(got) != "theirs" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestTwoUploadsOfOnePathExcludeEachOther(t *testing.T) {
	for _, overwrite := range []bool{false, true} {
		s, _ := open(t, overwrite)
		f, err := s.Create("file", 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Create("file", 0o600); !errors.Is(err, ErrExists) {
			t.Error(err)
		}
		f.Abort()
		if err := put(s, "file", "x"); err != nil {
			t.Errorf("after the first was given up: %v", err)
		}
	}
}

func TestAFileDoesNotTakeThePlaceOfADirectory(t *testing.T) {
	for _, overwrite := range []bool{false, true} {
		s, _ := open(t, overwrite)
		if err := put(s, "a/b", "x"); err != nil {
			t.Fatal(err)
		}
		if err := put(s, "a", "x"); err == nil {
			t.Error("the directory was replaced")
		}
		if err := put(s, "a/b/c", "x"); err == nil {
			t.Error("the file became a directory")
		}
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(file, false); err == nil {
		t.Fatal("a file was opened as a directory")
	}
}
