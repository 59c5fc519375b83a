package deployer

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/pysyntax"
	"github.com/dagbucket/dagbucket/internal/selection"
	"github.com/dagbucket/dagbucket/internal/state"
)

// What becomes of a Python file with a syntax error: Source.Syntax.
const (
	KeepLastGood = "keep-last-good" // it keeps its last good content; the default
	Hold         = "hold"           // nothing is deployed
	Warn         = "warn"           // it is deployed, and told of
	Off          = "off"            // nobody looks
)

const (
	reasonSyntax    = "syntax"
	reasonUnchecked = "unchecked"
)

// largeReads is how many Python files over headSize are in memory at once to be checked.
const largeReads = 4

// verdict is what the syntax check says of a file that is neither valid nor exempt.
type verdict struct {
	broken    *pysyntax.Diagnostic // the first error
	by        string               // who found it, if that was another checker, or for another Python
	unchecked string               // or why there is no verdict
	later     bool                 // there may be one in the next run
}

// judged is a content, and the Python that it was checked for: that may change before a run is done.
type judged struct{ sum, python string }

// checks is what a run knows of step 7.
type checks struct {
	until  time.Time // no file is checked after it; zero is never
	loaded bool      // loading was begun
	large  chan struct{}
	given  sync.Map // *verdict by judged, nil for a valid content

	// Of this look at the sources:
	earlier map[string]Note // files that the live manifest calls broken, by path
	known   map[string]Note // those of them that this checker judged, by SHA-256
	heldBy  []Note          // broken files that hold the run
	down    map[string]bool // paths that were turned down
	// ignores holds what Airflow's ignore files say, by syntax and folder, once a broken file asks for it.
	ignores []map[string]*selection.AirflowIgnore
}

// reset forgets what rests on one look at the sources.
func (c *checks) reset() { c.heldBy, c.ignores, c.down = nil, nil, map[string]bool{} }

// limitChecks reserves half of the time that is left for the rest: a large first deploy may be checked slowly, but not only checked.
func (x *run) limitChecks(ctx context.Context) {
	if deadline, ok := ctx.Deadline(); ok {
		x.checks.until = x.Clock.Now().Add(time.Until(deadline) / 2) // deadlines are not by the run's clock
	}
}

func (s Source) syntax() string {
	if s.Syntax == "" {
		return KeepLastGood
	}
	return s.Syntax
}

func isPython(name string) bool { return strings.HasSuffix(name, ".py") }

func (x *run) mustCheck(it *item) bool {
	return x.Syntax != nil && isPython(it.path) && x.Sources[it.source].syntax() != Off
}

// judge names who gives verdicts, and for which Python: those of another are not remembered.
func (x *run) judge() string {
	return fmt.Sprintf("%s for Python %s", pysyntax.Kind, pysyntax.Python(x.deployment.Python))
}

// treatment names this version's way with broken files. Raise it when that changes, so that they are looked at again.
const treatment = "1"

// verdictsRest names all that decides about broken files besides their contents.
func (x *run) verdictsRest() string {
	if x.Syntax == nil {
		return Off
	}
	modes := make([]string, len(x.Sources))
	for i, s := range x.Sources {
		modes[i] = s.syntax()
	}
	return fmt.Sprintf("%s, %s, ignores %v, treatment %s", x.judge(), strings.Join(modes, " "), x.deployment.Ignores, treatment)
}

// loadChecker begins to load the checker, so that it is there when the sources are quiet, if a Python file changed.
func (x *run) loadChecker(v *view) {
	if x.Syntax == nil || x.checks.loaded || x.dry {
		return
	}
	versions := make(map[string]string, len(x.live))
	leftOut := map[string]bool{} // for another reason, which the check will not change
	for i := range x.live {
		switch f := &x.live[i]; {
		case f.Pinned != nil:
			versions[objectID(f.Pinned.Source, f.Pinned.Key)] = f.Pinned.Version
		case f.Refused != nil:
			versions[objectID(f.Refused.Source, f.Refused.Key)] = f.Refused.Version
		case f.State == state.LeftOut:
			leftOut[f.Key] = true
		case isPython(f.Key):
			versions[objectID(f.Source, f.Key)] = f.Version
		}
	}
	for i, l := range v.listings {
		if x.Sources[i].syntax() == Off {
			continue
		}
		for _, o := range l.Objects {
			if isPython(o.Key) && !leftOut[o.Key] && versions[objectID(x.Sources[i].URL, o.Key)] != o.Version {
				x.checks.loaded = true
				go func() { _ = x.Syntax.Load() }() // Check tells of the error
				return
			}
		}
	}
}

// checkFetched is step 7 for one file.
func (x *run) checkFetched(ctx context.Context, it *item, f *fetched) error {
	if f.isLive || !x.mustCheck(it) || it.live != nil && f.sum == it.live.SHA256 {
		return nil
	}
	content := f.head
	switch {
	case f.size > pysyntax.MaxSource:
		f.verdict = &verdict{unchecked: fmt.Sprintf("not checked: %d bytes are more than %d", f.size, pysyntax.MaxSource)}
		return nil
	case f.rest != nil:
		again, done, err := x.readAgain(ctx, it, f)
		if err != nil {
			return err
		}
		defer done()
		content, f.sum = again, hexSum(again)
	}
	verdict, err := x.judgeContent(ctx, content, f.sum)
	if verdict != nil && verdict.unchecked != "" {
		verdict = x.insist(it, f.sum, verdict)
	}
	f.verdict = verdict
	return err
}

// insist returns the earlier verdict on an object or content that was found broken and cannot be checked again now.
func (x *run) insist(it *item, sum string, unchecked *verdict) *verdict {
	n := x.checks.earlier[it.path]
	if x.isRefused(it.path, x.Sources[it.source].URL, it.object) || n.refused != nil && n.refused.SHA256 == sum {
		return verdictOf(n)
	}
	return unchecked
}

func verdictOf(n Note) *verdict {
	return &verdict{broken: &pysyntax.Diagnostic{Line: n.Line, Column: n.Column, Message: n.Message, Excerpt: n.Excerpt}, by: n.refused.By}
}

// readAgain reads a file of at most pysyntax.MaxSource bytes; done lets the next one be read.
func (x *run) readAgain(ctx context.Context, it *item, f *fetched) (content []byte, done func(), err error) {
	select {
	case x.checks.large <- struct{}{}:
		done = func() { <-x.checks.large }
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	body := bucket.NewReader(ctx, x.Sources[it.source].Bucket, *it.object)
	defer body.Close()
	var from io.Reader = body
	if f.decoded {
		from = &gunzip{from: body}
	}
	if content, err = io.ReadAll(io.LimitReader(from, pysyntax.MaxSource+1)); err != nil {
		done()
		return nil, nil, x.fetchError(it, err)
	}
	return content, done, nil
}

// judgeContent returns nil for a valid source.
func (x *run) judgeContent(ctx context.Context, content []byte, sum string) (*verdict, error) {
	if n, known := x.checks.known[sum]; known {
		return verdictOf(n), nil
	}
	this := judged{sum, x.deployment.Python}
	if given, ok := x.checks.given.Load(this); ok {
		return given.(*verdict), nil
	}
	if until := x.checks.until; !until.IsZero() && x.Clock.Now().After(until) {
		return &verdict{unchecked: "not checked: the time for it was over", later: true}, nil
	}
	found, err := x.Syntax.Check(ctx, content, x.deployment.Python)
	var v *verdict
	switch {
	case pysyntax.IsUnchecked(err):
		v = &verdict{unchecked: err.Error()}
	case err != nil:
		return nil, err
	case len(found) > 0:
		v = &verdict{broken: &found[0]}
	}
	x.checks.given.Store(this, v)
	return v, nil
}

// diagnosed is a note on a file with a syntax error.
func (x *run) diagnosed(it *item, sum string, v *verdict) Note {
	d := v.broken
	return Note{Path: it.path, Key: it.object.Key, Reason: reasonSyntax, Line: d.Line, Column: d.Column, Message: d.Message, Excerpt: d.Excerpt,
		refused: &state.Refused{Source: x.Sources[it.source].URL, Key: it.object.Key, Version: it.object.Version, SHA256: sum,
			By: cmp.Or(v.by, x.judge())}}
}

// recallVerdicts notes what the live manifest calls broken.
func (x *run) recallVerdicts() {
	x.checks.earlier, x.checks.known = map[string]Note{}, map[string]Note{}
	if x.Syntax == nil {
		return
	}
	for i := range x.live {
		if r := x.live[i].Refused; r != nil {
			n := noteOf(&x.live[i])
			x.checks.earlier[n.Path] = n
			if r.By == x.judge() {
				x.checks.known[r.SHA256] = n
			}
		}
	}
}

// verdictsHold reports whether what the live manifest calls broken is that still: unless another checker is at work, or another setting, or the
// ignore files of Airflow changed, since then files that they name must be read.
func (x *run) verdictsHold(files []selection.File) bool {
	live := x.record.Live
	if live == nil || live.Verdicts == "" || live.Verdicts != x.verdictsRest() {
		return false
	}
	type content struct{ source, version string }
	ignores := map[string]content{}
	for i := range x.live {
		if f := &x.live[i]; path.Base(f.Path) == selection.AirflowIgnoreFile && f.State != state.LeftOut {
			ignores[f.Path] = content{f.Source, f.Version}
		}
	}
	for _, f := range files {
		if p := x.archivePath(f.Path); path.Base(p) == selection.AirflowIgnoreFile {
			if ignores[p] != (content{x.Sources[f.Source].URL, f.Object.Version}) {
				return false
			}
			delete(ignores, p)
		}
	}
	return len(ignores) == 0
}

// isRefused reports whether an earlier run found a syntax error in this very object.
func (x *run) isRefused(p, source string, o *bucket.Object) bool {
	r := x.checks.earlier[p].refused
	return r != nil && r.Source == source && r.Key == o.Key && r.Version == o.Version
}

// fate is what becomes of a file in the bundle.
type fate int

const (
	ship fate = iota
	keep
	leaveOut
)

// refuse decides about a file that the check had something to say of.
func (x *run) refuse(ctx context.Context, it *item, f *fetched) (fate, error) {
	if f.verdict.broken == nil {
		return x.refuseUnchecked(it, f.verdict), nil
	}
	n := x.diagnosed(it, f.sum, f.verdict)
	mode := x.Sources[it.source].syntax()
	if mode != Warn {
		ignored, err := x.ignoredByAirflow(ctx, it.path)
		if err != nil {
			return ship, err
		}
		if ignored {
			mode = Warn
		}
	}
	switch mode {
	case Warn:
		n.refused = nil
		x.warn(it, n)
		return ship, nil
	case Hold:
		x.checks.heldBy = append(x.checks.heldBy, n)
	}
	return x.turnDown(it, n), nil
}

// refuseUnchecked lets a file without a verdict go live, but for one that can wait for the next run.
func (x *run) refuseUnchecked(it *item, v *verdict) fate {
	n := Note{Path: it.path, Key: it.object.Key, Reason: reasonUnchecked, Message: v.unchecked}
	if v.later && it.live != nil && !x.bundleGone {
		x.plan.provisional = true
		return x.turnDown(it, n)
	}
	x.warn(it, n)
	return ship
}

// warn ships a file with a note.
func (x *run) warn(it *item, n Note) {
	noteLine(it.edit(), n)
	x.plan.warnings = append(x.plan.warnings, n)
}

// warnAgain lets what is live keep its warning when the same content comes again.
func (x *run) warnAgain(it *item) {
	if n := noteOf(it.live); it.live.State == state.Live && n.Reason != "" {
		n.Key = it.object.Key
		x.warn(it, n)
	}
}

// noteLine writes a note into a line of the manifest.
func noteLine(line *state.File, n Note) {
	line.Reason, line.Message, line.Line, line.Column, line.Excerpt = n.Reason, n.Message, n.Line, n.Column, n.Excerpt
	line.Refused, line.Pinned = n.refused, n.pinned
}

// noteOf is the opposite of noteLine.
func noteOf(line *state.File) Note {
	return Note{Path: line.Path, Key: line.Key, Reason: line.Reason, Message: line.Message, Line: line.Line, Column: line.Column,
		Excerpt: line.Excerpt, refused: line.Refused, pinned: line.Pinned}
}

// turnDown lets a path keep its last good content, or leaves it out if it has none.
func (x *run) turnDown(it *item, n Note) fate {
	p := &x.plan
	x.checks.down[it.path] = true
	p.bytes -= it.line.Size
	if it.live == nil {
		it.leftOut = true
		p.leftOut = append(p.leftOut, n)
		return leaveOut
	}
	p.kept = append(p.kept, n)
	it.object, it.line = nil, it.live
	it.edit().State = state.Kept
	noteLine(it.line, n)
	p.bytes += it.line.Size
	return keep
}

// verdictsOfPlan is verdictsRest if the plan turns a file down, else "". With a verdict that is insisted on it is what no run rests on, so that
// the next one asks again.
func (x *run) verdictsOfPlan() string {
	rest := ""
	for _, list := range [][]Note{x.plan.kept, x.plan.leftOut} {
		for _, n := range list {
			switch {
			case n.refused != nil && n.refused.By != x.judge():
				return "another checker's"
			case isBroken(n) && x.rollback != nil:
				rest = x.record.Live.Verdicts // nobody judged it anew
			case isBroken(n):
				rest = x.verdictsRest()
			}
		}
	}
	return rest
}

func isBroken(n Note) bool { return n.Reason == reasonSyntax }

// finishChecks brings the plan in order after files were turned down.
func (x *run) finishChecks() error {
	p := &x.plan
	if len(x.checks.down) > 0 {
		isDown := func(path string) bool { return x.checks.down[path] }
		p.added, p.modified = slices.DeleteFunc(p.added, isDown), slices.DeleteFunc(p.modified, isDown)
		items := make([]item, 0, len(p.items)) // a new one: the fetch may still look at the old one
		for _, it := range p.items {
			if !it.leftOut {
				items = append(items, it)
			}
		}
		p.items = items
	}
	for _, list := range [][]Note{p.kept, p.leftOut, p.warnings} {
		sortNotes(list)
	}
	x.report()
	x.logNotes()
	if held := x.checks.heldBy; len(held) > 0 {
		sortNotes(held)
		more := ""
		if len(held) > 1 {
			more = fmt.Sprintf(" (and %d more)", len(held)-1)
		}
		return x.holdForSyntax(fmt.Sprintf("%s:%d:%d: %s%s", held[0].Path, held[0].Line, held[0].Column, held[0].Message, more), "repair it, or remove it")
	}
	if x.rollback != nil {
		return nil // a person let go what it removes
	}
	return x.guardBroken()
}

// guardBroken holds the run if broken files alone are left of a source: they would empty it.
func (x *run) guardBroken() error {
	p := &x.plan
	shipped, broken := map[string]int{}, map[string]int{}
	for i := range p.items {
		shipped[p.items[i].line.Source]++
	}
	for _, n := range p.leftOut {
		if n.refused != nil {
			broken[n.refused.Source]++
		}
	}
	for _, source := range sortedKeys(broken) {
		had := x.record.Live != nil && x.record.Live.Sources[source] > 0
		if shipped[source] == 0 && (had || len(p.items) == 0) && !x.AllowEmpty {
			return x.holdForSyntax("every file of "+source+" has a syntax error, and nothing of it would be live", "repair one, or set guard.allow_empty: true")
		}
	}
	return nil
}

func (x *run) holdForSyntax(why, repair string) error { return held("syntax: "+why, repair) }

// loggedNotes bounds the lines of one run; the rest is in the result and in the manifest.
const loggedNotes = 20

// logNotes tells of the files with syntax errors; their source stays out of the log, since it may hold a secret.
func (x *run) logNotes() {
	for _, list := range []struct {
		fate  string
		notes []Note
	}{{"kept", x.plan.kept}, {"left out", x.plan.leftOut}, {"deployed", x.plan.warnings}} {
		notes := slices.DeleteFunc(slices.Clone(list.notes), func(n Note) bool { return n.Reason != reasonSyntax && n.Reason != reasonUnchecked })
		for _, n := range notes[:min(len(notes), loggedNotes)] {
			x.Log.Warn("a Python file is not in order, or could not be checked", "route", x.Name, "path", n.Path, "line", n.Line, "column", n.Column,
				"reason", n.Reason, "message", n.Message, "fate", list.fate)
		}
	}
}
