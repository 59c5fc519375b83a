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

	"github.com/dagbucket/dagbucket/internal/astro"
	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/config"
	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/notify"
	"github.com/dagbucket/dagbucket/internal/pysyntax"
	"github.com/dagbucket/dagbucket/internal/secret"
)

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
	Transport    astro.Transport         // to Astro, of all routes; nil: one made for them
	// Follow has a run that deployed wait for Astro to run it, if there is one route; else a later run finds out.
	Follow bool
	// Share lets concurrent calls of Handle share runs, one at a time for each route: for a process that serves many requests at once.
	Share bool
}

// Service runs the routes of one configuration. It may be used concurrently.
type Service struct {
	deps   Deps
	config *config.Config
	routes []*deployer.Route
	lanes  []*deployer.Lane // of the routes; nil if runs are not shared
	index  *index           // of the routes
	memory *memory          // of their runs
}

// New wires every route of cfg. It opens buckets, but asks nothing of them.
func New(ctx context.Context, cfg *config.Config, deps Deps) (*Service, error) {
	s := &Service{deps: deps, config: cfg, index: newIndex(cfg.Routes)}
	limitGo(cfg.Memory, deps.Syntax != nil)
	w := newWiring(cfg, deps)
	s.memory = w.memory
	slots := make(chan struct{}, runsAtOnce)
	for _, r := range cfg.Routes {
		route, err := w.wire(ctx, r)
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
	if i, known := s.index.named[name]; known {
		return s.routes[i], nil
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
	s.memory.tidy()
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
