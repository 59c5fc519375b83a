package service_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/dagbucket/dagbucket/internal/astro/astrotest"
	"github.com/dagbucket/dagbucket/internal/awswire"
	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/bucket/membucket"
	"github.com/dagbucket/dagbucket/internal/config"
	"github.com/dagbucket/dagbucket/internal/secret"
	"github.com/dagbucket/dagbucket/internal/service"
)

// manyRoutes is a configuration of n routes, all of which have one token.
func manyRoutes(t testing.TB, n int, settings string, getenv func(string) string) *config.Config {
	t.Helper()
	var b strings.Builder
	b.WriteString("state: s3://acme-state/\nroutes:\n")
	for i := range n {
		fmt.Fprintf(&b, "  - {name: r%d, sources: [{url: s3://acme-dags/r%d/}], deployment: r%d%s}\n", i, i, i, settings)
	}
	cfg, err := config.Load(t.Context(), func(name string) string {
		if name == "DAGBUCKET_CONFIG" {
			return "s3://config/dagbucket.yaml"
		}
		return getenv(name)
	}, func(context.Context, string) ([]byte, error) { return []byte(b.String()), nil })
	require.NoError(t, err)
	return cfg
}

// withToken is the environment of such a configuration. Astro's host is one that upload URLs may lead to.
func withToken(name string) string {
	switch name {
	case "ASTRO_API_TOKEN":
		return astrotest.Token(astrotest.OrganizationID, time.Time{})
	case "ASTRO_API_URL":
		return "http://localhost/v1"
	}
	return ""
}

// TestManyRoutesShareBucketsAndReads: one opened bucket each, and one read of a token that all routes want at once.
func TestManyRoutesShareBucketsAndReads(t *testing.T) {
	const routes = 500
	var opened, reads atomic.Int64
	astro := astrotest.New(astrotest.Options{Deployments: deployments(routes)})
	bytes := membucket.New("acme")
	s, err := service.New(t.Context(), manyRoutes(t, routes, "", withToken), service.Deps{
		Buckets: bucket.Openers{"s3": func(context.Context, bucket.URL) (bucket.Bucket, error) { opened.Add(1); return bytes, nil }},
		Secrets: secret.Resolver{"env": func(context.Context, string) (string, error) {
			reads.Add(1)
			return withToken("ASTRO_API_TOKEN"), nil
		}},
		Version: "test", Log: slog.New(slog.DiscardHandler), Transport: astro.Transport(),
	})
	require.NoError(t, err)
	require.EqualValues(t, 2, opened.Load(), "the state, and the source of all")
	require.Zero(t, reads.Load(), "before a run wants it")
	var g errgroup.Group
	for i := range routes {
		route, err := s.Route(fmt.Sprintf("r%d", i))
		require.NoError(t, err)
		g.Go(func() error { _, err := route.Astro.Deployment(t.Context()); return err })
	}
	require.NoError(t, g.Wait())
	require.EqualValues(t, 1, reads.Load())
}

// TestManyRoutesShareConnections to Astro: one after another, they need one.
func TestManyRoutesShareConnections(t *testing.T) {
	const routes = 20
	var connections atomic.Int64
	server := httptest.NewUnstartedServer(astrotest.New(astrotest.Options{Deployments: deployments(routes)}))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	env := func(name string) string {
		if name == "ASTRO_API_URL" {
			return server.URL + "/v1"
		}
		return withToken(name)
	}
	s, err := service.New(t.Context(), manyRoutes(t, routes, "", env), service.Deps{
		Buckets: bucket.Openers{"s3": func(context.Context, bucket.URL) (bucket.Bucket, error) { return membucket.New("acme"), nil }},
		Secrets: secret.Local(env), Version: "test", Log: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	for i := range routes {
		route, err := s.Route(name(i))
		require.NoError(t, err)
		_, err = route.Astro.Deployment(t.Context())
		require.NoError(t, err)
	}
	require.EqualValues(t, 1, connections.Load())
}

func deployments(n int) (list []astrotest.Deployment) {
	for i := range n {
		list = append(list, astrotest.Deployment{ID: fmt.Sprintf("r%d", i)})
	}
	return list
}

// BenchmarkWiring makes the routes of the Lambda function, with the clients of AWS.
func BenchmarkWiring(b *testing.B) {
	for name, value := range map[string]string{"AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"} {
		b.Setenv(name, value)
	}
	for _, n := range []int{1, 500, 5000} {
		cfg := manyRoutes(b, n, ", notify: ['slack:env:HOOK']", withToken)
		b.Run(fmt.Sprintf("%d routes", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				clients := awswire.New(os.Getenv)
				s, err := service.New(b.Context(), cfg, service.Deps{Buckets: clients.Buckets(), Secrets: clients.Secrets(), Topics: clients.Topics(),
					Version: "test", Log: slog.New(slog.DiscardHandler)})
				require.NoError(b, err)
				_, err = s.Route("r0")
				require.NoError(b, err)
			}
		})
	}
}
