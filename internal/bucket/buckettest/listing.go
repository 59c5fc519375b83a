package buckettest

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/dagbucket/dagbucket/internal/bucket"
)

func listsNothing(t *testing.T, h Harness) {
	b := h.New(t)
	for _, prefix := range []string{"", "dags/", "no/such/prefix"} {
		require.Empty(t, list(t, b, prefix))
	}
}

func oddKeys() []string {
	long := func(segment string, count int) string {
		return strings.TrimSuffix(strings.Repeat(segment+"/", count), "/")
	}
	return []string{
		"dags/plain.py", "dags/a b.py", "dags/a+b.py", "dags/a%2Fb.py", "dags/a%20b.py", "dags/%", "dags/a&b=c;d.py", `dags/quo"te's.py`,
		"dags/what?#x.py", "dags/<tag>.py", "dags/*[1]{2}|$`.py", "dags/~tilde", "dags/-dash", "dags/ leading", "dags/trailing ",
		"dags/back\\slash.py", "dags/new\nline.py", "dags/dot./x.py", "dags/..x/...", "dags/.hidden", "dags/@:,=!().py",
		"dags/\u00e9.py", "dags/e\u0301.py", "dags/中文/日本.py", "dags/😀.py", "dags/\u200b.py", "dags/\xff\xfe.py",
		long(strings.Repeat("k", 127), 8) + "z", // 1,024 bytes
		strings.Repeat("s", 1024),
		"dags/file", "dags/file/below.py", "dags/a//b.py", "dags/./x.py", "dags/../x.py", "/leading", "dags/folder/",
	}
}

func holdsOddKeys(t *testing.T, h Harness) {
	b := h.New(t)
	versions := map[string]string{}
	for _, key := range oddKeys() {
		if !h.lacks(key) {
			versions[key] = put(t, b, key, "content of "+key)
		}
	}
	require.Greater(t, len(versions), 15)
	listed := list(t, b, "")
	require.Len(t, listed, len(versions))
	for _, o := range listed {
		require.Contains(t, versions, o.Key)
		require.Equal(t, versions[o.Key], o.Version, o.Key)
		got, object := read(t, b, o.Key, o.Version, 0)
		require.Equal(t, "content of "+o.Key, got)
		require.Equal(t, int64(len(got)), o.Size, o.Key)
		require.Equal(t, o.Key, object.Key)
		require.Equal(t, o.Version, object.Version)
		require.Equal(t, []string{o.Key}, keys(list(t, b, o.Key))[:1])
	}
	for key, version := range versions {
		require.NoError(t, b.Delete(t.Context(), key, version), key)
	}
	require.Empty(t, list(t, b, ""))
}

func listsInByteOrder(t *testing.T, h Harness) {
	b := h.New(t)
	want := []string{"A/b", "a b", "a!/x", "a-b", "a-b/c", "a.b", "a/b", "a/b-c", "a/c/d", "a0", "aB", "ab", "b", "\u00e9", "\uffe6", "😀"}
	want = slices.DeleteFunc(want, h.lacks)
	require.True(t, slices.IsSorted(want))
	for _, key := range want {
		if key == "a-b/c" && h.lacks("dags/file/below.py") { // beside "a-b"
			want = slices.DeleteFunc(slices.Clone(want), func(k string) bool { return k == key })
			continue
		}
		put(t, b, key, key)
	}
	require.Equal(t, want, keys(list(t, b, "")))
}

func matchesPrefixExactly(t *testing.T, h Harness) {
	b := h.New(t)
	for _, key := range []string{"dag", "dags/a.py", "dags/sub/b.py", "dags_old/a.py", "dags-2/a.py", "dagS/a.py", "other/dags/a.py"} {
		put(t, b, key, key)
	}
	for _, test := range []struct {
		prefix string
		want   []string
	}{
		{"dags/", []string{"dags/a.py", "dags/sub/b.py"}},
		{"dags", []string{"dags-2/a.py", "dags/a.py", "dags/sub/b.py", "dags_old/a.py"}},
		{"dags/s", []string{"dags/sub/b.py"}},
		{"dags/a.py", []string{"dags/a.py"}},
		{"dags/a.py/", []string{}},
		{"dags//", []string{}},
		{"/dags/", []string{}},
		{"../", []string{}},
		{"dags/sub/../", []string{}},
	} {
		if !h.lacks(test.prefix) {
			require.Equal(t, test.want, keys(list(t, b, test.prefix)), test.prefix)
		}
	}
}

func listsManyObjects(t *testing.T, h Harness) {
	count := cmp.Or(h.Many, 2500)
	b := h.New(t)
	var want []string
	var group errgroup.Group
	group.SetLimit(16)
	for i := range count {
		key := fmt.Sprintf("dags/%02d/dag %04d.py", i%7, i)
		want = append(want, key)
		group.Go(func() error {
			_, err := b.Put(t.Context(), key, strings.NewReader(key), bucket.Always)
			return err
		})
	}
	require.NoError(t, group.Wait())
	put(t, b, "zzz", "after the prefix")
	slices.Sort(want)

	var requests bucket.Requests
	listing, err := b.List(bucket.CountRequests(t.Context(), &requests), "dags/")
	require.NoError(t, err)
	require.Equal(t, want, keys(listing.Objects))
	pages := int64(1)
	if h.PageSize > 0 {
		pages = int64((count + h.PageSize - 1) / h.PageSize)
	}
	require.Equal(t, pages, requests.List.Load())
}

// cancelledInList cancels listings sooner and later: wherever it strikes, a listing is never a part of one.
func cancelledInList(t *testing.T, h Harness) {
	count := cmp.Or(h.PageSize, 1000) * 11 / 10 // more than a page
	b := h.New(t)
	var group errgroup.Group
	group.SetLimit(16)
	for i := range count {
		group.Go(func() error {
			_, err := b.Put(t.Context(), fmt.Sprintf("dags/%d/%d.py", i%50, i), strings.NewReader("x"), bucket.Always)
			return err
		})
	}
	require.NoError(t, group.Wait())
	for delay := range 12 {
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			for range 1 << delay {
				runtime.Gosched()
			}
			cancel()
		}()
		listing, err := b.List(ctx, "dags/")
		want := count
		if err != nil {
			require.ErrorIs(t, err, context.Canceled)
			want = 0
		}
		require.Equal(t, want, len(listing.Objects))
		cancel()
	}
}

func refusesBadKeys(t *testing.T, h Harness) {
	b := h.New(t)
	for _, key := range h.BadKeys {
		for _, when := range []bucket.Condition{bucket.Always, bucket.IfAbsent()} {
			_, err := b.Put(t.Context(), key, strings.NewReader("x"), when)
			require.ErrorIs(t, err, bucket.ErrBadKey, key)
			require.True(t, bucket.Permanent(err))
		}
	}
	require.Empty(t, list(t, b, ""))
}

func givesTimes(t *testing.T, h Harness) {
	b := h.New(t)
	put(t, b, "dags/a.py", "a")
	listing, err := b.List(t.Context(), "")
	require.NoError(t, err)
	body, err := b.Open(t.Context(), "dags/a.py", "", 0)
	require.NoError(t, err)
	require.NoError(t, body.Close())

	listed := listing.Objects[0]
	// Storages show whole seconds, some of them in one place only.
	require.WithinDuration(t, listed.Modified, body.Object.Modified, time.Second)
	require.WithinDuration(t, listed.Modified, listing.Time, time.Minute)
	require.WithinDuration(t, listed.Modified, body.Now, time.Minute)
	earliest := listed.Modified.Truncate(time.Second).Add(-h.ClockLag)
	require.False(t, listing.Time.Before(earliest), "listed before it was written")
	require.False(t, body.Now.Before(listing.Time.Truncate(time.Second)), "the storage's clock went back")
	for _, at := range []time.Time{listed.Modified, listing.Time, body.Now, body.Object.Modified} {
		require.Equal(t, time.UTC, at.Location())
	}
}

func countsRequests(t *testing.T, h Harness) {
	b := h.New(t)
	var requests bucket.Requests
	ctx := bucket.CountRequests(t.Context(), &requests)
	counts := func() [4]int64 {
		return [4]int64{requests.List.Load(), requests.Get.Load(), requests.Put.Load(), requests.Delete.Load()}
	}
	_, err := b.Put(ctx, "dags/a.py", strings.NewReader("a"), bucket.Always)
	require.NoError(t, err)
	require.Equal(t, [4]int64{0, 0, 1, 0}, counts())
	version, err := b.Put(ctx, "dags/b.py", strings.NewReader("b"), bucket.IfAbsent())
	require.NoError(t, err)
	require.Equal(t, [4]int64{0, 0, 2, 0}, counts())
	_, err = b.List(ctx, "dags/")
	require.NoError(t, err)
	require.Equal(t, [4]int64{1, 0, 2, 0}, counts())
	content, _, err := bucket.Read(ctx, b, "dags/b.py", version, 1)
	require.NoError(t, err)
	require.Equal(t, "b", string(content))
	require.Equal(t, [4]int64{1, 1, 2, 0}, counts())
	require.NoError(t, b.Delete(ctx, "dags/b.py", version))
	require.Equal(t, [4]int64{1, 1, 2, 1}, counts())
}
