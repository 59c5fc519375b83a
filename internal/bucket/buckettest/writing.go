package buckettest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/bucket"
)

func putsIfAbsent(t *testing.T, h Harness) {
	b := h.New(t)
	version, err := b.Put(t.Context(), "state/record.json", strings.NewReader("first"), bucket.IfAbsent())
	require.NoError(t, err)
	require.NotEmpty(t, version)
	_, err = b.Put(t.Context(), "state/record.json", strings.NewReader("second"), bucket.IfAbsent())
	require.ErrorIs(t, err, bucket.ErrChanged)
	require.False(t, bucket.Permanent(err))
	requireOneLine(t, err, b.String(), "state/record.json")
	got, object := read(t, b, "state/record.json", "", 0)
	require.Equal(t, "first", got)
	require.Equal(t, version, object.Version)

	require.NoError(t, b.Delete(t.Context(), "state/record.json", ""))
	_, err = b.Put(t.Context(), "state/record.json", strings.NewReader("third"), bucket.IfAbsent())
	require.NoError(t, err)
}

func putsIfVersion(t *testing.T, h Harness) {
	b := h.New(t)
	swap := func(version, body string) (string, error) {
		return b.Put(t.Context(), "state/record.json", strings.NewReader(body), bucket.IfVersion(version))
	}
	first := put(t, b, "state/record.json", "first")
	second, err := swap(first, "second")
	require.NoError(t, err)
	require.NotEqual(t, first, second)
	for _, stale := range []string{first, ""} {
		_, err = swap(stale, "stale")
		require.ErrorIs(t, err, bucket.ErrChanged)
		requireOneLine(t, err, b.String(), "state/record.json")
	}
	got, object := read(t, b, "state/record.json", second, 0)
	require.Equal(t, "second", got)
	require.Equal(t, second, object.Version)

	require.NoError(t, b.Delete(t.Context(), "state/record.json", ""))
	_, err = swap(second, "third")
	require.ErrorIs(t, err, bucket.ErrChanged, "there is nothing to replace")
	require.Empty(t, list(t, b, ""))
}

func oneWinnerIfAbsent(t *testing.T, h Harness) {
	race(t, h.New(t), bucket.IfAbsent())
}

func oneWinnerIfVersion(t *testing.T, h Harness) {
	b := h.New(t)
	for range 3 {
		race(t, b, bucket.IfVersion(put(t, b, "state/lease.json", "to be replaced")))
	}
}

// race lets 32 writers put different bodies under the same condition: one wins, and what is stored is what the winner put.
func race(t *testing.T, b bucket.Bucket, when bucket.Condition) {
	const writers = 32
	versions, errs := make([]string, writers), make([]error, writers)
	start := make(chan struct{})
	var group sync.WaitGroup
	for i := range writers {
		group.Go(func() {
			<-start
			versions[i], errs[i] = b.Put(t.Context(), "state/lease.json", strings.NewReader(fmt.Sprint("writer ", i)), when)
		})
	}
	close(start)
	group.Wait()
	winner := -1
	for i, err := range errs {
		if err != nil {
			require.ErrorIs(t, err, bucket.ErrChanged)
			continue
		}
		require.Equal(t, -1, winner, "two winners")
		winner = i
	}
	require.NotEqual(t, -1, winner, "no winner")
	got, object := read(t, b, "state/lease.json", "", 0)
	require.Equal(t, fmt.Sprint("writer ", winner), got)
	require.Equal(t, versions[winner], object.Version)
}

func deletes(t *testing.T, h Harness) {
	b := h.New(t)
	first := put(t, b, "dags/a.py", "first")
	second := put(t, b, "dags/a.py", "second")
	put(t, b, "dags/b.py", "beside")

	err := b.Delete(t.Context(), "dags/a.py", first)
	require.ErrorIs(t, err, bucket.ErrChanged)
	requireOneLine(t, err, b.String(), "dags/a.py")
	require.Equal(t, []string{"dags/a.py", "dags/b.py"}, keys(list(t, b, "")))

	require.NoError(t, b.Delete(t.Context(), "dags/a.py", second))
	require.Equal(t, []string{"dags/b.py"}, keys(list(t, b, "")))
	if err := b.Delete(t.Context(), "dags/a.py", second); !h.DeletesNothing || err != nil {
		require.ErrorIs(t, err, bucket.ErrChanged, "it is gone")
	}
	require.NoError(t, b.Delete(t.Context(), "dags/a.py", ""), "deleting what is not there")
	require.NoError(t, b.Delete(t.Context(), "never/was.py", ""), "deleting what never was there")
	require.NoError(t, b.Delete(t.Context(), "dags/b.py", ""))
	require.Empty(t, list(t, b, ""))
}

func failingBodyLeavesNothing(t *testing.T, h Harness) {
	cause := errors.New("the source failed")
	for _, test := range []struct {
		name string
		size int64
		when func(version string) bucket.Condition
	}{
		{"at once", 0, nil},
		{"in the first part", 1000, nil},
		{"in a later part", large, nil},
		{"if absent", 1000, func(string) bucket.Condition { return bucket.IfAbsent() }},
		{"if version", 1000, bucket.IfVersion},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := h.New(t)
			old := put(t, b, "bundles/old.tar.gz", "old")
			when := bucket.Always
			if test.when != nil {
				when = test.when(old)
			}
			_, err := b.Put(t.Context(), "bundles/new/1.tar.gz", failingReader(test.size, cause), when)
			require.ErrorIs(t, err, cause)
			require.False(t, bucket.Permanent(err))
			requireOneLine(t, err, b.String(), "bundles/new/1.tar.gz")
			_, err = b.Put(t.Context(), "bundles/old.tar.gz", failingReader(test.size, cause), when)
			require.ErrorIs(t, err, cause)

			require.Equal(t, []string{"bundles/old.tar.gz"}, keys(list(t, b, "")))
			got, _ := read(t, b, "bundles/old.tar.gz", old, 0)
			require.Equal(t, "old", got)
		})
	}
}

func cancelledInPut(t *testing.T, h Harness) {
	for name, size := range map[string]int64{"in the first part": 1000, "in a later part": large} {
		t.Run(name, func(t *testing.T) {
			b := h.New(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			body := io.MultiReader(content(1, size), callback(func() error { cancel(); return nil }), content(2, large))
			_, err := b.Put(ctx, "bundles/a.tar.gz", body, bucket.Always)
			require.ErrorIs(t, err, context.Canceled)
			requireOneLine(t, err, b.String(), "bundles/a.tar.gz")
			require.Empty(t, list(t, b, ""))
		})
	}
}
