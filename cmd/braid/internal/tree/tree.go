// Package tree lists the regular files below a directory, and says what else is
// there.
package tree

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
)

// File is a regular file.
type File struct {
	Path string // relative to the directory, with slashes
	Size int64
	Perm fs.FileMode
}

// Skipped is something that is not a regular file.
type Skipped struct {
	Path string
	What string // what it is, for people
}

// Unreadable is something that could not be looked at.
type Unreadable struct {
	Path string
	Err  error
}

// Listing is what is below a directory, in the order of a walk.
type Listing struct {
	Files      []File
	Skipped    []Skipped
	Unreadable []Unreadable
}

// Size returns the bytes in all the files.
func (l *Listing) Size() int64 {
	var sum int64
	for _, f := range l.Files {
		sum += f.Size
	}
	return sum
}

// List lists what is below the directory. It follows no symbolic links, so that
// it ends, and finds nothing that is elsewhere. A directory that cannot be read
// is listed as such; only the end of ctx is an error.
//
// The listing takes memory for each name. In return the number of files and
// bytes is known before the first is sent, and files that come into being
// meanwhile, perhaps as copies, are not taken for part of the tree.
func List(ctx context.Context, root *os.Root) (*Listing, error) {
	l := &Listing{}
	if err := l.walk(ctx, root, "."); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *Listing) walk(ctx context.Context, root *os.Root, dir string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	entries, err := readDir(root, dir)
	if err != nil {
		l.Unreadable = append(l.Unreadable, Unreadable{dir, err})
		return nil
	}
	if len(entries) == 0 && dir != "." {
		l.Skipped = append(l.Skipped, Skipped{dir, "empty directory"})
	}
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		if e.IsDir() {
			if err := l.walk(ctx, root, name); err != nil {
				return err
			}
			continue
		}
		l.add(root, name)
	}
	return nil
}

// add takes down what is under a name that was not that of a directory.
func (l *Listing) add(root *os.Root, name string) {
	info, err := root.Lstat(filepath.FromSlash(name))
	switch {
	case err != nil:
		l.Unreadable = append(l.Unreadable, Unreadable{name, err})
	case info.Mode().IsRegular():
		l.Files = append(l.Files, File{name, info.Size(), info.Mode().Perm()})
	default:
		l.Skipped = append(l.Skipped, Skipped{name, describe(info.Mode())})
	}
}

// readDir returns what is in a directory, in order of names.
func readDir(root *os.Root, dir string) ([]fs.DirEntry, error) {
	f, err := root.Open(filepath.FromSlash(dir))
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	entries, err := f.ReadDir(-1)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	return entries, nil
}

// describe names what is not a regular file.
func describe(mode fs.FileMode) string {
	switch {
	case mode&fs.ModeSymlink != 0:
		return "symbolic link"
	case mode&fs.ModeSocket != 0:
		return "socket"
	case mode&fs.ModeNamedPipe != 0:
		return "named pipe"
	case mode&fs.ModeDevice != 0:
		return "device"
	case mode.IsDir():
		return "directory that was something else before"
	}
	return fmt.Sprintf("not a regular file (%v)", mode.Type())
}
