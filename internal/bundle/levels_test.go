package bundle

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
)

// BenchmarkLevels packs this project's own code, with its levels of compression, on one processor and on two.
func BenchmarkLevels(b *testing.B) {
	contents := map[string][]byte{}
	var paths []string
	size := int64(0)
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" {
			return err
		}
		content, err := os.ReadFile(path)
		name := filepath.ToSlash(path)[len("../"):]
		contents[name], paths, size = content, append(paths, name), size+int64(len(content))
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	slices.Sort(paths)
	for _, processors := range []int{1, 2} {
		for _, level := range []int{1, 2, 3, 4, 5, 6} {
			b.Run(fmt.Sprintf("level %d on %d", level, processors), func(b *testing.B) {
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(processors))
				b.SetBytes(size)
				var packed countingWriter
				for b.Loop() {
					packed = 0
					w := newWriter(&packed, level)
					for _, p := range paths {
						if _, err := w.Add(Entry{Path: p, Size: int64(len(contents[p]))}, bytes.NewReader(contents[p])); err != nil {
							b.Fatal(err)
						}
					}
					if err := w.Close(); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(100*float64(packed)/float64(size), "%size")
			})
		}
	}
}

type countingWriter int64

func (c *countingWriter) Write(p []byte) (int, error) {
	*c += countingWriter(len(p))
	return io.Discard.Write(p)
}
