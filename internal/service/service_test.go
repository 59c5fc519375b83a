package service_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/astro/astrotest"
	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/bucket/membucket"
	"github.com/dagbucket/dagbucket/internal/config"
	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/event"
	"github.com/dagbucket/dagbucket/internal/secret"
	"github.com/dagbucket/dagbucket/internal/service"
)

const yaml = `
state: s3://state/
routes:
  - name: prod
    sources: [{url: "s3://acme/dags/"}, {url: "s3://ml/", mount: ml}]
    deployment: prod
    quiet_period: 0s
  - name: dev
    sources: [{url: "s3://acme/dev/"}]
    deployment: dev
    quiet_period: 0s
`

type world struct {
	t       *testing.T
	astro   *astrotest.Server
	buckets map[string]*membucket.Bucket
	service *service.Service
	logs    bytes.Buffer
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, buckets: map[string]*membucket.Bucket{"acme": membucket.New("acme"), "ml": membucket.New("ml"), "state": membucket.New("state")}}
	w.astro = astrotest.New(astrotest.Options{Deployments: []astrotest.Deployment{{ID: "prod"}, {ID: "dev"}}})
	require.NoError(t, w.astro.Start())
	t.Cleanup(w.astro.Close)
	env := map[string]string{"DAGBUCKET_CONFIG": "s3://config/dagbucket.yaml", "ASTRO_API_URL": w.astro.URL(),
		"ASTRO_API_TOKEN": astrotest.Token(astrotest.OrganizationID, time.Now().Add(time.Hour))}
	getenv := func(name string) string { return env[name] }
	cfg, err := config.Load(t.Context(), getenv, func(context.Context, string) ([]byte, error) { return []byte(yaml), nil })
	require.NoError(t, err)
	w.service, err = service.New(t.Context(), cfg, service.Deps{
		Buckets: bucket.Openers{"s3": func(_ context.Context, u bucket.URL) (bucket.Bucket, error) { return w.buckets[u.Bucket], nil }},
		Secrets: secret.Local(getenv), Version: "test", Log: slog.New(slog.NewJSONHandler(&w.logs, nil)),
		SummaryAttrs: func(r deployer.Result) []slog.Attr { return []slog.Attr{slog.String("extra", string(r.Outcome))} },
	})
	require.NoError(t, err)
	for name, key := range map[string]string{"acme": "dags/a.py", "ml": "train.py"} {
		w.put(name, key)
	}
	w.put("acme", "dev/a.py")
	return w
}

func (w *world) put(name, key string) {
	w.t.Helper()
	_, err := w.buckets[name].Put(w.t.Context(), key, strings.NewReader(key), bucket.Always)
	require.NoError(w.t, err)
}

func created(bucket, key string) event.Event {
	return event.Event{Kind: event.Created, Scheme: "s3", Bucket: bucket, Key: key, Time: time.Now()}
}

func message(events ...event.Event) event.Message { return event.Message{ID: "m", Events: events} }

func TestEventsFindTheirRoutes(t *testing.T) {
	for name, c := range map[string]struct {
		event event.Event
		runs  []string
	}{
		"first source":    {created("acme", "dags/x.py"), []string{"prod"}},
		"second source":   {created("ml", "x/y.py"), []string{"prod"}},
		"other route":     {created("acme", "dev/x.py"), []string{"dev"}},
		"other prefix":    {created("acme", "dags_old/x.py"), nil},
		"other bucket":    {created("other", "dags/x.py"), nil},
		"other cloud":     {event.Event{Kind: event.Created, Scheme: "gs", Bucket: "acme", Key: "dags/x.py"}, nil},
		"removed":         {event.Event{Kind: event.Removed, Scheme: "s3", Bucket: "acme", Key: "dev/x.py"}, []string{"dev"}},
		"schedule":        {event.Event{Kind: event.Schedule}, []string{"prod", "dev"}},
		"manual, all":     {event.Event{Kind: event.Manual}, []string{"prod", "dev"}},
		"manual, one":     {event.Event{Kind: event.Manual, Route: "dev"}, []string{"dev"}},
		"manual, unknown": {event.Event{Kind: event.Manual, Route: "nope"}, nil},
		"storage's test":  {event.Event{Kind: event.Test, Scheme: "s3", Bucket: "acme"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			report := w.service.Handle(t.Context(), event.Batch{Messages: []event.Message{message(c.event)}})
			var runs []string
			for _, r := range report.Results {
				require.Equal(t, deployer.Deployed, r.Outcome, r.Reason)
				runs = append(runs, r.Route)
			}
			require.Equal(t, c.runs, runs)
			require.Empty(t, report.Failed)
			require.Equal(t, len(c.runs), strings.Count(w.logs.String(), `"msg":"run"`), "one summary line a run")
		})
	}
}

func TestABatchIsOneRunARoute(t *testing.T) {
	w := newWorld(t)
	var messages []event.Message
	for range 50 {
		messages = append(messages, message(created("acme", "dags/a.py"), created("ml", "train.py")))
	}
	report := w.service.Handle(t.Context(), event.Batch{Queue: true, Messages: messages})
	require.Len(t, report.Results, 1)
	require.Len(t, w.astro.Finalized("prod"), 1)
}

func TestOnlyWhatMayPassComesAgain(t *testing.T) {
	w := newWorld(t)
	w.buckets["ml"].Fault = func(membucket.Op, string, bool) error { return errors.New("the network is down") }
	batch := event.Batch{Queue: true, Messages: []event.Message{
		message(created("acme", "dev/a.py")),
		message(created("acme", "dags/a.py")),
		{ID: "bad", Err: errors.New("no JSON")},
		message(created("acme", "dev/a.py"), created("acme", "dags/a.py")),
		message(created("other", "x")),
	}}
	report := w.service.Handle(t.Context(), batch)
	require.Equal(t, []int{1, 2, 3}, report.Failed)
	require.Equal(t, deployer.Failed, report.Results[0].Outcome)
	require.Contains(t, report.Results[0].Reason, "mem://ml: list")
	require.Equal(t, deployer.Deployed, report.Results[1].Outcome)

	w.buckets["ml"].Fault = func(membucket.Op, string, bool) error { return bucket.ErrDenied }
	report = w.service.Handle(t.Context(), batch)
	require.Equal(t, []int{2}, report.Failed, "rights do not come back by themselves")
}

func TestSummaryLine(t *testing.T) {
	w := newWorld(t)
	route, err := w.service.Route("dev")
	require.NoError(t, err)
	w.service.Sync(t.Context(), route, nil)
	var line map[string]any
	require.NoError(t, json.Unmarshal(w.logs.Bytes(), &line))
	require.Equal(t, "deployed", line["outcome"])
	require.Equal(t, "deployed", line["extra"])
	require.Equal(t, 1.0, line["added"])
}

func TestRouteNames(t *testing.T) {
	w := newWorld(t)
	_, err := w.service.Route("")
	require.ErrorContains(t, err, "prod, dev")
	_, err = w.service.Route("nope")
	require.ErrorContains(t, err, "prod, dev")
}

func TestRunNames(t *testing.T) {
	require.Regexp(t, `^\d{8}T\d{6}Z-[0-9a-f]{8}$`, service.NewRun())
	require.NotEqual(t, service.NewRun(), service.NewRun())
}
