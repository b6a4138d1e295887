package main

import (
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// file is what there is to know of a file.
type file struct {
	content string
	perm    fs.FileMode
}

// makeTree fills a new directory with files of all sorts, and some things that
// are not regular files. It returns the files.
func makeTree(t *testing.T) (dir string, files map[string]file) {
	t.Helper()
	dir = t.TempDir()
	random := rand.NewChaCha8([32]byte{1})
	large := make([]byte, 5<<20+123)
	_, _ = random.Read(large)
	files = map[string]file{
		"empty":                    {"", 0o600},
		"one byte":                 {"x", 0o644},
		"large":                    {string(large), 0o640},
		"script.sh":                {"#!/bin/sh\n", 0o755},
		"exactly one chunk":        {strings.Repeat("c", 32<<10), 0o600},
		"a/b/c/d/e/f/deep":         {"deep", 0o600},
		".hidden/.file":            {"hidden", 0o600},
		"-starts-with-dash":        {"dash", 0o600},
		"..starts-with-dots":       {"dots", 0o600},
		"Ünïcödé ✓":                {"unicode", 0o600},
		strings.Repeat("long", 60): {"long", 0o600},
	}
	if runtime.GOOS == "linux" {
		files["new\nline"] = file{"newline", 0o600}
		files["not\xffUTF-8"] = file{"bytes", 0o600}
		files[`back\slash`] = file{"backslash", 0o600}
	}
	for i := range 100 {
		files[filepath.Join("many", string(rune('a'+i%26)), strings.Repeat("x", i+1))] = file{strings.Repeat("m", i*37), 0o600}
	}
	for name, f := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(f.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, f.perm); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("large", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "nothing in it"), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir, files
}

// compareTree fails the test unless a directory holds these files and nothing
// else.
func compareTree(t *testing.T, dir string, files map[string]file) {
	t.Helper()
	there := readTree(t, dir)
	for name, want := range files {
		got, ok := there[name]
		switch {
		case !ok:
			t.Errorf("%q is missing", name)
		case got.content != want.content:
			t.Errorf("%q has other content", name)
		case got.perm != want.perm && runtime.GOOS != "windows":
			t.Errorf("%q has the mode %v, want %v", name, got.perm, want.perm)
		}
	}
	for name := range there {
		if _, ok := files[name]; !ok {
			t.Errorf("%q is there as well", name)
		}
	}
}

// readTree returns what is in a directory. What is no regular file counts as one
// that nobody expects.
func readTree(t *testing.T, dir string) map[string]file {
	t.Helper()
	there := make(map[string]file)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		content, err := os.ReadFile(path)
		there[rel] = file{string(content), info.Mode()}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return there
}
