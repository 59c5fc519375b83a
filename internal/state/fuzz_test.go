package state_test

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/bucket/membucket"
	"github.com/dagbucket/dagbucket/internal/state"
)

// storeWith is a store of which one object holds any content.
func storeWith(t testing.TB, key string, content []byte) *state.Store {
	t.Helper()
	b := membucket.New("state")
	_, err := b.Put(t.Context(), key, bytes.NewReader(content), bucket.Always)
	require.NoError(t, err)
	return state.NewStore(b, "", "prod")
}

// requireOneLine looks at an error that may repeat hostile text.
func requireOneLine(t testing.TB, err error, key string) {
	t.Helper()
	require.ErrorContains(t, err, key)
	require.NotRegexp(t, `[[:cntrl:]]`, err.Error())
	require.Less(t, len(err.Error()), 1200)
}

// requireSameJSON does not tell an empty list from none, nor two names of one time zone.
func requireSameJSON(t testing.TB, want, got any) {
	t.Helper()
	wantData, err := json.Marshal(want)
	require.NoError(t, err)
	gotData, err := json.Marshal(got)
	require.NoError(t, err)
	require.Equal(t, string(wantData), string(gotData))
}

// compressed holds the content so many times.
// compressed is what gzip makes of content, many times over. Each time has the same deflate blocks, so that they are made once.
func compressed(t testing.TB, content []byte, times int) []byte {
	t.Helper()
	var blocks bytes.Buffer
	deflate, err := flate.NewWriter(&blocks, flate.BestSpeed)
	require.NoError(t, err)
	_, err = deflate.Write(content)
	require.NoError(t, err)
	require.NoError(t, deflate.Flush()) // ends at a byte
	packed := []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff}
	sum := crc32.NewIEEE()
	for range times {
		packed = append(packed, blocks.Bytes()...)
		_, _ = sum.Write(content)
	}
	packed = append(packed, 1, 0, 0, 0xff, 0xff) // the last block, without content
	packed = binary.LittleEndian.AppendUint32(packed, sum.Sum32())
	return binary.LittleEndian.AppendUint32(packed, uint32(len(content)*times))
}

// FuzzRecord: a record is read, or refused for good in one line that says what to do; what is read can be written and read again.
func FuzzRecord(f *testing.F) {
	for _, seed := range []string{
		`{"format":1,"live":{"run":"1"}}`, `{"format":2}`, `{"format":0}`, `{"format":1e9}`, `{"format":"1"}`, `{`, `[]`, `null`, ``, " \n", "\xff",
		strings.Repeat("[", 20_000), `{"format":1,"runs":[{}],"superseded":["a"]}`, `{"format":1,"live":{"at":"x"}}`, `{"format":1,"format":2}`,
		`{"format":1,"runs":null,"listed":"9999-12-31T23:59:59Z"}`, `{"format":1,"live":{"at":"` + strings.Repeat("é\\u0007", 2_000) + `"}}`,
		`{"format":1,"live":{"files":` + strings.Repeat("9", 5_000) + `}}`, "<html>\x00\x1b[31m" + strings.Repeat("proxy ", 1_000),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		s := storeWith(t, "prod/record.json", content)
		rec, version, err := s.ReadRecord(t.Context())
		if err != nil {
			var damaged *state.RecordError
			require.ErrorAs(t, err, &damaged)
			require.True(t, damaged.Permanent())
			requireOneLine(t, err, "mem://state/prod/record.json")
			return
		}
		_, err = s.SwapRecord(t.Context(), rec, version)
		require.NoError(t, err)
		again, _, err := s.ReadRecord(t.Context())
		require.NoError(t, err)
		require.NotEqual(t, rec.Nonce, again.Nonce)
		again.Nonce, rec.Nonce = "", ""
		require.Equal(t, state.Format, again.Format)
		again.Format, rec.Format = 0, 0
		requireSameJSON(t, rec, again)
	})
}

// FuzzManifest: raw bytes, and lines inside sound compression; what is read can be stored and read again.
func FuzzManifest(f *testing.F) {
	for _, seed := range []string{
		"", "\x1f\x8b", `{"path":"dags/a.py","source":"s3://a/","key":"a.py","size":1,"time":"2026-01-01T00:00:00Z","state":"live"}` + "\n", "{}\n{}\n",
		`{"size":-1}`, `{"size":1e30}`, "null", "[]", `{"path":"../x"}`, `{"path":"\ud800"}`, strings.Repeat("[", 20_000), `{"time":"x"}`,
		`{"time":"` + strings.Repeat("x", 5_000) + `"}`,
	} {
		f.Add([]byte(seed), false)
		f.Add([]byte(seed), true)
	}
	f.Fuzz(func(t *testing.T, content []byte, compress bool) {
		if compress {
			content = compressed(t, content, 1)
		}
		s := storeWith(t, "prod/manifests/1.jsonl.gz", content)
		files, err := s.ReadManifest(t.Context(), "1")
		if err != nil {
			require.ErrorIs(t, err, state.ErrDamaged)
			requireOneLine(t, err, "mem://state/prod/manifests/1.jsonl.gz")
			return
		}
		require.NoError(t, s.PutManifest(t.Context(), "2", files))
		again, err := s.ReadManifest(t.Context(), "2")
		require.NoError(t, err)
		requireSameJSON(t, files, again)
	})
}

// FuzzLease: whatever lies there, nobody panics, no two runs hold it at once, and a run that abandons it leaves nothing covered.
func FuzzLease(f *testing.F) {
	for _, seed := range []string{
		`{"format":1,"holder":"a"}`, `{"format":2,"holder":"a"}`, `{`, ``, `null`, `{"format":1,"renewed":"9999-12-31T23:59:59Z","holder":"b"}`,
		`{"renewed":"0001-01-01T00:00:00Z"}`, `{"format":1,"holder":"run-1","again":true}`, `{"format":1,"holder":"run-2"}`,
		`{"format":1,"holder":"a","renewed":"-9999-01-01T00:00:00Z"}`, `{"format":1,"again":true}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		s := storeWith(t, "prod/lease.json", content)
		first, err := s.TakeLease(t.Context(), "run-1")
		require.NoError(t, err)
		second, err := s.TakeLease(t.Context(), "run-2")
		require.NoError(t, err)
		require.False(t, first.Held && second.Held)
		if first.Held {
			again, err := s.ReleaseLease(t.Context(), "run-1")
			require.NoError(t, err)
			require.True(t, again, "the second run rang")
		}
		require.NoError(t, s.AbandonLease(t.Context(), "run-1"))
		owed, err := s.Owed(t.Context())
		require.NoError(t, err)
		require.True(t, owed)
	})
}
