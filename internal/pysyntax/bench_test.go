package pysyntax

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkCheck checks Python files one after another: those below the folder that PYSYNTAX_BENCH names, at most 2,000, or the corpus. Its
// files/s and MB/s are of the time on the clock: on a busy machine they are too few.
func BenchmarkCheck(b *testing.B) {
	c := New(Options{Cache: testCache, Workers: 1})
	require.NoError(b, c.Load())
	defer c.Close()
	sources, size := benchSources(b), 0
	for _, s := range sources {
		size += len(s)
	}
	for b.Loop() {
		for _, s := range sources {
			if _, err := c.Check(context.Background(), s, "3.12"); err != nil && !IsUnchecked(err) {
				b.Fatal(err)
			}
		}
	}
	seconds := b.Elapsed().Seconds() / float64(b.N)
	b.ReportMetric(float64(len(sources))/seconds, "files/s")
	b.ReportMetric(float64(size)/1e6/seconds, "MB/s")
	b.ReportMetric(float64(size)/float64(len(sources)), "B/file")
}

func benchSources(b *testing.B) [][]byte {
	folder := os.Getenv("PYSYNTAX_BENCH")
	if folder == "" {
		folder = filepath.Join("testdata", "corpus")
	}
	var sources [][]byte
	require.NoError(b, filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".py") || len(sources) == 2000 {
			return err
		}
		source, err := os.ReadFile(path)
		sources = append(sources, source)
		return err
	}))
	require.NotEmpty(b, sources)
	return sources
}

// BenchmarkLoad loads the machine code and makes the first instance.
func BenchmarkLoad(b *testing.B) {
	for b.Loop() {
		c := New(Options{Cache: testCache})
		require.NoError(b, c.Load())
		require.False(b, c.interpreted)
		c.Close()
	}
}
