// Package service wires a configuration into routes and runs the ones that events ask for. It knows no cloud: the
// entry points give it the means to open buckets and to read secrets.
package service

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/dagbucket/dagbucket/internal/astro"
	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/config"
	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/event"
	"github.com/dagbucket/dagbucket/internal/notify"
	"github.com/dagbucket/dagbucket/internal/pysyntax"
	"github.com/dagbucket/dagbucket/internal/secret"
	"github.com/dagbucket/dagbucket/internal/state"
)

// routesAtOnce bounds the runs side by side, of an invocation or of a process that shares them: each may need the memory of one run.
const routesAtOnce = 2

// Deps is what a Service needs of its surroundings.
type Deps struct {
	Buckets bucket.Openers
	Secrets secret.Resolver
	Topics  notify.Clouds // that people are told through
	Version string        // of dagbucket
	Log     *slog.Logger
	Syntax  *pysyntax.Checker // of Python files; nil: none is checked
	// SummaryAttrs, if set, adds attributes to the one line that is logged for each run.
	SummaryAttrs func(deployer.Result) []slog.Attr
	Progress     func(deployer.Progress) // optional
	// Follow has a run that deployed wait for Astro to run it, if there is one route; else a later run finds out.
	Follow bool
	// Share lets concurrent calls of Handle share runs, one at a time for each route: for a process that serves many requests at once.
	Share bool
}

// Service runs the routes of one configuration. It may be used concurrently.
type Service struct {
	deps   Deps
	routes []*deployer.Route
	lanes  []*deployer.Lane // of the routes; nil if runs are not shared
	config *config.Config
}

// New wires every route of cfg. It opens buckets, but asks nothing of them.
func New(ctx context.Context, cfg *config.Config, deps Deps) (*Service, error) {
	s := &Service{deps: deps, config: cfg}
	slots := make(chan struct{}, routesAtOnce)
	for _, r := range cfg.Routes {
		route, err := s.wire(ctx, r)
		if err != nil {
			return nil, fmt.Errorf("route %s: %w", r.Name, err)
		}
		s.routes = append(s.routes, route)
		if deps.Share {
			lane := deployer.NewLane(route.Clock, slots, func(ctx context.Context, events []time.Time) deployer.Result {
				return s.Sync(ctx, route, events)
			})
			route.Wanted = lane.Wanted
			s.lanes = append(s.lanes, lane)
		}
	}
	return s, nil
}

func (s *Service) wire(ctx context.Context, r config.Route) (*deployer.Route, error) {
	if err := s.deps.Secrets.Check(r.Token); err != nil {
		return nil, fmt.Errorf("token: %w", err)
	}
	client, err := astro.New(astro.Options{
		BaseURL: s.config.AstroURL, Organization: r.Organization, Deployment: r.Deployment,
		Token: secret.Cached(s.deps.Secrets, r.Token), Version: s.deps.Version,
	})
	if err != nil {
		return nil, err
	}
	states, err := s.deps.Buckets.Open(ctx, s.config.State)
	if err != nil {
		return nil, fmt.Errorf("state %s: %w", s.config.State, err)
	}
	route := &deployer.Route{
		Name: r.Name, Deployment: r.Deployment, BaseDir: r.BaseDir,
		Store: state.NewStore(states, s.config.State.Prefix, r.Name), Astro: Astro(client),
		QuietPeriod: r.QuietPeriod, MaxWait: r.MaxWait,
		AllowEmpty: r.Guard.AllowEmpty, MaxRemovedPercent: r.Guard.MaxRemovedPercent, MaxRemovedFiles: r.Guard.MaxRemovedFiles,
		ReplaceExisting: r.ReplaceExisting, OnDrift: r.OnDrift,
		MaxFiles: r.Limits.MaxFiles, MaxBytes: r.Limits.MaxBytes, KeepBundles: r.KeepBundles,
		Clock: deployer.SystemClock{}, NewRun: NewRun, Log: s.deps.Log, Progress: s.deps.Progress,
	}
	if s.deps.Syntax != nil {
		route.Syntax = s.deps.Syntax
	}
	if r.ImportErrors {
		route.Airflow = airflowAdapter{client}
	}
	if route.Pages, err = s.pages(ctx, route.Store, r); err != nil {
		return nil, fmt.Errorf("status %s: %w", r.Status, err)
	}
	if s.deps.Follow && len(s.config.Routes) == 1 { // or runs that wait for Astro could be in the way of another route's
		route.Follow = s.config.Follow
	}
	if route.Notifier, err = s.notifier(r); err != nil {
		return nil, fmt.Errorf("notify: %w", err)
	}
	for _, src := range r.Sources {
		b, err := s.deps.Buckets.Open(ctx, src.URL)
		if err != nil {
			return nil, fmt.Errorf("source %s: %w", src.URL, err)
		}
		route.Sources = append(route.Sources, deployer.Source{URL: src.URL.String(), Bucket: b, Prefix: src.URL.Prefix, Mount: src.Mount, Syntax: src.Syntax})
	}
	return route, nil
}

// NewRun names a run by time and chance, such as "20261123T041106Z-9f86d081".
func NewRun() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return time.Now().UTC().Format("20060102T150405Z") + "-" + hex.EncodeToString(b[:])
}

// Route returns the route called name; "" is the only one there is.
func (s *Service) Route(name string) (*deployer.Route, error) {
	if name == "" && len(s.routes) == 1 {
		return s.routes[0], nil
	}
	if name == "" {
		return nil, fmt.Errorf("there are %d routes (%s): choose one with --route", len(s.routes), strings.Join(s.names(), ", "))
	}
	for _, r := range s.routes {
		if r.Name == name {
			return r, nil
		}
	}
	return nil, fmt.Errorf("no route is called %q: there is %s", name, strings.Join(s.names(), ", "))
}

func (s *Service) names() []string {
	var names []string
	for _, r := range s.routes {
		names = append(names, r.Name)
	}
	return names
}

// Sync runs one route and logs its summary line.
func (s *Service) Sync(ctx context.Context, r *deployer.Route, events []time.Time) deployer.Result {
	start := time.Now()
	result := r.Sync(ctx, events)
	s.logSummary(result, time.Since(start))
	return result
}

// Rollback goes back to what an earlier run of a route deployed, as deployer.Route.Rollback does, and logs its summary line.
func (s *Service) Rollback(ctx context.Context, r *deployer.Route, to string, paths []string, dry bool) deployer.Result {
	start := time.Now()
	result := r.Rollback(ctx, to, paths, dry)
	if !dry {
		s.logSummary(result, time.Since(start))
	}
	return result
}

func (s *Service) logSummary(r deployer.Result, took time.Duration) {
	attrs := Summary(r, took)
	if s.deps.SummaryAttrs != nil {
		attrs = append(attrs, s.deps.SummaryAttrs(r)...)
	}
	level := slog.LevelInfo
	switch r.Outcome {
	case deployer.Failed:
		level = slog.LevelError
	case deployer.Held:
		level = slog.LevelWarn
	}
	s.deps.Log.LogAttrs(context.Background(), level, SummaryMessage, attrs...)
}

// SummaryMessage marks the one line that is logged for each run.
const SummaryMessage = "run"

// Summary is what that line says. Its seconds leave out the wait for Astro after a deploy, which is no work, and has a field of its own.
func Summary(r deployer.Result, took time.Duration) []slog.Attr {
	line := []slog.Attr{
		slog.String("route", r.Route), slog.String("outcome", string(r.Outcome)), slog.String("reason", r.Reason),
		slog.String("deployId", r.DeployID), slog.String("digest", r.Digest), slog.Int("files", r.Files), slog.Int64("bytes", r.Bytes),
		slog.Int("added", len(r.Added)), slog.Int("modified", len(r.Modified)), slog.Int("removed", len(r.Removed)),
		slog.Int("kept", len(r.Kept)), slog.Int("leftOut", len(r.LeftOut)), slog.Int("warnings", len(r.Warnings)),
		slog.Float64("notLiveAge", r.NotLiveAge), slog.Float64("seconds", max(took.Seconds()-r.Seconds[deployer.StepFollow], 0)),
	}
	return append(append(line, stepFields(r)...), requestFields(r)...)
}

// Report is what became of a batch.
type Report struct {
	Results []deployer.Result // one for each route that was run, in order of the configuration
	Failed  []int             // indexes of the messages that must come again, ascending
}

// due is what a batch asks of one route.
type due struct {
	times    []time.Time
	messages []int
}

// Handle runs every route that the batch's events ask for, each once. A message fails if it cannot be decoded, or if a route that it
// asks for failed in a way that may pass.
func (s *Service) Handle(ctx context.Context, batch event.Batch) Report {
	failed := make([]bool, len(batch.Messages))
	dues := make([]due, len(s.routes))
	for i, m := range batch.Messages {
		if m.Err != nil {
			s.deps.Log.Error("cannot decode a message; it fails until it reaches the dead-letter queue", "messageId", m.ID, "error", m.Err)
			failed[i] = true
			continue
		}
		for _, e := range m.Events {
			s.assign(dues, i, e)
		}
	}
	results := s.runAll(ctx, dues)
	var report Report
	for i, d := range dues {
		if len(d.messages) == 0 {
			continue
		}
		report.Results = append(report.Results, results[i])
		for _, m := range d.messages {
			failed[m] = failed[m] || results[i].Retryable
		}
	}
	for i, f := range failed {
		if f {
			report.Failed = append(report.Failed, i)
		}
	}
	return report
}

// runAll runs the routes that are due, or waits for the runs that others share with them.
func (s *Service) runAll(ctx context.Context, dues []due) []deployer.Result {
	results := make([]deployer.Result, len(s.routes))
	var g errgroup.Group
	if s.lanes == nil {
		g.SetLimit(routesAtOnce)
	}
	for i, r := range s.routes {
		switch {
		case len(dues[i].messages) == 0:
		case s.lanes != nil:
			g.Go(func() error { results[i] = s.share(ctx, i, dues[i].times); return nil })
		default:
			g.Go(func() error { results[i] = s.Sync(ctx, r, dues[i].times); return nil })
		}
	}
	_ = g.Wait() // no run returns an error
	return results
}

// share waits for a run of a route that covers the events.
func (s *Service) share(ctx context.Context, route int, events []time.Time) deployer.Result {
	result, err := s.lanes[route].Run(ctx, workEnd(ctx), events)
	if err != nil {
		return deployer.Result{Route: s.routes[route].Name, Outcome: deployer.Failed, Retryable: true, Err: err,
			Reason: "the request's time was over before a run had seen what it tells of"}
	}
	return result
}

// assign notes an event with every route that it concerns.
func (s *Service) assign(dues []due, message int, e event.Event) {
	if e.Kind == event.Test {
		s.deps.Log.Info("the storage's test event arrived: notifications work", "bucket", e.Bucket)
		return
	}
	concerned := false
	for i, r := range s.config.Routes {
		if !concerns(e, r) {
			continue
		}
		concerned = true
		dues[i].times = append(dues[i].times, timeOf(e))
		if d := &dues[i]; len(d.messages) == 0 || d.messages[len(d.messages)-1] != message {
			d.messages = append(d.messages, message)
		}
	}
	if !concerned {
		s.deps.Log.Warn("an event is for no route, and is acknowledged", "kind", e.Kind, "bucket", e.Bucket, "key", e.Key, "route", e.Route)
	}
}

// timeOf is when what e tells of happened. The schedule and people want a look now: no earlier listing may stand in for it.
func timeOf(e event.Event) time.Time {
	if e.Kind == event.Schedule || e.Kind == event.Manual {
		return time.Time{}
	}
	return e.Time
}

// concerns reports whether e is a reason to run r.
func concerns(e event.Event, r config.Route) bool {
	switch e.Kind {
	case event.Schedule:
		return true
	case event.Manual:
		return e.Route == "" || e.Route == r.Name
	}
	for _, src := range r.Sources {
		if src.URL.Scheme == e.Scheme && src.URL.Bucket == e.Bucket && strings.HasPrefix(e.Key, src.URL.Prefix) {
			return true
		}
	}
	return false
}
