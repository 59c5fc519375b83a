package bundle_test

import (
	"archive/tar"
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/klauspost/compress/gzip"
	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/bundle"
)

// FuzzReader: whatever bytes come, a reader ends, and says of each that it is damaged.
func FuzzReader(f *testing.F) {
	archive, _ := write(f, map[string]string{"dags/a.py": "a", "dags/b.py": "b"}, plain)
	empty, _ := write(f, nil, plain)
	for _, seed := range [][]byte{archive, empty, nil, archive[:len(archive)-8], archive[:40], append(bytes.Clone(archive), archive...), append(bytes.Clone(archive), "rest"...)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, archive []byte) { requireReadable(t, archive) })
}

// FuzzTar changes what is inside the compression, where the sums of gzip catch nothing.
func FuzzTar(f *testing.F) {
	for _, h := range []tar.Header{
		{Name: "dags/a.py", Size: 1},
		{Name: "dags/" + strings.Repeat("d/", 200) + "é.py", Size: 1, Format: tar.FormatPAX},
		{Name: "dags/" + strings.Repeat("d/", 200) + "a.py", Size: 1, Format: tar.FormatGNU},
		{Name: "dags/a.py", Size: 1, PAXRecords: map[string]string{"DAGBUCKET.x": "y"}},
		{Name: "dags/link", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"},
		{Name: "dags/", Typeflag: tar.TypeDir},
	} {
		var raw bytes.Buffer
		w := tar.NewWriter(&raw)
		require.NoError(f, w.WriteHeader(&h))
		if h.Size > 0 {
			_, err := w.Write([]byte("a"))
			require.NoError(f, err)
		}
		require.NoError(f, w.Close())
		f.Add(raw.Bytes())
	}
	f.Add(sparse())
	f.Fuzz(func(t *testing.T, raw []byte) { requireReadable(t, compressed(t, raw)) })
}

// sparse is a tar of 2 KiB whose only member says that it has 4 EiB, all of them holes.
func sparse() []byte {
	records := ""
	for _, r := range []string{"GNU.sparse.map=0,0", "GNU.sparse.numblocks=1", "GNU.sparse.size=4611686018427387904"} {
		records += string(rune('0'+(len(r)+4)/10)) + string(rune('0'+(len(r)+4)%10)) + " " + r + "\n"
	}
	return extended(records)
}

// extended is a tar with one empty member and an extended header of these records, which need not be right.
func extended(records string) []byte {
	var raw bytes.Buffer
	w := tar.NewWriter(&raw)
	_ = w.WriteHeader(&tar.Header{Name: "PaxHeaders/a.py", Size: int64(len(records)), Format: tar.FormatUSTAR})
	_, _ = io.WriteString(w, records)
	_ = w.WriteHeader(&tar.Header{Name: "dags/a.py", Format: tar.FormatUSTAR})
	_ = w.Close()
	header := raw.Bytes()[:512]
	header[156] = 'x' // an extended header, whose records the next member gets
	sum := 0
	copy(header[148:156], "        ")
	for _, b := range header {
		sum += int(b)
	}
	for i := range 6 {
		header[148+5-i] = byte('0' + sum>>(3*i)&7)
	}
	header[154], header[155] = 0, ' '
	return raw.Bytes()
}

func compressed(t *testing.T, raw []byte) []byte {
	var archive bytes.Buffer
	gz, err := gzip.NewWriterLevel(&archive, gzip.BestSpeed)
	require.NoError(t, err)
	_, err = gz.Write(raw)
	require.NoError(t, err)
	require.NoError(t, gz.Close())
	return archive.Bytes()
}

// requireReadable reads every member: the archive ends, or is damaged. It cannot give more than deflate packs into its size.
func requireReadable(t *testing.T, archive []byte) {
	most := int64(len(archive)) * 1_100
	r, err := bundle.NewReader(bytes.NewReader(archive))
	for given := int64(0); err == nil; {
		var e bundle.Entry
		if e, err = r.Next(); err != nil {
			break
		}
		require.GreaterOrEqual(t, e.Size, int64(0))
		var n int64
		n, err = io.Copy(io.Discard, io.LimitReader(r, most+1))
		require.LessOrEqual(t, n, e.Size)
		require.True(t, err != nil || n == e.Size, "a member that ends early, without an error")
		given += n
		require.LessOrEqual(t, given, most, "more bytes than there are")
	}
	if err != io.EOF {
		require.True(t, bundle.Damaged(err), "%v", err)
	}
}

// FuzzWriter: whatever is packed comes back as it was, in its order, with the same bytes for the same files.
func FuzzWriter(f *testing.F) {
	f.Add("dags/a.py\ndags/b/c.py", "content", int64(1_700_000_000))
	f.Add("dags/"+strings.Repeat("long/", 203)+"é🚀", "", int64(0))
	f.Add("dags/"+strings.Repeat("s", 255)+"\na b\n%2e", "x", int64(-1))
	f.Add(strings.Repeat("d/", 77)+strings.Repeat("f", 100)+"\n"+strings.Repeat("d/", 78)+strings.Repeat("f", 101), "x", int64(1)<<33)
	f.Add("a=b\n1 a=b", "\x00", int64(1)<<40)
	f.Fuzz(func(t *testing.T, names, content string, seconds int64) {
		paths := slices.Compact(slices.Sorted(strings.SplitSeq(names, "\n")))
		folder := func(path string) bool { return strings.HasSuffix(path, "/") }
		if slices.ContainsFunc(paths, folder) || !utf8.ValidString(names) || strings.ContainsAny(names, "\x00\\") || paths[0] == "" || seconds < -1<<40 || seconds > 1<<40 {
			return // no safe paths, or no time of a storage
		}
		modified := time.Unix(seconds, 999_999_999).UTC()
		pack := func() []byte {
			var archive bytes.Buffer
			w := bundle.NewWriter(&archive)
			for _, path := range paths {
				_, err := w.Add(bundle.Entry{Path: path, Size: int64(len(content)), Modified: modified}, strings.NewReader(content))
				require.NoError(t, err)
			}
			require.NoError(t, w.Close())
			return archive.Bytes()
		}
		archive := pack()
		require.True(t, bytes.Equal(archive, pack()), "other bytes")
		r, err := bundle.NewReader(bytes.NewReader(archive))
		require.NoError(t, err)
		for _, path := range paths {
			e, err := r.Next()
			require.NoError(t, err)
			require.Equal(t, bundle.Entry{Path: path, Size: int64(len(content)), Modified: modified.Truncate(time.Second)}, e)
			got, err := io.ReadAll(r)
			require.NoError(t, err)
			require.Equal(t, content, string(got))
		}
		_, err = r.Next()
		require.Equal(t, io.EOF, err)
	})
}
