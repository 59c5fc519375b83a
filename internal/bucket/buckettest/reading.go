package buckettest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/bucket"
)

func streamsLargeObjects(t *testing.T, h Harness) {
	const size = 50 << 20
	b := h.New(t)
	version := putLarge(t, b, "bundles/large.tar.gz", 7, size)
	want, _ := digest(t, content(7, size))

	listed := list(t, b, "bundles/")
	require.Len(t, listed, 1)
	require.Equal(t, int64(size), listed[0].Size)
	require.Equal(t, version, listed[0].Version, "Put and List name different versions")
	body, err := b.Open(t.Context(), "bundles/large.tar.gz", version, 0)
	require.NoError(t, err)
	require.Equal(t, listed[0].Version, body.Object.Version)
	require.Equal(t, int64(size), body.Object.Size)
	sum, got := digest(t, body)
	require.NoError(t, body.Close())
	require.Equal(t, int64(size), got)
	require.Equal(t, want, sum)
}

func readsFromOffset(t *testing.T, h Harness) {
	b := h.New(t)
	const text = "0123456789"
	version := put(t, b, "dags/a.py", text)
	for offset := range int64(len(text) + 1) { // its size included
		for _, pinned := range []string{"", version} {
			got, object := read(t, b, "dags/a.py", pinned, offset)
			require.Equal(t, text[offset:], got)
			require.Equal(t, int64(len(text)), object.Size)
			require.Equal(t, version, object.Version)
		}
	}
	_, err := b.Open(t.Context(), "dags/a.py", "", int64(len(text)+1))
	requireOneLine(t, err, b.String(), "dags/a.py")
	_, err = b.Open(t.Context(), "dags/a.py", "no-such-version", 4)
	require.ErrorIs(t, err, bucket.ErrChanged)
}

func holdsEmptyObjects(t *testing.T, h Harness) {
	b := h.New(t)
	version := put(t, b, "dags/__init__.py", "")
	got, object := read(t, b, "dags/__init__.py", version, 0)
	require.Empty(t, got)
	require.Zero(t, object.Size)
	objects := list(t, b, "")
	require.Len(t, objects, 1)
	require.Zero(t, objects[0].Size)

	reader := bucket.NewReader(t.Context(), b, objects[0])
	all, err := io.ReadAll(reader)
	require.NoError(t, err)
	require.Empty(t, all)
	require.NoError(t, reader.Close())
}

func reportsMissing(t *testing.T, h Harness) {
	b := h.New(t)
	version := put(t, b, "dags/a.py", "a")
	listed := list(t, b, "")[0]
	require.NoError(t, b.Delete(t.Context(), "dags/a.py", ""))

	_, err := b.Open(t.Context(), "dags/a.py", "", 0)
	require.ErrorIs(t, err, bucket.ErrNotExist)
	require.NotErrorIs(t, err, bucket.ErrChanged)
	require.False(t, bucket.Permanent(err))
	requireOneLine(t, err, b.String(), "dags/a.py")
	_, err = b.Open(t.Context(), "dags/a.py", version, 0)
	require.ErrorIs(t, err, bucket.ErrChanged)
	requireOneLine(t, err, b.String(), "dags/a.py")
	_, err = io.ReadAll(bucket.NewReader(t.Context(), b, listed))
	require.ErrorIs(t, err, bucket.ErrChanged)

	put(t, b, "dags/file", "a file")
	_, err = b.Open(t.Context(), "dags", "", 0)
	require.ErrorIs(t, err, bucket.ErrNotExist, "a directory is no object")
	_, err = b.Open(t.Context(), "dags/file/below.py", "", 0)
	require.ErrorIs(t, err, bucket.ErrNotExist, "below a file there is nothing")
}

func reportsChanged(t *testing.T, h Harness) {
	b := h.New(t)
	seen := map[string]bool{}
	for _, text := range []string{"1", "2", "3", "longer"} { // of one size, and faster than any clock ticks
		version := put(t, b, "dags/a.py", text)
		require.False(t, seen[version], "two contents under one version")
		for old := range seen {
			_, err := b.Open(t.Context(), "dags/a.py", old, 0)
			require.ErrorIs(t, err, bucket.ErrChanged)
			requireOneLine(t, err, b.String(), "dags/a.py")
		}
		seen[version] = true
		got, _ := read(t, b, "dags/a.py", version, 0)
		require.Equal(t, text, got)
	}
	_, _, err := bucket.Read(t.Context(), b, "dags/a.py", "", 5)
	requireOneLine(t, err, b.String(), "dags/a.py", "at most 5 are allowed")
}

// neverMixesVersions overwrites an object of which a part has been read: the rest is of the same version, or an error.
func neverMixesVersions(t *testing.T, h Harness) {
	b := h.New(t)
	version := putLarge(t, b, "dags/a.bin", 1, large)
	for _, pinned := range []string{version, ""} {
		body, err := b.Open(t.Context(), "dags/a.bin", pinned, 0)
		require.NoError(t, err)
		first := make([]byte, 100)
		_, err = io.ReadFull(body, first)
		require.NoError(t, err)
		putLarge(t, b, "dags/a.bin", 2, large)
		rest, err := io.ReadAll(body)
		require.NoError(t, body.Close())
		got := append(first, rest...)
		want := contentBytes(t, 1, int64(len(got)))
		require.True(t, bytes.Equal(want, got), "bytes of another version were read")
		if err == nil {
			require.Len(t, got, large)
		}
		putLarge(t, b, "dags/a.bin", 1, large)
	}
}

func cancelledInGet(t *testing.T, h Harness) {
	b := h.New(t)
	putLarge(t, b, "dags/a.bin", 1, large)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	body, err := b.Open(ctx, "dags/a.bin", "", 0)
	require.NoError(t, err)
	_, err = io.ReadFull(body, make([]byte, 10))
	require.NoError(t, err)
	cancel()
	_, err = io.Copy(io.Discard, body)
	require.ErrorIs(t, err, context.Canceled)
	_ = body.Close() // may repeat the error
}

func cancelledBefore(t *testing.T, h Harness) {
	b := h.New(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, call := range callsOf(b, "dags/a.py") {
		t.Run(name, func(t *testing.T) {
			err := call(ctx)
			require.ErrorIs(t, err, context.Canceled)
			require.False(t, bucket.Permanent(err))
			requireOneLine(t, err, b.String())
		})
	}
	require.Empty(t, list(t, b, ""))
}

func reportsCutBody(t *testing.T, h Harness) {
	b, cut := h.Cutting(t)
	putLarge(t, b, "dags/a.bin", 1, 3*CutAfter)
	cut()
	body, err := b.Open(t.Context(), "dags/a.bin", "", 0)
	require.NoError(t, err)
	got, err := io.ReadAll(body)
	_ = body.Close()
	require.Error(t, err)
	require.False(t, errors.Is(err, io.EOF), "a cut looks like the end: %v", err)
	require.NotEmpty(t, got)
	require.Less(t, len(got), 3*CutAfter)
}

func resumesCutBody(t *testing.T, h Harness) {
	b, cut := h.Cutting(t)
	putLarge(t, b, "dags/a.bin", 1, 3*CutAfter)
	listed := list(t, b, "")[0]
	cut()
	var requests bucket.Requests
	reader := bucket.NewReader(bucket.CountRequests(t.Context(), &requests), b, listed)
	sum, size := digest(t, reader)
	require.NoError(t, reader.Close())
	want, _ := digest(t, content(1, 3*CutAfter))
	require.Equal(t, int64(3*CutAfter), size)
	require.Equal(t, want, sum)
	require.Greater(t, requests.Get.Load(), int64(1), "nothing was cut")
}

func doesNotResumeChanged(t *testing.T, h Harness) {
	b, cut := h.Cutting(t)
	putLarge(t, b, "dags/a.bin", 1, 3*CutAfter)
	listed := list(t, b, "")[0]
	cut()
	reader := bucket.NewReader(t.Context(), b, listed)
	_, err := io.ReadFull(reader, make([]byte, 10))
	require.NoError(t, err)
	put(t, b, "dags/a.bin", "another")
	_, err = io.Copy(io.Discard, reader)
	require.ErrorIs(t, err, bucket.ErrChanged)
	requireOneLine(t, err, b.String(), "dags/a.bin")
	_ = reader.Close()
}
