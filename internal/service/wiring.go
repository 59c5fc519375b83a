package service

import (
	"context"
	"fmt"

	"github.com/dagbucket/dagbucket/internal/astro"
	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/config"
	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/secret"
	"github.com/dagbucket/dagbucket/internal/state"
)

// wiring makes routes. What it holds they share, so that many of them need no more connections, and no more reads of secrets, than one.
type wiring struct {
	deps    Deps
	config  *config.Config
	memory  *memory
	secrets *secret.Cache
	buckets map[place]bucket.Bucket
}

func newWiring(cfg *config.Config, deps Deps) *wiring {
	if deps.Transport == nil {
		deps.Transport = astro.NewTransport()
	}
	return &wiring{deps: deps, config: cfg, memory: newMemory(cfg.Memory, deps.Syntax != nil), secrets: secret.NewCache(deps.Secrets),
		buckets: map[place]bucket.Bucket{}}
}

func (w *wiring) wire(ctx context.Context, r config.Route) (*deployer.Route, error) {
	if err := w.deps.Secrets.Check(r.Token); err != nil {
		return nil, fmt.Errorf("token: %w", err)
	}
	client, err := astro.New(astro.Options{
		BaseURL: w.config.AstroURL, Organization: r.Organization, Deployment: r.Deployment,
		Token: w.secrets.Kept(r.Token), Version: w.deps.Version, Transport: w.deps.Transport,
	})
	if err != nil {
		return nil, err
	}
	states, err := w.open(ctx, w.config.State)
	if err != nil {
		return nil, fmt.Errorf("state %s: %w", w.config.State, err)
	}
	route := &deployer.Route{
		Name: r.Name, Deployment: r.Deployment, BaseDir: r.BaseDir,
		Store: state.NewStore(states, w.config.State.Prefix, r.Name), Astro: Astro(client),
		QuietPeriod: r.QuietPeriod, MaxWait: r.MaxWait,
		AllowEmpty: r.Guard.AllowEmpty, MaxRemovedPercent: r.Guard.MaxRemovedPercent, MaxRemovedFiles: r.Guard.MaxRemovedFiles,
		ReplaceExisting: r.ReplaceExisting, OnDrift: r.OnDrift,
		MaxFiles: r.Limits.MaxFiles, MaxBytes: r.Limits.MaxBytes, KeepBundles: r.KeepBundles,
		Clock: deployer.SystemClock{}, NewRun: NewRun, Log: w.deps.Log, Progress: w.deps.Progress, Memory: w.memory,
	}
	if w.deps.Syntax != nil {
		route.Syntax = w.deps.Syntax
	}
	if r.ImportErrors {
		route.Airflow = airflowAdapter{client}
	}
	if route.Pages, err = w.pages(ctx, route.Store, r); err != nil {
		return nil, fmt.Errorf("status %s: %w", r.Status, err)
	}
	if w.deps.Follow && len(w.config.Routes) == 1 { // or runs that wait for Astro could be in the way of another route's
		route.Follow = w.config.Follow
	}
	if route.Notifier, err = w.notifier(r); err != nil {
		return nil, fmt.Errorf("notify: %w", err)
	}
	for _, src := range r.Sources {
		b, err := w.open(ctx, src.URL)
		if err != nil {
			return nil, fmt.Errorf("source %s: %w", src.URL, err)
		}
		route.Sources = append(route.Sources, deployer.Source{URL: src.URL.String(), Bucket: b, Prefix: src.URL.Prefix, Mount: src.Mount, Syntax: src.Syntax})
	}
	return route, nil
}

// open returns the bucket of a URL, whatever its prefix.
func (w *wiring) open(ctx context.Context, u bucket.URL) (bucket.Bucket, error) {
	at := place{u.Scheme, u.Bucket}
	if b, known := w.buckets[at]; known {
		return b, nil
	}
	b, err := w.deps.Buckets.Open(ctx, u)
	if err == nil {
		w.buckets[at] = b
	}
	return b, err
}
