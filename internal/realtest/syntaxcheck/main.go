// Command syntaxcheck is the syntax check alone, in a process of its own, for the bench: it loads the checker, checks every Python file below
// the folders, or one hostile source, on one core, and prints what that took as JSON.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/dagbucket/dagbucket/internal/pysyntax"
)

// Measured is what one process measured.
type Measured struct {
	Load      float64 // seconds
	Files     int
	Bytes     int
	Seconds   float64 // of all checks
	Refused   int
	Unchecked int
	Then      bool // a valid source was accepted afterwards
}

// hostile are sources that were made to cost much.
var hostile = map[string]func() []byte{
	"100,000 brackets":    func() []byte { return bytes.Repeat([]byte("["), 100_000) },
	"50 MB on one line":   func() []byte { return bytes.Repeat([]byte("x+"), 25<<20) },
	"1 MB on one line":    func() []byte { return append(bytes.Repeat([]byte("x+"), 512<<10-1), 'x') },
	"1 MB of errors":      func() []byte { return bytes.Repeat([]byte("def\n"), 256<<10) },
	"1 MB of assignments": func() []byte { return append(bytes.Repeat([]byte("a="), 512<<10-1), '1') },
	"1 MB of patterns":    func() []byte { return []byte("match a:\n case {" + strings.Repeat("'a':b,", 170_000) + "}: pass\n") },
	"NUL bytes":           func() []byte { return make([]byte, 1<<20) },
}

func main() {
	cache := flag.String("cache", "", "folder with the machine code; without it sources are interpreted")
	one := flag.String("hostile", "", "check only this source")
	python := flag.String("python", "", "Python version to check for")
	flag.Parse()
	runtime.GOMAXPROCS(1)
	var m Measured
	start := time.Now()
	checker := pysyntax.New(pysyntax.Options{Cache: *cache, Workers: 1})
	if err := checker.Load(); err != nil {
		fail(err)
	}
	m.Load = time.Since(start).Seconds()
	check := func(source []byte) {
		start := time.Now()
		found, err := checker.Check(context.Background(), source, *python)
		m.Seconds += time.Since(start).Seconds()
		m.Files, m.Bytes = m.Files+1, m.Bytes+len(source)
		switch {
		case err != nil && !pysyntax.IsUnchecked(err):
			fail(err)
		case err != nil:
			m.Unchecked++
		case len(found) > 0:
			m.Refused++
		}
	}
	if source := hostile[*one]; source != nil {
		check(source())
	}
	for _, folder := range flag.Args() {
		if err := eachPython(folder, check); err != nil {
			fail(err)
		}
	}
	found, err := checker.Check(context.Background(), []byte("x = 1\n"), *python)
	m.Then = err == nil && len(found) == 0
	if err := json.NewEncoder(os.Stdout).Encode(m); err != nil {
		fail(err)
	}
}

func eachPython(folder string, check func([]byte)) error {
	return filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && entry.Name() == "site-packages" { // not Python's own
			return fs.SkipDir
		}
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".py" {
			return err
		}
		source, err := os.ReadFile(path)
		if err == nil {
			check(source)
		}
		return err
	})
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "syntaxcheck:", err)
	os.Exit(1)
}
