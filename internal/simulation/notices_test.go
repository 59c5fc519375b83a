package simulation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/state"
)

// errAside is what goes wrong beside the deploys. It must fail no run.
var errAside = errors.New("nobody listens")

// Two want to be told of changes; one of them of each deploy, too.
const (
	opsTarget = "ops"
	allTarget = "all"
	pagesName = "pages"
)

const outboxLimit = 50

// What people are told of deploys that Astro could not carry out, and of their end. Which are told of is not followed here.
const failedText, runsText = "ended FAILED at Astro", "Astro runs what was deployed last"

// simNotifier is how one actor tells people.
type simNotifier struct{ a *actor }

func (n simNotifier) Targets(kind string) []string {
	if kind == state.NoticeDeployed {
		return []string{allTarget}
	}
	return []string{opsTarget, allTarget}
}

func (n simNotifier) Send(ctx context.Context, target string, notice *state.Notice) error {
	if n.a.w.isDown(target) {
		return errAside
	}
	sent := *notice
	return aside(n.a.call(ctx, "tell "+target+" "+notice.ID, true, func(context.Context) error {
		n.a.w.oracle.told(target, &sent)
		return nil
	}))
}

func aside(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", errAside, err)
}

// checkAside: no outcome depends on who listens.
func (w *world) checkAside(r deployer.Result) {
	if errors.Is(r.Err, errAside) {
		w.violate("a run is %s because of a notice or a page: %v", r.Outcome, r.Err)
	}
}

func (w *world) isDown(name string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.down[name] && !w.calm
}

// loseTarget lets one who listens be away for a while.
func (w *world) loseTarget() {
	r := w.roll("target")
	name := []string{opsTarget, allTarget, pagesName}[r.IntN(3)]
	set := func(down bool) {
		w.mu.Lock()
		w.down[name] = down
		w.mu.Unlock()
		w.log("%s is away: %v", name, down)
	}
	set(true)
	time.Sleep(between(r, 10*time.Second, 6*time.Minute))
	set(false)
}

// expected is a change that people must be told of.
type expected struct {
	kind, run string
	path      string // "": it is about no file
	text      string // in its reason
}

func (e expected) isIn(n *state.Notice) bool {
	has := e.path == "" || n.Total > len(n.Files) || slices.ContainsFunc(n.Files, func(f state.NoticeFile) bool { return f.Path == e.path })
	return n.Kind == e.kind && n.Run == e.run && has && (e.path == "") == (n.Total == 0 || e.kind == state.NoticeDeployed) && strings.Contains(n.Reason, e.text)
}

// news is what changed, and who was told.
type news struct {
	changes []expected
	state   string // that people were told of last: held, failed, or "" for in order
	reason  string
	drift   string
	got     map[string][]*state.Notice // by target
	ids     map[string]string          // by what a notice says
	dropped bool                       // the outbox was full
}

// told notes what arrived.
func (o *oracle) told(target string, n *state.Notice) {
	o.w.log("%s is told: %s %s %s %v", target, n.ID, n.Kind, n.Reason, n.Files)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.news.got == nil {
		o.news.got, o.news.ids = map[string][]*state.Notice{}, map[string]string{}
	}
	says := fmt.Sprint(n.Kind, n.Run, n.Reason, n.Files)
	if id, known := o.news.ids[says]; known && id != n.ID {
		o.w.violate("notices: %s and %s say the same: %s", id, n.ID, says)
	}
	o.news.ids[says] = n.ID
	o.news.got[target] = append(o.news.got[target], n)
}

// recorded judges a record that was just written.
func (o *oracle) recorded(a *actor, old state.Record, seen []*listing) {
	rec := o.record()
	o.learn(old, rec, seen)
	o.checkConfirmed(old, rec)
	o.w.mu.Lock()
	o.w.recorder = a
	o.w.mu.Unlock()
	if !o.w.p.notifies {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.checkOutbox(old, rec)
	changes := o.changesIn(old, rec)
	o.news.changes = append(o.news.changes, changes...)
	for i := range rec.Outbox {
		n := &rec.Outbox[i].Notice
		if slices.ContainsFunc(old.Outbox, func(out state.Outgoing) bool { return out.Notice.ID == n.ID }) {
			continue
		}
		failed := strings.Contains(n.Reason, failedText) || strings.Contains(n.Reason, runsText)
		switch {
		case failed:
			o.news.drift = ""
		case n.Kind == state.NoticeDrift:
			o.news.drift = n.Reason
		}
		mayDrift := failed || n.Kind == state.NoticeDrift && !inOrder(lastRun(rec).Outcome) // such a run's line does not tell of it
		if !mayDrift && !o.w.p.losses && !slices.ContainsFunc(changes, func(e expected) bool { return e.isIn(n) }) {
			o.w.violate("notices: %s tells of what did not change: %s %v", n.ID, n.Reason, n.Files)
		}
	}
	if last := lastRun(rec); last.Outcome == string(deployer.Deployed) && isNewLine(old, rec) && !isFinished(last) {
		o.news.drift = ""
	}
}

// checkOutbox: it is small, and what leaves it has arrived, or is old.
func (o *oracle) checkOutbox(old, rec state.Record) {
	if n := len(rec.Outbox); n > outboxLimit {
		o.w.violate("notices: %d wait", n)
	} else if n == outboxLimit {
		o.news.dropped = true
	}
	for i := range old.Outbox {
		n := &old.Outbox[i].Notice
		still := slices.ContainsFunc(rec.Outbox, func(out state.Outgoing) bool { return out.Notice.ID == n.ID })
		if still || time.Since(n.At) > 23*time.Hour || o.news.dropped || o.w.p.losses {
			continue
		}
		for _, target := range (simNotifier{}).Targets(n.Kind) {
			if !slices.ContainsFunc(o.news.got[target], func(g *state.Notice) bool { return g.ID == n.ID }) {
				o.w.violate("notices: %s is dropped, and %s never got it", n.ID, target)
			}
		}
	}
}

func lastRun(rec state.Record) state.Run {
	if n := len(rec.Runs); n > 0 {
		return rec.Runs[n-1]
	}
	return state.Run{}
}

func isNewLine(old, rec state.Record) bool {
	a, b := lastRun(old), lastRun(rec)
	return b.Run != "" && (a.Run != b.Run || a.Outcome != b.Outcome || !a.At.Equal(b.At))
}

// isFinished reports whether another run ended this one.
func isFinished(run state.Run) bool { return run.Reason == "finished by a later run" }

func inOrder(outcome string) bool {
	return outcome == string(deployer.Deployed) || outcome == string(deployer.Unchanged)
}

// changesIn is what people must be told of one change of the record. The lock is held.
func (o *oracle) changesIn(old, rec state.Record) []expected {
	if !isNewLine(old, rec) {
		return nil
	}
	var found []expected
	last := lastRun(rec)
	told := &o.news
	add := func(kind, path, text string) { found = append(found, expected{kind, last.Run, path, text}) }
	switch {
	case !inOrder(last.Outcome):
		idle := strings.HasPrefix(last.Reason, "waiting for the first file")
		again := last.Outcome != string(deployer.Failed) || lastRun(old).Outcome == string(deployer.Failed)
		if again && !idle && !(told.state == last.Outcome && saysTheSame(told.reason, last.Reason)) {
			add(last.Outcome, "", "")
			told.state, told.reason = last.Outcome, last.Reason
		}
		return found
	case told.state != "" && !isFinished(last) && !strings.HasPrefix(last.Reason, "rolled back to run "):
		add(state.NoticeRecovered, "", "it was "+told.state)
		told.state, told.reason = "", ""
	}
	found = append(found, o.fileChanges(old, rec, last.Run)...)
	if last.Outcome == string(deployer.Deployed) {
		add(state.NoticeDeployed, "", "")
	}
	if isFinished(last) {
		return found
	}
	drift := last.Reason
	if strings.HasPrefix(drift, "rolled back to run ") {
		_, drift, _ = strings.Cut(drift, "; ")
	}
	switch {
	case strings.Contains(drift, failedText):
	case drift != "" && !saysTheSame(told.drift, drift):
		add(state.NoticeDrift, "", "")
	case told.drift != "" && (drift == "" || last.Outcome == string(deployer.Deployed)):
		add(state.NoticeRecovered, "", "deployed from here again")
		told.drift = ""
	}
	return found
}

// saysTheSame: times, counts and names of deploys are no news; names of files are.
func saysTheSame(a, b string) bool {
	words := func(text string) []string {
		return slices.DeleteFunc(strings.Fields(text), func(w string) bool {
			w = strings.TrimFunc(w, func(c rune) bool { return !unicode.IsLetter(c) && !unicode.IsDigit(c) })
			only := func(set string) bool { return strings.Trim(w, set) == "" }
			return strings.ContainsFunc(w, unicode.IsDigit) && (only("0123456789TZhms.,:+-") || !strings.ContainsAny(w, "/._:+,"))
		})
	}
	return slices.Equal(words(a), words(b))
}

// fileChanges are those of the files' fates.
func (o *oracle) fileChanges(old, rec state.Record, run string) []expected {
	if rec.Live == nil || old.Live != nil && old.Live.Manifest == rec.Live.Manifest {
		return nil
	}
	before, now := map[string]string{}, o.fatesOf(rec.Live.Manifest)
	if old.Live != nil && old.Target == rec.Target {
		before = o.fatesOf(old.Live.Manifest)
	}
	var found []expected
	for p, fate := range now {
		if before[p] != fate {
			kind := state.NoticeKept
			if strings.HasPrefix(fate, state.LeftOut) {
				kind = state.NoticeLeftOut
			}
			found = append(found, expected{kind, run, p, ""})
		}
	}
	for p := range before {
		if now[p] == "" {
			found = append(found, expected{state.NoticeRecovered, run, p, ""})
		}
	}
	return found
}

// fatesOf are the fates in a manifest that somebody should do something about. The lock is held.
func (o *oracle) fatesOf(manifest string) map[string]string {
	fates := map[string]string{}
	if f := o.facts[manifest]; f != nil {
		for p, line := range f.lines {
			if line.State == state.Live || line.Reason != "syntax" && line.Reason != "removal" {
				continue
			}
			fates[p] = line.State + " " + line.Reason
			if line.Refused != nil {
				fates[p] += " " + line.Refused.Version
			}
		}
	}
	return fates
}

// checkConfirmed: Astro takes its time to bring a deploy up, and nobody can have seen it earlier.
func (o *oracle) checkConfirmed(old, rec state.Record) {
	if rec.Live == nil || !rec.Live.Confirmed || old.Live != nil && old.Live.Confirmed && old.Live.TarballVersion == rec.Live.TarballVersion {
		return
	}
	o.mu.Lock()
	s := o.sets[rec.Live.TarballVersion]
	o.mu.Unlock()
	if s != nil && (s.landed.IsZero() || time.Since(s.landed) < bringUpTime) {
		o.w.violate("G7: the record calls %s live, and Astro does not run it yet", s.version)
	}
}

// checkTold: everybody was told of each change, and where nothing went wrong once.
func (o *oracle) checkTold() {
	if !o.w.p.notifies || o.w.p.losses {
		return
	}
	if n := len(o.record().Outbox); n > 0 {
		o.w.violate("notices: %d still wait in the end", n)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, e := range o.news.changes {
		for _, target := range (simNotifier{}).Targets(e.kind) {
			if !o.news.dropped && !slices.ContainsFunc(o.news.got[target], e.isIn) {
				o.w.violate("notices: %s was never told: %+v", target, e)
			}
		}
	}
	for target, got := range o.news.got {
		seen := map[string]bool{}
		for _, n := range got {
			if seen[n.ID] && o.w.faults == 0 {
				o.w.violate("notices: %s was told twice of %s, and nothing had gone wrong", target, n.ID)
			}
			seen[n.ID] = true
		}
	}
}
