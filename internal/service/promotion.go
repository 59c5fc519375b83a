package service

import (
	"context"
	"fmt"

	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/promotion"
)

// PromoteOptions are what a person chooses of a promotion.
type PromoteOptions struct {
	Paths         []string // files and folders; none is all
	Force, DryRun bool
}

// Promote copies what is live on one route into the sources of another, which it opens for writing, and deploys nothing.
func (s *Service) Promote(ctx context.Context, from, to *deployer.Route, o PromoteOptions) (promotion.Result, error) {
	p := promotion.Promotion{From: from, To: to, Paths: o.Paths, Force: o.Force, DryRun: o.DryRun, Progress: s.deps.Progress}
	target, err := s.config.Route(to.Name)
	if err != nil {
		return promotion.Result{}, err
	}
	for _, src := range target.Sources {
		b, err := s.deps.Buckets.Open(ctx, src.URL)
		if err != nil {
			return promotion.Result{}, fmt.Errorf("source %s: %w", src.URL, err)
		}
		p.Buckets = append(p.Buckets, b)
	}
	return p.Run(ctx)
}
