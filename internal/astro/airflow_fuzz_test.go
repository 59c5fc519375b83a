package astro_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/astro"
	"github.com/dagbucket/dagbucket/internal/astro/astrotest"
)

// FuzzImportErrors: whatever Airflow answers, and wherever it is said to be, nothing panics, hangs or leaks, and what comes out can be shown.
func FuzzImportErrors(f *testing.F) {
	const address = "clm1.astronomer.run/d8fe2wmv/api/v2"
	good := `{"import_errors":[{"import_error_id":1,"timestamp":"2026-01-02T03:04:05.678Z","filename":"a.py","bundle_name":"dags-folder","stack_trace":"Traceback\n  x"}],"total_entries":1}`
	f.Add(address, "3.1-1", 200, good, "application/json")
	f.Add("clm1.astronomer.run/d8fe2wmv/api/v1", "13.2.0", 200, strings.Replace(good, "03:04:05.678Z", "03:04:05.678000+00:00", 1), "application/json")
	f.Add(address, "3.1-1", 200, strings.Replace(good, `"total_entries":1`, `"total_entries":9223372036854775807`, 1), "")
	f.Add(address, "3.1-1", 200, strings.Replace(good, "Traceback", `\u0000\u001b[2J\ud800 `+signedURL, 1), "")
	f.Add(address, "3.1-1", 200, strings.Replace(good, "a.py", `../../a\n.py`, 1), "")
	f.Add(address, "3.1-1", 200, good[:90], "application/json")
	f.Add(address, "3.1-1", 200, "<!DOCTYPE html><html>Sign in</html>", "text/html; charset=utf-8; =")
	f.Add(address, "", 401, `{"detail":"Invalid JWT token"}`, "application/json")
	f.Add(address, "x", 403, `{"detail":null,"status":403,"title":"Forbidden","type":"about:blank"}`, "application/problem+json")
	f.Add("http://127.0.0.1/api/v2", "3.1-1", 404, `{"error":"/api/v1 has been removed"}`, "")
	f.Add("http://169.254.169.254/latest", "3.1-1", 200, good, "")
	f.Add("https://me:hunter2hunter2hunter2@example.com", "3.1-1", 302, "", "")
	f.Add("[::1]:99999/api/v2", "3.1-1", 503, "", "")
	f.Fuzz(func(t *testing.T, address, runtime string, status int, body, contentType string) {
		if status < 200 || status > 999 {
			return // no transport hands on anything else
		}
		synctest.Test(t, func(t *testing.T) {
			calls := 0
			airflow := roundTripper(func(r *http.Request) (*http.Response, error) {
				calls++
				require.True(t, r.URL.Scheme == "https" || r.URL.Hostname() == "localhost" || r.URL.Hostname() == "::1" || strings.HasPrefix(r.URL.Hostname(), "127."), r.URL.Host)
				require.Nil(t, r.URL.User)
				require.Regexp(t, `/api/v[12]/importErrors$`, r.URL.Path)
				return always(status, http.Header{"Content-Type": {contentType}}, body).RoundTrip(r)
			})
			w := newWorld(t, astrotest.Options{}, astro.Options{Transport: airflowAnswers(address, runtime, airflow)})
			start := time.Now()
			found, err := w.ImportErrors(t.Context())
			require.Less(t, time.Since(start), time.Hour, "waits add up")
			require.LessOrEqual(t, calls, 80)
			require.LessOrEqual(t, len(found), 1000)
			for _, e := range found {
				require.NotEmpty(t, e.File)
				require.LessOrEqual(t, len(e.File), 4096)
				require.False(t, strings.ContainsFunc(e.File, unicode.IsControl))
				require.LessOrEqual(t, len(e.Trace), 16<<10)
				require.True(t, utf8.ValidString(e.File) && utf8.ValidString(e.Trace))
				require.NotRegexp(t, `[\x00-\x08\x0b-\x1f\x7f]`, e.Trace)
				require.NotContains(t, e.Trace, signature)
			}
			if err != nil {
				require.Less(t, len(err.Error()), 1500)
				require.NotRegexp(t, `[[:cntrl:]]`, err.Error())
				require.NotContains(t, err.Error(), "hunter2hunter2hunter2")
				requireNoSecret(t, w.token, failure(t, err))
			}
		})
	})
}
