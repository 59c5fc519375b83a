// Package buckettest is the conformance suite of the storage contract: every implementation of bucket.Bucket passes it.
package buckettest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/bucket"
)

// CutAfter is about how many bytes a body of a cutting bucket delivers before its connection breaks.
const CutAfter = 1 << 20

// Harness gives the suite the buckets of one implementation, and says where its backend falls short of the contract.
type Harness struct {
	// New returns an empty bucket.
	New func(t *testing.T) bucket.Bucket
	// PageSize is how many keys one list request returns; 0 if any number.
	PageSize int
	// Many is how many objects the largest listing has; 0 is 2,500.
	Many int
	// Lacks reports the keys that the backend cannot hold, or cannot hold beside others; nil if it holds all.
	Lacks func(key string) bool
	// DeletesNothing says that the backend answers success to a Delete of a version where there is no object at all.
	DeletesNothing bool
	// ClockLag is how far the time of the backend's answers may lie behind its clock, beyond the second it is truncated to.
	ClockLag time.Duration
	// BadKeys are keys that every Put must refuse with bucket.ErrBadKey.
	BadKeys []string
	// Denied returns a bucket that may not be used; nil if the backend checks no rights.
	Denied func(t *testing.T) bucket.Bucket
	// Missing returns a bucket that does not exist; nil if there can be none.
	Missing func(t *testing.T) bucket.Bucket
	// Cutting returns an empty bucket; after cut, the connection of each body breaks after about CutAfter bytes. nil if there is no
	// connection.
	Cutting func(t *testing.T) (b bucket.Bucket, cut func())
	// Pair returns two empty buckets of one storage, between which it copies under both conditions; nil if the backend does not.
	Pair func(t *testing.T) (from, to bucket.Bucket)
	// IgnoresCopyConditions says that a copy overwrites whatever the condition on its target says.
	IgnoresCopyConditions bool
}

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Harness)
	}{
		{"an empty bucket lists nothing", listsNothing},
		{"odd keys arrive unchanged", holdsOddKeys},
		{"keys are listed in byte order", listsInByteOrder},
		{"a prefix matches byte for byte", matchesPrefixExactly},
		{"many objects are all listed", listsManyObjects},
		{"a listing cancelled in the middle is whole or none", cancelledInList},
		{"keys that cannot be are refused", refusesBadKeys},
		{"50 MB are streamed in and out", streamsLargeObjects},
		{"a read begins at its offset", readsFromOffset},
		{"empty objects", holdsEmptyObjects},
		{"a missing object", reportsMissing},
		{"a changed object", reportsChanged},
		{"a change during a read never mixes", neverMixesVersions},
		{"put if absent", putsIfAbsent},
		{"put if version", putsIfVersion},
		{"32 writers if absent, one winner", oneWinnerIfAbsent},
		{"32 writers if version, one winner", oneWinnerIfVersion},
		{"delete", deletes},
		{"a failing body leaves nothing", failingBodyLeavesNothing},
		{"a cancelled context ends every call", cancelledBefore},
		{"a context cancelled in the middle of a read", cancelledInGet},
		{"a context cancelled in the middle of a write", cancelledInPut},
		{"times are the storage's, in UTC", givesTimes},
		{"requests are counted", countsRequests},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, h) })
	}
	if h.Pair != nil {
		t.Run("copies arrive unchanged", func(t *testing.T) { copiesOddKeys(t, h) })
		if !h.IgnoresCopyConditions {
			t.Run("a copy under a condition", func(t *testing.T) { copiesIf(t, h) })
		}
		t.Run("a copy of a version", func(t *testing.T) { copiesExactly(t, h) })
		t.Run("a copy from another storage", func(t *testing.T) { copiesNothingForeign(t, h) })
		t.Run("16 MB are copied", func(t *testing.T) { copiesLarge(t, h) })
	}
	if h.Denied != nil {
		t.Run("access denied", func(t *testing.T) { refuses(t, h.Denied(t), bucket.ErrDenied) })
	}
	if h.Missing != nil {
		t.Run("no such bucket", func(t *testing.T) { refuses(t, h.Missing(t), bucket.ErrNoBucket) })
	}
	if h.Cutting != nil {
		t.Run("a body cut short is an error", func(t *testing.T) { reportsCutBody(t, h) })
		t.Run("a reader resumes a body cut short", func(t *testing.T) { resumesCutBody(t, h) })
		t.Run("a reader does not resume a changed object", func(t *testing.T) { doesNotResumeChanged(t, h) })
	}
}

func (h Harness) lacks(key string) bool { return h.Lacks != nil && h.Lacks(key) }

// refuses checks that each call fails for good with want, in one line that names the bucket.
func refuses(t *testing.T, b bucket.Bucket, want error) {
	for name, call := range callsOf(b, "dags/a.py") {
		t.Run(name, func(t *testing.T) {
			err := call(t.Context())
			require.ErrorIs(t, err, want)
			require.True(t, bucket.Permanent(err))
			requireOneLine(t, err, b.String())
		})
	}
}

// requireOneLine checks that an error is a single line with these words in it.
func requireOneLine(t *testing.T, err error, words ...string) {
	t.Helper()
	require.Error(t, err)
	require.NotContains(t, err.Error(), "\n")
	require.Less(t, len(err.Error()), 500)
	for _, word := range words {
		require.Contains(t, err.Error(), word)
	}
}
