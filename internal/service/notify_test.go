package service_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/astro/astrotest"
	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/bucket/membucket"
	"github.com/dagbucket/dagbucket/internal/config"
	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/notify"
	"github.com/dagbucket/dagbucket/internal/secret"
	"github.com/dagbucket/dagbucket/internal/service"
	"github.com/dagbucket/dagbucket/internal/state"
)

// TestARunEndsTheSameWithDeadEndpoints: the first deploy, with every kind of target failing in its way, and without targets.
func TestARunEndsTheSameWithDeadEndpoints(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	gone := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { asked.Add(1); w.WriteHeader(http.StatusGone) }))
	t.Cleanup(gone.Close)
	reset := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1); panic(http.ErrAbortHandler) }))
	t.Cleanup(reset.Close)
	down := notify.Clouds{}
	for _, cloud := range []string{"sns", "pubsub"} {
		down[cloud] = func(string) notify.Send {
			return func(context.Context, *state.Notice) error { asked.Add(1); return errors.New(cloud + " is down") }
		}
	}
	const all = "events: [deployed]}"
	with := syncWith(t, down, "{to: 'webhook:"+gone.URL+"/SECRET', "+all, "{to: 'webhook:"+reset.URL+"/SECRET', "+all, "{to: slack:env:NONE, "+all,
		"{to: 'sns:arn:aws:sns:eu-west-1:123456789012:dags', "+all, "{to: pubsub:projects/acme/topics/dags, "+all)
	without := syncWith(t, nil)
	require.Equal(t, deployer.Deployed, without.Outcome)
	for _, r := range []*deployer.Result{&with, &without} {
		r.Seconds, r.Requests, r.DeployID, r.TarballVersion, r.Began, r.Looked = nil, nil, "", "", time.Time{}, time.Time{}
	}
	require.Equal(t, without, with)
	require.GreaterOrEqual(t, asked.Load(), int64(4), "each was tried")
}

// syncWith runs a new route once, and looks for secrets in the log.
func syncWith(t *testing.T, topics notify.Clouds, targets ...string) deployer.Result {
	t.Helper()
	astro := astrotest.New(astrotest.Options{Deployments: []astrotest.Deployment{{ID: "d"}}})
	require.NoError(t, astro.Start())
	t.Cleanup(astro.Close)
	env := map[string]string{"DAGBUCKET_CONFIG": "s3://config/dagbucket.yaml", "ASTRO_API_URL": astro.URL(),
		"ASTRO_API_TOKEN": astrotest.Token(astrotest.OrganizationID, time.Now().Add(time.Hour))}
	getenv := func(name string) string { return env[name] }
	file := "state: s3://state/\nroutes: [{name: prod, deployment: d, quiet_period: 0s, sources: [{url: s3://acme/}], notify: [" + strings.Join(targets, ", ") + "]}]"
	cfg, err := config.Load(t.Context(), getenv, func(context.Context, string) ([]byte, error) { return []byte(file), nil })
	require.NoError(t, err)
	buckets := map[string]*membucket.Bucket{"acme": membucket.New("acme"), "state": membucket.New("state")}
	_, err = buckets["acme"].Put(t.Context(), "a.py", strings.NewReader("a"), bucket.Always)
	require.NoError(t, err)
	var logs bytes.Buffer
	s, err := service.New(t.Context(), cfg, service.Deps{
		Buckets: bucket.Openers{"s3": func(_ context.Context, u bucket.URL) (bucket.Bucket, error) { return buckets[u.Bucket], nil }},
		Secrets: secret.Local(getenv), Topics: topics, Version: "v1", Log: slog.New(slog.NewJSONHandler(&logs, nil)),
	})
	require.NoError(t, err)
	route, err := s.Route("prod")
	require.NoError(t, err)
	result := s.Sync(t.Context(), route, nil)
	require.NotContains(t, logs.String(), "SECRET")
	return result
}

// wireWith wires a route with these targets, in a program that has clients for SNS.
func wireWith(t *testing.T, targets string, env map[string]string, topics notify.Clouds) (deployer.Notifier, error) {
	t.Helper()
	all := map[string]string{"DAGBUCKET_CONFIG": "s3://config/dagbucket.yaml", "ASTRO_API_TOKEN": "TOKEN"}
	for name, value := range env {
		all[name] = value
	}
	getenv := func(name string) string { return all[name] }
	file := "state: s3://state/\nroutes: [{name: prod, deployment: d, sources: [{url: s3://acme/}], notify: [" + targets + "]}]"
	cfg, err := config.Load(t.Context(), getenv, func(context.Context, string) ([]byte, error) { return []byte(file), nil })
	require.NoError(t, err)
	var logs bytes.Buffer
	s, err := service.New(t.Context(), cfg, service.Deps{
		Buckets: bucket.Openers{"s3": func(_ context.Context, u bucket.URL) (bucket.Bucket, error) { return membucket.New(u.Bucket), nil }},
		Secrets: secret.Local(getenv), Topics: topics, Version: "v1", Log: slog.New(slog.NewJSONHandler(&logs, nil)),
	})
	require.Empty(t, logs.String(), "nothing to warn of")
	if err != nil {
		return nil, err
	}
	route, err := s.Route("prod")
	require.NoError(t, err)
	return route.Notifier, nil
}

func TestNobodyIsToldWithoutTargets(t *testing.T) {
	n, err := wireWith(t, "", nil, nil)
	require.NoError(t, err)
	require.Nil(t, n)
}

func TestTopicsOfThisCloud(t *testing.T) {
	var told []string
	topics := notify.Clouds{"sns": func(topic string) notify.Send {
		return func(_ context.Context, n *state.Notice) error { told = append(told, topic+" "+n.Kind); return nil }
	}}
	n, err := wireWith(t, "'sns:arn:aws:sns:eu-west-1:123456789012:dags', {to: 'sns:arn:aws:sns:eu-west-1:123456789012:all', events: [deployed]}", nil, topics)
	require.NoError(t, err)
	require.Len(t, n.Targets(state.NoticeHeld), 1)
	require.Regexp(t, "^sns:dags-[0-9a-f]{8}$", n.Targets(state.NoticeHeld)[0])
	require.Regexp(t, "^sns:all-[0-9a-f]{8}$", n.Targets(state.NoticeDeployed)[0])
	require.NoError(t, n.Send(t.Context(), n.Targets(state.NoticeHeld)[0], &state.Notice{Kind: "held"}))
	require.Equal(t, []string{"arn:aws:sns:eu-west-1:123456789012:dags held"}, told)

	_, err = wireWith(t, "pubsub:projects/acme/topics/dags", nil, topics)
	require.ErrorContains(t, err, "this program cannot publish to pubsub: topics, only to sns:, webhook:, slack:; a function has its own cloud's clients alone, "+
		"so name a topic of that cloud, or a webhook")
	require.ErrorContains(t, err, "route prod: notify: pubsub:dags-")
	require.True(t, deployer.Permanent(err))
}

func TestWebhooksWithSecrets(t *testing.T) {
	var got []*http.Request
	var bodies []string
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		content, _ := io.ReadAll(r.Body)
		got, bodies = append(got, r), append(bodies, string(content))
	}))
	t.Cleanup(server.Close)
	env := map[string]string{"HOOK": server.URL + "/SECRET", "KEY": "KEYSECRET"}
	n, err := wireWith(t, "{to: 'webhook:env:HOOK', secret: 'env:KEY'}, 'webhook:"+server.URL+"/open', slack:env:SLACK", env, nil)
	require.NoError(t, err)
	targets := n.Targets(state.NoticeKept)
	require.Len(t, targets, 3)
	require.NotContains(t, strings.Join(targets, " "), "SECRET")
	require.NotContains(t, strings.Join(targets, " "), "127.0.0.1")

	notice := &state.Notice{ID: "i", Kind: state.NoticeKept, Route: "prod"}
	for _, target := range targets[:2] {
		require.NoError(t, n.Send(t.Context(), target, notice))
	}
	require.Equal(t, "/SECRET", got[0].URL.Path)
	require.Regexp(t, "^v1,", got[0].Header.Get("Webhook-Signature"))
	require.Equal(t, "/open", got[1].URL.Path)
	require.Empty(t, got[1].Header.Get("Webhook-Signature"))
	require.Equal(t, "dagbucket/v1", got[1].Header.Get("User-Agent"))
	require.True(t, json.Valid([]byte(bodies[0])))

	err = n.Send(t.Context(), targets[2], notice)
	require.EqualError(t, err, "notify "+targets[2]+": its address: secret env:SLACK: the environment variable is not set or empty: set it")
	for _, c := range []struct{ target, want string }{
		{"slack:aws-sm:hook", "notify: slack:aws-sm:hook-"},
		{"{to: webhook:env:HOOK, secret: 'gcp-sm:projects/p/secrets/s/versions/1'}", "secret: a secret's reference has the scheme gcp-sm:, which is not known here"},
	} {
		_, err := wireWith(t, c.target, env, nil)
		require.ErrorContains(t, err, c.want)
		require.ErrorContains(t, err, "which is not known here")
		require.True(t, deployer.Permanent(err))
	}
}
