package simulation

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/state"
)

// knowledge is what a run goes by where files are broken.
type knowledge struct {
	settings        []string     // of its sources
	record          state.Record // as last read or written
	desired, python string       // of the Deployment, as last looked at
	end             time.Time    // of the run's time; zero is never
}

// sees notes the record as this actor reads or writes it now: what its run takes for live.
func (a *actor) sees(key string) {
	if !a.w.p.broken || !strings.HasSuffix(key, "record.json") {
		return
	}
	rec := a.w.oracle.record()
	a.mu.Lock()
	a.knows.record = rec
	a.mu.Unlock()
}

// isBrokenFile: only Python has a syntax.
func isBrokenFile(p, content, python string) bool {
	return path.Ext(p) == ".py" && isBroken(content, python)
}

// isIgnored reports whether a set of files tells Airflow to look away from one of them.
func isIgnored(contents map[string]string, p string) bool {
	_, below, _ := strings.Cut(p, "/")
	mount, _, _ := strings.Cut(below, "/")
	return slices.Contains(strings.Split(contents["dags/"+mount+"/.airflowignore"], "\n"), path.Base(p))
}

// isRefused is the rule: whether a file must not go live as it is shown. It has a syntax error, its source does not say that this is
// no matter, Airflow looks at it, and it is not live already.
func isRefused(content, python, setting, p string, set, live map[string]string) bool {
	last, isLive := live[p]
	return isBrokenFile(p, content, python) && setting != deployer.Warn && !isIgnored(set, p) && (!isLive || last != content)
}

// checkFates is G5: for each file that the run was shown.
//   - What is refused is not shipped: its path has what was live there, or nothing. With the setting hold the whole set is not shipped.
//   - A run that got no verdict on a content, or had no time to ask, may ship it all the same; but not what was refused at this path before.
//   - All else is shipped, and nothing is said to be kept or left out because of its syntax.
func (o *oracle) checkFates(s *set) {
	if !o.w.p.broken || len(s.manifest) == 0 {
		return
	}
	lives := o.taken(s)
	for i, l := range s.listed {
		for _, key := range slices.Sorted(maps.Keys(l.versions)) {
			src := o.w.sources[i]
			p, content, wrong := src.path(key), src.contentOf(key, l.versions[key]), ""
			if o.isPinned(s.run, p) {
				continue
			}
			if !slices.ContainsFunc(lives, func(live map[string]string) bool {
				wrong = s.wrongFate(s.knew.settings[i], p, content, live)
				return wrong == ""
			}) {
				o.w.violate("G5: %s was shown as %q, and in %s it %s", p, content, s.version, wrong)
			}
		}
	}
}

// wrongFate says what is wrong with the fate of a file in a set; "" if nothing is.
func (s *set) wrongFate(setting, p, content string, live map[string]string) string {
	s.by.mu.Lock()
	unchecked := s.unchecked || s.by.spared[content]
	s.by.mu.Unlock()
	before, known := s.refused[p]
	mayShip := unchecked && !(known && before == content)
	line := s.manifest[p]
	shipped, isShipped := s.contents[p]
	last, wasLive := live[p]
	asShown, asBefore := isShipped && shipped == content, isShipped == wasLive && shipped == last
	refused := isRefused(content, s.knew.python, setting, p, s.contents, live)
	switch {
	case line.Reason == "changing" && !asShown && asBefore: // nobody could read it
	case line.Reason == "syntax" && !refused && unchecked && asBefore && isBrokenFile(p, content, ""): // as another Python found it
	case line.Reason == "unchecked" && s.unchecked && wasLive && asBefore: // it waits for the next run
	case refused && mayShip && asShown:
	case refused && setting == deployer.Hold && !mayShip:
		return "does not hold the route"
	case refused && !asBefore:
		return fmt.Sprintf("is %q, not as it was live, %q (%v)", shipped, last, wasLive)
	case refused && line.Reason != "syntax":
		return "is turned down, and nobody is told why"
	case !refused && !asShown:
		return fmt.Sprintf("is %q, though nothing is wrong with it", shipped)
	case !refused && line.State != state.Live:
		return fmt.Sprintf("is %s: %s", line.State, line.Reason)
	case asShown && !(wasLive && last == content) && isBrokenFile(p, content, s.knew.python) && line.Reason == "":
		return "goes live, and nobody is told"
	}
	return ""
}

// refusedBefore reads from the manifest of what the run took for live which contents were refused at which paths.
func (o *oracle) refusedBefore(s *set) map[string]string {
	refused, live := map[string]string{}, s.knew.record.Live
	if !o.w.p.broken || o.w.p.losses || live == nil || s.knew.record.Target.Deployment != s.deployment {
		return refused
	}
	for _, f := range o.manifest(live.Manifest) {
		for _, src := range o.w.sources {
			if r := f.Refused; r != nil && r.Source == src.url {
				refused[f.Path] = src.contentOf(r.Key, r.Version)
			}
		}
	}
	return refused
}

// taken is what the run that made a set took for live: what the record named when it last read or wrote it, or, if that names nothing, what
// was live. After a loss it may be either; and nothing, where a person did not mind what would be replaced.
func (o *oracle) taken(s *set) []map[string]string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var lives []map[string]string
	if live := s.knew.record.Live; live != nil && s.knew.record.Target.Deployment == s.deployment {
		lives = append(lives, o.sets[live.TarballVersion].contents)
		if !o.w.p.losses {
			return lives
		}
	}
	desired := o.sets[s.knew.desired]
	if desired != nil && desired.by != nil {
		lives = append(lives, desired.contents)
	}
	if desired == nil || desired.by == nil || o.replace[s.knew.desired] {
		lives = append(lives, nil)
	}
	return lives
}

// isTurnedDown reports whether what is live may differ from the bucket at a path, because the bucket's content is refused. The manifest must
// say so. What is there instead was checked with each set: the last content that went live there since nothing was, or nothing.
func (o *oracle) isTurnedDown(rec state.Record, p, content string, live map[string]string) bool {
	if !o.w.p.broken || rec.Live == nil {
		return false
	}
	_, isLive := live[p]
	want := state.LeftOut
	if isLive {
		want = state.Kept
	}
	src := o.w.sourceOf(p)
	return src.syntax() != deployer.Hold && isRefused(content, o.w.python(), src.syntax(), p, live, live) &&
		slices.ContainsFunc(o.manifest(rec.Live.Manifest), func(f state.File) bool { return f.Path == p && f.State == want && f.Reason == "syntax" })
}

// checkHold: the syntax holds a route only where a file is broken and its source wants that, or where nothing else is left of a source.
func (o *oracle) checkHold(when string, rec state.Record) {
	hold := rec.Hold(state.HeldBack)
	if hold == nil || !strings.HasPrefix(hold.Reason, "syntax: ") {
		return
	}
	if !o.mayHold(rec) {
		o.w.violate("G5 %s: held without need: %s", when, hold.Reason)
	}
}

// mayHold reports whether the check may hold a run that finds the bucket as it is.
func (o *oracle) mayHold(rec state.Record) bool {
	o.w.mu.Lock()
	now := set{deployment: o.w.deployment, knew: knowledge{record: rec}}
	o.w.mu.Unlock()
	_, now.knew.desired = o.w.astro.Versions(now.deployment)
	lives, want := o.taken(&now), o.bucketContents()
	o.withPins(want, rec)
	if o.w.p.losses {
		lives = append(lives, nil) // what was live is not known
	}
	return slices.ContainsFunc(lives, func(live map[string]string) bool { return o.holds(want, live) })
}

// holds reports whether the check holds a run for the files that it wants, beside those that are live.
func (o *oracle) holds(want, live map[string]string) bool {
	for _, s := range o.w.sources {
		shipped, refusals := 0, 0
		for p, content := range want {
			if o.w.sourceOf(p) != s {
				continue
			}
			refused := isRefused(content, o.w.python(), s.syntax(), p, want, live)
			if refused {
				refusals++
			}
			if _, isLive := live[p]; isLive || !refused {
				shipped++
			}
		}
		if refusals > 0 && (s.syntax() == deployer.Hold || shipped == 0) {
			return true
		}
	}
	return false
}
