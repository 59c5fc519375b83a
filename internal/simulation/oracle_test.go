package simulation

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dagbucket/dagbucket/internal/astro/astrotest"
	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/state"
)

// set is one uploaded set of files.
type set struct {
	by         *actor // nil: a stranger
	version    string
	deployment string
	contents   map[string]string // by path
	manifest   map[string]state.File
	listed     []*listing // by source: what the run saw last
	began      time.Time  // start of the earliest of these
	landed     time.Time  // when it was first finalized

	knew      knowledge         // of its run
	unchecked bool              // it may have had no time to check
	refused   map[string]string // contents that an earlier run refused, by path

	run   string            // that made it
	back  string            // the run that it goes back to, if it is a rollback
	want  map[string]string // what that must be
	lived bool              // the record named it as live, since livedAt

	livedAt time.Time
}

// oracle knows everything that happened, and judges.
type oracle struct {
	w *world

	mu        sync.Mutex
	sets      map[string]*set           // by tarball version
	peaks     map[string]map[string]int // largest live set by Deployment and source
	let       map[string]bool           // paths that a person let go
	replace   map[string]bool           // versions of strangers that a person let go
	disturbed time.Time                 // runs from before then are excused: what they knew was taken from under them
	failed    map[string]bool           // versions whose deploy Astro could not carry out

	byRun   map[string]*set
	facts   map[string]*fact // by manifest
	lineage []*set           // what the record named as live, oldest first
	news    news

	reading sync.Mutex
	read    string       // the version of last
	last    state.Record // nobody changes it
}

func newOracle(w *world) *oracle {
	return &oracle{w: w, sets: map[string]*set{}, peaks: map[string]map[string]int{}, let: map[string]bool{}, replace: map[string]bool{}, failed: map[string]bool{},
		byRun: map[string]*set{}, facts: map[string]*fact{}}
}

// record is the record as it is at this instant.
func (o *oracle) record() state.Record {
	version := ""
	for _, object := range o.w.states.Snapshot("sim/record.json") {
		version = object.Version
	}
	o.reading.Lock()
	defer o.reading.Unlock()
	if version == "" || version != o.read {
		rec, _, err := state.NewStore(o.w.states, "", "sim").ReadRecord(context.Background())
		if err != nil {
			panic(err)
		}
		o.read, o.last = version, rec
	}
	return o.last
}

// uploaded notes what a run uploaded, with what it had been shown.
func (o *oracle) uploaded(a *actor, deployment, version, description string) {
	s := &set{by: a, version: version, deployment: deployment, contents: o.unpack(deployment, version), manifest: map[string]state.File{}}
	_, rest, _ := strings.Cut(description, " run ")
	run, rest, _ := strings.Cut(rest, ":")
	s.run = run
	if _, back, ok := strings.Cut(rest, "rolled back to run "); ok {
		s.back, _, _ = strings.Cut(back, " ")
	}
	files, err := state.NewStore(o.w.states, "", "sim").ReadManifest(context.Background(), run)
	if err != nil {
		o.w.log("%s uploads %s without a manifest: %v", a.name, version, err)
	}
	for _, f := range files {
		s.manifest[f.Path] = f
	}
	a.mu.Lock()
	s.knew = a.knows
	for _, list := range a.listings {
		if s.back != "" {
			break // it is of no listing
		}
		last := list[len(list)-1]
		s.listed = append(s.listed, last)
		if s.began.IsZero() || last.began.Before(s.began) {
			s.began = last.began
		}
		half := last.ended.Add(a.knows.end.Sub(last.ended) / 2) // of the time that was left
		s.unchecked = s.unchecked || !a.knows.end.IsZero() && time.Now().After(half)
	}
	a.mu.Unlock()
	s.refused = o.refusedBefore(s)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sets[version], o.byRun[run] = s, s
}

func (o *oracle) unpack(deployment, version string) map[string]string {
	contents := map[string]string{}
	for _, up := range o.w.astro.Uploads(deployment) {
		if up.Version == version {
			files, err := astrotest.Files(up.Archive())
			if err != nil {
				panic(err)
			}
			for _, f := range files {
				contents[f.Name] = string(f.Content)
			}
		}
	}
	return contents
}

// moment is what is true just before a finalize takes effect.
type moment struct {
	desired string
	record  state.Record
}

func (o *oracle) before(deployment string) moment {
	_, desired := o.w.astro.Versions(deployment)
	return moment{desired: desired, record: o.record()}
}

// finalized judges a finalize that took effect just now.
func (o *oracle) finalized(a *actor, deployment, version string, was moment, late bool) {
	o.mu.Lock()
	s, live := o.sets[version], o.sets[was.desired]
	o.mu.Unlock()
	o.w.log("%s finalizes %s: %s", a.name, version, summary(s.contents))
	o.checkShown(s)
	o.checkFates(s)
	o.mu.Lock()
	if s.landed.IsZero() {
		s.landed = time.Now()
	}
	o.mu.Unlock()
	hasFence := was.record.Pending != nil && was.record.Pending.TarballVersion == version
	o.mu.Lock()
	disturbed := a.start.Before(o.disturbed)
	o.mu.Unlock()
	if !hasFence || a.isDead() || disturbed {
		a.late = true
		o.mu.Lock()
		delete(o.peaks, deployment) // what it removed counts from here
		if disturbed {
			clear(o.peaks) // and its record was of another target, or lost
		}
		o.mu.Unlock()
		o.w.log("%s: excused: fence %v dead %v disturbed %v", a.name, hasFence, a.isDead(), disturbed)
		return // the one exception: on its way when its run died or was overtaken
	}
	o.checkRolledBack(a, s)
	if s.back != "" {
		o.checkNews(s, live, was)
		o.forgetPeaks(s, was, late)
		return
	}
	if live != nil && live.by != nil && live.deployment == deployment && s.began.Before(live.began) && was.record.Live != nil && was.record.Live.TarballVersion == was.desired {
		o.w.violate("G2: %s of a listing at %s replaces one at %s", version, o.since(s.began), o.since(live.began))
	}
	if was.record.Hold(state.Paused) != nil && o.w.pausedAt.Before(a.wrote) {
		o.w.violate("a paused route deploys %s", version)
	}
	o.checkNews(s, live, was)
	o.checkRemovals(s, live, was)
	if late { // its run is over, and others may not know of it
		o.mu.Lock()
		delete(o.peaks, deployment)
		o.mu.Unlock()
	}
}

func (o *oracle) since(t time.Time) string { return fmt.Sprintf("%.3f", t.Sub(o.w.began).Seconds()) }

func summary(contents map[string]string) string {
	var b strings.Builder
	for _, p := range slices.Sorted(maps.Keys(contents)) {
		fmt.Fprintf(&b, "%s=%s ", strings.TrimSuffix(strings.TrimPrefix(p, "dags/"), ".py"), strings.TrimPrefix(contents[p], "content "))
	}
	return b.String()
}

// checkShown is G3: each file is what the run was shown, or kept; and what was shown had been quiet.
func (o *oracle) checkShown(s *set) {
	if s.back != "" {
		for _, src := range o.w.sources {
			o.checkContents(s, src)
		}
		return
	}
	for i, l := range s.listed {
		src := o.w.sources[i]
		paths := map[string]string{} // path to version
		for key, version := range l.versions {
			paths[src.path(key)] = version
		}
		for p, version := range paths {
			line, known := s.manifest[p]
			switch {
			case len(s.manifest) == 0:
			case !known:
				o.w.violate("G3: %s was shown, and %s does not know of it", p, s.version)
			case line.State == state.Live && line.Version != version:
				o.w.violate("G3: %s is shipped as version %s, and was shown as %s", p, line.Version, version)
			}
		}
		for p, line := range s.manifest {
			if strings.HasPrefix(p, "dags/"+src.name+"/") && line.State == state.Live && paths[p] == "" {
				o.w.violate("G3: %s is shipped, and was not shown", p)
			}
		}
		o.checkContents(s, src)
		o.checkQuiet(s, i, l)
	}
}

// checkContents compares the shipped bytes with all that its key ever was under that version.
func (o *oracle) checkContents(s *set, src *source) {
	for p, line := range s.manifest {
		if !strings.HasPrefix(p, "dags/"+src.name+"/") || line.State == state.LeftOut {
			continue
		}
		src.mu.Lock()
		want, known := src.versions[line.Key+"@"+line.Version]
		src.mu.Unlock()
		if got := s.contents[p]; !known || got != want {
			o.w.violate("G3: %s is shipped as %q, and its version %s is %q", p, got, line.Version, want)
		}
	}
}

// checkQuiet: nothing half uploaded. What was shown was quiet, or shown twice, or the wait had its end.
func (o *oracle) checkQuiet(s *set, i int, l *listing) {
	young := false
	for _, obj := range l.objects {
		young = young || l.began.Truncate(time.Second).Sub(obj.Modified) < quietPeriod-time.Second
	}
	if !young {
		return
	}
	ended := l.ended // of all sources
	for _, other := range s.listed {
		if other.ended.After(ended) {
			ended = other.ended
		}
	}
	s.by.mu.Lock()
	defer s.by.mu.Unlock()
	for _, earlier := range s.by.listings[i] {
		if l.began.Sub(earlier.began) >= quietPeriod-2*time.Second && maps.Equal(earlier.versions, l.versions) || ended.Sub(earlier.called) >= maxWait {
			return
		}
	}
	o.w.violate("G3: %s ships what was uploaded just before %s", s.version, o.since(l.began))
}

// checkNews is G6: what is live is not deployed again.
func (o *oracle) checkNews(s, live *set, was moment) {
	o.mu.Lock()
	failed := o.failed[was.desired]
	o.mu.Unlock()
	if live == nil || live.by == nil || live.version == s.version || failed {
		return
	}
	current := was.record.Live != nil && was.record.Live.TarballVersion == live.version
	if current && maps.Equal(s.contents, live.contents) {
		o.w.violate("G6: %s deploys what is live already", s.version)
	}
}

// checkRemovals is G4.
func (o *oracle) checkRemovals(s, live *set, was moment) {
	base := live
	if was.record.Live != nil {
		o.mu.Lock()
		if known := o.sets[was.record.Live.TarballVersion]; known != nil {
			base = known
		}
		o.mu.Unlock()
	}
	if base == nil {
		return
	}
	o.mu.Lock()
	let := o.replace[was.desired] || o.replace[s.knew.desired] // a rollback may have come in between
	if let {
		delete(o.peaks, s.deployment)
	}
	o.mu.Unlock()
	if let {
		return // a person did not mind what would be replaced
	}
	if base.landed.After(s.by.looked) {
		return // nobody could know yet
	}
	if base.by == nil {
		o.w.violate("G4: %s replaces DAGs of others, which nobody let go", s.version)
		return
	}
	for i, src := range o.w.sources {
		o.checkRemovalsOf(s, base, i, src)
	}
}

// forgetPeaks: what a rollback removes somebody let go.
func (o *oracle) forgetPeaks(s *set, was moment, late bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if late {
		delete(o.peaks, s.deployment)
	}
	if was.record.Live == nil || o.sets[was.record.Live.TarballVersion] == nil {
		return
	}
	live := o.sets[was.record.Live.TarballVersion]
	for _, src := range o.w.sources {
		prefix := "dags/" + src.name + "/"
		for p := range live.contents {
			if _, still := s.contents[p]; !still && strings.HasPrefix(p, prefix) && o.peaks[s.deployment] != nil {
				o.peaks[s.deployment][src.name] = countOf(s.contents, prefix)
			}
		}
	}
}

func (o *oracle) checkRemovalsOf(s, base *set, i int, src *source) {
	prefix := "dags/" + src.name + "/"
	before, after := countOf(base.contents, prefix), countOf(s.contents, prefix)
	o.mu.Lock()
	peaks := o.peaks[s.deployment]
	if peaks == nil {
		peaks = map[string]int{}
		o.peaks[s.deployment] = peaks
	}
	peaks[src.name] = max(peaks[src.name], before)
	peak := peaks[src.name]
	n, approved := 0, 0
	var gone []string
	for p := range base.contents {
		if _, still := s.contents[p]; still || !strings.HasPrefix(p, prefix) {
			continue
		}
		gone = append(gone, p)
		if o.let[p] {
			approved++
			continue
		}
		n++
	}
	if approved > 0 {
		peaks[src.name] = after
	}
	empty := after == 0 && !o.isRolledOut(s, prefix)
	o.mu.Unlock()
	slices.Sort(gone)
	total := peak - before + n
	if n > 0 && (empty || total > maxRemovedFiles && total*100 > maxRemovedPercent*peak) {
		o.w.violate("G4: %s removes %d of %s's files (%d at most, %d before, %d after), which nobody let go: %v", s.version, n, src.name, peak, before, after, gone)
	}
	for _, p := range gone {
		key := "dags/" + strings.TrimPrefix(p, prefix)
		if !src.missedTwice(key, s.listed[i]) {
			o.w.violate("G4: %s removes %s, which one listing alone misses", s.version, p)
		}
	}
}

// missedTwice reports whether two listings miss a key, and none that began in between shows it.
func (s *source) missedTwice(key string, last *listing) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	misses := 0
	for _, l := range slices.Backward(s.listings) {
		if l.began.After(last.began) {
			continue
		}
		if _, shown := l.versions[key]; shown {
			continue
		}
		if misses++; misses == 2 {
			return true
		}
	}
	return false
}

func countOf(contents map[string]string, prefix string) int {
	n := 0
	for p := range contents {
		if strings.HasPrefix(p, prefix) {
			n++
		}
	}
	return n
}

// approved notes what a person let go.
func (o *oracle) approved(a deployer.Approval) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, p := range a.Removed {
		o.let[p] = true
	}
	if a.Replace != "" {
		o.replace[a.Replace] = true
	}
}

// disturb excuses runs that are under way, and forgets what was true.
func (o *oracle) disturb() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.disturbed = time.Now()
	o.peaks = map[string]map[string]int{}
}

// stranger notes a set that others deployed.
func (o *oracle) stranger(version string, contents map[string]string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sets[version] = &set{version: version, contents: contents, landed: time.Now()}
}

func (o *oracle) markFailed(version string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.failed[version] = true
}

// manifest reads one, as far as it can be read.
func (o *oracle) manifest(run string) []state.File {
	files, _ := state.NewStore(o.w.states, "", "sim").ReadManifest(context.Background(), run)
	return files
}

// bucketContents is what should be live.
func (o *oracle) bucketContents() map[string]string {
	contents := map[string]string{}
	for _, src := range o.w.sources {
		for _, key := range src.keys() {
			contents[src.path(key)], _ = src.content(key)
		}
	}
	return contents
}

// checkAnswered is G1 where nothing was lost and nobody died: everything is live without any reconcile.
func (o *oracle) checkAnswered() {
	rec := o.record()
	if o.w.excused {
		return
	}
	if rec.Live != nil && o.isOpen(rec.Live) {
		return // a removal was left open when the wait had its end: that is for the reconcile
	}
	o.checkHold("without reconcile", rec)
	if rec.Hold(state.HeldBack) != nil || o.isHeld(rec) {
		return
	}
	o.checkConverged("without reconcile", true)
}

// isHeld reports whether a source became empty. That holds the run, even where noting it in the record failed.
func (o *oracle) isHeld(rec state.Record) bool {
	for _, src := range o.w.sources {
		if rec.Live != nil && rec.Live.Sources[src.url] > 0 && len(src.keys()) == 0 {
			return true
		}
	}
	return false
}

// checkConverged is G1. Paths that the guard may keep are let pass if kept is set.
func (o *oracle) checkConverged(when string, kept bool) {
	o.w.mu.Lock()
	deployment := o.w.deployment
	o.w.mu.Unlock()
	want := o.bucketContents()
	_, desired := o.w.astro.Versions(deployment)
	rec := o.record()
	o.checkHold(when, rec)
	if kept && rec.Hold(state.HeldBack) != nil {
		return // a person must act first
	}
	free := o.withPins(want, rec)
	got := map[string]string{}
	if desired != "" {
		got = o.unpack(deployment, desired)
	}
	keptPaths := map[string]bool{}
	if kept && rec.Live != nil {
		for _, f := range o.manifest(rec.Live.Manifest) {
			if f.State == state.Kept && f.Reason == "removal" {
				keptPaths[f.Path] = true
			}
		}
	}
	for p, content := range want {
		if got[p] != content && !free[p] && !o.isTurnedDown(rec, p, content, got) {
			o.w.violate("G1 %s: %s is %q, and the bucket has %q", when, p, got[p], content)
		}
	}
	for p := range got {
		if _, ok := want[p]; !ok && !keptPaths[p] && !free[p] {
			o.w.violate("G1 %s: %s is live, and not in the bucket", when, p)
		}
	}
	if len(want) > 0 && (rec.Live == nil || rec.Live.TarballVersion != desired || rec.Pending != nil) {
		o.w.violate("G1 %s: the record does not say what is live (%s)", when, desired)
	}
}
