package store

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
)

// File is a file on its way into a [Store]. It belongs to one goroutine, and
// has to be ended by Commit or by Abort.
type File struct {
	store   *Store
	f       *os.File
	name    string // with slashes, as the client gave it
	partial string // where it is until it is complete
	perm    fs.FileMode

	hash hash.Hash // of what was written
	size int64
	done bool
}

func newFile(s *Store, f *os.File, name, partial string, perm fs.FileMode) *File {
	return &File{store: s, f: f, name: name, partial: partial, perm: perm, hash: sha256.New()}
}

// Write appends to the file.
func (f *File) Write(p []byte) (int, error) {
	n, err := f.f.Write(p)
	f.size += int64(n)
	_, _ = f.hash.Write(p[:n]) // never fails
	return n, err
}

// Size returns how many bytes were written.
func (f *File) Size() int64 { return f.size }

// Commit verifies that the bytes written have this size and digest, then that
// the file as read back has them too, and gives the file its name. After an
// error there is no file.
func (f *File) Commit(size int64, sum [sha256.Size]byte) error {
	defer f.Abort()
	if f.size != size {
		return fmt.Errorf("%q: %w: %d bytes arrived, %d were sent", f.name, ErrMismatch, f.size, size)
	}
	if got := digest(f.hash); got != sum {
		return fmt.Errorf("%q: %w: what arrived has %x, what was sent has %x", f.name, ErrMismatch, got, sum)
	}
	if err := f.readBack(sum); err != nil {
		return err
	}
	if err := f.f.Chmod(f.perm); err != nil {
		return err
	}
	// Closed before it is visible: a file system may report a failed write
	// only here.
	if err := f.f.Close(); err != nil {
		return err
	}
	return f.store.publish(f.partial, f.name)
}

// readBack compares the digest of what the file system returns.
func (f *File) readBack(sum [sha256.Size]byte) error {
	if _, err := f.f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	h := sha256.New()
	n, err := io.Copy(h, f.f)
	if err != nil {
		return err
	}
	if got := digest(h); n != f.size || got != sum {
		return fmt.Errorf("%q: %w: %d bytes with %x were read back, %d with %x were written",
			f.name, ErrMismatch, n, got, f.size, sum)
	}
	return nil
}

// Abort removes the file, unless it was committed. It can be called twice.
func (f *File) Abort() {
	if f.done {
		return
	}
	f.done = true
	// Both fail after a commit, which has closed the file and moved it away.
	// If the removal fails otherwise, Store.Close tries again.
	_ = f.f.Close()
	_ = f.store.root.Remove(f.partial)
	f.store.release(f.name)
}

func digest(h hash.Hash) (sum [sha256.Size]byte) {
	h.Sum(sum[:0])
	return sum
}
