// Command functionzip packs functions/cloudfunction as the source that Google's Go buildpack takes: the function's package in the root,
// with a module file, the packages of this project that it needs, and all others in a vendor folder. The same source and version
// give the same bytes.
//
// It runs in the project's folder, and changes nothing there.
package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dagbucket/dagbucket/internal/fixedzip"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: functionzip OUT.zip VERSION")
		os.Exit(2)
	}
	if err := pack(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "functionzip:", err)
		os.Exit(1)
	}
}

// pack stages the source in a folder of its own.
func pack(out, version string) (err error) {
	folder, err := os.MkdirTemp("", "functionzip-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	if err := copySource(folder, version); err != nil {
		return err
	}
	if err := vendor(folder); err != nil {
		return err
	}
	entries, err := read(folder)
	if err != nil {
		return err
	}
	return fixedzip.WriteFile(out, entries)
}

// read returns all files of a folder, as ones that anybody may read and the owner may write: the buildpack refuses a go.mod that it
// cannot write, and the module cache holds files that nobody can.
func read(folder string) ([]fixedzip.Entry, error) {
	var entries []fixedzip.Entry
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(folder, path)
		if err != nil {
			return err
		}
		content, err := os.ReadFile(path)
		entries = append(entries, fixedzip.Entry{Name: filepath.ToSlash(name), Mode: 0o644, Content: content})
		return err
	})
	return entries, err
}
