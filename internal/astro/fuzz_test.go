package astro_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/astro"
	"github.com/dagbucket/dagbucket/internal/astro/astrotest"
)

// FuzzAnswers: no answer makes a call panic, hang, leak, or return what cannot be used.
func FuzzAnswers(f *testing.F) {
	f.Add(200, `{"id":"`+deploymentID+`","isDagDeployEnabled":true}`, "application/json", "", "v1")
	f.Add(200, `{"organizations":[{"id":"clm1","name":"x"}]}`, "application/json", "", "")
	f.Add(200, `{"deploys":[{"id":"clv1","createdAt":"2026-01-01T00:00:00Z"}],"totalCount":9}`, "", "", "")
	f.Add(200, createAnswer(signedURL), "application/json", "", "v1")
	f.Add(201, "", "", "", "2024-01-12T18:32:20.5898930Z")
	f.Add(400, `{"message":"HIBERNATING","requestId":"r","statusCode":400}`, "application/json", "", "")
	f.Add(403, "<Error><Code>AuthenticationFailed</Code></Error>", "application/xml", "", "")
	f.Add(429, "", "", "Wed, 21 Oct 2026 07:28:00 GMT", "")
	f.Add(503, "<html>", "text/html", "120", "")
	// each kind of call: an answer that is good, one of another kind, one cut short
	f.Add(200, `{"id":"`+deploymentID+`","name":"\u001b[2J","isDagDeployEnabled":false,"remoteExecution":{"enabled":true},"status":"HIBERNATING"}`, "", "", "")
	f.Add(200, `{"id":"`+deploymentID+`","isDagDeployEnabled":null,"remoteExecution":null}`, "", "", "")
	f.Add(200, `{"deploys":null,"totalCount":-1}`, "", "", "")
	f.Add(200, `{"deploys":[{"id":"clv1","createdAt":"2026-01-01T00:00:00Z"},{"id":"../x"},{"id":"clv2","createdAt":"9999-12-31T23:59:59Z"}],"totalCount":9223372036854775807}`, "", "", "")
	f.Add(200, `{"id":"clv1","status":"FAILED","dagTarballVersion":"v1"}`, "application/json", "", "")
	f.Add(200, `{"id":"clv1","status":"DEPLOYED","dagTarballVersion":"v1","createdBySubject":{"id":7}}`, "", "", "")
	f.Add(200, createAnswer("http://169.254.169.254/latest?sig=0123456789abcdef"), "", "", "")
	f.Add(200, createAnswer(signedURL)[:60], "application/json", "", "")
	f.Add(200, `{"organizations":[{"id":"`+orgID+`"},{"id":"`+orgID+`"}]}`, "", "", "")
	f.Add(200, "<!DOCTYPE html><html>Sign in</html>", "text/html; charset=utf-8; =", "", "v\x00")
	f.Add(200, "", "", "", "")
	f.Add(200, "null", "", "", "")
	f.Add(404, `{"message":"\u202e\n","requestId":"`+strings.Repeat("r", 300)+`"}`, "application/json", "-1", "")
	f.Add(403, `<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa">]><Error><Code>&a;&a;</Code></Error>`, "application/xml", "", "")
	f.Add(403, "\xef\xbb\xbf<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>AuthenticationFailed</Code><Message>Signature "+signature+"</Message></Error>", "application/xml", "", "")
	f.Add(400, strings.Repeat("<Error>", 11_000), "application/xml", "", "")
	f.Add(307, "", "text/html", "99999999999999", "")
	f.Fuzz(func(t *testing.T, status int, body, contentType, retryAfter, version string) {
		if status < 200 || status > 999 {
			return // no transport hands on anything else
		}
		synctest.Test(t, func(t *testing.T) {
			hostile := false
			w := newWorld(t, astrotest.Options{}, astro.Options{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				if !hostile {
					return always(200, nil, createAnswer(signedURL)).RoundTrip(r)
				}
				return always(status, http.Header{"Content-Type": {contentType}, "Retry-After": {retryAfter}, "X-Ms-Version-Id": {version}}, body).RoundTrip(r)
			})})
			d, err := w.CreateDeploy(t.Context(), "")
			require.NoError(t, err)
			hostile = true
			start := time.Now()
			failures := everyCall(t, w, d)
			require.Less(t, time.Since(start), time.Hour, "waits add up")
			for _, err := range failures {
				if err != nil {
					require.Less(t, len(err.Error()), 4000)
					require.NotRegexp(t, `[[:cntrl:]]`, err.Error())
					require.True(t, utf8.ValidString(err.Error()))
					require.NotEmpty(t, failure(t, err).Op)
					requireNoSecret(t, w.token, err)
				}
			}
		})
	})
}

// tokenTexts are what the errors about tokens say themselves.
const tokenTexts = "astro: read the API token: put a valid Astro API token where the configuration's token setting (or ASTRO_API_TOKEN) points"

// FuzzToken: a token says what it says, whatever its claims are. What is none is refused before it is sent, and never shown.
func FuzzToken(f *testing.F) {
	for _, claims := range []string{
		`{"permissions":["organizationId:clm1"],"exp":4102444800}`, `{"permissions":["organizationId:clm1","organizationId:clm2"]}`, `{"permissions":["organizationId:../x"]}`,
		`{"permissions":null,"exp":1e10}`, `{"exp":-1}`, `{"exp":1e400}`, `{"exp":"1"}`, `{"exp":0.5}`, `[]`, `null`, ``, `{`, `{"permissions":"organizationId:clm1"}`, "{\"permissions\":[\"organizationId:\xff\"]}",
	} {
		f.Add("", claims)
	}
	for _, text := range []string{"{\"token\":\"hunter2hunter2hunter2\"}", "hunter2hunter2hunter2", "a.b.c", "hunter2hunter2.hunter2hunter2.hunter2hunter2\n", "..", "\x00", "AKIAIOSFODNN7EXAMPLE"} {
		f.Add(text, "")
	}
	f.Fuzz(func(t *testing.T, text, claims string) {
		if text == "" {
			encode := base64.RawURLEncoding.EncodeToString
			text = encode([]byte(`{"alg":"RS256"}`)) + "." + encode([]byte(claims)) + "." + encode([]byte(strings.Repeat("s", 48)))
		}
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, astrotest.Options{}, astro.Options{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				require.Equal(t, "Bearer "+strings.TrimSpace(text), r.Header.Get("Authorization"))
				require.Regexp(t, `^Bearer [A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+){2}$`, r.Header.Get("Authorization"))
				require.Regexp(t, `^/v1/organizations(/[A-Za-z0-9_-]+/deployments/[a-z0-9]+)?$`, r.URL.RequestURI())
				return always(200, nil, `{"id":"`+deploymentID+`","isDagDeployEnabled":true,"organizations":[{"id":"clm9"}]}`).RoundTrip(r)
			})})
			w.token = text
			if _, err := w.Deployment(t.Context()); err != nil {
				require.True(t, failure(t, err).Permanent())
				require.Less(t, len(err.Error()), 1000)
				require.NotRegexp(t, `[[:cntrl:]]`, err.Error())
				if secret := strings.TrimSpace(text); len(secret) >= 16 && !strings.Contains(tokenTexts, secret) {
					require.NotContains(t, err.Error(), secret)
				}
			}
		})
	})
}

// FuzzUploadURL: a bundle goes out by https only, or in the clear to this machine, without the token, to the URL as it was given;
// what the storage says of the URL is not repeated.
func FuzzUploadURL(f *testing.F) {
	for _, given := range []string{
		signedURL, "http://localhost/x?sig=0123456789abcdef", "http://127.0.0.1.example.com/x", "https://me:hunter2@blob.example.com/", "https://[::1]:99999/", "https://a/b c", "https://a/%zz",
		"https://a?x#y", "HTTPS://A/?b", "https:/a", "https:a/b?c", "//a/b", "https://a//b?", "https://a/?x=%00", "https://é/", "https://a\\@b/", "https://a/b?c?d=/&&", "file:///etc/passwd", "https://",
	} {
		f.Add(given)
	}
	f.Fuzz(func(t *testing.T, given string) {
		synctest.Test(t, func(t *testing.T) {
			answer, err := json.Marshal(map[string]any{"id": "clv1", "isDagDeployEnabled": true, "dagsUploadUrl": given})
			require.NoError(t, err)
			w := newWorld(t, astrotest.Options{}, astro.Options{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				if r.Method != http.MethodPut {
					return always(200, nil, string(answer)).RoundTrip(r)
				}
				require.Empty(t, r.Header.Get("Authorization"))
				require.True(t, r.URL.Scheme == "https" || slices.Contains([]string{"localhost", "127.0.0.1", "::1"}, r.URL.Hostname()) || strings.HasPrefix(r.URL.Hostname(), "127."), r.URL.Hostname())
				require.Nil(t, r.URL.User)
				require.True(t, strings.HasSuffix(given, strings.TrimPrefix(r.URL.RequestURI(), "/")), "%q of %q", r.URL.RequestURI(), given)
				return always(400, http.Header{"X-Ms-Error-Code": {given}}, "").RoundTrip(r)
			})})
			d, err := w.CreateDeploy(t.Context(), "")
			if err != nil {
				require.Empty(t, given)
				return
			}
			_, err = w.Upload(t.Context(), d, opens(archive), int64(len(archive)))
			require.True(t, failure(t, err).Permanent())
			require.Less(t, len(err.Error()), 1000)
			require.NotRegexp(t, `[[:cntrl:]]`, err.Error())
			if _, query, _ := strings.Cut(given, "?"); len(query) >= 16 {
				require.NotContains(t, err.Error(), query)
			}
		})
	})
}

func everyCall(t *testing.T, w *world, d astro.Deploy) []error {
	ctx := t.Context()
	deployment, errDeployment := w.Deployment(ctx)
	if errDeployment == nil {
		require.Equal(t, deploymentID, deployment.ID)
		_ = deployment.Check()
	}
	deploys, errDeploys := w.Deploys(ctx, 2)
	require.LessOrEqual(t, len(deploys), 2)
	for _, d := range deploys {
		require.Regexp(t, `^[A-Za-z0-9_-]+$`, d.ID)
	}
	_, errDeploy := w.Deploy(ctx, "clv1")
	created, errCreate := w.CreateDeploy(ctx, "x")
	if errCreate == nil {
		require.NotEmpty(t, created.ID)
		require.False(t, strings.ContainsAny(created.ID, "/.?#%"))
	}
	version, errUpload := w.Upload(ctx, d, func(context.Context) (io.ReadCloser, error) { return opens(archive)(ctx) }, int64(len(archive)))
	require.Equal(t, errUpload == nil, version != "")
	require.NotRegexp(t, `[[:cntrl:]]`, version)
	return []error{errDeployment, errDeploys, errDeploy, errCreate, errUpload, w.Finalize(ctx, "clv1", "v1")}
}
