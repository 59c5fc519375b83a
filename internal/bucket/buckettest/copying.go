package buckettest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/bucket"
)

// pair returns the buckets of a harness's Pair.
func pair(t *testing.T, h Harness) (from, to bucket.Bucket, copier bucket.Copier) {
	t.Helper()
	from, to = h.Pair(t)
	copier, ok := to.(bucket.Copier)
	require.True(t, ok, "it is no Copier")
	return from, to, copier
}

func copiesOddKeys(t *testing.T, h Harness) {
	from, to, copier := pair(t, h)
	var requests bucket.Requests
	ctx := bucket.CountRequests(t.Context(), &requests)
	versions := map[string]string{}
	for _, key := range oddKeys() {
		if h.lacks(key) {
			continue
		}
		version := put(t, from, key, "content of "+key)
		copied, err := copier.Copy(ctx, from, key, version, key, bucket.IfAbsent())
		require.NoError(t, err, key)
		versions[key] = copied
	}
	require.Equal(t, int64(len(versions)), requests.Put.Load(), "a copy counts as one put")
	listed := list(t, to, "")
	require.Len(t, listed, len(versions))
	for _, o := range listed {
		require.Equal(t, versions[o.Key], o.Version, "Copy and List name different versions of %q", o.Key)
		got, object := read(t, to, o.Key, o.Version, 0)
		require.Equal(t, "content of "+o.Key, got)
		require.Equal(t, o.Version, object.Version)
		got, _ = read(t, from, o.Key, "", 0)
		require.Equal(t, "content of "+o.Key, got, "the source has changed")
	}
}

func copiesIf(t *testing.T, h Harness) {
	from, to, copier := pair(t, h)
	version := put(t, from, "dags/new.py", "new")
	old := put(t, to, "dags/a.py", "old")
	for name, when := range map[string]bucket.Condition{
		"if absent": bucket.IfAbsent(), "if another version": bucket.IfVersion("1234567"), "if no version": bucket.IfVersion(""),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := copier.Copy(t.Context(), from, "dags/new.py", version, "dags/a.py", when)
			require.ErrorIs(t, err, bucket.ErrChanged)
			require.False(t, bucket.Permanent(err))
			requireOneLine(t, err)
			got, _ := read(t, to, "dags/a.py", old, 0)
			require.Equal(t, "old", got)
		})
	}
	_, err := copier.Copy(t.Context(), from, "dags/new.py", version, "dags/missing.py", bucket.IfVersion(old))
	require.ErrorIs(t, err, bucket.ErrChanged, "there is nothing to replace")
	require.Equal(t, []string{"dags/a.py"}, keys(list(t, to, "")))

	copied, err := copier.Copy(t.Context(), from, "dags/new.py", version, "dags/a.py", bucket.IfVersion(old))
	require.NoError(t, err)
	got, _ := read(t, to, "dags/a.py", copied, 0)
	require.Equal(t, "new", got)
	put(t, to, "dags/a.py", "old again")
	copied, err = copier.Copy(t.Context(), from, "dags/new.py", version, "dags/a.py", bucket.Always)
	require.NoError(t, err)
	got, _ = read(t, to, "dags/a.py", copied, 0)
	require.Equal(t, "new", got)
}

func copiesExactly(t *testing.T, h Harness) {
	from, to, copier := pair(t, h)
	first := put(t, from, "dags/a.py", "first")
	second := put(t, from, "dags/a.py", "second")
	for _, stale := range []string{first, "1234567", ""} {
		_, err := copier.Copy(t.Context(), from, "dags/a.py", stale, "dags/b.py", bucket.IfAbsent())
		require.ErrorIs(t, err, bucket.ErrChanged)
		requireOneLine(t, err)
	}
	_, err := copier.Copy(t.Context(), from, "dags/missing.py", second, "dags/b.py", bucket.Always)
	require.ErrorIs(t, err, bucket.ErrChanged)
	require.Empty(t, list(t, to, ""))

	_, err = from.(bucket.Copier).Copy(t.Context(), from, "dags/a.py", second, "dags/b.py", bucket.IfAbsent())
	require.NoError(t, err, "within one bucket")
	got, _ := read(t, from, "dags/b.py", "", 0)
	require.Equal(t, "second", got)
}

func copiesNothingForeign(t *testing.T, h Harness) {
	from, to, copier := pair(t, h)
	version := put(t, from, "dags/a.py", "a")
	foreign := struct{ bucket.Reader }{from}
	_, err := copier.Copy(t.Context(), foreign, "dags/a.py", version, "dags/a.py", bucket.IfAbsent())
	require.ErrorIs(t, err, bucket.ErrCannotCopy)
	requireOneLine(t, err, from.String(), "dags/a.py")
	require.Empty(t, list(t, to, ""))
}

func copiesLarge(t *testing.T, h Harness) {
	from, to, copier := pair(t, h)
	version := putLarge(t, from, "dags/large.bin", 3, large)
	copied, err := copier.Copy(t.Context(), from, "dags/large.bin", version, "dags/large.bin", bucket.IfAbsent())
	require.NoError(t, err)
	body, err := to.Open(t.Context(), "dags/large.bin", copied, 0)
	require.NoError(t, err)
	sum, size := digest(t, body)
	require.NoError(t, body.Close())
	want, _ := digest(t, content(3, large))
	require.Equal(t, int64(large), size)
	require.Equal(t, want, sum)
}
