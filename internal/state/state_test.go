package state_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/bucket/membucket"
	"github.com/dagbucket/dagbucket/internal/state"
)

var when = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

func record() state.Record {
	return state.Record{
		Target: state.Target{Organization: "org", Deployment: "dep", BaseDir: "dags"},
		Live:   &state.Deploy{Run: "1", Manifest: "1", DeployID: "d", TarballVersion: "v1", Digest: "x", Files: 2, Listed: when, At: when},
	}
}

func TestRecordSwaps(t *testing.T) {
	ctx := context.Background()
	s := state.NewStore(membucket.New("state"), "some/where/", "prod")
	rec, none, err := s.ReadRecord(ctx)
	require.NoError(t, err)
	require.Zero(t, rec)

	first, err := s.SwapRecord(ctx, record(), none)
	require.NoError(t, err)
	_, err = s.SwapRecord(ctx, record(), none)
	require.ErrorIs(t, err, state.ErrOvertaken)

	second, err := s.SwapRecord(ctx, record(), first)
	require.NoError(t, err)
	_, err = s.SwapRecord(ctx, record(), first)
	require.ErrorIs(t, err, state.ErrOvertaken)

	got, at, err := s.ReadRecord(ctx)
	require.NoError(t, err)
	second.Now, at.Now = time.Time{}, time.Time{}
	require.Equal(t, second, at)
	require.Equal(t, record().Live, got.Live)
	require.NotEmpty(t, got.Nonce)
	require.Equal(t, state.Format, got.Format)
}

func TestASwapWhoseAnswerIsLost(t *testing.T) {
	ctx := context.Background()
	errLost := errors.New("connection reset")
	b := membucket.New("state")
	s := state.NewStore(b, "", "prod")
	strike := func(when bool) membucket.Fault {
		return func(op membucket.Op, key string, after bool) error {
			if op == membucket.Put && after == when {
				return errLost
			}
			return nil
		}
	}
	b.Fault = strike(true)
	first, err := s.SwapRecord(ctx, record(), state.Version{})
	require.NoError(t, err, "it took effect, and its nonce says so")
	b.Fault = strike(false)
	_, err = s.SwapRecord(ctx, record(), first)
	require.ErrorIs(t, err, errLost)
	require.NotErrorIs(t, err, state.ErrOvertaken)
	b.Fault = nil
	_, err = s.SwapRecord(ctx, record(), first)
	require.NoError(t, err)
}

// lostThenRefused answers a conditional write as an SDK does that repeats it after its first answer was lost.
type lostThenRefused struct{ *membucket.Bucket }

func (b lostThenRefused) Put(ctx context.Context, key string, body io.Reader, when bucket.Condition) (string, error) {
	if _, err := b.Bucket.Put(ctx, key, body, when); err != nil {
		return "", err
	}
	return "", fmt.Errorf("repeated: %w", bucket.ErrChanged)
}

func TestASwapThatWasRepeatedUnderneath(t *testing.T) {
	ctx := context.Background()
	inner := membucket.New("state")
	s := state.NewStore(lostThenRefused{inner}, "", "prod")
	version, err := s.SwapRecord(ctx, record(), state.Version{})
	require.NoError(t, err)
	_, at, err := s.ReadRecord(ctx)
	require.NoError(t, err)
	at.Now, version.Now = time.Time{}, time.Time{}
	require.Equal(t, at, version)
}

func TestPromoteAndSupersede(t *testing.T) {
	rec := record()
	rec.Pending = &state.Deploy{TarballVersion: "v2", Listed: when.Add(time.Hour)}
	clone := rec.Clone()
	rec.Promote(when, when)
	require.Nil(t, rec.Pending)
	require.Equal(t, []string{"v1"}, rec.Superseded)
	require.Equal(t, when.Add(time.Hour), rec.Listed)
	require.Equal(t, "v1", clone.Live.TarballVersion)
	require.NotNil(t, clone.Pending)
	rec.Supersede("v1")
	rec.Supersede("")
	require.Len(t, rec.Superseded, 1)
	for i := range 3000 {
		rec.Supersede(fmt.Sprint("w", i))
		rec.AddRun(state.Run{Run: fmt.Sprint(i)})
	}
	require.Len(t, rec.Superseded, 1000)
	require.Equal(t, "w2999", rec.Superseded[999])
	require.Len(t, rec.Runs, 100)
	require.Equal(t, "2999", rec.Runs[99].Run)
}

func TestManifestsAndBundles(t *testing.T) {
	ctx := context.Background()
	s := state.NewStore(membucket.New("state"), "", "prod")
	files := []state.File{
		{Path: "dags/a <&> é.py", Source: "s3://b/dags/", Key: "dags/a <&> é.py", Version: `"etag"`, Size: 3, Modified: when, SHA256: "ab", State: state.Live},
		{Path: "dags/b.py", Key: "dags/b.py", State: state.LeftOut, Reason: "ignored", Message: "line 1"},
	}
	require.NoError(t, s.PutManifest(ctx, "run-1", files))
	got, err := s.ReadManifest(ctx, "run-1")
	require.NoError(t, err)
	require.Equal(t, files, got)
	_, err = s.ReadManifest(ctx, "run-2")
	require.ErrorIs(t, err, bucket.ErrNotExist)

	require.NoError(t, s.PutBundle(ctx, "run-1", strings.NewReader("bundle")))
	require.NoError(t, s.PutBundle(ctx, "run-0", strings.NewReader("older")))
	size, err := s.BundleSize(ctx, "run-1")
	require.NoError(t, err)
	require.Equal(t, int64(6), size)
	body, err := s.OpenBundle(ctx, "run-1", 6)
	require.NoError(t, err)
	content, err := io.ReadAll(body)
	require.NoError(t, err)
	require.Equal(t, "bundle", string(content))
	runs, err := s.Stored(ctx)
	require.NoError(t, err)
	require.Equal(t, []string{"run-1", "run-0"}, names(runs))
	require.NoError(t, s.Discard(ctx, "run-1"))
	require.NoError(t, s.Discard(ctx, "run-1"))
	runs, err = s.Stored(ctx)
	require.NoError(t, err)
	require.Equal(t, []string{"run-0"}, names(runs))
}

func names(stored []state.Stored) []string {
	var runs []string
	for _, s := range stored {
		runs = append(runs, s.Run)
	}
	return runs
}

func FuzzRecord(f *testing.F) {
	for _, seed := range []string{`{"format":1,"live":{"run":"1"}}`, `{"format":2}`, `{`, `[]`, `{"format":1,"runs":[{}],"superseded":["a"]}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		b := membucket.New("state")
		_, err := b.Put(context.Background(), "prod/record.json", strings.NewReader(string(content)), bucket.Always)
		require.NoError(t, err)
		_, _, err = state.NewStore(b, "", "prod").ReadRecord(context.Background())
		var damaged *state.RecordError
		if err != nil {
			require.ErrorAs(t, err, &damaged)
			require.True(t, damaged.Permanent())
		}
	})
}

func FuzzManifest(f *testing.F) {
	f.Add([]byte("\x1f\x8b"))
	f.Fuzz(func(t *testing.T, content []byte) {
		b := membucket.New("state")
		_, err := b.Put(context.Background(), "prod/manifests/1.jsonl.gz", strings.NewReader(string(content)), bucket.Always)
		require.NoError(t, err)
		_, _ = state.NewStore(b, "", "prod").ReadManifest(context.Background(), "1")
	})
}
