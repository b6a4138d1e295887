// Package store keeps uploaded files below one directory. A file appears under
// its name in one step, whole and verified, or not at all, and no path that a
// client can send leads out of the directory.
package store

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
)

var (
	// ErrExists is wrapped when there is something under that name already, or
	// another upload of it is under way.
	ErrExists = errors.New("already exists")
	// ErrMismatch is wrapped when what arrived or what is on the disk is not
	// what the client sent.
	ErrMismatch = errors.New("checksum mismatch")
)

// stagingPrefix starts the name of the directory for files that are not
// complete. A server that was killed leaves one behind, recognisable.
const stagingPrefix = ".braid-partial-"

// Store is a directory that takes files in. Its methods can be called from any
// number of goroutines.
type Store struct {
	root      *os.Root
	staging   string // name of a directory right below the root
	overwrite bool

	mu     sync.Mutex
	claims map[string]struct{} // paths of uploads under way
}

// Open opens a directory, which it makes where necessary. Files that are there
// already are replaced only with overwrite.
func Open(dir string, overwrite bool) (*Store, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	// The staging directory is inside, so that it is on the same file system
	// and a rename is possible; its name is random, so that two servers can
	// share a directory.
	staging := stagingPrefix + rand.Text()
	if err := root.Mkdir(staging, 0o700); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return &Store{
		root:      root,
		staging:   staging,
		overwrite: overwrite,
		claims:    make(map[string]struct{}),
	}, nil
}

// Close removes what is incomplete. No file may be open any more.
func (s *Store) Close() error {
	return errors.Join(s.root.RemoveAll(s.staging), s.root.Close())
}

// Create begins a file. The path has slashes and is relative to the directory;
// nothing is visible there before [File.Commit].
func (s *Store) Create(name string, perm fs.FileMode) (*File, error) {
	if err := checkPath(name); err != nil {
		return nil, err
	}
	if first, _, _ := strings.Cut(name, "/"); strings.EqualFold(first, s.staging) {
		return nil, fmt.Errorf("%w: %q is the server's own", ErrPath, name)
	}
	if !s.claim(name) {
		return nil, fmt.Errorf("%q %w: it is being uploaded", name, ErrExists)
	}
	file, err := s.create(name, perm)
	if err != nil {
		s.release(name)
		return nil, err
	}
	return file, nil
}

func (s *Store) create(name string, perm fs.FileMode) (*File, error) {
	if !s.overwrite {
		// Early, so that the file is not sent in vain. What decides is
		// the link at the end.
		if _, err := s.root.Lstat(filepath.FromSlash(name)); err == nil {
			return nil, fmt.Errorf("%q %w", name, ErrExists)
		}
	}
	partial := filepath.Join(s.staging, rand.Text())
	f, err := s.root.OpenFile(partial, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return newFile(s, f, name, partial, perm&fs.ModePerm), nil
}

// publish gives a complete file its name.
func (s *Store) publish(partial, name string) error {
	if dir := path.Dir(name); dir != "." {
		if err := s.root.MkdirAll(filepath.FromSlash(dir), 0o755); err != nil {
			return err
		}
	}
	target := filepath.FromSlash(name)
	if s.overwrite {
		return s.root.Rename(partial, target)
	}
	// A rename would replace what is there; a link fails instead, even if it
	// came into being this very moment.
	err := s.root.Link(partial, target)
	switch {
	case err == nil:
		return s.root.Remove(partial)
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%q %w", name, ErrExists)
	}
	return s.publishWithoutLink(partial, target, err)
}

// publishWithoutLink is for file systems that have no hard links. The claim
// keeps other uploads away; against other programs there is only the look just
// before. If the file is there, or the rename fails too, the link's error is
// the better explanation of the two.
func (s *Store) publishWithoutLink(partial, target string, linkErr error) error {
	if _, err := s.root.Lstat(target); !errors.Is(err, fs.ErrNotExist) {
		return linkErr
	}
	if err := s.root.Rename(partial, target); err != nil {
		return linkErr
	}
	return nil
}

// claim reserves a path for one upload.
func (s *Store) claim(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, taken := s.claims[name]; taken {
		return false
	}
	s.claims[name] = struct{}{}
	return true
}

func (s *Store) release(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.claims, name)
}
