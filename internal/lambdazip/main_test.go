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
	machineCode := filepath.Join(dir, "code")
	require.NoError(t, os.MkdirAll(filepath.Join(machineCode, "wazero-v1"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(machineCode, "wazero-v1", "abc"), []byte("code"), 0o600))

	require.NoError(t, pack(first+".zip", first, machineCode))
	require.NoError(t, pack(later+".zip", later, machineCode))
	one, err := os.ReadFile(first + ".zip")
	require.NoError(t, err)
	two, err := os.ReadFile(later + ".zip")
	require.NoError(t, err)
	require.Equal(t, one, two, "neither name, mode nor time of the binary count")

	z, err := zip.NewReader(bytes.NewReader(one), int64(len(one)))
	require.NoError(t, err)
	require.Len(t, z.File, 2)
	require.Less(t, len(one), len(content)/10)
	require.Equal(t, 1980, z.File[0].Modified.Year())
	requireEntry(t, z.File[0], "bootstrap", 0o755, content)
	requireEntry(t, z.File[1], "pysyntax/wazero-v1/abc", 0o644, []byte("code"))
}

func requireEntry(t *testing.T, f *zip.File, name string, mode fs.FileMode, content []byte) {
	t.Helper()
	require.Equal(t, name, f.Name)
	require.Equal(t, mode, f.Mode())
	r, err := f.Open()
	require.NoError(t, err)
	unpacked, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Equal(t, content, unpacked)
}

func TestPackWithoutMachineCode(t *testing.T) {
	dir := t.TempDir()
	binary, none := filepath.Join(dir, "binary"), filepath.Join(dir, "none")
	require.NoError(t, os.WriteFile(binary, []byte("binary"), 0o755))
	require.NoError(t, os.Mkdir(none, 0o755))
	require.NoError(t, pack(filepath.Join(dir, "out.zip"), binary, none))
	z, err := zip.OpenReader(filepath.Join(dir, "out.zip"))
	require.NoError(t, err)
	defer z.Close()
	require.Len(t, z.File, 1)
}

func TestPackNamesWhatIsMissing(t *testing.T) {
	dir := t.TempDir()
	out, missing := filepath.Join(dir, "out.zip"), filepath.Join(dir, "missing")
	require.ErrorContains(t, pack(out, missing, dir), missing)
	present := filepath.Join(dir, "binary")
	require.NoError(t, os.WriteFile(present, []byte("binary"), 0o755))
	require.ErrorContains(t, pack(out, present, missing), missing)
	require.NoFileExists(t, out)
}
