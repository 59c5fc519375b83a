package cloudrunhandler_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/api/option"

	"github.com/dagbucket/dagbucket/internal/astro/astrotest"
	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/cloudrunhandler"
	"github.com/dagbucket/dagbucket/internal/config"
	"github.com/dagbucket/dagbucket/internal/secret"
	"github.com/dagbucket/dagbucket/internal/secret/gcpsecret"
	"github.com/dagbucket/dagbucket/internal/service"
)

// TestARotatedTokenIsReadAgain: the instance lives on, Secret Manager has a new version, and Astro no longer takes the old one.
func TestARotatedTokenIsReadAgain(t *testing.T) {
	old := astrotest.Token(astrotest.OrganizationID, time.Now().Add(time.Hour))
	renewed := astrotest.Token(astrotest.OrganizationID, time.Now().Add(2*time.Hour))
	var current atomic.Value
	current.Store(old)
	var reads atomic.Int32
	manager := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		require.Equal(t, "/v1/projects/acme/secrets/astro/versions/latest:access", r.URL.Path)
		reads.Add(1)
		fmt.Fprintf(w, `{"name":"x","payload":{"data":%q}}`, base64.StdEncoding.EncodeToString([]byte(current.Load().(string))))
	}))
	t.Cleanup(manager.Close)
	w := newWorld(t, nil)
	env := map[string]string{
		"DAGBUCKET_SOURCE": "gs://acme/dags/", "DAGBUCKET_STATE": "gs://state/", "DAGBUCKET_QUIET_PERIOD": "0s", "ASTRO_API_URL": w.astro.URL(),
		"ASTRO_DEPLOYMENT_ID": astrotest.DeploymentID, "DAGBUCKET_TOKEN": "gcp-sm:projects/acme/secrets/astro/versions/latest",
	}
	getenv := func(name string) string { return env[name] }
	w.Handler = cloudrunhandler.New(func(ctx context.Context) (*service.Service, error) {
		cfg, err := config.Load(ctx, getenv, nil)
		if err != nil {
			return nil, err
		}
		return service.New(ctx, cfg, service.Deps{
			Buckets: bucket.Openers{"gs": func(_ context.Context, u bucket.URL) (bucket.Bucket, error) { return w.buckets[u.Bucket], nil }},
			Secrets: secret.Local(getenv).With(gcpsecret.Sources(option.WithEndpoint(manager.URL), option.WithoutAuthentication())),
			Version: "test", Log: slog.New(slog.NewJSONHandler(&w.log, nil)), Share: true,
		})
	}, slog.New(slog.NewJSONHandler(&w.log, nil)))

	w.put("dags/a.py")
	require.Equal(t, "deployed", w.outcome(`{}`))
	require.Equal(t, "unchanged", w.outcome(`{}`))
	require.Equal(t, int32(1), reads.Load(), "it is read once, and kept")
	current.Store(renewed)
	w.astro.AcceptTokens(renewed)
	w.put("dags/b.py")
	require.Equal(t, "deployed", w.outcome(`{}`))
	require.Equal(t, int32(2), reads.Load())
	require.NotContains(t, w.log.String(), old)
	require.NotContains(t, w.log.String(), renewed)
}
