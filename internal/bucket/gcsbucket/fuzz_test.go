package gcsbucket_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/bucket"
)

// FuzzAnswer: whatever a storage answers, a listing is in strict order, or an error in one line; and every call ends.
func FuzzAnswer(f *testing.F) {
	const object = `{"name":"dags/a","generation":"7","size":"3","timeCreated":"2026-11-25T04:00:00Z"}`
	for _, document := range []string{
		`{"kind":"storage#objects","items":[` + object + `]}`, `{"kind":"storage#objects","items":[` + object + "," + object + `]}`,
		`{"kind":"storage#objects","nextPageToken":"x","items":[` + object + `]}`, `{"kind":"storage#objects"}`, object, "{}", "null", "", "[]",
		`{"kind":"storage#objects","items":[null]}`, `{"kind":"storage#objects","items":[{"name":"\u0000\n"}]}`, "<html>Sign in</html>",
		`{"error":{"code":403,"message":"no\nway","errors":[{"reason":"forbidden\n"}]}}`, `{"error":{"errors":[null]}}`, `{"error":"no"}`, `{"kind":`,
	} {
		for _, status := range []int{200, 403, 404, 412} {
			f.Add(status, document)
		}
	}
	f.Fuzz(func(t *testing.T, status int, document string) {
		if status < 200 || status > 599 || status >= 300 && status < 400 {
			return
		}
		synctest.Test(t, func(t *testing.T) {
			requests := 0
			b := served(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if requests++; requests%11 == 0 {
					answer(404, "application/json", "{}").ServeHTTP(w, r)
					return
				}
				w.Header().Set("X-Goog-Generation", "7")
				answer(status, "application/json", document).ServeHTTP(w, r)
			}))
			listing, err := b.List(t.Context(), "dags/")
			if err != nil {
				require.Empty(t, listing.Objects, "a part of a listing")
			} else {
				require.False(t, listing.Time.IsZero())
			}
			for i, o := range listing.Objects {
				require.True(t, strings.HasPrefix(o.Key, "dags/") && o.Version != "" && o.Size >= 0, "%+v", o)
				require.True(t, i == 0 || listing.Objects[i-1].Key < o.Key)
			}
			_, _, readErr := bucket.Read(t.Context(), b, "dags/a", "7", 1<<10)
			_, putErr := b.Put(t.Context(), "dags/a", strings.NewReader("x"), bucket.IfVersion("7"))
			for _, err := range []error{err, readErr, putErr, b.Delete(t.Context(), "dags/a", "7")} {
				if err != nil {
					require.Contains(t, err.Error(), "gs://acme/dags/")
					require.NotContains(t, err.Error(), "\n")
					require.Less(t, len(err.Error()), 1000)
				}
			}
		})
	})
}
