package service

import (
	"context"
	"errors"
	"io"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/config"
	"github.com/dagbucket/dagbucket/internal/state"
	"github.com/dagbucket/dagbucket/internal/statuspage"
)

// pages writes a route's status pages into the state and, if that is configured, where authors can open them.
type pages struct {
	store  *state.Store
	copy   bucket.Bucket // nil: no copy
	prefix string        // of the copy
}

func (w *wiring) pages(ctx context.Context, store *state.Store, r config.Route) (*pages, error) {
	p := &pages{store: store}
	if r.Status == nil {
		return p, nil
	}
	b, err := w.open(ctx, *r.Status)
	p.copy, p.prefix = b, r.Status.Prefix
	return p, err
}

// Write writes all pages, also after one could not be written.
func (p *pages) Write(ctx context.Context, s *state.Status) error {
	render := func(w io.Writer) error { return statuspage.Render(w, s) }
	err := p.store.PutStatus(ctx, s, render)
	if p.copy != nil {
		err = errors.Join(err, state.WriteStatus(ctx, p.copy, p.prefix, s, render))
	}
	return err
}
