package selection

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/bundle"
)

var hostileKeys = []string{
	"a.py", "a//b", "../x", "./x", "x/", "a\\b", "\xff", "a\x00b", "é/🎈.py", "e\u0301/x", ".git/x", "x.pyc", "m", "a/\u0085", "/etc/passwd", "..", "a/../../x",
	strings.Repeat("a", 255), strings.Repeat("a", 256), strings.Repeat(strings.Repeat("d", 99)+"/", 10) + strings.Repeat("f", 24), "a/\xed\xa0\x80", "..\xc0\xaf..", "C:\\x",
	"a\u202eyp.b", "CON", "a\u2028b", "a\\x00b",
}

// FuzzKey: each key has one fate. What is shipped has a safe path, which tells the key again; what is not has a message that can be shown.
func FuzzKey(f *testing.F) {
	for _, key := range hostileKeys {
		f.Add(key, int64(1), "m")
		f.Add("m/"+key, int64(0), "")
	}
	f.Add(strings.Repeat("a/", 500)+"b", int64(1), strings.Repeat("m/", 12)+"mm")
	f.Fuzz(func(t *testing.T, key string, size int64, mount string) {
		if mount != "" && unsafe(mount, 0) != "" {
			return // the configuration refuses it
		}
		o := bucket.Object{Key: "dags/" + key, Size: size, Version: "v"}
		files, leftOut := Select(Source{Prefix: "dags/", Mount: mount, Index: 2}, []bucket.Object{o})
		require.Equal(t, 1, len(files)+len(leftOut), "each object has one fate")
		for _, l := range leftOut {
			require.Equal(t, o.Key, l.Key)
			require.NotEmpty(t, l.Message)
			requireOneShortLine(t, l.Message)
			require.True(t, utf8.ValidString(l.Path), "%q", l.Path)
			require.NotRegexp(t, `[[:cntrl:]]`, l.Path)
		}
		for _, file := range files {
			require.Equal(t, File{Path: below(mount, key), Source: 2, Object: &o}, file)
			requireSafePath(t, file.Path)
		}
	})
}

func below(mount, rel string) string {
	if mount == "" {
		return rel
	}
	return mount + "/" + rel
}

// requireSafePath says again what a safe path is, in other words than the code.
func requireSafePath(t *testing.T, path string) {
	require.True(t, utf8.ValidString(path))
	require.LessOrEqual(t, len(path), 1_024)
	require.NotContains(t, path, `\`)
	for segment := range strings.SplitSeq(path, "/") {
		require.NotContains(t, []string{"", ".", ".."}, segment)
		require.LessOrEqual(t, len(segment), 255)
	}
	for _, r := range path {
		require.False(t, r < ' ' || r >= 0x7f && r < 0xa0, "%q", path)
	}
}

// FuzzMerge: of two listings each object has one fate, no two files share a path, no file is a folder of another, and the bundle takes
// them all and gives them back.
func FuzzMerge(f *testing.F) {
	f.Add("a\nb/c\na.py", "a\nb", "", "")
	f.Add("a\na/b\na.py\na b", "b\nx/y", "", "a")
	f.Add("ml\nx", "a.py\nx/ml", "", "ml")
	f.Add("x\nx/y\nx/y/z", "y/z\ny", "", "x")
	f.Add("é\ne\u0301\nÉ", "é\n.git/x\na//b", "m", "m")
	f.Add(strings.Join(hostileKeys, "\n"), strings.Join(hostileKeys, "\n"), "m", "m/m")
	f.Fuzz(func(t *testing.T, one, two, mountOne, mountTwo string) {
		var all, leftOut []LeftOut
		var chosen [2][]File
		listed := 0
		for i, source := range []struct{ keys, mount string }{{one, mountOne}, {two, mountTwo}} {
			if source.mount != "" && unsafe(source.mount, 0) != "" {
				return
			}
			keys := slices.Compact(slices.Sorted(strings.SplitSeq(source.keys, "\n")))
			listed += len(keys)
			chosen[i], leftOut = Select(Source{Mount: source.mount, Index: i}, objects(keys...))
			all = append(all, leftOut...)
		}
		files, conflicts, clashes := Merge(chosen[0], chosen[1])
		fates := len(files) + len(all) + len(clashes)
		taken := map[string]bool{}
		for _, c := range conflicts {
			require.GreaterOrEqual(t, len(c.Files), 2)
			require.Contains(t, c.Message(), "claim the same path")
			require.NotRegexp(t, `[[:cntrl:]]`, c.Message())
			require.False(t, taken[c.Path])
			taken[c.Path] = true
			fates += len(c.Files)
		}
		require.Equal(t, listed, fates, "each object has one fate")
		for _, f := range files {
			require.False(t, taken[f.Path], "%q is claimed twice, and no conflict tells", f.Path)
			taken[f.Path] = true
		}
		for path := range taken {
			for at, c := range path {
				require.False(t, c == '/' && taken[path[:at]], "%q is a file and a folder", path[:at])
			}
		}
		requireBundled(t, paths(files))
	})
}

// requireBundled packs files at these paths and reads their names again.
func requireBundled(t *testing.T, paths []string) {
	var archive bytes.Buffer
	w := bundle.NewWriter(&archive)
	for _, path := range paths {
		requireSafePath(t, path)
		_, err := w.Add(bundle.Entry{Path: "dags/" + path, Size: int64(len(path))}, strings.NewReader(path))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	r, err := bundle.NewReader(&archive)
	require.NoError(t, err)
	for _, path := range paths {
		e, err := r.Next()
		require.NoError(t, err)
		require.Equal(t, "dags/"+path, e.Path)
	}
	_, err = r.Next()
	require.Equal(t, io.EOF, err)
}
