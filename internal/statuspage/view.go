package statuspage

import (
	"encoding/base64"
	"maps"
	"slices"
	"time"

	"github.com/dagbucket/dagbucket/internal/state"
)

const (
	firstRows   = 100 // of the list of files, that are there without JavaScript; page.js goes on in steps of as many
	recentRuns  = 20  // that are open
	namedOfARun = 3
)

// view is what the page shows, besides the data of all files.
type view struct {
	*state.Status
	Badge          badge
	Callouts       []callout
	Attention      []attention
	AttentionTotal int
	AttentionMore  int
	Total          int
	Filters        []filter
	First          []row
	Runs, Earlier  []run
}

func newView(s *state.Status) *view {
	v := &view{Status: s, Badge: badgeOf(s.State), Callouts: calloutsOf(s), Total: len(s.Files)}
	for i := range s.Files[:min(firstRows, len(s.Files))] {
		v.First = append(v.First, rowOf(&s.Files[i], len(s.Sources) > 1))
	}
	var all tour
	for i := range s.Files {
		all.visit(&s.Files[i])
	}
	v.Filters = all.filters()
	v.Attention, v.AttentionTotal = all.attention()
	v.AttentionMore = v.AttentionTotal - len(v.Attention)
	runs := runsOf(s)
	v.Runs, v.Earlier = runs[:min(recentRuns, len(runs))], runs[min(recentRuns, len(runs)):]
	return v
}

// badge is a route's state at a glance.
type badge struct {
	Label, Tone string
	Icon        markup
}

func badgeOf(word string) badge {
	switch word {
	case state.StatusFailed:
		return badge{"Failed", "bad", iconCross}
	case state.StatusHeld:
		return badge{"Held", "warn", iconPause}
	case state.StatusDrifted:
		return badge{"Changed by others", "other", iconFork}
	case state.StatusAttention:
		return badge{"Needs attention", "warn", iconAlert}
	case state.StatusWaiting:
		return badge{"Waiting", "info", iconClock}
	case state.StatusDeploying:
		return badge{"Deploying", "info", iconUp}
	case state.StatusLive:
		return badge{"Live", "good", iconCheck}
	}
	return badge{word, "quiet", iconClock}
}

// favicon is a dot in the colour of a tone: a tab shows how the route is. It is inline, or browsers would ask for one.
func favicon(tone string) string {
	colours := map[string]string{"good": "#2f9e54", "warn": "#d99411", "bad": "#d33a45", "info": "#3b82d6", "other": "#8b5cd6"}
	colour := colours[tone]
	if colour == "" {
		colour = "#8d98a5"
	}
	svg := `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><circle cx="8" cy="8" r="7" fill="` + colour + `"/></svg>`
	return "data:image/svg+xml;base64," + base64.StdEncoding.EncodeToString([]byte(svg))
}

// callout is something that the whole route waits for, or that others did to it.
type callout struct {
	Title, Tone, Text string
	Since             time.Time // zero if that is not known
	Deploy, URL       string
}

func calloutsOf(s *state.Status) []callout {
	var list []callout
	for _, h := range s.Holds {
		c := callout{Title: h.Kind, Tone: "warn", Text: h.Reason, Since: h.At}
		switch h.Kind {
		case state.Paused:
			c.Title = "Paused"
		case state.Promoting:
			c.Title, c.Tone = "A promotion is writing into the sources", "info"
		case state.HeldBack:
			c.Title = "Held"
		}
		list = append(list, c)
	}
	if s.Drift != "" {
		list = append(list, callout{Title: "What others did", Tone: "other", Text: s.Drift})
	}
	if p := s.Pending; p != nil {
		list = append(list, callout{Title: "On its way", Tone: "info", Text: plural(p.Files, "file", "files") + ", " + size(p.Bytes) + ".", Since: p.At,
			Deploy: p.DeployID, URL: p.URL})
	}
	return list
}

// tour looks at each file once, and remembers few.
type tour struct {
	states  map[string]int
	flagged [2]int // with a warning, with an error
	total   int
	found   [len(attentionLimits)][]*state.StatusFile
	needing int
}

// attentionLimits are how many files of each class are shown above the list: a mass removal must not bury the rest.
var attentionLimits = [...]int{20, 20, 5, 5}

func (t *tour) visit(f *state.StatusFile) {
	if t.states == nil {
		t.states = map[string]int{}
	}
	t.total++
	t.states[f.State]++
	for i := range t.flagged {
		t.flagged[i] += flagsOf(f) >> i & 1
	}
	class := attentionClass(f)
	if class < 0 {
		return
	}
	t.needing++
	if len(t.found[class]) < attentionLimits[class] {
		t.found[class] = append(t.found[class], f)
	}
}

// attentionClass says how much a file needs somebody: 0 most, -1 not at all.
func attentionClass(f *state.StatusFile) int {
	apart := f.State == state.Kept || f.State == state.LeftOut
	switch {
	case f.ImportError != "" || apart && f.Reason == "syntax":
		return 0
	case isMeant(f), f.Reason == "rolled back", f.Reason == "changing", f.Reason == "unchecked" && apart: // a person wants it, or the next run looks
		return -1
	case apart && f.Reason == "removal":
		return 2
	case apart:
		return 1
	case f.State == state.Live && f.Reason != "":
		return 3
	}
	return -1
}

// attention is a file that somebody should look at.
type attention struct {
	Label, Tone, Path, Position, Why, Excerpt, ImportError, Fate string
	Since                                                        time.Time // zero if never
}

func (t *tour) attention() (shown []attention, total int) {
	for _, class := range t.found {
		for _, f := range class {
			shown = append(shown, attentionOf(f))
		}
	}
	return shown, t.needing
}

func attentionOf(f *state.StatusFile) attention {
	fate := fileFate(f)
	a := attention{Label: fate.Label, Tone: fate.Tone, Path: f.Path, Position: position(f, ":%d", ":%d:%d"), Excerpt: f.Excerpt,
		ImportError: f.ImportError, Fate: "No version of it is live", Since: f.Since}
	if f.Reason != "" || f.Message != "" {
		a.Why = sentence(show(f.Reason), whyOf(f))
	}
	switch {
	case f.State == state.Live && f.ImportError != "":
		a.Label, a.Tone, a.Fate = "Import error", "bad", "It is live"
	case f.State == state.Live:
		a.Label, a.Tone, a.Fate = "Warning", "warn", "It is live"
	case f.State == state.Kept:
		a.Fate = "Its last good version is live"
	}
	return a
}

// filter is a button above the list.
type filter struct {
	Key, Label string
	Count      int
}

// filters has a button for all files and for each kind of which there are any.
func (t *tour) filters() []filter {
	list := []filter{{"all", "All", t.total}}
	for _, word := range []string{state.Live, state.Waiting, state.HeldFile, state.Kept, state.LeftOut} {
		list = append(list, filter{word, fateOf(word).Label, t.states[word]})
	}
	list = append(list, filter{"warnings", "Warnings", t.flagged[0]}, filter{"errors", "Import errors", t.flagged[1]})
	return slices.DeleteFunc(list, func(f filter) bool { return f.Count == 0 && f.Key != "all" })
}

// run is one line of the timeline.
type run struct {
	state.Run
	Label     string
	Tone      string
	Changes   []change
	Named     []string // files that are live since this run
	NamedMore int
	Steps     []step
	Bars      []bar
}

type change struct{ Class, Text string }

// step is one step of a run; bar is its place in a thousandth of all steps.
type (
	step struct {
		Name, Kind string
		Seconds    float64
	}
	bar struct {
		Kind     string
		X, Width int
	}
)

// runsOf returns the runs, newest first.
func runsOf(s *state.Status) []run {
	runs, at := make([]run, len(s.Runs)), map[string]*run{}
	for i, r := range s.Runs {
		to := &runs[len(runs)-1-i]
		*to = run{Run: r, Changes: changesOf(r), Steps: stepsOf(r.Steps)}
		to.Label, to.Tone = outcomeOf(r.Outcome)
		to.Bars = barsOf(to.Steps)
		if r.Outcome == "deployed" {
			at[r.Run] = to
		}
	}
	for i := range s.Files {
		switch r := at[s.Files[i].Run]; {
		case r == nil:
		case len(r.Named) < namedOfARun:
			r.Named = append(r.Named, s.Files[i].Path)
		default:
			r.NamedMore++
		}
	}
	return runs
}

func outcomeOf(word string) (label, tone string) {
	switch word {
	case "deployed":
		return "Deployed", "good"
	case "unchanged":
		return "Unchanged", "quiet"
	case "held":
		return "Held", "warn"
	case "failed":
		return "Failed", "bad"
	case state.Promoted:
		return "Promoted", "info"
	}
	return word, "quiet"
}

func changesOf(r state.Run) []change {
	list := []change{{"added", "+" + number(r.Added) + " added"}, {"modified", "~" + number(r.Modified) + " changed"},
		{"removed", "−" + number(r.Removed) + " removed"}, {"apart", number(r.Kept) + " kept"}, {"apart", number(r.LeftOut) + " left out"},
		{"muted", "of " + plural(r.Files, "file", "files")}}
	counts := []int{r.Added, r.Modified, r.Removed, r.Kept, r.LeftOut, r.Files}
	shown := list[:0]
	for i, c := range list {
		if counts[i] > 0 {
			shown = append(shown, c)
		}
	}
	if len(shown) == 1 && r.Files > 0 {
		shown[0].Text = plural(r.Files, "file", "files") + " live"
	}
	return shown
}

// order is the order of a run's steps, and what each does.
var order = []struct{ name, kind string }{{"lease", "look"}, {"record", "look"}, {"preflight", "look"}, {"list", "look"}, {"wait", "wait"},
	{"pack", "pack"}, {"create", "deploy"}, {"upload", "deploy"}, {"pending", "deploy"}, {"finalize", "deploy"}, {"prune", "other"}}

// stepsOf returns the steps that took some time, in their order; the rest is one step at the end.
func stepsOf(took map[string]float64) []step {
	var steps []step
	known := map[string]bool{}
	for _, o := range order {
		known[o.name] = true
		if s, ran := took[o.name]; ran {
			steps = append(steps, step{o.name, o.kind, s})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(took)) {
		if !known[name] {
			steps = append(steps, step{name, "other", took[name]})
		}
	}
	const least = 0.05 // seconds: less is written as 0
	rest := step{Name: "the rest", Kind: "other"}
	steps = slices.DeleteFunc(steps, func(s step) bool {
		if s.Seconds < least {
			rest.Seconds += max(s.Seconds, 0)
		}
		return s.Seconds < least
	})
	if len(steps) > 0 && rest.Seconds >= least {
		steps = append(steps, rest)
	}
	return steps
}

func barsOf(steps []step) []bar {
	all := 0.0
	for _, s := range steps {
		all += s.Seconds
	}
	var bars []bar
	done := 0.0
	for _, s := range steps {
		from, to := int(1000*done/all), int(1000*(done+s.Seconds)/all)
		done += s.Seconds
		bars = append(bars, bar{s.Kind, from, max(to-from-2, 1)}) // the gap tells neighbours apart
	}
	return bars
}
