package bundle_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/bundle"
)

// stored is a bundle that was written, with what a manifest remembers of it.
type stored struct {
	archive []byte
	digest  string
	chunks  []bundle.Placed
	sums    map[string]string
}

func store(t testing.TB, files map[string]string) stored {
	t.Helper()
	var out bytes.Buffer
	w := bundle.NewWriter(&out)
	s := stored{sums: map[string]string{}}
	for _, path := range slices.Sorted(maps.Keys(files)) {
		var err error
		s.sums[path], err = w.Add(entry(files, path), strings.NewReader(files[path]))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	s.archive, s.digest, s.chunks = out.Bytes(), w.Digest(), w.Chunks()
	return s
}

func entry(files map[string]string, path string) bundle.Entry {
	return bundle.Entry{Path: path, Size: int64(len(files[path])), Modified: when}
}

// paths are those of chunk i.
func (s *stored) paths(i int) []string {
	all := slices.Sorted(maps.Keys(s.sums))
	from, _ := slices.BinarySearch(all, s.chunks[i].First)
	to := len(all)
	if i+1 < len(s.chunks) {
		to, _ = slices.BinarySearch(all, s.chunks[i+1].First)
	}
	return all[from:to]
}

// bytes are those of chunk i.
func (s *stored) bytes(i int) []byte {
	at := int64(bundle.HeaderSize)
	for _, c := range s.chunks[:i] {
		at += c.Packed
	}
	return s.archive[at : at+s.chunks[i].Packed]
}

func (s *stored) files(paths []string) func(yield func(path, sum string) bool) {
	return func(yield func(path, sum string) bool) {
		for _, p := range paths {
			if !yield(p, s.sums[p]) {
				return
			}
		}
	}
}

// small are n files of 2 KB.
func small(n int) map[string]string {
	r := rand.New(rand.NewPCG(3, 4))
	files := map[string]string{}
	for i := range n {
		var b strings.Builder
		for b.Len() < 2048 {
			fmt.Fprintf(&b, "task_%d = Operator(task_id=%q)\n", r.IntN(100), fmt.Sprint(r.Uint32()))
		}
		files[fmt.Sprintf("dags/team_%02d/dag_%05d.py", i%7, i)] = b.String()[:2048]
	}
	return files
}

// TestChunksAreAccountedFor: each chunk's place, size and sums are as they are told, and it can be read alone.
func TestChunksAreAccountedFor(t *testing.T) {
	files := sample()
	maps.Copy(files, small(2000))
	s := store(t, files)
	require.Greater(t, len(s.chunks), 10)
	var all []string
	for i, c := range s.chunks {
		packed := s.bytes(i)
		require.Len(t, c.SHA256, 64)
		r := bundle.NewChunkReader(bytes.NewReader(packed))
		for _, p := range s.paths(i) {
			e, err := r.Next()
			require.NoError(t, err)
			require.Equal(t, p, e.Path)
			content, err := io.ReadAll(r)
			require.NoError(t, err)
			require.Equal(t, files[p], string(content))
			all = append(all, p)
		}
		_, err := r.Next()
		require.Equal(t, io.EOF, err)
		require.True(t, c.Ends(all[len(all)-1]) || i == len(s.chunks)-1)
	}
	require.Equal(t, slices.Sorted(maps.Keys(files)), all)
}

// TestStandardReadersReadIt: it is one gzip member, whose sum is right.
func TestStandardReadersReadIt(t *testing.T) {
	s := store(t, small(3000))
	r, err := gzip.NewReader(bytes.NewReader(s.archive))
	require.NoError(t, err)
	r.Multistream(false)
	unpacked, err := io.ReadAll(r)
	require.NoError(t, err)
	size := int64(1024)
	for _, c := range s.chunks {
		size += c.Size
	}
	require.Len(t, unpacked, int(size))
	at := int64(0)
	for _, c := range s.chunks {
		require.Equal(t, crc32.ChecksumIEEE(unpacked[at:at+c.Size]), c.CRC32)
		at += c.Size
	}
}

// TestAnyNumberOfProcessors gives the same bytes.
func TestAnyNumberOfProcessors(t *testing.T) {
	files := small(3000)
	files["dags/large.bin"] = strings.Repeat("0123456789", 700_000)
	want := store(t, files).archive
	for _, n := range []int{1, 2, 8} {
		before := runtime.GOMAXPROCS(n)
		got := store(t, files).archive
		runtime.GOMAXPROCS(before)
		require.True(t, bytes.Equal(want, got), "with %d", n)
	}
}

// TestCopiedChunksAreWhatAddMakes: whatever of an earlier bundle is copied, the bytes are those of a bundle that was made anew.
func TestCopiedChunksAreWhatAddMakes(t *testing.T) {
	before := small(3000)
	old := store(t, before)
	for name, change := range map[string]func(map[string]string){
		"nothing":      func(map[string]string) {},
		"a content":    func(f map[string]string) { f["dags/team_03/dag_01746.py"] = "changed" },
		"more in it":   func(f map[string]string) { f["dags/team_00/dag_00007.py"] += strings.Repeat("#", 3_000_000) },
		"a new first":  func(f map[string]string) { f["dags/a.py"] = "a" },
		"a new last":   func(f map[string]string) { f["dags/z.py"] = "z" },
		"one in ten":   func(f map[string]string) { removeSome(f, 10) },
		"a removal":    func(f map[string]string) { delete(f, "dags/team_02/dag_00002.py") },
		"the last one": func(f map[string]string) { delete(f, slices.Max(slices.Collect(maps.Keys(f)))) },
	} {
		t.Run(name, func(t *testing.T) {
			files := maps.Clone(before)
			change(files)
			var out bytes.Buffer
			w := bundle.NewWriter(&out)
			copied, paths := 0, slices.Sorted(maps.Keys(files))
			for i := 0; i < len(paths); {
				if n := copyAt(t, w, &old, before, files, paths[i:]); n > 0 {
					i, copied = i+n, copied+1
					continue
				}
				_, err := w.Add(entry(files, paths[i]), strings.NewReader(files[paths[i]]))
				require.NoError(t, err)
				i++
			}
			require.NoError(t, w.Close())
			want := store(t, files)
			require.True(t, bytes.Equal(want.archive, out.Bytes()), "other bytes")
			require.Equal(t, want.digest, w.Digest())
			require.Equal(t, want.chunks, w.Chunks())
			if name != "one in ten" {
				require.GreaterOrEqual(t, copied, len(old.chunks)-3, "of %d", len(old.chunks))
			}
		})
	}
}

func removeSome(files map[string]string, one int) {
	for i, p := range slices.Sorted(maps.Keys(files)) {
		if i%one == 0 {
			delete(files, p)
		}
	}
}

// copyAt copies the old chunk that begins with the first of paths, if it can be, and returns how many files that are.
func copyAt(t *testing.T, w *bundle.Writer, old *stored, before, files map[string]string, paths []string) int {
	if !w.AtChunk() {
		return 0
	}
	for i, c := range old.chunks {
		if c.First != paths[0] {
			continue
		}
		in := old.paths(i)
		if len(in) > len(paths) || !slices.Equal(in, paths[:len(in)]) || slices.ContainsFunc(in, func(p string) bool { return before[p] != files[p] }) {
			return 0
		}
		if !c.Ends(in[len(in)-1]) && len(in) < len(paths) {
			return 0
		}
		require.NoError(t, w.Copy(c.Chunk, bytes.NewReader(old.bytes(i)), old.files(in)))
		return len(in)
	}
	return 0
}

func TestCopyRefuses(t *testing.T) {
	old := store(t, small(500))
	packed, paths := old.bytes(0), old.paths(0)
	damaged := bytes.Clone(packed)
	damaged[len(damaged)/2] ^= 1
	errBroken := errors.New("broken")
	for name, c := range map[string]struct {
		packed  io.Reader
		is      error
		damaged bool
	}{
		"damaged":   {bytes.NewReader(damaged), bundle.ErrChecksum, true},
		"too short": {bytes.NewReader(packed[:len(packed)-1]), io.ErrUnexpectedEOF, true},
		"broken":    {io.MultiReader(bytes.NewReader(packed[:10]), errReader{errBroken}), errBroken, false},
	} {
		t.Run(name, func(t *testing.T) {
			err := bundle.NewWriter(io.Discard).Copy(old.chunks[0].Chunk, c.packed, old.files(paths))
			require.ErrorIs(t, err, c.is)
			require.Equal(t, c.damaged, bundle.Damaged(err))
		})
	}
	for name, change := range map[string]func(c *bundle.Chunk, paths []string) []string{
		"another size":   func(c *bundle.Chunk, paths []string) []string { c.Size++; return paths },
		"another CRC":    func(c *bundle.Chunk, paths []string) []string { c.CRC32++; return paths },
		"one file less":  func(_ *bundle.Chunk, paths []string) []string { return paths[1:] },
		"one file more":  func(_ *bundle.Chunk, paths []string) []string { return old.paths(1)[:1] },
		"another length": func(c *bundle.Chunk, paths []string) []string { c.Packed--; return paths },
	} {
		t.Run(name, func(t *testing.T) {
			c := old.chunks[0].Chunk
			claimed := change(&c, paths)
			require.ErrorIs(t, bundle.NewWriter(io.Discard).Copy(c, bytes.NewReader(packed), old.files(claimed)), bundle.ErrChecksum)
		})
	}
	w := bundle.NewWriter(io.Discard)
	_, err := w.Add(bundle.Entry{Path: "dags/a.py", Size: 1, Modified: when}, strings.NewReader("a"))
	require.NoError(t, err)
	require.ErrorContains(t, w.Copy(old.chunks[0].Chunk, bytes.NewReader(packed), old.files(paths)), "into another")
	w = bundle.NewWriter(io.Discard)
	require.NoError(t, w.Copy(old.chunks[0].Chunk, bytes.NewReader(packed), old.files(paths)))
	require.ErrorContains(t, w.Copy(old.chunks[0].Chunk, bytes.NewReader(packed), old.files(paths)), "does not come after")
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

// FuzzChunkReader: whatever the bytes, there is an end, and damage is told as damage.
func FuzzChunkReader(f *testing.F) {
	s := store(f, small(20))
	f.Add(s.bytes(0))
	f.Add([]byte{})
	f.Add(s.bytes(0)[:100])
	f.Fuzz(func(t *testing.T, packed []byte) {
		r := bundle.NewChunkReader(bytes.NewReader(packed))
		for {
			_, err := r.Next()
			if err == io.EOF {
				return
			}
			if err != nil {
				require.True(t, bundle.Damaged(err), "%v", err)
				return
			}
			if _, err := io.Copy(io.Discard, io.LimitReader(r, 1<<20)); err != nil {
				require.True(t, bundle.Damaged(err), "%v", err)
				return
			}
		}
	})
}

// TestChunksArePinned: whoever changes where chunks end, or how they are compressed, raises Format.
func TestChunksArePinned(t *testing.T) {
	files := small(3000)
	files["dags/team_03/large.bin"] = strings.Repeat("0123456789", 300_000)
	s := store(t, files)
	require.Equal(t, 1, bundle.Format)
	require.Len(t, s.chunks, 19)
	sum := sha256.Sum256(s.archive)
	require.Equal(t, "c90e87b9ecb1601f65f8bc6ba1cf9486ff771c923a11bac619573fa6bd87c389", hex.EncodeToString(sum[:]))
	for _, c := range s.chunks {
		require.Equal(t, bundle.Format, c.Format)
	}
}

// failing fails after so many bytes.
type failing struct{ left int }

var errFull = errors.New("full")

func (f *failing) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, errFull
	}
	return len(p), nil
}

// TestAWriterThatFails is told of, wherever it does.
func TestAWriterThatFails(t *testing.T) {
	files := small(3000)
	s := store(t, files)
	for left := 0; left < len(s.archive); left += len(s.archive)/50 + 1 {
		w := bundle.NewWriter(&failing{left})
		var err error
		for _, path := range slices.Sorted(maps.Keys(files)) {
			if _, err = w.Add(entry(files, path), strings.NewReader(files[path])); err != nil {
				break
			}
		}
		if err == nil {
			err = w.Close()
		}
		require.ErrorIs(t, err, errFull)
		err = bundle.NewWriter(&failing{left}).Copy(s.chunks[0].Chunk, bytes.NewReader(s.bytes(0)), s.files(s.paths(0)))
		require.Equal(t, left < bundle.HeaderSize+len(s.bytes(0)), errors.Is(err, errFull), "%d: %v", left, err)
	}
}

// failingOnce fails in one write alone.
type failingOnce struct{ at int }

func (f *failingOnce) Write(p []byte) (int, error) {
	if f.at--; f.at == 0 {
		return 0, errFull
	}
	return len(p), nil
}

// TestAWriterThatFailsOnce has lost a part of the bundle, whoever was writing.
func TestAWriterThatFailsOnce(t *testing.T) {
	content := strings.Repeat("a line that is like any other\n", 400_000)
	for at := range 12 {
		w := bundle.NewWriter(&failingOnce{at + 1})
		_, err := w.Add(bundle.Entry{Path: "dags/model.txt", Size: int64(len(content))}, strings.NewReader(content))
		if err == nil {
			err = w.Close()
		}
		require.ErrorIs(t, err, errFull, at)
	}
}
