package deployer

import (
	"context"
	"errors"
	"fmt"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/state"
)

// History is what a route did.
type History struct {
	Route string       `json:"route"`
	Runs  []HistoryRun `json:"runs"` // newest last
}

// HistoryRun is one past run.
type HistoryRun struct {
	state.Run
	Live     bool `json:"live"`     // it is what was deployed last
	Restored bool `json:"restored"` // a rollback brought its contents back, and they are what was deployed last
	Stored   bool `json:"stored"`   // its bundle is stored: a rollback can bring it back
}

// History reads the record, and what the state still holds.
func (r *Route) History(ctx context.Context) (History, error) {
	h := History{Route: r.Name, Runs: []HistoryRun{}}
	rec, _, err := r.Store.ReadRecord(ctx)
	if err != nil {
		return h, err
	}
	stored, err := r.Store.Bundles(ctx)
	if err != nil {
		return h, err
	}
	for _, run := range rec.Runs {
		h.Runs = append(h.Runs, HistoryRun{Run: run, Stored: run.Outcome == string(Deployed) && stored[run.Run] && !run.Elsewhere,
			Live: rec.Live != nil && rec.Live.Run == run.Run && run.Outcome == string(Deployed), Restored: rec.Live != nil && rec.Live.RolledBack == run.Run})
	}
	return h, nil
}

// Diff is what differs between the files that two runs deployed.
type Diff struct {
	Route    string     `json:"route"`
	From     string     `json:"from"` // run
	To       string     `json:"to"`
	Added    []DiffFile `json:"added"`
	Modified []DiffFile `json:"modified"`
	Removed  []DiffFile `json:"removed"`
}

// DiffFile is one file of a Diff: as it is in To or, if it was removed, as it was in From.
type DiffFile struct {
	Path   string `json:"path"`
	Size   int64  `json:"size"` // bytes
	SHA256 string `json:"sha256"`
	Was    int64  `json:"was"` // its size in From; 0 if it was added
}

// Diff compares what two runs deployed: by their names, the beginnings of them, or their deploys. to is what is live if it is "", and from is
// then the last run that deployed something else.
func (r *Route) Diff(ctx context.Context, from, to string) (Diff, error) {
	d := Diff{Route: r.Name, Added: []DiffFile{}, Modified: []DiffFile{}, Removed: []DiffFile{}}
	x := r.dryRun()
	rec, _, err := r.Store.ReadRecord(ctx)
	if err != nil {
		return d, err
	}
	if x.record = rec; rec.Live == nil {
		return d, &RollbackError{"nothing was deployed from here yet, so there is nothing to compare"}
	}
	past, err := x.restorable(ctx)
	if err != nil {
		return d, err
	}
	earlier := past.before(rec.Live)
	past = append(restorable{{Run: rec.Live.Run, DeployID: rec.Live.DeployID, Files: rec.Live.Files}}, past...)
	if d.From, err = past.one(from, earlier); err != nil {
		return d, err
	}
	if d.To, err = past.one(to, past[:1]); err != nil {
		return d, err
	}
	before, err := x.shippedBy(ctx, d.From)
	if err != nil {
		return d, err
	}
	after, err := x.shippedBy(ctx, d.To)
	if err != nil {
		return d, err
	}
	d.compare(before, after)
	return d, nil
}

// one is the run that name means, or the first of others if that is "".
func (p restorable) one(name string, others restorable) (string, error) {
	found := others
	if name != "" {
		found = p.named(name)
	}
	switch len(found) {
	case 0:
		if name == "" {
			return "", &RollbackError{"there is no earlier run to compare with: " + p.String()}
		}
		return "", &RollbackError{fmt.Sprintf("the state holds nothing of a run or deploy %q: %s", name, p)}
	case 1:
		return found[0].Run, nil
	}
	return "", &RollbackError{fmt.Sprintf("%q is the beginning of several runs (%s, %s): write more of it", name, found[0].Run, found[1].Run)}
}

func (x *run) shippedBy(ctx context.Context, run string) (map[string]state.File, error) {
	if run == x.record.Live.Run {
		run = x.record.Live.Manifest
	}
	lines, err := x.Store.ReadManifest(ctx, run)
	if errors.Is(err, bucket.ErrNotExist) {
		return nil, &RollbackError{"the manifest of run " + run + " is gone from the state"}
	}
	return shipped(lines), err
}

func (d *Diff) compare(before, after map[string]state.File) {
	for _, p := range sortedKeys(after) {
		f := after[p]
		was, is := before[p]
		file := DiffFile{Path: p, Size: f.Size, SHA256: f.SHA256, Was: was.Size}
		switch {
		case !is:
			d.Added = append(d.Added, file)
		case was.SHA256 != f.SHA256:
			d.Modified = append(d.Modified, file)
		}
	}
	for _, p := range sortedKeys(before) {
		if _, is := after[p]; !is {
			d.Removed = append(d.Removed, DiffFile{Path: p, Size: before[p].Size, SHA256: before[p].SHA256, Was: before[p].Size})
		}
	}
}
