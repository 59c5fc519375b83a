package bundle_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/bundle"
)

var when = time.Date(2026, 11, 1, 12, 0, 0, 123456789, time.UTC)

// write packs files; each content passes through wrap.
func write(t testing.TB, files map[string]string, wrap func(io.Reader) io.Reader) (archive []byte, digest string) {
	t.Helper()
	var out bytes.Buffer
	w := bundle.NewWriter(&out)
	for _, path := range slices.Sorted(maps.Keys(files)) {
		sum, err := w.Add(bundle.Entry{Path: path, Size: int64(len(files[path])), Modified: when}, wrap(strings.NewReader(files[path])))
		require.NoError(t, err)
		want := sha256.Sum256([]byte(files[path]))
		require.Equal(t, hex.EncodeToString(want[:]), sum)
	}
	require.NoError(t, w.Close())
	return out.Bytes(), w.Digest()
}

func plain(r io.Reader) io.Reader { return r }

func sample() map[string]string {
	r := rand.New(rand.NewPCG(1, 2))
	files := map[string]string{"dags/empty.py": "", "dags/" + strings.Repeat("long/", 180) + "é.py": "x", "dags/emoji 🚀 +%&'\".py": "y", "dags/.airflowignore": "z"}
	for i := range 50 {
		content := make([]byte, r.IntN(300_000))
		for j := range content {
			content[j] = "abcdefgh \n"[r.IntN(10)]
		}
		files[fmt.Sprintf("dags/dag_%02d.py", i)] = string(content)
	}
	return files
}

func TestSameFilesSameBytes(t *testing.T) {
	files := sample()
	first, digest := write(t, files, plain)
	for name, wrap := range map[string]func(io.Reader) io.Reader{"again": plain, "half reads": iotest.HalfReader, "with EOF": iotest.DataErrReader} {
		archive, again := write(t, files, wrap)
		require.Equal(t, digest, again, name)
		require.True(t, bytes.Equal(first, archive), "%s: other bytes", name)
	}
}

// TestArchiveIsPinned fails when a change of a library or of the format changes the bytes: every bundle in every state would then
// differ from what the same files give now.
func TestArchiveIsPinned(t *testing.T) {
	archive, _ := write(t, map[string]string{"dags/a.py": "a = 1\n", "dags/b/c.sql": strings.Repeat("select 1;\n", 1000)}, plain)
	sum := sha256.Sum256(archive)
	require.Equal(t, "c971568982133217da632f6666be039ff29fbc68f2a198df510ff3903424de78", hex.EncodeToString(sum[:]))
}

func TestHeadersSayNothingOfTheMachine(t *testing.T) {
	archive, _ := write(t, sample(), plain)
	gz, err := gzip.NewReader(bytes.NewReader(archive))
	require.NoError(t, err)
	require.Zero(t, archive[4]|archive[5]|archive[6]|archive[7], "no time")
	require.Empty(t, gz.Name+gz.Comment)
	last := ""
	for r := tar.NewReader(gz); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		require.Greater(t, h.Name, last, "ascending")
		last = h.Name
		require.Equal(t, byte(tar.TypeReg), h.Typeflag)
		require.Equal(t, int64(0o644), h.Mode)
		require.Zero(t, h.Uid+h.Gid)
		require.Empty(t, h.Uname+h.Gname)
		require.Equal(t, when.Truncate(time.Second), h.ModTime.UTC())
	}
	require.NotEmpty(t, last)
}

func TestReadBack(t *testing.T) {
	files := sample()
	archive, _ := write(t, files, plain)
	r, err := bundle.NewReader(bytes.NewReader(archive))
	require.NoError(t, err)
	for _, path := range []string{"dags/dag_03.py", "dags/dag_17.py", "dags/empty.py"} {
		e, err := r.Seek(path)
		require.NoError(t, err)
		require.Equal(t, int64(len(files[path])), e.Size)
		require.Equal(t, when.Truncate(time.Second), e.Modified)
		content, err := io.ReadAll(r)
		require.NoError(t, err)
		require.Equal(t, files[path], string(content))
	}
	_, err = r.Seek("dags/dag_03.py")
	require.ErrorIs(t, err, io.ErrUnexpectedEOF, "members behind are gone")
	require.True(t, bundle.Damaged(err))
}

func TestDigest(t *testing.T) {
	files := map[string]string{"dags/a": "1", "dags/b": "2"}
	_, digest := write(t, files, plain)
	lines := ""
	for _, path := range slices.Sorted(maps.Keys(files)) {
		sum := sha256.Sum256([]byte(files[path]))
		lines += hex.EncodeToString(sum[:]) + "  " + path + "\n"
	}
	want := sha256.Sum256([]byte(lines))
	require.Equal(t, hex.EncodeToString(want[:]), digest)
	require.Equal(t, digest, bundle.Digest(func(yield func(path, sum string) bool) {
		for _, path := range slices.Sorted(maps.Keys(files)) {
			sum := sha256.Sum256([]byte(files[path]))
			if !yield(path, hex.EncodeToString(sum[:])) {
				return
			}
		}
	}))
}

func TestAddRefuses(t *testing.T) {
	errBroken := errors.New("broken")
	for name, c := range map[string]struct {
		path    string
		size    int64
		content io.Reader
		says    string
	}{
		"too short":    {"dags/b", 3, strings.NewReader("ab"), "not the 3 bytes"},
		"too long":     {"dags/b", 1, strings.NewReader("ab"), "not the 1 bytes"},
		"out of order": {"dags/a", 1, strings.NewReader("a"), "does not come after"},
		"broken":       {"dags/b", 3, iotest.ErrReader(errBroken), "broken"},
	} {
		t.Run(name, func(t *testing.T) {
			w := bundle.NewWriter(io.Discard)
			_, err := w.Add(bundle.Entry{Path: "dags/a", Size: 1}, strings.NewReader("a"))
			require.NoError(t, err)
			_, err = w.Add(bundle.Entry{Path: c.path, Size: c.size}, c.content)
			require.ErrorContains(t, err, c.says)
		})
	}
}

func TestDamaged(t *testing.T) {
	archive, _ := write(t, sample(), plain)
	read := func(archive []byte) error {
		r, err := bundle.NewReader(bytes.NewReader(archive))
		for err == nil {
			if _, err = r.Next(); err == nil {
				_, err = io.Copy(io.Discard, r)
			}
		}
		if err == io.EOF {
			return nil
		}
		return err
	}
	require.NoError(t, read(archive))
	changed := bytes.Clone(archive)
	changed[len(changed)/2] ^= 0xff
	for name, bad := range map[string][]byte{"empty": {}, "no gzip": []byte("hello, world"), "cut": archive[:len(archive)/2], "changed": changed} {
		err := read(bad)
		if name == "empty" {
			_, err = bundle.NewReader(bytes.NewReader(nil))
		}
		require.Error(t, err, name)
		require.True(t, bundle.Damaged(err), "%s: %v", name, err)
	}
	require.False(t, bundle.Damaged(errors.New("the network")))
}

// TestStrangeMembers: archives that tar itself takes, and no bundle ever is.
func TestStrangeMembers(t *testing.T) {
	for name, h := range map[string]tar.Header{
		"link":          {Name: "dags/a.py", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"},
		"folder":        {Name: "dags/", Typeflag: tar.TypeDir},
		"global header": {Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"path": "x"}},
	} {
		t.Run(name, func(t *testing.T) {
			var raw bytes.Buffer
			w := tar.NewWriter(&raw)
			require.NoError(t, w.WriteHeader(&h))
			require.NoError(t, w.Close())
			requireRefused(t, raw.Bytes(), "is not a regular file")
		})
	}
	t.Run("sparse", func(t *testing.T) { requireRefused(t, sparse(), "is not a regular file") })
	t.Run("endless header", func(t *testing.T) { requireRefused(t, extended(strings.Repeat("x", 2<<20)), "header field too long") })
}

func requireRefused(t *testing.T, raw []byte, says string) {
	r, err := bundle.NewReader(bytes.NewReader(compressed(t, raw)))
	require.NoError(t, err)
	_, err = r.Next()
	require.ErrorContains(t, err, says)
	require.True(t, bundle.Damaged(err))
}
