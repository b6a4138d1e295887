package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"braid/bench/internal/report"
)

// The names of what is written.
const (
	documentName = "RESULTS.md"
	folderName   = "results" // for all but the document
	rawName      = "results.txt"
)

// makeFolders makes the folders that are written into, if there are any.
func makeFolders(out string) error {
	if out == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Join(out, folderName), 0o755); err != nil {
		return fmt.Errorf("out: %w", err)
	}
	return nil
}

// write writes the report into files, or prints its tables.
func write(out io.Writer, cfg config, res *report.Results) error {
	if cfg.out == "" {
		return report.WriteDocument(out, res, report.Options{})
	}
	folder := filepath.Join(cfg.out, folderName)
	err := writeFile(out, filepath.Join(folder, rawName), func(w io.Writer) error {
		return report.WriteBenchmarks(w, res)
	})
	for _, p := range res.Plots {
		path := filepath.Join(folder, p.File)
		if !report.Drawable(res, p) {
			// An older one would be taken for one of this run.
			if rest := os.Remove(path); !errors.Is(rest, os.ErrNotExist) {
				err = errors.Join(err, rest)
			}
			continue
		}
		err = errors.Join(err, writeFile(out, path, func(w io.Writer) error { return report.WriteSVG(w, res, p) }))
	}
	return errors.Join(err, writeFile(out, filepath.Join(cfg.out, documentName), func(w io.Writer) error {
		return report.WriteDocument(w, res, report.Options{Plots: folderName, Raw: folderName + "/" + rawName})
	}))
}

// writeFile writes a file anew, and says so.
func writeFile(out io.Writer, path string, content func(io.Writer) error) (err error) {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	w := bufio.NewWriter(file)
	if err := errors.Join(content(w), w.Flush()); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	fmt.Fprintln(out, "wrote", path)
	return nil
}
