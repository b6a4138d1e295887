package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// ErrPath is wrapped by the errors about paths that are refused.
var ErrPath = errors.New("path refused")

// maxElement is NAME_MAX of the common file systems, so that the refusal is the
// same everywhere and comes before anything is received.
const maxElement = 255

// checkPath says whether a path with slashes names a file below the directory,
// in its one and only spelling. os.Root would refuse to leave the directory
// anyway, but "a/../b" stays inside and is still nothing that an honest client
// sends; and two spellings of one path would be two claims of one file.
func checkPath(path string) error {
	refuse := func(why string) error { return fmt.Errorf("%w: %q %s", ErrPath, path, why) }
	switch {
	case path == "":
		return refuse("is empty")
	case strings.HasPrefix(path, "/"):
		return refuse("is absolute")
	case strings.ContainsRune(path, 0):
		return refuse("contains a zero byte")
	case os.PathSeparator != '/' && strings.ContainsRune(path, os.PathSeparator):
		return refuse("contains a separator other than a slash")
	}
	for element := range strings.SplitSeq(path, "/") {
		switch {
		case element == "":
			return refuse("has an empty element")
		case element == ".", element == "..":
			return refuse("has the element " + element)
		case len(element) > maxElement:
			return refuse(fmt.Sprintf("has an element of more than %d bytes", maxElement))
		}
	}
	// What is left are the names that only some systems reserve.
	if !filepath.IsLocal(filepath.FromSlash(path)) {
		return refuse("is not allowed on this system")
	}
	return nil
}
