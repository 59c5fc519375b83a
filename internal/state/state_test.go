package state_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
	"unicode"

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

func TestARecordThatIsNone(t *testing.T) {
	const proxy = "check that no proxy answers in the storage's place"
	for name, c := range map[string]struct {
		content string
		want    []string
	}{
		"empty":          {"", []string{"the storage's answer for mem://state/prod/record.json is not a record (it begins with \"\")", proxy}},
		"blank":          {" \n\t", []string{"(it begins with \"\")", proxy}},
		"a page":         {"\n<html>\x1b[31m" + strings.Repeat("é", 5_000), []string{`(it begins with "<html>\x1b[31m` + strings.Repeat("é", 29) + `")`, proxy}},
		"cut":            {`{"format":1,"li`, []string{"mem://state/prod/record.json is damaged"}},
		"a list":         {"[1]", []string{"is damaged"}},
		"hostile number": {`{"format":1,"live":{"files":` + strings.Repeat("9", 1<<20) + "}}", []string{"is damaged (json: cannot unmarshal number 999"}},
		"hostile time":   {`{"format":1,"listed":"` + strings.Repeat("\u2028\u007f", 1_000) + `"}`, []string{"is damaged (parsing time"}},
		"newer":          {`{"format":2}`, []string{"has format 2, newer than this dagbucket understands (1)"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := storeWith(t, "prod/record.json", []byte(c.content)).ReadRecord(t.Context())
			for _, want := range c.want {
				require.ErrorContains(t, err, want)
			}
			var damaged *state.RecordError
			require.ErrorAs(t, err, &damaged)
			require.True(t, damaged.Permanent())
			require.ErrorContains(t, err, "rebuilt", "the repair")
			requireOneLine(t, err, "mem://state/prod/record.json")
			for _, r := range err.Error() {
				require.True(t, unicode.IsPrint(r), "%q", r)
			}
		})
	}
}

func TestADamagedManifest(t *testing.T) {
	sound := compressed(t, []byte(`{"path":"dags/a.py","state":"live"}`+"\n"), 1_000)
	flipped := bytes.Clone(sound)
	flipped[len(flipped)/2] ^= 0xff
	for name, c := range map[string]struct {
		content []byte
		want    string
	}{
		"empty":            {nil, "EOF"},
		"a page":           {[]byte("<html>"), ""},
		"cut short":        {sound[:len(sound)/2], "unexpected EOF"},
		"without its end":  {sound[:len(sound)-8], "unexpected EOF"},
		"flipped":          {flipped, ""},
		"something after":  {append(bytes.Clone(sound), "more"...), ""},
		"no lines":         {compressed(t, []byte("<html>"), 1), "invalid character '<'"},
		"a list":           {compressed(t, []byte("[1]"), 1), "cannot unmarshal array"},
		"a cut line":       {compressed(t, []byte(`{"path":"dags`), 1), "unexpected end of JSON input"},
		"hostile time":     {compressed(t, []byte(`{"time":"`+strings.Repeat("x", 1<<20)+`"}`), 1), "parsing time"},
		"256 MiB of lines": {compressed(t, []byte(`{"x":"`+strings.Repeat(" ", 1<<20)+`"}`), 256), "it has more than 268435456 bytes"},
		"many lines":       {compressed(t, bytes.Repeat([]byte("{}\n"), 1_001), 1_000), "it has more than 1000000 lines"},
		"empty lines":      {compressed(t, bytes.Repeat([]byte("\n"), 1_001), 1_000), "it has more than 1000000 lines"},
		"65 MiB":           {make([]byte, 65<<20), bucket.ErrTooLarge.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := storeWith(t, "prod/manifests/1.jsonl.gz", c.content).ReadManifest(t.Context(), "1")
			require.ErrorIs(t, err, state.ErrDamaged)
			require.NotErrorIs(t, err, bucket.ErrNotExist)
			require.ErrorContains(t, err, c.want)
			requireOneLine(t, err, "mem://state/prod/manifests/1.jsonl.gz")
		})
	}
}

func TestAManifestThatCannotBeReadIsNotDamaged(t *testing.T) {
	b := membucket.New("state")
	s := state.NewStore(b, "", "prod")
	require.NoError(t, s.PutManifest(t.Context(), "1", nil))
	b.Fault = func(membucket.Op, string, bool) error { return bucket.ErrDenied }
	_, err := s.ReadManifest(t.Context(), "1")
	require.ErrorIs(t, err, bucket.ErrDenied)
	require.NotErrorIs(t, err, state.ErrDamaged)
}

func TestLargeManifests(t *testing.T) {
	s := state.NewStore(membucket.New("state"), "", "prod")
	files := make([]state.File, 100_000)
	for i := range files {
		files[i] = state.File{Path: fmt.Sprintf("dags/%0200d.py", i), Source: "s3://acme/dags/", Key: fmt.Sprintf("dags/%0200d.py", i),
			Version: strings.Repeat("v", 34), Modified: when, SHA256: strings.Repeat("0", 64), State: state.Live}
	}
	require.NoError(t, s.PutManifest(t.Context(), "1", files))
	got, err := s.ReadManifest(t.Context(), "1")
	require.NoError(t, err)
	require.Len(t, got, len(files))
	require.Equal(t, files[len(files)-1], got[len(got)-1])

	text := strings.Repeat(" ", 1<<20)
	files = files[:257]
	for i := range files {
		files[i].Message = text
	}
	err = s.PutManifest(t.Context(), "2", files)
	require.ErrorIs(t, err, bucket.ErrTooLarge, "it could not be read again")
	_, err = s.ReadManifest(t.Context(), "2")
	require.ErrorIs(t, err, bucket.ErrNotExist)
}

// TestARecordIsNeverWrittenThatCannotBeRead drops notices first, then the texts of past runs.
func TestARecordIsNeverWrittenThatCannotBeRead(t *testing.T) {
	s := state.NewStore(membucket.New("state"), "", "prod")
	var rec state.Record
	long := strings.Repeat("x", 4000)
	for i := range 100 {
		rec.AddRun(state.Run{Run: fmt.Sprint(i), Outcome: "failed", Reason: long})
	}
	for i := range 50 {
		out := state.Outgoing{Notice: state.Notice{ID: fmt.Sprint(i), Reason: long}}
		for range 10 {
			out.Notice.Files = append(out.Notice.Files, state.NoticeFile{Path: long, Message: long})
		}
		rec.Outbox = append(rec.Outbox, out)
	}
	version, err := s.SwapRecord(t.Context(), rec, state.Version{})
	require.NoError(t, err)
	read, _, err := s.ReadRecord(t.Context())
	require.NoError(t, err)
	require.Equal(t, "49", read.Outbox[len(read.Outbox)-1].Notice.ID, "the newest are kept")
	require.Equal(t, long, read.Runs[99].Reason)

	for range 1000 {
		rec.ImportErrors = append(rec.ImportErrors, state.ImportError{Path: long})
	}
	_, err = s.SwapRecord(t.Context(), rec, version)
	require.NoError(t, err)
	read, version, err = s.ReadRecord(t.Context())
	require.NoError(t, err)
	require.Empty(t, read.Outbox)
	require.Empty(t, read.Runs[99].Reason)
	require.Len(t, read.ImportErrors, 1000)

	rec.ImportErrors = append(rec.ImportErrors, rec.ImportErrors...)
	_, err = s.SwapRecord(t.Context(), rec, version)
	require.ErrorIs(t, err, bucket.ErrTooLarge)
}
