package main

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
)

func TestPack(t *testing.T) {
	dir := t.TempDir()
	content := bytes.Repeat([]byte("\x7fELF, in short "), 10_000)
	first, later := filepath.Join(dir, "first"), filepath.Join(dir, "later")
	require.NoError(t, os.WriteFile(first, content, 0o600))
	require.NoError(t, os.WriteFile(later, content, 0o755))
	require.NoError(t, os.Chtimes(later, time.Time{}, time.Now().Add(-24*time.Hour)))

	require.NoError(t, pack(first+".zip", first))
	require.NoError(t, pack(later+".zip", later))
	one, err := os.ReadFile(first + ".zip")
	require.NoError(t, err)
	two, err := os.ReadFile(later + ".zip")
	require.NoError(t, err)
	require.Equal(t, one, two, "neither name, mode nor time of the binary count")

	z, err := zip.NewReader(bytes.NewReader(one), int64(len(one)))
	require.NoError(t, err)
	require.Len(t, z.File, 1)
	require.Equal(t, "bootstrap", z.File[0].Name)
	require.Equal(t, fs.FileMode(0o755), z.File[0].Mode())
	require.Equal(t, 1980, z.File[0].Modified.Year())
	require.Less(t, len(one), len(content)/10)
	r, err := z.File[0].Open()
	require.NoError(t, err)
	unpacked, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Equal(t, content, unpacked)
}

func TestPackNamesWhatIsMissing(t *testing.T) {
	dir := t.TempDir()
	require.ErrorContains(t, pack(filepath.Join(dir, "out.zip"), filepath.Join(dir, "missing")), "missing")
	require.NoFileExists(t, filepath.Join(dir, "out.zip"))
}
