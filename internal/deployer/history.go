package deployer

import (
	"cmp"
	"context"
	"errors"

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
		return d, pastError("nothing was deployed from here yet, so there is nothing to compare")
	}
	past, err := x.restorable(ctx)
	if err != nil {
		return d, err
	}
	earlier := past.before(rec.Live)
	past = append(restorable{{Run: rec.Live.Run, DeployID: rec.Live.DeployID, Files: rec.Live.Files}}, past...)
	first, err := past.choose(from, earlier)
	if err != nil {
		return d, err
	}
	second, err := past.choose(to, past[:1])
	if err != nil {
		return d, err
	}
	d.From, d.To = first.Run, second.Run
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

func (x *run) shippedBy(ctx context.Context, run string) (map[string]*state.File, error) {
	if run == x.record.Live.Run {
		run = x.record.Live.Manifest
	}
	lines, err := x.Store.ReadManifest(ctx, run)
	if errors.Is(err, bucket.ErrNotExist) {
		return nil, pastError("the manifest of run %s is gone from the state", run)
	}
	return shipped(lines), err
}

func (d *Diff) compare(before, after map[string]*state.File) {
	added, modified, removed := changedPaths(before, after)
	for _, list := range []struct {
		into  *[]DiffFile
		paths []string
	}{{&d.Added, added}, {&d.Modified, modified}, {&d.Removed, removed}} {
		for _, p := range list.paths {
			f := cmp.Or(after[p], before[p])
			line := DiffFile{Path: p, Size: f.Size, SHA256: f.SHA256}
			if was := before[p]; was != nil {
				line.Was = was.Size
			}
			*list.into = append(*list.into, line)
		}
	}
}

// changedPaths compares the contents of two sets of files; ascending.
func changedPaths(before, after map[string]*state.File) (added, modified, removed []string) {
	for _, p := range sortedKeys(after) {
		if was, is := before[p]; !is {
			added = append(added, p)
		} else if was.SHA256 != after[p].SHA256 {
			modified = append(modified, p)
		}
	}
	for _, p := range sortedKeys(before) {
		if _, is := after[p]; !is {
			removed = append(removed, p)
		}
	}
	return added, modified, removed
}
