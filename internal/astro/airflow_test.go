package astro_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/astro"
	"github.com/dagbucket/dagbucket/internal/astro/astrotest"
)

func ofRuntime(version string) astrotest.Options {
	return astrotest.Options{Deployments: []astrotest.Deployment{{RuntimeVersion: version}}}
}

// airflowAnswers is a transport: the Deployment as Astro has it, with an address of its Airflow, and what that answers.
func airflowAnswers(address, runtime string, answer http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		if strings.HasPrefix(r.URL.Path, "/v1/organizations/") && r.URL.Hostname() == "localhost" {
			body, _ := json.Marshal(map[string]any{"id": deploymentID, "isDagDeployEnabled": true, "astroRuntimeVersion": runtime, "webServerAirflowApiUrl": address})
			return always(200, nil, string(body)).RoundTrip(r)
		}
		return answer.RoundTrip(r)
	})
}

// TestImportErrors goes over a real connection, for both versions of Airflow.
func TestImportErrors(t *testing.T) {
	when := time.Date(2026, 1, 2, 3, 4, 5, 678000, time.UTC)
	for runtime, file := range map[string]string{"13.2.0": "/usr/local/airflow/dags/team/a.py", "3.1-4": "team/a.py", "12.0.0-alpha1": "/a.py"} {
		t.Run(runtime, func(t *testing.T) {
			server := astrotest.New(ofRuntime(runtime))
			require.NoError(t, server.Start())
			t.Cleanup(server.Close)
			w := newWorld(t, astrotest.Options{}, astro.Options{Transport: http.DefaultTransport})
			client, err := astro.New(astro.Options{BaseURL: server.URL(), Deployment: deploymentID, Token: constant(w.token)})
			require.NoError(t, err)

			found, err := client.ImportErrors(t.Context())
			require.NoError(t, err)
			require.Empty(t, found)
			trace := "Traceback (most recent call last):\n\tFile \"a.py\", line 3\nModuleNotFoundError: No module named 'pandas'"
			server.SetImportErrors(deploymentID, []astrotest.ImportError{{File: file, Trace: trace, At: when}, {File: "b c/é 🎉.py", Trace: "x"}})
			found, err = client.ImportErrors(t.Context())
			require.NoError(t, err)
			require.Equal(t, astro.ImportError{File: file, Trace: trace, At: when}, found[0])
			require.Equal(t, "b c/é 🎉.py", found[1].File)
			require.Equal(t, 2, server.Calls()[astrotest.ListImportErrors])
			server.SetImportErrors(deploymentID, nil)
			found, err = client.ImportErrors(t.Context())
			require.NoError(t, err)
			require.Empty(t, found)
		})
	}
}

// TestImportErrorsByPages: all are found once, in as many calls as it takes, whatever the server calls a page.
func TestImportErrorsByPages(t *testing.T) {
	for name, c := range map[string]struct {
		runtime              string
		errors, dags, limit  int
		found, callsAtMost   int
		dagsOfTheFirstInList int
	}{
		"one page":                   {runtime: "3.1-1", errors: 50, found: 50, callsAtMost: 1},
		"pages":                      {runtime: "3.1-1", errors: 230, found: 230, callsAtMost: 5},
		"pages, Airflow 2":           {runtime: "13.2.0", errors: 230, dags: 9, found: 230, callsAtMost: 5},
		"a smaller page":             {runtime: "13.2.0", errors: 70, limit: 7, found: 70, callsAtMost: 10},
		"a smaller page, Airflow 3":  {runtime: "3.2-1", errors: 70, limit: 7, found: 70, callsAtMost: 10},
		"files with many DAGs":       {runtime: "3.1-1", errors: 60, dags: 10, found: 60, callsAtMost: 13},
		"one file with many DAGs":    {runtime: "3.1-1", errors: 30, dagsOfTheFirstInList: 900, found: 30, callsAtMost: 21},
		"more than anybody can read": {runtime: "3.1-1", errors: 1300, found: 1000, callsAtMost: 20},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, ofRuntime(c.runtime), func(t *testing.T, w *world) {
				var list []astrotest.ImportError
				for i := range c.errors {
					list = append(list, astrotest.ImportError{File: fmt.Sprintf("%d.py", i), Trace: "x", DAGs: c.dags})
				}
				list[0].DAGs = max(c.dags, c.dagsOfTheFirstInList)
				w.server.SetImportErrors(deploymentID, list)
				w.server.SetAirflowPageLimit(deploymentID, c.limit)
				found, err := w.ImportErrors(t.Context())
				require.NoError(t, err)
				require.Len(t, found, c.found)
				for i, e := range found {
					require.Equal(t, fmt.Sprintf("%d.py", i), e.File)
				}
				require.LessOrEqual(t, w.calls(astrotest.ListImportErrors), c.callsAtMost)
			})
		})
	}
}

// TestAirflowAddress: the token goes by https alone, or in the clear to this very machine where Astro itself is a stand-in there.
func TestAirflowAddress(t *testing.T) {
	const org = "myorganization.astronomer.run/d8fe2wmv"
	for name, c := range map[string]struct{ base, given, runtime, asked string }{
		"Airflow 2":                {"", org + "/api/v1", "13.2.0", "https://" + org + "/api/v1"},
		"Airflow 3":                {"", org + "/api/v2", "3.1-1", "https://" + org + "/api/v2"},
		"Airflow 3 beside v1":      {"", org + "/api/v1", "3.0-7", "https://" + org + "/api/v2"},
		"Airflow 2 beside v2":      {"", org + "/api/v2/", "12.1.0", "https://" + org + "/api/v1"},
		"no version":               {"", org + "/", "3.1-1", "https://" + org + "/api/v2"},
		"a coming Runtime":         {"", org + "/api/v3", "4.0-1", "https://" + org + "/api/v2"},
		"no Runtime":               {"", org + "/api/v1", "", "https://" + org + "/api/v1"},
		"no Runtime, a coming API": {"", org + "/api/v3", "", "https://" + org + "/api/v2"},
		"no Runtime and version":   {"", org, "", "https://" + org + "/api/v2"},
		"https":                    {"", "https://" + org + "/api/v2", "3.1-1", "https://" + org + "/api/v2"},
		"loopback":                 {"", "127.0.0.1:80/x/api/v2", "3.1-1", "http://127.0.0.1:80/x/api/v2"},
		"loopback, beside Astro":   {"https://api.astronomer.io/v1", "127.0.0.1:80/x/api/v2", "3.1-1", "https://127.0.0.1:80/x/api/v2"},
		"plain loopback":           {"", "http://localhost/api/v2", "3.1-1", "http://localhost/api/v2"},
		"plain loopback, Astro":    {"https://api.astronomer.io/v1", "http://localhost/api/v2", "3.1-1", ""},
		"plain":                    {"", "http://" + org + "/api/v2", "3.1-1", ""},
		"odd loopback":             {"", "127.0.0.1.example.com/api/v2", "3.1-1", "https://127.0.0.1.example.com/api/v2"},
		"odd loopback, plain":      {"", "http://127.0.0.1.example.com/api/v2", "3.1-1", ""},
		"none":                     {"", "", "3.1-1", ""},
		"no host":                  {"", "/api/v2", "3.1-1", ""},
		"another scheme":           {"", "file:///etc/passwd", "3.1-1", ""},
		"a query":                  {"", org + "/api/v2?x=1", "3.1-1", ""},
		"a password":               {"", "me:hunter2@example.com/api/v2", "3.1-1", ""},
		"a line break":             {"", "example.com\n/api/v2", "3.1-1", ""},
		"no port, but a colon":     {"", "example.com:x/api/v2", "3.1-1", ""},
		"only a version of an API": {"", "api/v2", "3.1-1", "https://api/v2/api/v2"},
	} {
		t.Run(name, func(t *testing.T) {
			var asked string
			airflow := roundTripper(func(r *http.Request) (*http.Response, error) {
				asked, _ = strings.CutSuffix(r.URL.String(), "/importErrors?limit=50&offset=0")
				require.Equal(t, http.MethodGet, r.Method)
				require.Regexp(t, `^Bearer eyJ`, r.Header.Get("Authorization"))
				require.Equal(t, "dagbucket/1.2.3", r.Header.Get("User-Agent"))
				return always(200, nil, `{"import_errors":[],"total_entries":0}`).RoundTrip(r)
			})
			w := newWorld(t, astrotest.Options{}, astro.Options{})
			base := "http://localhost/v1"
			answers := airflowAnswers(c.given, c.runtime, airflow)
			if c.base != "" {
				base, answers = c.base, toLocalhost(answers)
			}
			client, err := astro.New(astro.Options{BaseURL: base, Deployment: deploymentID, Version: "1.2.3", Token: constant(w.token), Transport: answers})
			require.NoError(t, err)
			_, err = client.ImportErrors(t.Context())
			require.Equal(t, c.asked, asked)
			if c.asked != "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, "an address of the Airflow API that cannot be used")
			require.ErrorContains(t, err, "set import_errors: false")
			require.True(t, failure(t, err).Permanent())
			require.NotContains(t, err.Error(), "hunter2")
		})
	}
}

// toLocalhost lets airflowAnswers answer for Astro's own host.
func toLocalhost(inner http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		if r.URL.Host == "api.astronomer.io" {
			r = r.Clone(r.Context())
			r.URL.Host = "localhost"
		}
		return inner.RoundTrip(r)
	})
}

// TestAirflowRefusals: each is one clear line with a repair, and tells whether it may pass.
func TestAirflowRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		fault     astrotest.Fault
		says      []string
		permanent bool
		calls     int
	}{
		"no access": {astrotest.Fault{Status: 401}, []string{"refuses the API token", "HTTP 401", "a fault on request"}, true, 1},
		"no right": {astrotest.Fault{Status: 403, Body: `{"detail":"Forbidden","status":403,"title":"Forbidden"}`},
			[]string{"no right", "Forbidden", "deployment.airflow.importError.get", "import_errors: false"}, true, 1},
		"no API": {astrotest.Fault{Status: 404, Body: "<html>404</html>"}, []string{"no such Airflow API", "import_errors: false"}, true, 1},
		"not allowed": {astrotest.Fault{Status: 422, Body: `{"detail":[{"loc":["query","limit"]}],"title":"odd"}`},
			[]string{"HTTP 422", `"odd"`, "import_errors: false"}, true, 1},
		"a redirect": {astrotest.Fault{Status: 302, Header: http.Header{"Location": {"https://auth.example.com/?x=1"}}, Body: "."},
			[]string{"redirect", "not followed", "API token may use"}, true, 1},
		"a login page": {astrotest.Fault{Status: 200, Body: "<!DOCTYPE html><html>Sign in</html>", Header: http.Header{"Content-Type": {"text/html"}}},
			[]string{`"text/html"`, "not Airflow's list", "API token may use"}, true, 1},
		"another JSON": {astrotest.Fault{Status: 200, Body: `{"dags":[]}`}, []string{"not Airflow's list"}, true, 1},
		"nothing":      {astrotest.Fault{Status: 200, Body: " ", Times: -1}, []string{"empty or cut short"}, false, 5},
		"half of it":   {astrotest.Fault{Status: 200, Body: `{"import_errors":[{`, Times: -1}, []string{"empty or cut short"}, false, 5},
		"starting":     {astrotest.Fault{Status: 503, Times: -1}, []string{"HTTP 503", "a later run asks again"}, false, 5},
		"too often":    {astrotest.Fault{Status: 429, Times: -1, Header: http.Header{"Retry-After": {"7"}}}, []string{"HTTP 429"}, false, 5},
		"cut off":      {astrotest.Fault{CutOff: true, Times: -1}, []string{"no answer"}, false, 5},
		"hanging":      {astrotest.Fault{Hang: true, Times: -1}, []string{"it took more than a minute"}, false, 3},
		"hanging once": {astrotest.Fault{Hang: true, Times: 1}, nil, false, 2},
		"too much": {astrotest.Fault{Status: 200, Body: `{"import_errors":["` + strings.Repeat("x", 8<<20) + `"]}`},
			[]string{"more than 8 MiB", "import_errors: false"}, true, 1},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, astrotest.Options{}, func(t *testing.T, w *world) {
				c.fault.Call = astrotest.ListImportErrors
				w.server.Inject(c.fault)
				began := time.Now()
				_, err := w.ImportErrors(t.Context())
				require.LessOrEqual(t, time.Since(began), time.Minute)
				if c.says == nil {
					require.NoError(t, err)
					return
				}
				for _, says := range append(c.says, "Airflow of Deployment "+deploymentID) {
					require.ErrorContains(t, err, says)
				}
				require.NotContains(t, err.Error(), "ASTRO_API_URL", "Astro is in order")
				require.Equal(t, c.permanent, failure(t, err).Permanent())
				require.Equal(t, c.calls, w.calls(astrotest.ListImportErrors))
				requireNoSecret(t, w.token, err)
			})
		})
	}
}

// TestNoSecretInErrorsOfAirflow: it repeats what it was told, in every part of its answer.
func TestNoSecretInErrorsOfAirflow(t *testing.T) {
	leaky := func(r *http.Request) string { return "saw " + r.Header.Get("Authorization") + " at " + signedURL }
	answers := map[string]roundTripper{
		"quoting error": func(r *http.Request) (*http.Response, error) { return nil, errors.New(leaky(r)) },
		"url.Error": func(r *http.Request) (*http.Response, error) {
			return nil, &url.Error{Op: "Get", URL: signedURL, Err: errors.New(leaky(r))}
		},
		"body error": func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(failing{errors.New(leaky(r))})}, nil
		},
	}
	for _, status := range []int{200, 201, 302, 400, 401, 403, 404, 429, 500} {
		for _, key := range []string{"detail", "title", "error", "message", "import_errors"} {
			answers[fmt.Sprint(status, " ", key)] = func(r *http.Request) (*http.Response, error) {
				body, _ := json.Marshal(map[string]string{key: leaky(r)})
				return always(status, http.Header{"Location": {leaky(r)}, "Content-Type": {leaky(r)}}, string(body)).RoundTrip(r)
			}
		}
	}
	for name, answer := range answers {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, astrotest.Options{}, astro.Options{Transport: airflowAnswers("example.com/api/v2", "3.1-1", answer)})
				_, err := w.ImportErrors(t.Context())
				require.Error(t, err)
				requireNoSecret(t, w.token, err)
				requireNoSecret(t, w.token, failure(t, err))
			})
		})
	}
}

func TestAirflowThatRecovers(t *testing.T) {
	inBubble(t, astrotest.Options{}, func(t *testing.T, w *world) {
		w.server.SetImportErrors(deploymentID, []astrotest.ImportError{{File: "a.py"}})
		w.server.Inject(astrotest.Fault{Call: astrotest.ListImportErrors, Status: 502, Times: 2})
		found, err := w.ImportErrors(t.Context())
		require.NoError(t, err)
		require.Len(t, found, 1)
	})
}

func TestAirflowTakesARotatedToken(t *testing.T) {
	inBubble(t, astrotest.Options{}, func(t *testing.T, w *world) {
		_, err := w.Deployment(t.Context())
		require.NoError(t, err)
		w.token = astrotest.Token(orgID, time.Now().Add(2*time.Hour))
		w.server.Inject(astrotest.Fault{Call: astrotest.ListImportErrors, Status: 401})
		_, err = w.ImportErrors(t.Context())
		require.NoError(t, err)
		require.Equal(t, []bool{false, true}, w.reads)
	})
}

func TestAirflowIsNotAskedInItsSleep(t *testing.T) {
	inBubble(t, astrotest.Options{}, func(t *testing.T, w *world) {
		w.server.Update(deploymentID, func(d *astrotest.Deployment) { d.Hibernating = true })
		_, err := w.ImportErrors(t.Context())
		require.ErrorContains(t, err, "hibernates")
		require.True(t, failure(t, err).Hibernating())
		require.Zero(t, w.calls(astrotest.ListImportErrors))
	})
}

// TestHostileImportErrors: texts come from code of other people, and may hold anything.
func TestHostileImportErrors(t *testing.T) {
	inBubble(t, astrotest.Options{}, func(t *testing.T, w *world) {
		long := strings.Repeat("é", 20_000) + "\nValueError: the end"
		w.server.SetImportErrors(deploymentID, []astrotest.ImportError{
			{File: "long.py", Trace: long},
			{File: "secret.py", Trace: "saw " + w.token + " at\n" + signedURL},
			{File: "control.py", Trace: "a\x1b[2J\x00b\r\n\tc\u202ed"},
			{File: "", Trace: "no name"},
			{File: "a\nb.py", Trace: "a line break"},
			{File: w.token + ".py", Trace: "a token"},
			{File: strings.Repeat("x", 5000), Trace: "too long"},
			{File: "👩‍👩‍👧 x.py", Trace: ""},
		})
		found, err := w.ImportErrors(t.Context())
		require.NoError(t, err)
		var files []string
		for _, e := range found {
			files = append(files, e.File)
			require.LessOrEqual(t, len(e.Trace), 16<<10)
			require.True(t, utf8.ValidString(e.Trace))
			requireNoSecret(t, w.token, e)
		}
		require.Equal(t, []string{"long.py", "secret.py", "control.py", "👩‍👩‍👧 x.py"}, files)
		require.Regexp(t, `(?s)^…é.*\nValueError: the end$`, found[0].Trace)
		require.Equal(t, "saw (secret) at\nhttps://blob.example.com/org/dep?(query)", found[1].Trace)
		require.Equal(t, "a [2J b \n\tc d", found[2].Trace)
	})
}

// TestHostilePages: no count and no page makes the client go on for ever.
func TestHostilePages(t *testing.T) {
	page := func(from, n, total int) string {
		var list []string
		for i := range n {
			list = append(list, fmt.Sprintf(`{"import_error_id":%d,"filename":"%d.py"}`, from+i, from+i))
		}
		return fmt.Sprintf(`{"import_errors":[%s],"total_entries":%d}`, strings.Join(list, ","), total)
	}
	for name, body := range map[string]func(call int) string{
		"the same for ever":   func(int) string { return page(0, 3, 1<<40) },
		"one after another":   func(call int) string { return page(call, 1, 1<<40) },
		"more than asked for": func(call int) string { return page(call*900, 900, 1<<40) },
		"nothing, and more":   func(int) string { return page(0, 0, 1<<40) },
		"a negative count":    func(int) string { return page(0, 3, -1) },
		"no count":            func(int) string { return `{"import_errors":[{"import_error_id":1,"filename":"0.py"}]}` },
		"odd fields": func(int) string {
			return `{"import_errors":[{"filename":"0.py","timestamp":"yesterday","bundle_name":7}]}`
		},
		"a list that is no list":  func(int) string { return `{"import_errors":{},"total_entries":3}` },
		"null":                    func(int) string { return `null` },
		"errors that are nothing": func(int) string { return `{"import_errors":[null,null],"total_entries":2}` },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				airflow := roundTripper(func(r *http.Request) (*http.Response, error) {
					calls++
					return always(200, nil, body(calls)).RoundTrip(r)
				})
				w := newWorld(t, astrotest.Options{}, astro.Options{Transport: airflowAnswers("example.com/api/v2", "3.1-1", airflow)})
				found, err := w.ImportErrors(t.Context())
				require.LessOrEqual(t, calls, 40)
				if name == "nothing, and more" {
					require.Equal(t, 1, calls, "an empty page is the last one")
				}
				require.LessOrEqual(t, len(found), 1000)
				if err != nil {
					require.True(t, failure(t, err).Permanent())
				}
			})
		})
	}
}

// TestIgnoreFileSyntaxIsRead: it stands among the Deployment's environment variables.
func TestIgnoreFileSyntaxIsRead(t *testing.T) {
	const name = "AIRFLOW__CORE__DAG_IGNORE_FILE_SYNTAX"
	for set, variables := range map[string]map[string]string{
		"":       {"OTHER": "glob"},
		"glob":   {"OTHER": "x", name: "glob"},
		"regexp": {name: "regexp", "ZZZ": "glob"},
	} {
		t.Run(set, func(t *testing.T) {
			inBubble(t, astrotest.Options{Deployments: []astrotest.Deployment{{Variables: variables}}}, func(t *testing.T, w *world) {
				d, err := w.Deployment(t.Context())
				require.NoError(t, err)
				require.Equal(t, set, d.IgnoreFileSyntax)
			})
		})
	}
}
