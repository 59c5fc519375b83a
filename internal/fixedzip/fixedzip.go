// Package fixedzip writes zip files whose bytes depend on nothing but what is in them.
package fixedzip

import (
	"archive/zip"
	"bytes"
	"cmp"
	"compress/flate"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Entry is one file.
type Entry struct {
	Name    string      // with slashes, relative
	Mode    fs.FileMode // permissions
	Content []byte
}

// ReadFolder returns all files of a folder, below prefix, which is "" or ends with a slash: as ones that anybody may read and their owner may
// write, whatever they are on disk.
func ReadFolder(folder, prefix string) ([]Entry, error) {
	var entries []Entry
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(folder, path)
		if err != nil {
			return err
		}
		content, err := os.ReadFile(path)
		entries = append(entries, Entry{Name: prefix + filepath.ToSlash(name), Mode: 0o644, Content: content})
		return err
	})
	return entries, err
}

// WriteFile writes the entries, in order of their names, to a zip file. A file that has these bytes already is left alone, so that make
// sees by its time what is up to date.
func WriteFile(path string, entries []Entry) error {
	var archive bytes.Buffer
	if err := write(&archive, entries); err != nil {
		return fmt.Errorf("pack %s: %w", path, err)
	}
	if present, err := os.ReadFile(path); err == nil && bytes.Equal(present, archive.Bytes()) {
		return nil
	}
	return os.WriteFile(path, archive.Bytes(), 0o644)
}

func write(to io.Writer, entries []Entry) error {
	z := zip.NewWriter(to)
	z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) {
		return flate.NewWriter(w, flate.BestCompression)
	})
	sorted := slices.SortedFunc(slices.Values(entries), func(a, b Entry) int { return cmp.Compare(a.Name, b.Name) })
	for _, e := range sorted {
		// A fixed time, the first that the format can hold.
		header := &zip.FileHeader{Name: e.Name, Method: zip.Deflate, Modified: time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)}
		header.SetMode(e.Mode)
		file, err := z.CreateHeader(header)
		if err != nil {
			return err
		}
		if _, err := file.Write(e.Content); err != nil {
			return err
		}
	}
	return z.Close()
}
