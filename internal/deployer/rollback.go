package deployer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/state"
)

// reasonRolledBack is why a path keeps, or does without, what its source holds after a rollback.
const reasonRolledBack = "rolled back"

// PastError is a wish that the route's past cannot fulfil: a rollback or a comparison. Nothing was changed.
type PastError struct{ msg string }

func (e *PastError) Error() string   { return e.msg }
func (e *PastError) Permanent() bool { return true }

func pastError(format string, args ...any) error { return &PastError{fmt.Sprintf(format, args...)} }

// rollback is what a person wants back.
type rollback struct {
	to    string   // a run, or the beginning of one, or a deploy; "" is the one before what is live
	paths []string // in the archive, files or folders; none: all

	run    string // that to names
	own    string // the run that deployed it
	size   int64  // of its bundle, bytes
	lines  []state.File
	at     time.Time
	bundle *storedBundle // opened when its first file is wanted
}

// Rollback deploys stored content again: of the run that to names (or the deploy; its beginning is enough), or of the one before what is
// live if that is "". With paths (files or folders, as in the archive) it touches only those. The paths it touched stay as they were then until
// their key changes. It looks at no source: what waits there goes live with the next run. While another run is at work it waits, for at most busyWait.
// dry changes nothing and tells what would be done: then the outcome is Changes.
func (r *Route) Rollback(ctx context.Context, to string, paths []string, dry bool) Result {
	x := r.newRun()
	x.rollback = &rollback{to: to, paths: paths}
	x.lease, x.dry = r.NewRun(), dry
	ctx = x.account.open(ctx)
	var err error
	if dry {
		err = x.previewRollback(ctx)
	} else {
		err = x.rollBackUnderLease(ctx)
	}
	if err != nil {
		x.fail(ctx, err)
	}
	if x.leftovers {
		x.discard(ctx)
	}
	return x.finish()
}

const (
	busyWait  = 90 * time.Second
	busyPause = 3 * time.Second
)

func (x *run) rollBackUnderLease(ctx context.Context) error {
	for end := x.Clock.Now().Add(busyWait); ; {
		err := x.sync(ctx)
		if !errors.Is(err, errBusy) && !errors.Is(err, errLate) || x.Clock.Now().After(end) {
			return err
		}
		if err := x.Clock.Sleep(ctx, busyPause); err != nil {
			return err
		}
	}
}

func (x *run) previewRollback(ctx context.Context) error {
	if err := x.reconcile(ctx); err != nil {
		return err
	}
	if err := x.planRollback(ctx); err != nil {
		return err
	}
	x.result.Outcome, x.result.Reason = Changes, x.rollback.says()
	x.result.Files, x.result.Bytes = len(x.plan.items), x.plan.bytes
	return nil
}

// rollBack is steps 5 to 10 of a run that goes back.
func (x *run) rollBack(ctx context.Context) error {
	if x.rollback.isDone(&x.record) { // this run's deploy took effect, and then others wrote the record
		x.reportRecord()
		x.settled(Deployed)
		done := x.result
		x.deployed = &done
		return nil
	}
	if err := x.planRollback(ctx); err != nil {
		return err
	}
	if err := x.pack(ctx); err != nil {
		return x.rollbackError(err)
	}
	x.rollback.own = x.id
	return x.deployAndTell(ctx) // steps 9 and 10
}

func (b *rollback) isDone(rec *state.Record) bool {
	return b.own != "" && hasDeployed(rec, b.own)
}

// rollbackError names the repair of a bundle that is not what its manifest says.
func (x *run) rollbackError(err error) error {
	var moved *movedError
	if errors.As(err, &moved) {
		return pastError("what does not change is taken from the live bundle, and that cannot be read (%v): run dagbucket sync, which makes it anew, and try again", moved.err)
	}
	return err
}

func (b *rollback) says() string {
	when := ""
	if !b.at.IsZero() {
		when = " of " + b.at.UTC().Format(time.RFC3339)
	}
	return "rolled back to run " + b.run + when
}

// planRollback makes the plan of a rollback from the record and two manifests. It is of no listing.
func (x *run) planRollback(ctx context.Context) error {
	if err := x.readLive(ctx); err != nil {
		return err
	}
	if x.record.Live == nil || !x.liveKnown || x.foreign {
		return pastError("it is not known here what is live, so nothing can be rolled back: deploy from here first (dagbucket sync)")
	}
	if err := x.chooseRollback(ctx); err != nil {
		return err
	}
	then, err := x.Store.ReadManifest(ctx, x.rollback.run)
	if err != nil {
		return err
	}
	x.view = view{listed: x.version.Now}
	x.rollback.lines = then
	b := rollbackPlanner{run: x, then: shipped(then), now: x.liveFiles(), left: map[string]*state.File{}}
	for i := range x.live {
		if f := &x.live[i]; f.State == state.LeftOut {
			b.left[f.Path] = f
		}
	}
	if x.plan, err = b.make(); err != nil {
		return err
	}
	x.report()
	return nil
}

func shipped(lines []state.File) map[string]*state.File {
	files := make(map[string]*state.File, len(lines))
	for i := range lines {
		if f := &lines[i]; f.State != state.LeftOut {
			files[f.Path] = f
		}
	}
	return files
}

// chooseRollback finds the run to go back to, among those that the state still holds.
func (x *run) chooseRollback(ctx context.Context) error {
	past, err := x.restorable(ctx)
	if err != nil {
		return err
	}
	b, live := x.rollback, x.record.Live
	if b.to != "" && (b.to == live.Run || b.to == live.DeployID) {
		return pastError("there is nothing to roll back: what is live is what run %s deployed", live.Run)
	}
	chosen, err := past.choose(b.to, past.before(live))
	if err != nil {
		return err
	}
	b.run, b.at = chosen.Run, chosen.At
	b.to = b.run // also if others deploy before it is done
	if b.size, err = x.Store.BundleSize(ctx, b.run); errors.Is(err, bucket.ErrNotExist) {
		return pastError("the bundle of run %s is gone from the state: %s", b.run, past)
	}
	return err
}

// restorable is the runs that deployed before what is live, and whose bundles are stored; newest first.
type restorable []state.Run

func (x *run) restorable(ctx context.Context) (restorable, error) {
	stored, err := x.Store.Bundles(ctx)
	if err != nil {
		return nil, err
	}
	var past restorable
	for _, r := range slices.Backward(x.record.Runs) {
		if r.Outcome == string(Deployed) && r.Run != x.record.Live.Run && stored[r.Run] && !r.Elsewhere {
			past = append(past, r)
		}
	}
	return past, nil
}

// before is the newest run with other contents than those that are live and, if that is a rollback, from before what it went back to.
func (p restorable) before(live *state.Deploy) restorable {
	if live.RolledBack != "" {
		at := slices.IndexFunc(p, func(r state.Run) bool { return r.Run == live.RolledBack })
		if at < 0 { // it is forgotten, and so is all that is older
			return nil
		}
		p = p[at+1:]
	}
	for i, r := range p {
		if r.Digest != live.Digest {
			return p[i : i+1]
		}
	}
	return nil
}

// choose is the run that name means (a run, the beginning of one, or a deploy), or the only one of others if that is "".
func (p restorable) choose(name string, others restorable) (state.Run, error) {
	found := others
	if name != "" {
		found = p.named(name)
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return state.Run{}, pastError("%q is the beginning of several runs (%s, %s): write more of it", name, found[0].Run, found[1].Run)
	case name == "":
		return state.Run{}, pastError("there is nothing to roll back to, or to compare with: no bundle from before what is live is left in the state; %s", p)
	}
	return state.Run{}, pastError("the state holds no bundle of a run or deploy %q: %s", name, p)
}

func (p restorable) named(name string) restorable {
	var found restorable
	for _, r := range p {
		if r.Run == name || r.DeployID == name {
			return restorable{r}
		}
		if strings.HasPrefix(r.Run, name) {
			found = append(found, r)
		}
	}
	return found
}

// String says what is there to choose from.
func (p restorable) String() string {
	if len(p) == 0 {
		return "the state holds no bundle that a rollback could use (keep_bundles says how many are kept)"
	}
	var runs []string
	for _, r := range p[:min(len(p), 10)] {
		runs = append(runs, fmt.Sprintf("%s (deploy %s, %d files)", r.Run, r.DeployID, r.Files))
	}
	text := "there is " + strings.Join(runs, ", ")
	if len(p) > len(runs) {
		text += fmt.Sprintf(" and %d more (see dagbucket history)", len(p)-len(runs))
	}
	return text
}

// rollbackPlanner builds the plan of a rollback.
type rollbackPlanner struct {
	*run
	then, now map[string]*state.File // what was shipped then, and is live now, by path
	left      map[string]*state.File // what is left out now
	plan      plan
}

// make keeps what is live as it is, but for the chosen paths that differ.
func (b *rollbackPlanner) make() (plan, error) {
	chosen, err := b.chosen()
	if err != nil {
		return plan{}, err
	}
	b.plan = plan{made: true, provisional: true, guarded: maps.Clone(b.record.Live.Guarded)}
	sources := map[string]bool{}
	for _, p := range sortedKeys(chosen) {
		then, was := b.then[p]
		now, is := b.now[p]
		switch {
		case was && is:
			b.plan.modified = append(b.plan.modified, p)
		case was:
			b.plan.added = append(b.plan.added, p)
		default:
			b.plan.removed = append(b.plan.removed, p)
			sources[now.Source] = true
			b.leaveOut(now)
			continue
		}
		b.bringBack(then)
	}
	b.plan.approved = sortedKeys(sources) // a person let these go
	for source := range sources {
		delete(b.plan.guarded, source) // or what is left of a mass removal would look small beside what the source had before
	}
	b.keepRest(chosen)
	b.plan.sort()
	return b.plan, b.checkClashes()
}

// chosen are the paths to touch: those of the person's choice whose contents differ.
func (b *rollbackPlanner) chosen() (map[string]bool, error) {
	differ, same := map[string]bool{}, map[string]bool{}
	for _, files := range []map[string]*state.File{b.then, b.now} {
		for p := range files {
			if then, now := b.then[p], b.now[p]; then == nil || now == nil || then.SHA256 != now.SHA256 {
				differ[p] = true
			} else {
				same[p] = true
			}
		}
	}
	wanted := differ
	if len(b.rollback.paths) > 0 {
		wanted = map[string]bool{}
		for _, name := range b.rollback.paths {
			found := b.pick(name, differ, wanted)
			if !found && !b.pick(name, same, map[string]bool{}) {
				return nil, pastError("neither what is live nor run %s has a file or folder %q: name it as in the archive, such as %s",
					b.rollback.run, name, b.archivePath("team/my_dag.py"))
			}
		}
	}
	if len(wanted) == 0 {
		return nil, pastError("there is nothing to roll back: what is live is what run %s deployed", b.rollback.run)
	}
	return wanted, nil
}

// pick adds the paths that name means, with or without the base folder.
func (b *rollbackPlanner) pick(name string, from, into map[string]bool) (found bool) {
	name = path.Clean(name)
	for p := range from {
		for _, n := range []string{name, b.archivePath(name)} {
			if p == n || strings.HasPrefix(p, n+"/") {
				into[p], found = true, true
			}
		}
	}
	return found
}

// pinOf is what the sources showed at a path when it went live, or was left out, which is what the rollback turns down.
func (b *rollbackPlanner) pinOf(p string) *state.Pinned {
	now := cmp.Or(b.now[p], b.left[p])
	switch {
	case now == nil:
		return &state.Pinned{To: b.rollback.run}
	case now.Pinned != nil:
		return &state.Pinned{Source: now.Pinned.Source, Key: now.Pinned.Key, Version: now.Pinned.Version, To: b.rollback.run, Removal: now.Pinned.Removal}
	case now.Refused != nil:
		return &state.Pinned{Source: now.Refused.Source, Key: now.Refused.Key, Version: now.Refused.Version, To: b.rollback.run}
	case now.State == state.Kept && now.Reason == reasonRemoval:
		return &state.Pinned{To: b.rollback.run, Removal: true}
	}
	return &state.Pinned{Source: now.Source, Key: now.Key, Version: now.Version, To: b.rollback.run}
}

// bringBack ships what was there then.
func (b *rollbackPlanner) bringBack(then *state.File) {
	line := *then
	line.State, line.Pinned = state.Kept, b.pinOf(then.Path)
	n := pinNote(&line)
	noteLine(&line, n)
	b.plan.items = append(b.plan.items, item{path: then.Path, live: then, line: &line, from: b.rollback})
	b.plan.kept = append(b.plan.kept, n)
	b.plan.bytes += then.Size
}

// leaveOut ships nothing where nothing was then.
func (b *rollbackPlanner) leaveOut(now *state.File) {
	b.plan.leftOut = append(b.plan.leftOut, pinNote(&state.File{Path: now.Path, Key: now.Key, State: state.LeftOut, Pinned: b.pinOf(now.Path)}))
}

// pinNote is what there is to say of a path that stays rolled back.
func pinNote(f *state.File) Note {
	without := ""
	if f.State == state.LeftOut {
		without = ", which did not have it"
	}
	return Note{Path: f.Path, Key: f.Key, Reason: reasonRolledBack, pinned: f.Pinned,
		Message: fmt.Sprintf("to run %s%s; it stays so until its object changes", f.Pinned.To, without)}
}

// keepRest takes over every other line of what is live, notes included.
func (b *rollbackPlanner) keepRest(chosen map[string]bool) {
	for i := range b.live {
		f := &b.live[i]
		if chosen[f.Path] {
			continue
		}
		n := noteOf(f)
		switch {
		case f.State == state.LeftOut:
			b.plan.leftOut = append(b.plan.leftOut, n)
			continue
		case f.State == state.Kept:
			b.plan.kept = append(b.plan.kept, n)
		case n.Reason != "":
			b.plan.warnings = append(b.plan.warnings, n)
		}
		b.plan.items = append(b.plan.items, item{path: f.Path, live: f, line: f})
		b.plan.bytes += f.Size
	}
}

// checkClashes refuses a rollback of some paths after which one would be a file and a folder.
func (b *rollbackPlanner) checkClashes() error {
	files := map[string]bool{}
	for i := range b.plan.items {
		files[b.plan.items[i].path] = true
	}
	for i := range b.plan.items {
		p := b.plan.items[i].path
		for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
			if files[dir] {
				return pastError("%s would lie in %s, which is a file: name both, or roll back everything", p, dir)
			}
		}
	}
	return nil
}

// pins are the lines of what is live that a rollback made, by path.
func (x *run) pins() map[string]*state.File {
	pins := map[string]*state.File{}
	for i := range x.live {
		if x.live[i].Pinned != nil {
			pins[x.live[i].Path] = &x.live[i]
		}
	}
	return pins
}

// isPinned reports whether a rollback turned down this very object.
func isPinned(f *state.File, source string, o *bucket.Object) bool {
	return f != nil && f.Pinned.Source == source && f.Pinned.Key == o.Key && f.Pinned.Version == o.Version
}
