package deployer

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/dagbucket/dagbucket/internal/state"
)

// pagesLife is how old the status pages become: they are written when what they show changes, or when that many minutes have passed, since
// those of 100,000 files are 20 MB.
const pagesLife = 15 * time.Minute

// Status tells of the route now: it reads the record, the live manifest, the Deployment and the sources' listings, and changes nothing. With
// an error that is not about the state it still tells what the record says.
func (r *Route) Status(ctx context.Context) (state.Status, error) {
	x := r.dryRun()
	err := x.preview(ctx)
	if x.stored == nil { // the record cannot be read
		return state.Status{}, err
	}
	outcome := x.result.Outcome
	switch {
	case isHeld(err):
		outcome = Held
	case err != nil:
		outcome = Failed
	}
	why := err
	if last := x.lastRun(); err == nil && last.Outcome == string(Failed) {
		outcome, why = Failed, errors.New(last.Reason)
		if last.Permanent {
			why = &PermanentError{why}
		}
	}
	if isHeld(err) {
		err = nil
	}
	if readErr := x.readLive(ctx); err == nil {
		err = readErr
	}
	return x.status(outcome, why), err
}

func (x *run) lastRun() state.Run {
	if n := len(x.record.Runs); n > 0 {
		return x.record.Runs[n-1]
	}
	return state.Run{}
}

// claimPages decides whether this run writes the status pages, and notes that in a record before it is swapped.
func (x *run) claimPages(rec *state.Record, outcome Outcome, why error) {
	shown, now := x.shows(rec, outcome, why), x.Clock.Now()
	// After a run that died the pages may be older than what it noted.
	x.mustShow = x.Pages != nil && (x.unclean || rec.Shown != shown || now.Sub(rec.ShownAt) >= pagesLife)
	if x.mustShow {
		rec.Shown, rec.ShownAt = shown, now.UTC()
	}
}

// shows names what the pages would show of a record.
func (x *run) shows(rec *state.Record, outcome Outcome, why error) string {
	trouble := ""
	if outcome == Held || outcome == Failed {
		trouble = string(outcome) + why.Error()
	}
	var fates []any // the manifest has those of a run in order
	if outcome == Held || outcome == Failed {
		fates = append(fates, x.plan.added, x.plan.modified, x.plan.removed, x.plan.kept, x.plan.leftOut)
	}
	text, _ := json.Marshal([]any{rec.Live, rec.Pending, rec.Holds, rec.ImportErrors, x.drift, trouble, fates})
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// writePages writes the status pages, if this run is to. Nothing that fails here fails the run.
func (x *run) writePages(ctx context.Context, outcome Outcome, why error) {
	if !x.mustShow || x.dry {
		return
	}
	x.mustShow = false
	_ = x.step("status", func() error {
		err := x.showPages(ctx, outcome, why)
		if err == nil {
			return nil
		}
		x.Log.Warn("could not write the status pages; a later run does", "route", x.Name, "error", err)
		rec := x.record.Clone()
		rec.Shown = ""
		if err := x.swap(ctx, rec); err != nil {
			x.Log.Info("could not note that the status pages are old", "route", x.Name, "error", err)
		}
		return nil
		// A crash here, or before, leaves older pages: the next run finds the lease of a dead one, and writes them.
	})
}

// showPages writes the pages. A run that packed has the memory for them already.
func (x *run) showPages(ctx context.Context, outcome Outcome, why error) error {
	files := len(x.plan.items)
	if x.record.Live != nil {
		files = max(files, x.record.Live.Files)
	}
	if x.reserved == 0 && files > 0 {
		if err := x.reserveMemory(ctx, int64(files)*memoryPerFile); err != nil {
			return err
		}
		defer x.releaseMemory()
	}
	if err := x.readLive(ctx); err != nil {
		return err
	}
	s := x.status(outcome, why)
	return x.Pages.Write(ctx, &s)
}

// status is what people read after a run, or instead of one.
func (x *run) status(outcome Outcome, why error) state.Status {
	rec := &x.record
	s := state.Status{Format: state.StatusFormat, Route: x.Name, Written: x.Clock.Now().UTC(), Checked: rec.Listed, Drift: x.drift,
		Deployment: state.StatusDeployment{ID: x.Deployment, Name: cmp.Or(x.deployment.Name, x.Deployment), URL: x.deployment.URL,
			DesiredVersion: x.deployment.DesiredVersion},
		Sources: []state.StatusSource{}, Holds: append([]state.Hold{}, rec.Holds...), Runs: append([]state.Run{}, rec.Runs...)}
	for _, src := range x.Sources {
		s.Sources = append(s.Sources, state.StatusSource{URL: src.URL, Mount: src.Mount})
	}
	s.Live, s.Pending = x.statusDeploy(rec.Live), x.statusDeploy(rec.Pending)
	if rec.Live != nil {
		s.Deployment.InSync = rec.Live.TarballVersion == s.Deployment.DesiredVersion
	}
	if outcome == Held && len(s.Holds) == 0 { // not in the record yet
		s.Holds = append(s.Holds, state.Hold{Kind: state.HeldBack, Reason: why.Error(), At: s.Written})
	}
	s.Files = x.statusFiles(outcome)
	x.markNotRunning(&s)
	s.Counts = countFiles(s.Files)
	x.sumUp(&s, outcome, why)
	return s
}

func (x *run) statusDeploy(d *state.Deploy) *state.StatusDeploy {
	if d == nil {
		return nil
	}
	url := x.deployment.URL
	if url != "" {
		url += "/deploy-history"
	}
	return &state.StatusDeploy{Run: d.Run, DeployID: d.DeployID, URL: url, TarballVersion: d.TarballVersion, Digest: d.Digest, Files: d.Files,
		Bytes: d.Bytes, At: d.At, Live: d.Confirmed, LiveAt: d.LiveAt, RolledBack: d.RolledBack}
}

// statusFiles is every file that is live or in a source, ascending by path.
func (x *run) statusFiles(outcome Outcome) []state.StatusFile {
	files := make([]state.StatusFile, len(x.live), len(x.live)+len(x.plan.added)+len(x.plan.leftOut))
	when := x.deployTimes()
	for i := range x.live {
		x.fillLive(&files[i], &x.live[i], when)
	}
	byPath := func(a, b state.StatusFile) int { return strings.Compare(a.Path, b.Path) }
	slices.SortStableFunc(files, byPath)
	files = slices.CompactFunc(files, func(a, b state.StatusFile) bool { return a.Path == b.Path }) // several objects may be left out at one
	find := func(p string) *state.StatusFile {
		at, found := slices.BinarySearchFunc(files, p, func(f state.StatusFile, p string) int { return strings.Compare(f.Path, p) })
		if !found {
			return nil
		}
		return &files[at]
	}
	if outcome != Deployed && outcome != Unchanged && x.plan.made {
		files = append(files, x.fillWaiting(find, outcome)...)
		slices.SortFunc(files, byPath)
	}
	for _, e := range x.record.ImportErrors {
		// What Airflow said before it read the newest version says nothing of that.
		if f := find(e.Path); f != nil && f.State != state.LeftOut && (e.At.IsZero() || !e.At.Before(f.Since)) {
			f.ImportError = e.Message
			if f.Line == 0 {
				f.Line = e.Line
			}
		}
	}
	return files
}

// fillLive tells of a line of what is live.
func (x *run) fillLive(f *state.StatusFile, line *state.File, when map[string]deployTime) {
	f.Path, f.Source, f.Key, f.Size, f.Modified, f.State = line.Path, line.Source, line.Key, line.Size, line.Modified, line.State
	fillNote(f, noteOf(line))
	if line.State == state.LeftOut {
		return
	}
	f.Run = line.Run
	if t, ok := when[line.Run]; ok {
		f.Since, f.DeployID = t.at, t.deployID
	} else if at, err := time.Parse("20060102T150405Z", strings.SplitN(line.Run, "-", 2)[0]); err == nil {
		f.Since = at // the run's name tells when it began
	}
}

func fillNote(f *state.StatusFile, n Note) {
	f.Reason, f.Message, f.Line, f.Column, f.Excerpt = n.Reason, n.Message, n.Line, n.Column, n.Excerpt
}

type deployTime struct {
	at       time.Time
	deployID string
}

// deployTimes tells of each run that is known to have deployed when that was.
func (x *run) deployTimes() map[string]deployTime {
	when := map[string]deployTime{}
	for _, r := range x.record.Runs {
		if r.Outcome == string(Deployed) {
			when[r.Run] = deployTime{r.At, r.DeployID}
		}
	}
	if live := x.record.Live; live != nil {
		when[live.Run] = deployTime{live.At, live.DeployID}
	}
	return when
}

// fillWaiting tells of what the plan would change, and does not yet. known finds what is live or left out at a path, or nil; added is the rest.
func (x *run) fillWaiting(known func(path string) *state.StatusFile, outcome Outcome) (added []state.StatusFile) {
	more := map[string]*state.StatusFile{}
	at := func(p string) *state.StatusFile {
		if f := cmp.Or(known(p), more[p]); f != nil {
			return f
		}
		more[p] = &state.StatusFile{Path: p}
		return more[p]
	}
	waiting := state.Waiting
	if outcome == Held {
		waiting = state.HeldFile
	}
	down := map[string]bool{}
	for _, n := range x.checks.heldBy { // broken files that hold the run
		down[n.Path] = true
	}
	for i := range x.plan.items {
		it := &x.plan.items[i]
		if it.object == nil || x.packed != nil && x.packed.same {
			continue
		}
		f := at(it.path)
		f.Source, f.Key, f.Size, f.Modified = x.Sources[it.source].URL, it.object.Key, it.object.Size, it.object.Modified
		f.State = waiting
		fillNote(f, Note{})
	}
	for _, p := range x.plan.removed {
		f := at(p)
		f.State, f.Message = waiting, "it is gone from its source, and goes with the next deploy"
	}
	for _, list := range []struct {
		fate  string
		notes []Note
	}{{state.Kept, x.plan.kept}, {state.LeftOut, x.plan.leftOut}} {
		for _, n := range list.notes {
			f := at(n.Path)
			f.Key = cmp.Or(f.Key, n.Key)
			if f.State = list.fate; down[n.Path] {
				f.State = state.HeldFile
			}
			fillNote(f, n)
		}
	}
	for _, f := range more {
		added = append(added, *f)
	}
	return added
}

func countFiles(files []state.StatusFile) state.StatusCounts {
	var c state.StatusCounts
	for i := range files {
		f := &files[i]
		switch f.State {
		case state.Live:
			c.Live++
			if f.Reason != "" {
				c.Warnings++
			}
		case state.Waiting:
			c.Waiting++
		case state.Kept:
			c.Kept++
		case state.LeftOut:
			c.LeftOut++
		case state.HeldFile:
			c.Held++
		}
		if f.ImportError != "" {
			c.Errors++
		}
	}
	return c
}

// notLiveAge is the age, in seconds, of the newest change in the sources that is not live, by the storage's clock. What is left out on purpose
// does not count. 0 is that all is live, or that nobody looked.
func (x *run) notLiveAge(ctx context.Context, outcome Outcome) float64 {
	live := x.record.Live
	inOrder := outcome == Deployed || outcome == Unchanged
	if x.view.listings == nil || inOrder && (live == nil || live.Kept+live.LeftOut == 0) || x.readLive(ctx) != nil {
		return 0
	}
	versions, onPurpose := map[string]string{}, map[string]bool{}
	for i := range x.live {
		if f := &x.live[i]; f.Pinned != nil {
			versions[objectID(f.Pinned.Source, f.Pinned.Key)] = f.Pinned.Version // that it is not live is what a person wants
		} else if f.State != state.LeftOut {
			versions[objectID(f.Source, f.Key)] = f.Version
		} else if !isNews(f.Reason) {
			onPurpose[f.Key] = true
		}
	}
	for _, n := range x.plan.leftOut {
		if !isNews(n.Reason) {
			onPurpose[n.Key] = true
		}
	}
	var newest time.Time
	for i, l := range x.view.listings {
		for _, o := range l.Objects {
			if versions[objectID(x.Sources[i].URL, o.Key)] != o.Version && !onPurpose[o.Key] && o.Modified.After(newest) {
				newest = o.Modified
			}
		}
	}
	if newest.IsZero() {
		return 0
	}
	return max(x.view.listed.Sub(newest).Seconds(), 0)
}

// unseenRuns are those whose deploys Astro was not seen to run, nor a later one.
func (x *run) unseenRuns() map[string]bool {
	unseen := map[string]bool{}
	for _, r := range slices.Backward(x.record.Runs) {
		if r.LiveAfter > 0 {
			break
		}
		unseen[r.Run] = true
	}
	return unseen
}

// markNotRunning tells of files that were deployed from here, and are not what the Deployment runs.
func (x *run) markNotRunning(s *state.Status) {
	if s.Drift == "" || x.record.Live == nil {
		return
	}
	unseen := x.unseenRuns()
	for i := range s.Files {
		f := &s.Files[i]
		if f.State == state.Live && (!s.Deployment.InSync || x.notRun && unseen[f.Run]) {
			f.State, f.Message = state.Waiting, "it was deployed, but the Deployment does not run it"
		}
	}
}
