package promotion_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/astro/astrotest"
	"github.com/dagbucket/dagbucket/internal/awswire"
	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/bucket/membucket"
	"github.com/dagbucket/dagbucket/internal/config"
	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/gcpwire"
	"github.com/dagbucket/dagbucket/internal/gcsserver"
	"github.com/dagbucket/dagbucket/internal/promotion"
	"github.com/dagbucket/dagbucket/internal/s3server"
	"github.com/dagbucket/dagbucket/internal/secret"
	"github.com/dagbucket/dagbucket/internal/service"
	"github.com/dagbucket/dagbucket/internal/state"
)

// world is two routes, dev and prod, as they are wired in production, over some storage and the stand-in for Astro.
type world struct {
	t        *testing.T
	astro    *astrotest.Server
	buckets  bucket.Openers
	service  *service.Service
	dev      *deployer.Route
	prod     *deployer.Route
	memory   map[string]*membucket.Bucket // by name; nil over another storage
	scheme   string
	progress func(deployer.Progress)
	logs     bytes.Buffer
}

const oneSource = `
state: SCHEME://state/
routes:
  - {name: dev, deployment: dev, quiet_period: 0s, sources: [{url: "SCHEME://dev/dags/"}]}
  - {name: prod, deployment: prod, quiet_period: 0s, sources: [{url: "SCHEME://prod/live/dags/"}]}
`

func newWorld(t *testing.T) *world { return newWorldOver(t, "mem", oneSource) }

// newWorldOver makes a world over buckets in memory, or the embedded servers of S3 and of Cloud Storage.
func newWorldOver(t *testing.T, backend, yaml string) *world {
	w := &world{t: t}
	names := []string{"state", "dev", "prod", "ml"}
	var err error
	switch backend {
	case "s3":
		listener := httptest.NewServer(s3server.New(names...))
		t.Cleanup(listener.Close)
		w.scheme = "s3"
		w.buckets, err = awswire.Anonymous(t.Context(), listener.URL)
	case "gcs":
		server, failed := gcsserver.New(names...)
		require.NoError(t, failed)
		listener := httptest.NewServer(server)
		t.Cleanup(listener.Close)
		w.scheme = "gs"
		w.buckets, err = gcpwire.Anonymous(t.Context(), listener.URL)
	default:
		w.scheme, w.memory = "s3", map[string]*membucket.Bucket{}
		for _, name := range names {
			w.memory[name] = membucket.New(name)
		}
		open := func(_ context.Context, u bucket.URL) (bucket.Bucket, error) { return w.memory[u.Bucket], nil }
		w.buckets = bucket.Openers{"s3": open, "gs": open}
	}
	require.NoError(t, err)
	w.astro = astrotest.New(astrotest.Options{Deployments: []astrotest.Deployment{{ID: "dev"}, {ID: "prod"}}})
	require.NoError(t, w.astro.Start())
	t.Cleanup(w.astro.Close)
	w.wire(yaml)
	return w
}

// wire gives the world a configuration.
func (w *world) wire(yaml string) {
	w.t.Helper()
	env := map[string]string{"DAGBUCKET_CONFIG": "s3://config/dagbucket.yaml", "ASTRO_API_URL": w.astro.URL(),
		"ASTRO_API_TOKEN": astrotest.Token(astrotest.OrganizationID, time.Now().Add(time.Hour))}
	getenv := func(name string) string { return env[name] }
	yaml = strings.ReplaceAll(yaml, "SCHEME", w.scheme)
	cfg, err := config.Load(w.t.Context(), getenv, func(context.Context, string) ([]byte, error) { return []byte(yaml), nil })
	require.NoError(w.t, err)
	w.service, err = service.New(w.t.Context(), cfg, service.Deps{Buckets: w.buckets, Secrets: secret.Local(getenv), Version: "test",
		Log: slog.New(slog.NewTextHandler(&w.logs, nil)), Progress: func(p deployer.Progress) {
			if w.progress != nil {
				w.progress(p)
			}
		}})
	require.NoError(w.t, err)
	w.dev, err = w.service.Route("dev")
	require.NoError(w.t, err)
	w.prod, err = w.service.Route("prod")
	require.NoError(w.t, err)
	w.prod.Progress, w.dev.Progress = nil, nil
}

func (w *world) bucket(name string) bucket.Bucket {
	b, err := w.buckets.Open(context.Background(), bucket.URL{Scheme: w.scheme, Bucket: name})
	require.NoError(w.t, err)
	return b
}

// put writes "bucket/key".
func (w *world) put(place, content string) {
	w.t.Helper()
	name, key, _ := strings.Cut(place, "/")
	_, err := w.bucket(name).Put(context.Background(), key, strings.NewReader(content), bucket.Always)
	require.NoError(w.t, err)
}

func (w *world) remove(place string) {
	w.t.Helper()
	name, key, _ := strings.Cut(place, "/")
	require.NoError(w.t, w.bucket(name).Delete(context.Background(), key, ""))
}

// shown is what a bucket holds below a prefix, by key without it.
func (w *world) shown(name, prefix string) map[string]string {
	w.t.Helper()
	b := w.bucket(name)
	listing, err := b.List(context.Background(), prefix)
	require.NoError(w.t, err)
	contents := map[string]string{}
	for _, o := range listing.Objects {
		content, _, err := bucket.Read(context.Background(), b, o.Key, "", 1<<30)
		require.NoError(w.t, err)
		contents[strings.TrimPrefix(o.Key, prefix)] = string(content)
	}
	return contents
}

func (w *world) sync(r *deployer.Route, want deployer.Outcome) deployer.Result {
	w.t.Helper()
	result := r.Sync(context.Background(), nil)
	require.Equal(w.t, want, result.Outcome, "%s\n%s", result.Reason, w.logs.String())
	return result
}

// promote promotes, which must be neither an error nor refused.
func (w *world) promote(paths ...string) promotion.Result {
	w.t.Helper()
	result, err := w.try(service.PromoteOptions{Paths: paths})
	require.NoError(w.t, err)
	require.Empty(w.t, result.Refused)
	return result
}

func (w *world) try(o service.PromoteOptions) (promotion.Result, error) {
	return w.service.Promote(context.Background(), w.dev, w.prod, o)
}

// refused promotes in vain: nothing may change. It returns what was refused, as "path: why".
func (w *world) refused(o service.PromoteOptions) string {
	w.t.Helper()
	before := w.everything()
	result, err := w.try(o)
	require.NoError(w.t, err)
	require.NotEmpty(w.t, result.Refused)
	require.Empty(w.t, result.Copied)
	require.Empty(w.t, result.Removed)
	require.Equal(w.t, before, w.everything())
	var lines []string
	for _, n := range result.Refused {
		lines = append(lines, n.Path+": "+n.Why)
	}
	return strings.Join(lines, "\n")
}

// everything is all that is in the buckets.
func (w *world) everything() map[string]string {
	all := map[string]string{}
	for _, name := range []string{"state", "dev", "prod", "ml"} {
		for key, content := range w.shown(name, "") {
			if !strings.HasSuffix(key, "/lease.json") {
				all[name+"/"+key] = content
			}
		}
	}
	return all
}

func (w *world) record(r *deployer.Route) state.Record {
	w.t.Helper()
	rec, _, err := r.Store.ReadRecord(context.Background())
	require.NoError(w.t, err)
	return rec
}

// told is what the history of a route says of promotions.
func (w *world) told(r *deployer.Route) (lines []string) {
	for _, run := range w.record(r).Runs {
		if run.Outcome == state.Promoted {
			lines = append(lines, run.Reason)
		}
	}
	return lines
}

// live is what a Deployment runs, by path.
func (w *world) live(deployment string) map[string]string {
	w.t.Helper()
	contents := map[string]string{}
	if w.astro.Live(deployment) == nil {
		return contents
	}
	files, err := w.astro.LiveFiles(deployment)
	require.NoError(w.t, err)
	for _, f := range files {
		contents[f.Name] = string(f.Content)
	}
	return contents
}

func (w *world) deploys() int { return len(w.astro.Finalized("prod")) }

func keys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

// numbered is n files of dev.
func (w *world) numbered(n int) {
	for i := range n {
		w.put(fmt.Sprintf("dev/dags/team%d/dag %03d.py", i%7, i), fmt.Sprintf("n = %d", i))
	}
}
