package simulation

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/state"
)

// wish is what a person wants back: the arguments of Rollback.
type wish struct {
	to    string
	paths []string
	dry   bool
}

// names reports whether a wish is about a path.
func (v *wish) names(p string) bool {
	for _, name := range v.paths {
		name = "dags/" + strings.TrimPrefix(strings.TrimSuffix(name, "/"), "dags/")
		if p == name || strings.HasPrefix(p, name+"/") {
			return true
		}
	}
	return len(v.paths) == 0
}

// rollSomeBack is an operator, or two at once.
func (w *world) rollSomeBack() {
	r := w.roll("roller")
	var all sync.WaitGroup
	for i := range 1 + r.IntN(4)/3 {
		pause := between(w.roll("roller", fmt.Sprint(i)), time.Millisecond, 20*time.Second)
		all.Go(func() {
			time.Sleep(pause)
			w.bringBack(w.makeWish(), false)
		})
	}
	all.Wait()
}

func (w *world) makeWish() wish {
	r, v := w.roll("wish"), wish{}
	var runs []state.Run
	for _, run := range w.oracle.record().Runs {
		if run.Outcome == string(deployer.Deployed) {
			runs = append(runs, run)
		}
	}
	if n := len(runs); n > 0 && r.IntN(2) == 0 {
		v.to = []string{runs[r.IntN(n)].Run, runs[r.IntN(n)].DeployID}[r.IntN(2)]
	}
	if r.IntN(2) == 0 {
		v.paths = w.somePaths(r)
	}
	v.dry = r.IntN(6) == 0
	return v
}

// somePaths are files and folders, as people may write them. Some of them were never there.
func (w *world) somePaths(r *rand.Rand) []string {
	var paths []string
	for range 1 + r.IntN(4) {
		s := w.sources[r.IntN(len(w.sources))]
		dir := []string{"", "", "team/"}[r.IntN(3)]
		name := fmt.Sprintf("dags/%s/%sf%02d.py", s.name, dir, r.IntN(14))
		switch keys := s.keys(); {
		case r.IntN(5) == 0:
			name = "dags/" + s.name + "/team/"
		case len(keys) > 0 && r.IntN(3) > 0:
			name = s.path(keys[r.IntN(len(keys))])
		}
		if r.IntN(3) == 0 {
			name = strings.TrimPrefix(name, "dags/")
		}
		paths = append(paths, name)
	}
	return paths
}

// bringBack is one rollback. Nobody tries one that failed again; but without the schedule somebody looks after the route.
func (w *world) bringBack(v wish, sure bool) deployer.Result {
	defer w.begin()()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	a := w.newActor(ctx, cancel)
	a.sure, a.wish = sure, &v
	w.log("%s rolls back: %+v", a.name, v)
	r := a.route().Rollback(ctx, v.to, v.paths, v.dry)
	w.log("%s ends: %s %s", a.name, r.Outcome, r.Reason)
	w.checkAside(r)
	if !a.isDead() {
		w.oracle.checkRollback(a, r)
	}
	for n := 0; !w.p.reconcile && !v.dry && (a.isDead() || r.Retryable) && n < maxReceives && !w.invoke(nil); n++ {
		time.Sleep(time.Minute)
	}
	return r
}

func (o *oracle) checkRollback(a *actor, r deployer.Result) {
	var refused *deployer.PastError
	switch {
	case a.wish.dry && r.Outcome != deployer.Changes && r.Outcome != deployer.Failed:
		o.w.violate("a dry rollback ends %s", r.Outcome)
	case r.Outcome == deployer.Deployed && len(a.backs) == 0 && !o.isLenient():
		o.w.violate("a rollback says that it deployed, and did not")
	case errors.As(r.Err, &refused) && slices.ContainsFunc(a.backs, func(s *set) bool { return s.lived }) && !o.isLenient():
		o.w.violate("a rollback says that it is not done, and it is: %s", r.Reason)
	case r.Outcome == deployer.Failed && !r.Retryable && !errors.As(r.Err, &refused):
		o.w.violate("a rollback failed for good: %s", r.Reason)
	}
}

// pin is what a rollback left at a path. It stays for as long as the source shows there what it had shown when that was turned down.
type pin struct {
	version string // "": nothing was there
	content string
	ships   bool
	unsure  bool // what the source showed had not been decided on yet: it may go live with the next run
}

// fact is what is known of a manifest.
type fact struct {
	contents map[string]string
	lines    map[string]state.File
	shown    map[string]string // versions that the listing behind it showed, by path
	pins     map[string]pin
	open     bool // its listing left a removal open
}

// isLenient: where the state is lost, pins may be lost with it, and come back.
func (o *oracle) isLenient() bool { return o.w.p.losses || o.w.p.retarget }

// learn takes from a record that was just written what the manifests that it names rest on. seen is what the run was shown last.
func (o *oracle) learn(old, rec state.Record, seen []*listing) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if d := rec.Pending; d != nil && o.facts[d.Manifest] == nil {
		o.facts[d.Manifest] = o.factOf(d, rec.Live, rec.Live, seen)
	}
	d := rec.Live
	if d == nil {
		return
	}
	if o.facts[d.Manifest] == nil {
		before := &state.Deploy{Manifest: d.Run, TarballVersion: d.TarballVersion}
		if old.Live != nil && old.Live.Run == d.Run {
			before = old.Live
		}
		o.facts[d.Manifest] = o.factOf(d, before, nil, seen)
	}
	if s := o.byRun[d.Run]; s != nil && !s.lived {
		s.lived, s.livedAt = true, time.Now()
		o.lineage = append(o.lineage, s)
	}
}

// factOf makes the fact of a deploy's manifest from that of what was live before. base is set for a new deploy. The lock is held.
func (o *oracle) factOf(d, before, base *state.Deploy, seen []*listing) *fact {
	f := &fact{lines: map[string]state.File{}, shown: map[string]string{}, pins: map[string]pin{}, open: d.Listed.IsZero()}
	for _, line := range o.manifest(d.Manifest) {
		f.lines[line.Path] = line
	}
	earlier := &fact{}
	if before != nil && o.facts[before.Manifest] != nil {
		earlier = o.facts[before.Manifest]
	}
	s := o.byRun[d.Run]
	if s != nil {
		f.contents = s.contents
	}
	if s != nil && s.back != "" && base != nil {
		f.shown, f.open = earlier.shown, earlier.open
		o.turnDown(s, base, f, earlier)
	} else {
		o.seePins(f, earlier, seen)
	}
	o.checkLines(d.Manifest, f)
	return f
}

// turnDown works out what a rollback must deploy, and what it pins. The lock is held.
func (o *oracle) turnDown(s *set, base *state.Deploy, f, earlier *fact) {
	then, now := o.byRun[s.back], o.sets[base.TarballVersion]
	f.pins = maps.Clone(earlier.pins)
	if then == nil || now == nil || f.pins == nil {
		f.pins = map[string]pin{}
		return // known only after a loss
	}
	s.began = now.began
	if s.by.wish.to == "" && !o.isPrevious(s) && !o.isLenient() {
		o.w.violate("a rollback goes back to %s, and what was live before is of %s", s.back, o.previous(now))
	}
	if to := s.by.wish.to; to != "" && to != s.back && !o.isLenient() && !o.isDeployOf(to, s.back) {
		o.w.violate("a rollback goes back to %s, and %s was asked for", s.back, to)
	}
	s.want = maps.Clone(now.contents)
	for _, contents := range []map[string]string{then.contents, now.contents} {
		for p := range contents {
			content, ships := then.contents[p]
			if last, is := now.contents[p]; !s.by.wish.names(p) || ships == is && content == last {
				continue
			}
			if delete(s.want, p); ships {
				s.want[p] = content
			}
			f.pins[p] = o.pinAt(p, now, earlier, content, ships)
		}
	}
}

// pinAt is the pin of a path that was live with its fact: of the very object that was live there, or turned down. The lock is held.
func (o *oracle) pinAt(p string, now *set, earlier *fact, content string, ships bool) pin {
	made := pin{version: earlier.shown[p], content: content, ships: ships}
	last, was := now.contents[p]
	if pinned, ok := earlier.pins[p]; ok {
		made.version, made.unsure = pinned.version, pinned.unsure
		return made
	}
	src := o.w.sourceOf(p)
	reason := earlier.lines[p].Reason
	switch {
	case made.version == "" && !was:
	case made.version == "":
		made.unsure = reason != "removal"
	default:
		made.unsure = reason != "syntax" && !(was && src.contentOf(src.key(p), made.version) == last)
	}
	return made
}

// seePins: what a run is shown decides which pins stay. The lock is held.
func (o *oracle) seePins(f, earlier *fact, seen []*listing) {
	for i, l := range seen {
		if l == nil {
			continue
		}
		for key, version := range l.versions {
			f.shown[o.w.sources[i].path(key)] = version
		}
	}
	for p, held := range earlier.pins {
		src, stays := o.w.sourceOf(p), false
		l := seen[slices.Index(o.w.sources, src)]
		switch version := f.shown[p]; {
		case held.unsure || l == nil || version == "" && held.version != "" && src.missedTwice(src.key(p), l):
			stays = f.lines[p].Pinned != nil // either is right
		case version == "" && held.version == "" && o.let[p]:
			stays = f.lines[p].Pinned != nil // a person let it go after all
		case version == "" && held.version != "":
			stays = true // one listing alone removes nothing
		default:
			stays = version == held.version
		}
		if stays {
			f.pins[p] = held
		}
	}
}

// checkLines: a manifest calls rolled back what is, and nothing else.
func (o *oracle) checkLines(manifest string, f *fact) {
	if o.isLenient() || len(f.lines) == 0 {
		return
	}
	for _, p := range slices.Sorted(maps.Keys(f.lines)) {
		if _, pinned := f.pins[p]; f.lines[p].Reason == "rolled back" && !pinned {
			o.w.violate("rollback: manifest %s calls %s rolled back, and its object has changed since", manifest, p)
		}
	}
	for _, p := range slices.Sorted(maps.Keys(f.pins)) {
		src, held := o.w.sourceOf(p), f.pins[p]
		if held.unsure || f.lines[p].Reason == "rolled back" || !held.ships && held.version == "" {
			continue
		}
		if held.ships && held.version != "" && src.contentOf(src.key(p), held.version) == held.content {
			continue // it is what the source shows
		}
		o.w.violate("rollback: manifest %s does not call %s rolled back, and its object has not changed since", manifest, p)
	}
}

// isPrevious reports whether a rollback goes back from what was live when somebody asked for it, or since. The lock is held.
func (o *oracle) isPrevious(s *set) bool {
	for i, live := range slices.Backward(o.lineage) {
		if o.previous(o.lineage[i]) == s.back {
			return true
		}
		if live.livedAt.Before(s.by.start) {
			break
		}
	}
	return false
}

// previous is the run whose contents a rollback brings back that names none: the last that was live with other contents, before what is live
// or, if that is a rollback of everything, before what it went back to. The lock is held.
func (o *oracle) previous(now *set) string {
	end := slices.IndexFunc(o.lineage, func(s *set) bool { return s.version == now.version })
	from := now // or the same again, over a deploy of others or one that failed
	for i := end - 1; i >= 0 && from.back == "" && maps.Equal(o.lineage[i].contents, now.contents); i-- {
		from = o.lineage[i]
	}
	isWhole := from.back != "" && len(from.by.wish.paths) == 0
	if at := slices.IndexFunc(o.lineage, func(s *set) bool { return s.run == from.back }); isWhole && at >= 0 {
		end = at
	}
	for _, s := range slices.Backward(o.lineage[:max(end, 0)]) {
		if !maps.Equal(s.contents, now.contents) {
			return s.run
		}
	}
	return ""
}

func (o *oracle) isDeployOf(deployID, run string) bool {
	return slices.ContainsFunc(o.record().Runs, func(r state.Run) bool { return r.DeployID == deployID && r.Run == run })
}

// checkRolledBack judges a set by what rollbacks hold. It landed with the fence.
func (o *oracle) checkRolledBack(a *actor, s *set) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f := o.facts[s.run]
	if f == nil || o.isLenient() {
		if s.back != "" {
			a.backs = append(a.backs, s)
		}
		return
	}
	if s.back != "" {
		if s.want != nil && !maps.Equal(s.want, s.contents) {
			o.w.violate("rollback: %s is %s, and should be %s", s.version, summary(s.contents), summary(s.want))
		}
		if slices.ContainsFunc(a.backs, func(b *set) bool { return b != s && b.lived }) {
			o.w.violate("rollback: one of them deploys twice: %s", s.version)
		}
		a.backs = append(a.backs, s)
	}
	for _, p := range slices.Sorted(maps.Keys(f.pins)) {
		held := f.pins[p]
		if got, ships := s.contents[p]; !held.unsure && (ships != held.ships || got != held.content) {
			o.w.violate("rollback: %s is %q (%v) in %s, and was rolled back to %q (%v)", p, got, ships, s.version, held.content, held.ships)
		}
	}
}

// withPins is what should be live, for a bucket and a record. Of free paths nothing is certain.
func (o *oracle) withPins(want map[string]string, rec state.Record) (free map[string]bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	free = map[string]bool{}
	if o.isLenient() {
		for _, f := range o.facts {
			for p := range f.pins {
				free[p] = true
			}
		}
	}
	if rec.Live == nil || o.facts[rec.Live.Manifest] == nil {
		return free
	}
	for p, held := range o.facts[rec.Live.Manifest].pins {
		src := o.w.sourceOf(p)
		switch {
		case held.unsure, held.version == "" && o.let[p]:
			free[p] = true
		case src.version(src.key(p)) != held.version:
		case held.ships:
			want[p] = held.content
		default:
			delete(want, p)
		}
	}
	return free
}

// isPinned reports whether a rollback decides about a path of a manifest.
func (o *oracle) isPinned(manifest, p string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	f := o.facts[manifest]
	if f == nil {
		return false
	}
	_, ok := f.pins[p]
	return ok
}

// isRolledOut reports whether a source is not empty, though nothing of it is in a set, since a rollback keeps it out. The lock is held.
func (o *oracle) isRolledOut(s *set, prefix string) bool {
	if f := o.facts[s.run]; f != nil {
		for p, held := range f.pins {
			if strings.HasPrefix(p, prefix) && !held.ships && f.shown[p] != "" {
				return true
			}
		}
	}
	return false
}

// isOpen reports whether the listing behind a deploy left something for the schedule.
func (o *oracle) isOpen(d *state.Deploy) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if f := o.facts[d.Manifest]; f != nil {
		return f.open
	}
	return d.Listed.IsZero()
}

// goBack is a rollback in the end, when nothing goes wrong any more; then each pin ends.
func (w *world) goBack() {
	rec := w.oracle.record()
	w.oracle.mu.Lock()
	possible := rec.Live != nil && w.oracle.byRun[rec.Live.Run] != nil && w.oracle.previous(w.oracle.byRun[rec.Live.Run]) != ""
	w.oracle.mu.Unlock()
	r := w.bringBack(wish{}, true)
	if possible && r.Outcome != deployer.Deployed && !w.oracle.isLenient() {
		w.violate("rollback: it ends %s: %s", r.Outcome, r.Reason)
	}
	w.reconcile()
	w.oracle.checkConverged("after a rollback", true)
	w.approve()
	w.reconcile()
	w.oracle.checkConverged("after another reconcile", false)
	w.endPins()
	w.reconcile()
	w.oracle.checkConverged("after each pinned key changed", true)
	if n := w.oracle.pins(); n > 0 && !w.oracle.isLenient() {
		w.violate("rollback: %d paths are still rolled back", n)
	}
	w.approve()
	w.reconcile()
	w.oracle.checkConverged("without pins", false)
}

// endPins changes what is pinned, one way or another.
func (w *world) endPins() {
	rec := w.oracle.record()
	if rec.Live == nil {
		return
	}
	w.oracle.mu.Lock()
	f := w.oracle.facts[rec.Live.Manifest]
	w.oracle.mu.Unlock()
	if f == nil {
		return
	}
	for i, p := range slices.Sorted(maps.Keys(f.pins)) {
		src := w.sourceOf(p)
		if key := src.key(p); i%3 == 0 && src.version(key) != "" && len(src.keys()) > 2 {
			src.remove(key)
		} else {
			src.put(key, fmt.Sprint("content after ", p))
		}
	}
	w.quiesce()
	time.Sleep(2 * state.LeaseLife)
}

// pins counts the paths that the live manifest calls rolled back.
func (o *oracle) pins() int {
	n := 0
	if rec := o.record(); rec.Live != nil {
		for _, f := range o.manifest(rec.Live.Manifest) {
			if f.Pinned != nil {
				n++
			}
		}
	}
	return n
}
