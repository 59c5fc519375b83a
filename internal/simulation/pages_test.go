package simulation

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/state"
)

const (
	bringUpTime = 20 * time.Second // from a finalize until Astro runs it
	pagesLife   = 15 * time.Minute
)

// shown is what people read.
type shown struct {
	status *state.Status
	doubt  bool // older pages may have come after newer ones, or nobody could note that they are old
}

// simPages is how one actor shows the route.
type simPages struct{ a *actor }

func (p simPages) Write(ctx context.Context, s *state.Status) error {
	p.a.unshown = true // until it is
	if p.a.w.isDown(pagesName) {
		return errAside
	}
	page := *s
	err := aside(p.a.call(ctx, "write the pages", true, func(ctx context.Context) error {
		w := p.a.w
		w.mu.Lock()
		w.shown = shown{&page, isLate(ctx) || w.recorder != p.a}
		w.mu.Unlock()
		w.log("%s shows: %s %s", p.a.name, page.State, page.Summary)
		return nil
	}))
	p.a.unshown = err != nil
	return err
}

func (w *world) doubtPages() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shown.doubt = true
}

// checkShownBy: what a run that ended well leaves on the pages is what it noted, whoever wrote them.
func (o *oracle) checkShownBy(a *actor, r deployer.Result) {
	o.w.mu.Lock()
	page, skip := o.w.shown.status, o.w.shown.doubt || a.unshown || o.w.recorder != a || o.w.down[pagesName]
	o.w.mu.Unlock()
	rec := o.record()
	if !o.w.p.notifies || o.isLenient() || skip || a.isDead() || !inOrder(string(r.Outcome)) || rec.Live == nil {
		return
	}
	if page == nil || page.Live == nil || page.Live.Run != rec.Live.Run {
		o.w.violate("G7: %s ends, and the pages are older than %s", a.name, rec.Live.Run)
		return
	}
	if page.Drift != "" {
		return // what the manifest says is not what Astro runs
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	f := o.facts[rec.Live.Manifest]
	for _, file := range page.Files {
		if line, ok := f.lines[file.Path]; !ok || line.State != file.State || line.Reason != file.Reason {
			o.w.violate("G7: %s ends, and the pages say of %s: %s %s, and not %s %s", a.name, file.Path, file.State, file.Reason, line.State, line.Reason)
		}
	}
}

// checkPages: in the end the pages are true. Before they have become old they may be in doubt.
func (o *oracle) checkPages(when string, old bool) {
	o.w.mu.Lock()
	page, doubt := o.w.shown.status, o.w.shown.doubt
	deployment := o.w.deployment
	o.w.mu.Unlock()
	if !o.w.p.notifies || doubt && !old {
		return
	}
	wrong := func(format string, args ...any) {
		o.w.violate("G7 %s: the pages: %s", when, fmt.Sprintf(format, args...))
	}
	if page == nil {
		wrong("nobody ever wrote them")
		return
	}
	rec := o.record()
	last := lastRun(rec)
	if rec.Hold(state.HeldBack) != nil || !inOrder(last.Outcome) {
		if page.State != last.Outcome && page.State != state.StatusWaiting {
			wrong("they say %s, and the last run is %s: %s", page.State, last.Outcome, last.Reason)
		}
		return
	}
	_, desired := o.w.astro.Versions(deployment)
	if page.Live == nil || page.Live.TarballVersion != desired || !page.Deployment.InSync || page.Live.DeployID != o.deployOf(deployment, desired) {
		wrong("they call %+v live, and it is %s", page.Live, desired)
		return
	}
	o.checkPageFiles(page, rec, o.unpack(deployment, desired), wrong)
	o.checkPageState(page, rec, old, wrong)
}

func (o *oracle) deployOf(deployment, version string) string {
	for _, f := range slices.Backward(o.w.astro.Finalized(deployment)) {
		if f.Version == version && f.Type == "DAG_ONLY" {
			return f.DeployID
		}
	}
	return ""
}

// checkPageFiles: each file's fate, and since which deploy it is live.
func (o *oracle) checkPageFiles(page *state.Status, rec state.Record, live map[string]string, wrong func(string, ...any)) {
	want, files := o.bucketContents(), map[string]state.StatusFile{}
	for _, f := range page.Files {
		files[f.Path] = f
	}
	for p, content := range live {
		f, ok := files[p]
		inBucket, shown := want[p]
		equal := shown && inBucket == content
		pinned := o.isPinned(rec.Live.Manifest, p)
		switch {
		case !ok || f.State == state.LeftOut:
			wrong("%s is live, and they say %q", p, f.State)
		case equal && f.State != state.Live && !pinned:
			wrong("%s is live as the bucket has it, and they say %s", p, f.State)
		case !equal && f.State != state.Kept:
			wrong("%s is not as the bucket has it, and they say %s", p, f.State)
		case !equal && pinned && f.Reason != "rolled back" && !o.isLenient():
			wrong("%s was rolled back, and they say %s", p, f.Reason)
		}
		if since := o.broughtBy(rec, p); since != "" && f.DeployID != "" && f.DeployID != since {
			wrong("%s is live since %s, and they say %s", p, since, f.DeployID)
		}
	}
	for p := range want {
		if _, is := live[p]; !is && files[p].State != state.LeftOut {
			wrong("%s is left out, and they say %q", p, files[p].State)
		}
	}
	for p, f := range files {
		_, is := live[p]
		if _, shown := want[p]; !is && !shown && !(f.State == state.LeftOut && f.Reason == "rolled back") {
			wrong("%s is nowhere, and they say %s", p, f.State)
		}
	}
}

// broughtBy is the deploy that brought what is live at a path, by what the record named as live; "" if that is not certain.
func (o *oracle) broughtBy(rec state.Record, p string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.isLenient() || o.w.p.strangers || o.byRun[rec.Live.Run] == nil {
		return ""
	}
	first := o.byRun[rec.Live.Run]
	for _, s := range slices.Backward(o.lineage) {
		if content, ok := s.contents[p]; !ok || content != first.contents[p] {
			break
		}
		first = s
	}
	return o.deployOf(first.deployment, first.version)
}

func (o *oracle) checkPageState(page *state.Status, rec state.Record, old bool, wrong func(string, ...any)) {
	o.mu.Lock()
	troubled := len(o.fatesOf(rec.Live.Manifest)) > 0
	s := o.sets[rec.Live.TarballVersion]
	o.mu.Unlock()
	want := []string{state.StatusLive, state.StatusDeploying}
	switch {
	case troubled:
		want = []string{state.StatusAttention}
	case old && s != nil && time.Since(s.landed) > bringUpTime+time.Minute:
		want = want[:1]
	}
	if !slices.Contains(want, page.State) {
		wrong("they say %s (%s), and it is %s", page.State, page.Summary, strings.Join(want, " or "))
	}
	if page.State == state.StatusLive && page.Live.LiveAt.IsZero() {
		wrong("nobody knows since when it is live")
	}
}

// readPages lets the pages become old, and reads them after one more run.
func (w *world) readPages() {
	time.Sleep(pagesLife + 25*time.Minute) // clocks differ
	w.reconcile()
	w.oracle.checkPages("in the end", true)
	w.oracle.checkTold()
}

var (
	_ deployer.Pages    = simPages{}
	_ deployer.Notifier = simNotifier{}
)
