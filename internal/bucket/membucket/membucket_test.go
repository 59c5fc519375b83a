package membucket_test

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/bucket/buckettest"
	"github.com/dagbucket/dagbucket/internal/bucket/membucket"
)

func TestContract(t *testing.T) {
	buckettest.Run(t, buckettest.Harness{
		New:  func(*testing.T) bucket.Bucket { return membucket.New("acme") },
		Pair: func(*testing.T) (from, to bucket.Bucket) { return membucket.New("acme"), membucket.New("beside") },
		Denied: func(*testing.T) bucket.Bucket {
			b := membucket.New("denied")
			b.Fault = func(membucket.Op, string, bool) error { return bucket.ErrDenied }
			return b
		},
		Cutting: func(*testing.T) (bucket.Bucket, func()) {
			b := membucket.New("cut")
			var cut atomic.Bool
			b.Cut = func(string, int64) int64 {
				if cut.Load() {
					return buckettest.CutAfter
				}
				return -1
			}
			return b, func() { cut.Store(true) }
		},
	})
}

func TestFaultsStrikeBeforeOrAfterTheEffect(t *testing.T) {
	lost := errors.New("the connection was lost")
	for _, after := range []bool{false, true} {
		b := membucket.New("acme")
		version, err := b.Put(t.Context(), "gone", strings.NewReader("x"), bucket.Always)
		require.NoError(t, err)
		require.NotEmpty(t, version)
		b.Fault = func(_ membucket.Op, _ string, isAfter bool) error {
			if isAfter == after {
				return lost
			}
			return nil
		}
		_, err = b.Put(t.Context(), "new", strings.NewReader("x"), bucket.IfAbsent())
		require.ErrorIs(t, err, lost)
		require.ErrorIs(t, b.Delete(t.Context(), "gone", version), lost)
		_, err = b.List(t.Context(), "")
		require.ErrorIs(t, err, lost)
		_, err = b.Open(t.Context(), "gone", "", 0)
		if after {
			require.ErrorIs(t, err, bucket.ErrNotExist)
		} else {
			require.ErrorIs(t, err, lost)
		}

		b.Fault = nil
		listing, err := b.List(t.Context(), "")
		require.NoError(t, err)
		require.Len(t, listing.Objects, 1)
		want := "gone"
		if after {
			want = "new"
		}
		require.Equal(t, want, listing.Objects[0].Key)
	}
}

func TestClockAndChange(t *testing.T) {
	now := time.Date(2026, 11, 3, 12, 0, 0, 0, time.FixedZone("CET", 3600))
	b := membucket.New("acme")
	b.Now = func() time.Time { return now }
	_, err := b.Put(t.Context(), "a", strings.NewReader("x"), bucket.Always)
	require.NoError(t, err)
	b.Change("a", func(o *bucket.Object) { o.Archived = true })
	b.Change("missing", func(*bucket.Object) { t.Error("there is no such object") })

	listing, err := b.List(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, now.UTC(), listing.Time)
	require.Equal(t, now.UTC(), listing.Objects[0].Modified)
	require.True(t, listing.Objects[0].Archived)
	_, err = b.Open(t.Context(), "a", "", 0)
	require.ErrorIs(t, err, bucket.ErrArchived)
}
