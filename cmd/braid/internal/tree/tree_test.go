package tree

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

func list(t *testing.T, ctx context.Context, dir string) (*Listing, error) {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close() }()
	return List(ctx, root)
}

func write(t *testing.T, path string, size int) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, make([]byte, size), 0o640); err != nil {
		t.Fatal(err)
	}
}

func TestListNamesEverything(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "b"), 3)
	write(t, filepath.Join(dir, "a", "deep", "er", "file"), 5)
	write(t, filepath.Join(dir, "a", "none"), 0)
	if err := os.Mkdir(filepath.Join(dir, "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	skipped := []Skipped{{"empty", "empty directory"}}
	// A link to a directory that has the link in it: followed, it never ends.
	if err := os.Symlink(".", filepath.Join(dir, "link")); err == nil {
		skipped = append(skipped, Skipped{"link", "symbolic link"})
	}
	if lis, err := net.Listen("unix", filepath.Join(dir, "socket")); err == nil {
		defer func() { _ = lis.Close() }()
		skipped = append(skipped, Skipped{"socket", "socket"})
	}
	got, err := list(t, t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	want := &Listing{
		Files: []File{
			{"a/deep/er/file", 5, 0o640}, {"a/none", 0, 0o640}, {"b", 3, 0o640},
		},
		Skipped: skipped,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got.Size() != 8 {
		t.Errorf("%d bytes in all", got.Size())
	}
}

func TestAnEmptyDirectoryHasNothing(t *testing.T) {
	got, err := list(t, t.Context(), t.TempDir())
	if err != nil || !reflect.DeepEqual(got, &Listing{}) {
		t.Fatalf("%+v, %v", got, err)
	}
}

func TestListEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := list(t, ctx, t.TempDir()); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

func TestDescribeKnowsWhatThereIs(t *testing.T) {
	for mode, want := range map[fs.FileMode]string{
		fs.ModeSymlink:                    "symbolic link",
		fs.ModeSocket:                     "socket",
		fs.ModeNamedPipe:                  "named pipe",
		fs.ModeDevice | fs.ModeCharDevice: "device",
		fs.ModeIrregular:                  "not a regular file (?---------)",
	} {
		if got := describe(mode); got != want {
			t.Errorf("%v is %q", mode, got)
		}
	}
}
