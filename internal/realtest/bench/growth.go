package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/dagbucket/dagbucket/internal/deployer"
)

// grown are the numbers of files and of changes.
var grown = []int{10, 100, 1000, 10_000, 100_000}

func scenarioOf(files int) scenario {
	for _, s := range scenarios {
		if s.files == files && s.size == small.size {
			return s
		}
	}
	return scenario{thousands(int64(files)) + " × 2 KB", files, small.size}
}

// growth measures how the cost of one changed file grows with the files, and how the cost of a sync grows with the changed files. What
// was measured already is not measured again.
func (b *bench) growth(ctx context.Context, rounds int) error {
	var byFiles []*samples
	for _, files := range grown {
		all, err := b.need(ctx, point{scenarioOf(files), loopback}, rounds)
		if err != nil {
			return err
		}
		byFiles = append(byFiles, all[changedSync])
	}
	changes := []int{1, 10, 100, 1000, 10_000}
	byChanges, err := b.changes(ctx, changes, rounds)
	if err != nil {
		return fmt.Errorf("changed files: %w", err)
	}
	b.report.addFits("one changed file", "files", grown, byFiles)
	b.report.addFits("changed files of 10,000", "changes", changes, byChanges)
	return nil
}

// changes measures syncs with more and more changed files.
func (b *bench) changes(ctx context.Context, counts []int, rounds int) ([]*samples, error) {
	const source, state = "src-changes", "state-changes"
	if err := b.fill(ctx, source, medium); err != nil {
		return nil, err
	}
	if err := b.createBucket(ctx, state); err != nil {
		return nil, err
	}
	env := b.env(source, state, b.endpoint())
	if err := b.deployFirst(ctx, env); err != nil {
		return nil, err
	}
	all := make([]*samples, len(counts))
	measuredSeries := series{}
	for range rounds {
		for _, count := range counts {
			if err := b.write(ctx, source, count, medium.size); err != nil {
				return nil, err
			}
			m, err := b.incremental(ctx, env, source, medium, count)
			if err != nil {
				return nil, err
			}
			measuredSeries.add(fmt.Sprint(count), m)
		}
	}
	for i, count := range counts {
		v := measuredSeries[fmt.Sprint(count)]
		all[i] = v
		b.report.add(row{Cloud: b.name, Source: medium.name, Network: loopback, Measured: thousands(int64(count)) + " changed", Files: medium.files,
			Changed: count, Rounds: rounds, Seconds: median(v.seconds), All: v.seconds, PeakRSS: v.rss, Requests: v.requests})
	}
	if err := b.removeBucket(ctx, state); err != nil {
		return nil, err
	}
	return all, b.removeBucket(ctx, source)
}

func (b *bench) deployFirst(ctx context.Context, env []string) error {
	f, err := b.start(ctx, env)
	if err != nil {
		return err
	}
	defer f.Stop()
	_, _, err = sync(ctx, f, deployer.Deployed)
	return err
}

// addFits fits each quantity that may grow.
func (r *report) addFits(what, over string, counts []int, measured []*samples) {
	fmt.Fprintf(r.out, "\ngrowth with the %s (%s)\n", over, what)
	quantities := []struct {
		unit string
		of   func(*samples) float64
	}{
		{"seconds", func(s *samples) float64 { return median(s.seconds) }},
		{"list calls", func(s *samples) float64 { return float64(s.requests["list"]) }},
		{"reads", func(s *samples) float64 { return float64(s.requests["get"]) }},
		{"reads of the source", func(s *samples) float64 { return float64(s.requests["sourceGet"]) }},
		{"writes", func(s *samples) float64 { return float64(s.requests["put"]) }},
		{"removals", func(s *samples) float64 { return float64(s.requests["delete"]) }},
		{"calls to Astro", func(s *samples) float64 { return float64(s.requests["astro"]) }},
		{"bytes of memory", func(s *samples) float64 { return float64(s.rss) }},
	}
	var x []float64
	for _, count := range counts {
		x = append(x, float64(count))
	}
	for _, q := range quantities {
		var y []float64
		for _, m := range measured {
			y = append(y, q.of(m))
		}
		if slices.Max(y) == 0 {
			continue // such requests are not made, or not counted
		}
		f := fit{Of: what, Over: over, Unit: q.unit, Points: len(x)}
		f.Intercept, f.Slope, f.R2 = leastSquares(x, y)
		r.fits = append(r.fits, f)
		fmt.Fprintf(r.out, "  %s  R² %.4f%s\n", pad(f.cells()[1], -60), f.R2, f.inWords())
	}
}

// inWords says the slope in the unit that people think in.
func (f fit) inWords() string {
	switch {
	case f.Over == "files" && f.Unit == "list calls":
		return fmt.Sprintf("  %.3g list calls per 1,000 objects", f.Slope*1000)
	case f.Over == "files" && f.Unit == "bytes of memory":
		return fmt.Sprintf("  %.0f bytes per file", f.Slope)
	case f.Over == "changes" && f.Unit != "seconds" && f.Unit != "bytes of memory":
		return fmt.Sprintf("  %.4g per change", f.Slope)
	}
	return ""
}
