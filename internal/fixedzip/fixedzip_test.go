package fixedzip_test

import (
	"archive/zip"
	"bytes"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/fixedzip"
)

func TestReadFolder(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "b", "empty"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a"), []byte("A"), 0o400))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "b", "c"), []byte("C"), 0o777))
	entries, err := fixedzip.ReadFolder(dir, "x/")
	require.NoError(t, err)
	require.Equal(t, []fixedzip.Entry{{Name: "x/a", Mode: 0o644, Content: []byte("A")}, {Name: "x/b/c", Mode: 0o644, Content: []byte("C")}}, entries)
	_, err = fixedzip.ReadFolder(filepath.Join(dir, "missing"), "")
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestBytesDependOnTheEntriesOnly(t *testing.T) {
	dir := t.TempDir()
	a := fixedzip.Entry{Name: "a", Mode: 0o755, Content: bytes.Repeat([]byte("content "), 10_000)}
	b := fixedzip.Entry{Name: "b/c", Mode: 0o644, Content: []byte("b")}
	first, later := filepath.Join(dir, "first.zip"), filepath.Join(dir, "later.zip")
	require.NoError(t, fixedzip.WriteFile(first, []fixedzip.Entry{a, b}))
	require.NoError(t, fixedzip.WriteFile(later, []fixedzip.Entry{b, a}))
	one, err := os.ReadFile(first)
	require.NoError(t, err)
	two, err := os.ReadFile(later)
	require.NoError(t, err)
	require.Equal(t, one, two, "neither the order of the entries nor the time count")
	require.Less(t, len(one), len(a.Content)/10)

	past := time.Now().Add(-time.Hour).Truncate(time.Second)
	require.NoError(t, os.Chtimes(first, past, past))
	require.NoError(t, fixedzip.WriteFile(first, []fixedzip.Entry{a, b}))
	info, err := os.Stat(first)
	require.NoError(t, err)
	require.Equal(t, past, info.ModTime(), "an equal file is left alone")
	require.NoError(t, fixedzip.WriteFile(first, []fixedzip.Entry{b}))
	other, err := os.ReadFile(first)
	require.NoError(t, err)
	require.NotEqual(t, one, other)

	z, err := zip.NewReader(bytes.NewReader(one), int64(len(one)))
	require.NoError(t, err)
	require.Len(t, z.File, 2)
	for i, want := range []fixedzip.Entry{a, b} {
		require.Equal(t, want.Name, z.File[i].Name)
		require.Equal(t, want.Mode, z.File[i].Mode()&fs.ModePerm)
		require.Equal(t, 1980, z.File[i].Modified.Year())
		r, err := z.File[i].Open()
		require.NoError(t, err)
		content, err := io.ReadAll(r)
		require.NoError(t, err)
		require.Equal(t, want.Content, content)
	}
}
