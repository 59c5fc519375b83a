package service_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/astro/astrotest"
	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/bucket/membucket"
	"github.com/dagbucket/dagbucket/internal/config"
	"github.com/dagbucket/dagbucket/internal/secret"
	"github.com/dagbucket/dagbucket/internal/service"
)

// TestAirflowIsAskedWhereItIsAllowed: import_errors of a route decides.
func TestAirflowIsAskedWhereItIsAllowed(t *testing.T) {
	env := map[string]string{"DAGBUCKET_CONFIG": "s3://config/dagbucket.yaml", "ASTRO_API_TOKEN": astrotest.Token(astrotest.OrganizationID, time.Time{})}
	getenv := func(name string) string { return env[name] }
	text := strings.Replace(yaml, "    deployment: prod\n", "    deployment: prod\n    import_errors: true\n", 1)
	cfg, err := config.Load(t.Context(), getenv, func(context.Context, string) ([]byte, error) { return []byte(text), nil })
	require.NoError(t, err)
	var logs strings.Builder
	s, err := service.New(t.Context(), cfg, service.Deps{
		Buckets: bucket.Openers{"s3": func(context.Context, bucket.URL) (bucket.Bucket, error) { return membucket.New("x"), nil }},
		Secrets: secret.Local(getenv), Version: "test", Log: slog.New(slog.NewTextHandler(&logs, nil)),
	})
	require.NoError(t, err)
	for name, asked := range map[string]bool{"prod": true, "dev": false} {
		route, err := s.Route(name)
		require.NoError(t, err)
		require.Equal(t, asked, route.Airflow != nil, name)
	}
	require.Empty(t, logs.String())
}
