package promotion

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/selection"
	"github.com/dagbucket/dagbucket/internal/state"
)

// plan is what is left to do.
type plan struct {
	chosen map[string]bool
	steps  []*step      // in order of path
	lines  []state.File // of what is there as it should be
	news   bool         // the memory of promotions lacks some of it, or has too much
}

func (p *plan) nothingToDo() bool { return len(p.steps) == 0 }

// step is one file to copy or to remove.
type step struct {
	rel  string
	to   place
	line *state.File    // as it is live on the from-route; nil: remove
	have *bucket.Object // what it replaces or removes; nil: nothing is there
}

// fate is what becomes of one path.
type fate struct {
	step    *step
	line    *state.File // it is there as it should be
	refused string      // why it must not be changed
	news    bool
	gone    bool // nothing is there, as it should be
	copied  bool // an interrupted promotion did
	removed bool // likewise
}

// look lists the target and decides what is left to do there.
func (x *run) look(ctx context.Context) error {
	if err := x.list(ctx); err != nil {
		return err
	}
	chosen := x.choose()
	x.refuseKept(chosen)
	if x.refused() {
		return nil
	}
	x.plan = plan{chosen: chosen}
	paths := sorted(chosen)
	fates := make([]fate, len(paths))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for i, rel := range paths {
		g.Go(func() (err error) { fates[i], err = x.decide(ctx, rel); return err })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, rel := range paths {
		x.settle(rel, &fates[i])
	}
	return nil
}

// settle adds the fate of a path to the plan.
func (x *run) settle(rel string, f *fate) {
	p := &x.plan
	p.news = p.news || f.news
	switch {
	case f.refused != "":
		x.refuse(archivePath(x.To, rel), "%s", f.refused)
	case f.step != nil:
		p.steps = append(p.steps, f.step)
	case f.line != nil:
		p.lines = append(p.lines, *f.line)
	}
	// An answer may have been lost, or a promotion interrupted, after it took effect.
	if f.line != nil && (f.copied || x.intended[rel]) {
		x.copied[rel] = true
	}
	if f.gone && (f.removed || x.intended[rel]) {
		x.removed[rel] = true
	}
}

// decide compares one path. What is there counts as changed by others unless a promotion put it there, or it is what is promoted anyway.
func (x *run) decide(ctx context.Context, rel string) (fate, error) {
	if line := x.live.files[rel]; line != nil {
		return x.decideCopy(ctx, rel, line)
	}
	return x.decideRemoval(ctx, rel)
}

func (x *run) decideCopy(ctx context.Context, rel string, line *state.File) (fate, error) {
	at, why := x.placeOf(rel)
	if why != "" {
		return fate{refused: why}, nil
	}
	m := x.remembered(rel, at)
	s := &step{rel: rel, to: at, line: line, have: x.objectAt(at)}
	if s.have == nil {
		// One that an interrupted promotion removed may be live again.
		if m.has(left, "") && !m.has(removing, "") && !x.Force {
			return fate{refused: "it was removed there since it was promoted"}, nil
		}
		return fate{step: s}, nil
	}
	sum, err := x.sumOf(ctx, at, s.have, sizesOf(m, line))
	switch {
	case err != nil:
		return fate{}, err
	case sum == line.SHA256:
		there := state.File{Path: archivePath(x.To, rel), Source: x.To.Sources[at.source].URL, Key: at.key, Version: s.have.Version,
			Size: line.Size, Modified: s.have.Modified, SHA256: sum, State: left}
		return fate{line: &there, news: !m.isJust(&there), copied: m.has(copying, sum) && !m.has(left, sum)}, nil
	case m.owns(sum) || x.Force:
		return fate{step: s}, nil
	case m.has(left, ""):
		return fate{refused: "it was changed there since it was promoted"}, nil
	}
	return fate{refused: "it is there with another content, and never was promoted"}, nil
}

func (x *run) decideRemoval(ctx context.Context, rel string) (fate, error) {
	m := x.target.memory[rel]
	at, ok := x.placed(m[len(m)-1])
	if !ok {
		return fate{news: true}, nil
	}
	have := x.objectAt(at)
	if have == nil {
		return fate{news: true, gone: true, removed: m.has(removing, "")}, nil
	}
	sum, err := x.sumOf(ctx, at, have, sizesOf(m, nil))
	switch {
	case err != nil:
		return fate{}, err
	case m.owns(sum) || x.Force:
		return fate{step: &step{rel: rel, to: at, have: have}}, nil
	}
	return fate{refused: fmt.Sprintf("it is gone on %s, and was changed there since it was promoted", x.From.Name)}, nil
}

// remembered is the memory of a path, as far as it is about this place: the route's sources may have been others.
func (x *run) remembered(rel string, at place) memory {
	var m memory
	for _, f := range x.target.memory[rel] {
		if was, ok := x.placed(f); ok && was == at {
			m = append(m, f)
		}
	}
	return m
}

// isJust reports whether a line is all that is remembered.
func (m memory) isJust(line *state.File) bool {
	return len(m) == 1 && m[0].State == left && m[0].Source == line.Source && m[0].Key == line.Key && m[0].Version == line.Version && m[0].SHA256 == line.SHA256
}

// sizesOf are the sizes that contents of interest have.
func sizesOf(m memory, line *state.File) []int64 {
	var sizes []int64
	for _, f := range m {
		sizes = append(sizes, f.Size)
	}
	if line != nil {
		sizes = append(sizes, line.Size)
	}
	return sizes
}

// warnOfIgnored tells of files that the target leaves out, whatever is in its sources.
func (x *run) warnOfIgnored(ctx context.Context) error {
	bySource := make([][]bucket.Object, len(x.To.Sources))
	paths := map[place]string{}
	add := func(at place, path string, size int64) {
		bySource[at.source] = append(bySource[at.source], bucket.Object{Key: at.key, Size: size})
		paths[at] = path
	}
	for _, s := range x.plan.steps {
		if s.line != nil {
			add(s.to, archivePath(x.To, s.rel), s.line.Size)
		}
	}
	for i := range x.plan.lines {
		if at, ok := x.placed(x.plan.lines[i]); ok {
			add(at, x.plan.lines[i].Path, x.plan.lines[i].Size)
		}
	}
	for i, s := range x.To.Sources {
		ignore, err := x.readIgnore(ctx, i)
		if err != nil {
			return err
		}
		_, leftOut := selection.Select(selection.Source{Prefix: s.Prefix, Mount: s.Mount, Ignore: ignore}, bySource[i])
		for _, l := range leftOut {
			x.result.Warnings = append(x.result.Warnings, Note{paths[place{i, l.Key}], fmt.Sprintf("%s leaves it out (%s: %s)", x.To.Name, l.Reason, l.Message)})
		}
	}
	return nil
}

// readIgnore reads the ignore file of a source of the target; nil if there is none that can be read. It is no part of what is promoted.
func (x *run) readIgnore(ctx context.Context, source int) (*selection.Ignore, error) {
	at := place{source, x.To.Sources[source].Prefix + selection.IgnoreFile}
	if x.objectAt(at) == nil {
		return nil, nil
	}
	content, _, err := bucket.Read(ctx, x.Buckets[source], at.key, "", selection.MaxIgnoreFile)
	if err == nil {
		var rules *selection.Ignore
		if rules, err = selection.ParseIgnore(content); err == nil {
			return rules, nil
		}
	}
	if ctx.Err() != nil {
		return nil, err
	}
	x.result.Warnings = append(x.result.Warnings, Note{"", fmt.Sprintf("%s%s: %v", x.To.Sources[source].URL, selection.IgnoreFile, err)})
	return nil, nil
}
