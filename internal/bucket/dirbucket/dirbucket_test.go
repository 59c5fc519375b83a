package dirbucket_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/bucket/buckettest"
	"github.com/dagbucket/dagbucket/internal/bucket/dirbucket"
)

func newBucket(t *testing.T, dir string) *dirbucket.Bucket {
	t.Helper()
	b, err := dirbucket.New(dir)
	require.NoError(t, err)
	return b
}

var badKeys = []string{
	"", ".", "..", "a//b", "/a", "a/", "./a", "../a", "a/../b", "a/..", "nul\x00byte", strings.Repeat("s", 256), "x/" + strings.Repeat("s", 256) + "/y",
	".dagbucket.lock", "a/.dagbucket-1.tmp",
}

func TestContract(t *testing.T) {
	buckettest.Run(t, buckettest.Harness{
		New: func(t *testing.T) bucket.Bucket { return newBucket(t, t.TempDir()) },
		Pair: func(t *testing.T) (from, to bucket.Bucket) {
			return newBucket(t, t.TempDir()), newBucket(t, t.TempDir())
		},
		BadKeys: badKeys,
		Lacks: func(key string) bool {
			for segment := range strings.SplitSeq(key, "/") {
				if segment == "" || segment == "." || segment == ".." || len(segment) > 255 {
					return true
				}
			}
			return key == "dags/file/below.py" // beside dags/file
		},
		Missing: func(t *testing.T) bucket.Bucket { return newBucket(t, filepath.Join(t.TempDir(), "missing")) },
	})
}

func TestNewWantsAnAbsolutePath(t *testing.T) {
	_, err := dirbucket.New("dags")
	require.ErrorContains(t, err, `"dags" is not an absolute path`)
}

func TestStringIsTheURLsRoot(t *testing.T) {
	for _, url := range []string{"file:///", "file:///srv/dags/"} {
		u, err := bucket.ParseURL(url)
		require.NoError(t, err)
		require.Equal(t, u.Root(), newBucket(t, u.Bucket).String())
	}
}

func TestAFileIsNoBucket(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err := newBucket(t, file).List(t.Context(), "")
	require.ErrorIs(t, err, bucket.ErrNoBucket)
}

func TestBadKeysAreRefusedByEveryCall(t *testing.T) {
	b := newBucket(t, t.TempDir())
	for _, key := range []string{"../x", "a//b", "a/", ".dagbucket.lock"} {
		_, err := b.Open(t.Context(), key, "", 0)
		require.ErrorIs(t, err, bucket.ErrBadKey)
		require.ErrorIs(t, b.Delete(t.Context(), key, ""), bucket.ErrBadKey)
	}
}

// filesIn lists every file and directory below dir, whatever it is for.
func filesIn(t *testing.T, dir string) []string {
	t.Helper()
	found := []string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if name, _ := filepath.Rel(dir, path); name != "." && name != ".dagbucket.lock" {
			found = append(found, filepath.ToSlash(name))
		}
		return err
	}))
	return found
}

// TestCleanUp: a temporary file that nobody has written to for long goes; all else stays.
func TestCleanUp(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, age time.Duration) {
		name = filepath.Join(dir, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
		require.NoError(t, os.WriteFile(name, []byte("x"), 0o600))
		written := time.Now().Add(-age)
		require.NoError(t, os.Chtimes(name, written, written))
	}
	const old, young = 2 * time.Hour, time.Minute
	write("prod/.dagbucket-1.tmp", old)
	write("prod/bundles/.dagbucket-2.tmp", old)
	staying := []string{"other/.dagbucket-3.tmp", "prod/.dagbucket-4", "prod/bundle.tmp", "prod/bundles/run.tar.gz", "production/.dagbucket-6.tmp"}
	for _, name := range staying {
		write(name, old)
	}
	write("prod/bundles/.dagbucket-5.tmp", young)
	b := newBucket(t, dir)
	require.NoError(t, b.CleanUp(t.Context(), "prod/", time.Hour))
	require.ElementsMatch(t, append(staying, "prod/bundles/.dagbucket-5.tmp", "other", "prod", "prod/bundles", "production"), filesIn(t, dir))
	require.NoError(t, b.CleanUp(t.Context(), "missing/", 0))

	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, b.CleanUp(cancelled, "prod/", 0), context.Canceled)
	require.ErrorIs(t, newBucket(t, filepath.Join(dir, "missing")).CleanUp(t.Context(), "", 0), bucket.ErrNoBucket)
	require.FileExists(t, filepath.Join(dir, "prod/bundles/.dagbucket-5.tmp"))
}

func TestNothingIsLeftBehind(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	for _, test := range []struct {
		name string
		run  func(b *dirbucket.Bucket) error
		want error
	}{
		{"a failing body", func(b *dirbucket.Bucket) error {
			_, err := b.Put(t.Context(), "a/b/c", io.MultiReader(strings.NewReader("x"), failing{}), bucket.Always)
			return err
		}, errSource},
		{"a cancelled context", func(b *dirbucket.Bucket) error {
			_, err := b.Put(cancelled, "a/b/c", io.MultiReader(strings.NewReader("x"), cancelling(cancel)), bucket.Always)
			return err
		}, context.Canceled},
		{"a condition that does not hold", func(b *dirbucket.Bucket) error {
			_, err := b.Put(t.Context(), "a/b/c", strings.NewReader("x"), bucket.IfVersion("1"))
			return err
		}, bucket.ErrChanged},
		{"a segment that is too long", func(b *dirbucket.Bucket) error {
			_, err := b.Put(t.Context(), "a/b/"+strings.Repeat("s", 256)+"/c", strings.NewReader("x"), bucket.Always)
			return err
		}, bucket.ErrBadKey},
		{"below a file", func(b *dirbucket.Bucket) error {
			_, err := b.Put(t.Context(), "kept/a/b", strings.NewReader("x"), bucket.Always)
			return err
		}, bucket.ErrBadKey},
		{"over a directory", func(b *dirbucket.Bucket) error {
			_, err := b.Put(t.Context(), "dir", strings.NewReader("x"), bucket.Always)
			return err
		}, bucket.ErrBadKey},
		{"deleted", func(b *dirbucket.Bucket) error {
			_, err := b.Put(t.Context(), "dir/sub/sub/c", strings.NewReader("x"), bucket.Always)
			return errors.Join(err, b.Delete(t.Context(), "dir/sub/sub/c", ""))
		}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			b := newBucket(t, dir)
			for _, key := range []string{"kept", "dir/kept"} {
				_, err := b.Put(t.Context(), key, strings.NewReader("kept"), bucket.Always)
				require.NoError(t, err)
			}
			err := test.run(b)
			if test.want == nil {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, test.want)
			}
			require.Equal(t, []string{"dir", "dir/kept", "kept"}, filesIn(t, dir))
		})
	}
}

var errSource = errors.New("the source failed")

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errSource }

type cancelling context.CancelFunc

func (c cancelling) Read([]byte) (int, error) { c(); return 0, nil }

func TestTemporaryFilesAreNotListed(t *testing.T) {
	dir := t.TempDir()
	b := newBucket(t, dir)
	put := func(key string, body io.Reader) {
		_, err := b.Put(t.Context(), key, body, bucket.Always)
		require.NoError(t, err)
	}
	put("dags/.dagbucket-notes.md", strings.NewReader("an ordinary file"))
	listed := -1
	put("dags/a.py", io.MultiReader(strings.NewReader("x"), readerFunc(func([]byte) (int, error) {
		listing, err := b.List(t.Context(), "")
		require.NoError(t, err)
		require.Len(t, filesIn(t, filepath.Join(dir, "dags")), 2, "the temporary file lies beside its final place")
		listed = len(listing.Objects)
		return 0, io.EOF
	})))
	require.Equal(t, 1, listed)
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestVersionsNeverRepeat(t *testing.T) {
	b := newBucket(t, t.TempDir())
	seen := map[string]bool{}
	for i := range 200 { // far more writes than a file's clock has ticks in this time, and inodes come back
		version, err := b.Put(t.Context(), "a", strings.NewReader("same size"), bucket.Always)
		require.NoError(t, err)
		require.False(t, seen[version], "write %d", i)
		seen[version] = true
		if i%3 == 0 {
			require.NoError(t, b.Delete(t.Context(), "a", version))
		}
	}
}

func TestVersionMovesForwardFromAFutureTime(t *testing.T) {
	dir := t.TempDir()
	b := newBucket(t, dir)
	first, err := b.Put(t.Context(), "a", strings.NewReader("1"), bucket.Always)
	require.NoError(t, err)
	future := time.Now().Add(time.Hour)
	require.NoError(t, os.Chtimes(filepath.Join(dir, "a"), future, future))
	second, err := b.Put(t.Context(), "a", strings.NewReader("2"), bucket.Always)
	require.NoError(t, err)
	require.NotEqual(t, first, second)
	listing, err := b.List(t.Context(), "")
	require.NoError(t, err)
	require.True(t, listing.Objects[0].Modified.After(future))
}

func TestAChangeInPlaceIsNoticed(t *testing.T) {
	const size = 1 << 20
	for name, pinned := range map[string]bool{"pinned": true, "not pinned": false} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			b := newBucket(t, dir)
			version, err := b.Put(t.Context(), "a", strings.NewReader(strings.Repeat("1", size)), bucket.Always)
			require.NoError(t, err)
			if !pinned {
				version = ""
			}
			body, err := b.Open(t.Context(), "a", version, 0)
			require.NoError(t, err)
			defer body.Close()
			_, err = io.ReadFull(body, make([]byte, 100))
			require.NoError(t, err)

			file := filepath.Join(dir, "a")
			later := time.Now().Add(time.Second) // a later tick of the file's clock
			require.NoError(t, os.WriteFile(file, []byte(strings.Repeat("2", size)), 0o600))
			require.NoError(t, os.Chtimes(file, later, later))
			n, err := io.Copy(io.Discard, body)
			require.ErrorIs(t, err, bucket.ErrChanged)
			require.Zero(t, n, "bytes of another version were read")
		})
	}
}

func TestLinks(t *testing.T) {
	outside, dir := t.TempDir(), t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(outside, "secret"), []byte("secret"), 0o600))
	b := newBucket(t, dir)
	version, err := b.Put(t.Context(), "real/a.py", strings.NewReader("a"), bucket.Always)
	require.NoError(t, err)
	for link, to := range map[string]string{
		"inside.py": "real/a.py", "dangling.py": "real/none.py", "linked": "real",
		"outside.py": filepath.Join(outside, "secret"), "up.py": "../" + filepath.Base(outside) + "/secret", "out": outside,
	} {
		require.NoError(t, os.Symlink(to, filepath.Join(dir, link)))
	}
	listing, err := b.List(t.Context(), "")
	require.NoError(t, err)
	require.Len(t, listing.Objects, 2)
	require.Equal(t, "inside.py", listing.Objects[0].Key)
	require.Equal(t, version, listing.Objects[0].Version)
	require.Equal(t, "real/a.py", listing.Objects[1].Key)

	for _, key := range []string{"outside.py", "up.py", "out/secret"} {
		_, err := b.Open(t.Context(), key, "", 0)
		require.Error(t, err, key)
	}
	_, err = b.Put(t.Context(), "out/new", strings.NewReader("x"), bucket.Always)
	require.Error(t, err)
	require.Error(t, b.Delete(t.Context(), "out/secret", ""))
	require.Equal(t, []string{"secret"}, filesIn(t, outside))
}

func TestTwoBucketsOfOneDirectoryExcludeEachOther(t *testing.T) {
	dir := t.TempDir()
	buckets := []*dirbucket.Bucket{newBucket(t, dir), newBucket(t, dir)} // as two processes would
	results := make(chan error, 32)
	for i := range 32 {
		go func() {
			_, err := buckets[i%2].Put(t.Context(), "lease", strings.NewReader("x"), bucket.IfAbsent())
			results <- err
		}()
	}
	winners := 0
	for range 32 {
		if err := <-results; err == nil {
			winners++
		} else {
			require.ErrorIs(t, err, bucket.ErrChanged)
		}
	}
	require.Equal(t, 1, winners)
}
