package deployer

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/selection"
	"github.com/dagbucket/dagbucket/internal/state"
)

// The reasons of kept and left out paths that the planner gives; selection adds its own.
const (
	reasonConflict = "conflict"
	reasonArchived = "archived"
	reasonChanging = "changing"
	reasonRemoval  = "removal"
)

// plan says what the next bundle holds.
type plan struct {
	items    []item // ascending by path
	added    []string
	modified []string
	removed  []string
	kept     []Note
	leftOut  []Note
	warnings []Note   // of files that are shipped all the same
	approved []string // sources of the removed paths that a person let go
	guarded  map[string]state.Guarded
	empty    map[string]bool // sources that show no file, by URL
	bytes    int64
	made     bool
	// provisional plans leave something undecided that the same listing must not end: its outcome covers nothing.
	provisional bool
}

// item is one file of the next bundle.
type item struct {
	path    string
	source  int            // of object
	object  *bucket.Object // to fetch; nil: take the content from the live bundle
	live    *state.File    // what is live at this path, or nil
	line    *state.File    // its line in the manifest; without SHA256 while it must be fetched. It may be live: edit makes it its own
	leftOut bool           // the syntax check found it broken, and nothing is live
	from    *rollback      // whose bundle has the content, if object is nil; nil: the live bundle
}

// edit returns the line to change it; what is live stays as it is.
func (it *item) edit() *state.File {
	if it.line == it.live {
		line := *it.live
		it.line = &line
	}
	return it.line
}

func (p *plan) nothingToDo() bool { return len(p.added)+len(p.modified)+len(p.removed) == 0 }

// makePlan is step 5: it maps keys to paths, compares them with what is live, and decides what is kept, left out or held.
func (x *run) makePlan(ctx context.Context) error {
	files := make([][]selection.File, len(x.Sources))
	var leftOut []selection.LeftOut
	for i, s := range x.Sources {
		ignore, err := x.readIgnoreFile(ctx, i)
		if err != nil {
			return err
		}
		chosen, left := selection.Select(selection.Source{Prefix: s.Prefix, Mount: s.Mount, Ignore: ignore, Index: i}, x.view.listings[i].Objects)
		files[i] = chosen
		leftOut = append(leftOut, left...)
	}
	merged, conflicts, unsafe := selection.Merge(files...)
	leftOut = append(leftOut, unsafe...)
	approved, err := x.readApproved(ctx)
	if err != nil {
		return err
	}
	x.recallVerdicts()
	x.plan = x.planFiles(merged, conflicts, leftOut, x.emptySources(files), approved)
	return x.guard()
}

// planFiles is pure: it looks at nothing but the run's knowledge of what is live and of the listing.
func (x *run) planFiles(files []selection.File, conflicts []selection.Conflict, leftOut []selection.LeftOut, empty map[string]bool, approved map[string]string) plan {
	b := planner{run: x, live: x.liveFiles(), pins: x.pins(), approved: approved, plan: plan{empty: empty, made: true, items: make([]item, 0, len(files))}}
	b.verdictsHold = x.verdictsHold(files)
	for _, f := range files {
		b.place(f)
	}
	for _, c := range conflicts {
		b.keepConflict(c)
	}
	for _, l := range leftOut {
		n := Note{Path: b.archivePath(l.Path), Key: strings.ToValidUTF8(l.Key, "\uFFFD"), Reason: l.Reason, Message: l.Message}
		b.plan.leftOut = append(b.plan.leftOut, n)
	}
	b.remove()
	b.dropShippedNotes()
	b.leaveOutClashes()
	b.plan.sort()
	return b.plan
}

// dropShippedNotes lets each path have one fate: what is kept, though its source shows only what is left out there, is kept.
func (b *planner) dropShippedNotes() {
	kept := map[string]bool{}
	for _, n := range b.plan.kept {
		kept[n.Path] = true
	}
	b.plan.leftOut = slices.DeleteFunc(b.plan.leftOut, func(n Note) bool { return kept[n.Path] })
}

// planner builds a plan; live holds the live paths that nothing was decided on yet.
type planner struct {
	*run
	live     map[string]*state.File
	pins     map[string]*state.File // lines that a rollback made, by path
	approved map[string]string      // paths that a person let go, with their sources
	// verdictsHold lets files that an earlier run found broken be kept, or left out, without being read.
	verdictsHold bool
	plan         plan
}

// place decides on a file that the listing shows.
func (b *planner) place(f selection.File) {
	p, o := b.archivePath(f.Path), f.Object
	source := b.Sources[f.Source].URL
	live, isLive := b.live[p]
	same := isLive && live.Source == source && live.Key == o.Key && live.Version == o.Version
	switch {
	case same && !b.bundleGone:
		b.takeAsIs(p)
		return
	case isPinned(b.pins[p], source, o):
		b.keepNoted(p, pinNote(b.pins[p]))
		return
	case b.verdictsHold && b.isRefused(p, source, o):
		b.keepNoted(p, b.checks.earlier[p])
		return
	case o.Archived:
		b.keep(p, o.Key, reasonArchived, "its storage class must be restored before it can be read")
		return
	case b.changes[objectID(source, o.Key)] >= maxChanges:
		b.keep(p, o.Key, reasonChanging, "it was overwritten again and again while it was read")
		b.plan.provisional = true
		return
	}
	it := item{path: p, source: f.Source, object: o, line: &state.File{Path: p, Source: source, Key: o.Key,
		Version: o.Version, Size: o.Size, Modified: o.Modified, State: state.Live}}
	if isLive {
		it.live = live
		delete(b.live, p)
	}
	switch {
	case !isLive:
		b.plan.added = append(b.plan.added, p)
	case !same:
		b.plan.modified = append(b.plan.modified, p)
	}
	b.plan.items = append(b.plan.items, it)
	b.plan.bytes += o.Size
}

// takeAsIs ships what is live at p, with what there was to say of it when it was deployed.
func (b *planner) takeAsIs(p string) {
	live := b.live[p]
	n := noteOf(live)
	if live.State != state.Live {
		n = Note{} // it was kept, and what is in the bucket is that again
	}
	if n.Reason != "" {
		b.plan.warnings = append(b.plan.warnings, n)
	}
	b.takeLive(p, state.Live, n)
}

// takeLive ships what is live at p. Its bytes come from the live bundle.
func (b *planner) takeLive(p, fileState string, n Note) {
	live := b.live[p]
	delete(b.live, p)
	it := item{path: p, live: live, line: live}
	if live.State != fileState || noteOf(live) != n {
		line := it.edit()
		line.State = fileState
		noteLine(line, n)
	}
	b.plan.items = append(b.plan.items, it)
	b.plan.bytes += live.Size
}

// keepConflict decides on a path that several objects claim. It stays rolled back if one of them is what was turned down.
func (b *planner) keepConflict(c selection.Conflict) {
	n := Note{Path: b.archivePath(c.Path), Key: c.Files[0].Object.Key, Reason: reasonConflict, Message: c.Message()}
	for _, f := range c.Files {
		if pin := b.pins[n.Path]; isPinned(pin, b.Sources[f.Source].URL, f.Object) {
			n.pinned = pin.Pinned
		}
	}
	b.keepNoted(n.Path, n)
}

// keep lets p keep its last good content; without one it is left out.
func (b *planner) keep(p, key, reason, message string) {
	b.keepNoted(p, Note{Path: p, Key: key, Reason: reason, Message: message})
}

func (b *planner) keepNoted(p string, n Note) {
	if _, ok := b.live[p]; !ok {
		b.plan.leftOut = append(b.plan.leftOut, n)
		return
	}
	b.takeLive(p, state.Kept, n)
	b.plan.kept = append(b.plan.kept, n)
}

// remove lets go of the live paths that nothing shows any more, but for those that only one listing misses and those that the
// guard protects.
func (b *planner) remove() {
	var gone []string
	for _, p := range sortedKeys(b.live) {
		f := b.live[p]
		if f.Pinned != nil && f.Pinned.Version == "" && !(f.Pinned.Removal && b.approved[p] == f.Source) { // a rollback brought it back, and its source shows nothing there, as then
			b.keepNoted(p, pinNote(f))
			continue
		}
		if f.Pinned != nil && b.view.doubtful[objectID(f.Pinned.Source, f.Pinned.Key)] {
			b.keepNoted(p, pinNote(f))
			b.plan.provisional = true
			continue
		}
		if b.view.doubtful[objectID(f.Source, f.Key)] {
			b.keep(p, f.Key, reasonChanging, "it was missing in the last listing only; the next run looks again")
			b.plan.provisional = true
			continue
		}
		gone = append(gone, p)
	}
	b.guardRemovals(gone)
	for _, p := range sortedKeys(b.pins) {
		if f := b.pins[p]; f.State == state.LeftOut && b.view.doubtful[objectID(f.Pinned.Source, f.Pinned.Key)] {
			b.plan.leftOut = append(b.plan.leftOut, pinNote(f))
			b.plan.provisional = true
		}
	}
}

// leaveOutClashes leaves out new files that cannot lie beside a kept one, since one of the two would be a file and a directory.
func (b *planner) leaveOutClashes() {
	kept, parents := map[string]bool{}, map[string]bool{}
	for _, n := range b.plan.kept {
		kept[n.Path] = true
		for dir := path.Dir(n.Path); dir != "."; dir = path.Dir(dir) {
			parents[dir] = true
		}
	}
	clashes := func(p string) bool {
		if parents[p] {
			return true
		}
		for dir := path.Dir(p); dir != "." && len(kept) > 0; dir = path.Dir(dir) {
			if kept[dir] {
				return true
			}
		}
		return false
	}
	left := map[string]bool{}
	b.plan.items = slices.DeleteFunc(b.plan.items, func(it item) bool {
		if it.object == nil || !clashes(it.path) {
			return false
		}
		b.plan.bytes -= it.object.Size
		left[it.path] = true
		b.plan.leftOut = append(b.plan.leftOut, Note{Path: it.path, Key: it.object.Key, Reason: selection.ReasonUnsafe,
			Message: "a file that is kept is a directory of it, or lies in a directory of its name"})
		return true
	})
	b.plan.added = slices.DeleteFunc(b.plan.added, func(p string) bool { return left[p] })
}

func (p *plan) sort() {
	slices.SortFunc(p.items, func(a, c item) int { return strings.Compare(a.path, c.path) })
	for _, list := range [][]string{p.added, p.modified, p.removed} {
		slices.Sort(list)
	}
	for _, list := range [][]Note{p.kept, p.leftOut, p.warnings} {
		sortNotes(list)
	}
}

func sortNotes(list []Note) {
	slices.SortStableFunc(list, func(a, b Note) int { return strings.Compare(a.Path, b.Path) })
}

// lines returns the manifest of the plan.
func (p *plan) lines() []state.File {
	files := make([]state.File, 0, len(p.items)+len(p.leftOut))
	for i := range p.items {
		files = append(files, *p.items[i].line)
		p.items[i].line = &files[i] // so that nothing holds every line twice
	}
	for _, n := range p.leftOut {
		line := state.File{Path: n.Path, Key: n.Key, State: state.LeftOut}
		noteLine(&line, n)
		files = append(files, line)
	}
	return files
}

// ignoreFile is a source's .dagbucketignore as it was read.
type ignoreFile struct {
	version string
	rules   *selection.Ignore
}

// readIgnoreFile reads the ignore file of a source in the version that was listed; nil if there is none.
func (x *run) readIgnoreFile(ctx context.Context, source int) (*selection.Ignore, error) {
	s := x.Sources[source]
	key := s.Prefix + selection.IgnoreFile
	objects := x.view.listings[source].Objects
	at, found := slices.BinarySearchFunc(objects, key, func(o bucket.Object, k string) int { return strings.Compare(o.Key, k) })
	if !found {
		return nil, nil
	}
	id := objectID(s.URL, key)
	if have, ok := x.ignores[id]; ok && have.version == objects[at].Version {
		return have.rules, nil
	}
	content, _, err := bucket.Read(x.account.ofSources(ctx), s.Bucket, key, objects[at].Version, selection.MaxIgnoreFile)
	switch {
	case errors.Is(err, bucket.ErrChanged):
		return nil, &movedError{id: id, key: key}
	case errors.Is(err, bucket.ErrArchived):
		return nil, &PermanentError{fmt.Errorf("%s%s: %w: restore it, or upload it again", s.URL, selection.IgnoreFile, err)}
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s%s: %w", s.URL, selection.IgnoreFile, err)
	}
	parsed, err := selection.ParseIgnore(content)
	if err != nil {
		return nil, &PermanentError{fmt.Errorf("%s%s: %w", s.URL, selection.IgnoreFile, err)}
	}
	x.ignores[id] = &ignoreFile{version: objects[at].Version, rules: parsed}
	return parsed, nil
}
