package astro_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

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
			for _, err := range everyCall(t, w, d) {
				if err != nil {
					require.Less(t, len(err.Error()), 4000)
					require.NotRegexp(t, `[[:cntrl:]]`, err.Error())
					requireNoSecret(t, w.token, err)
				}
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
	_, errDeploy := w.Deploy(ctx, "clv1")
	created, errCreate := w.CreateDeploy(ctx, "x")
	if errCreate == nil {
		require.NotEmpty(t, created.ID)
		require.False(t, strings.ContainsAny(created.ID, "/.?#%"))
	}
	version, errUpload := w.Upload(ctx, d, func(context.Context) (io.ReadCloser, error) { return opens(archive)(ctx) }, int64(len(archive)))
	require.Equal(t, errUpload == nil, version != "")
	return []error{errDeployment, errDeploys, errDeploy, errCreate, errUpload, w.Finalize(ctx, "clv1", "v1")}
}
