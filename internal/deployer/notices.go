package deployer

import (
	"cmp"
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/selection"
	"github.com/dagbucket/dagbucket/internal/state"
)

const (
	outboxLimit = 50             // notices that wait for their targets
	outboxLife  = 24 * time.Hour // then nobody wants to read one any more
	sendTime    = 10 * time.Second
	sendsAtOnce = 8
)

// announce adds to a record, before it is swapped, what people are to be told of its change: the swap decides which of several runs
// tells. The notices wait in the record until all targets have them, so that a crash or a target that is down delays them, and repeats one at worst.
func (x *run) announce(rec *state.Record, outcome Outcome, why error) {
	if x.dry || x.Notifier == nil {
		return
	}
	switch outcome {
	case Held, Failed:
		x.announceTrouble(rec, outcome, why)
	case Deployed, Unchanged:
		x.announceOrder(rec)
		x.announceFiles(rec)
		if outcome == Deployed {
			x.addNotice(rec, state.NoticeDeployed, x.reason(), changedFiles(x.plan.added, x.plan.modified, x.plan.removed))
		}
	}
	x.announceDrift(rec, outcome)
}

// announceTrouble tells of a run that is held or failed, unless the last one was for the same reason.
func (x *run) announceTrouble(rec *state.Record, outcome Outcome, why error) {
	var h *HeldError
	if errors.As(why, &h) && h.idle {
		return
	}
	kind := state.NoticeFailed
	if outcome == Held {
		kind = state.NoticeHeld
	}
	again := len(x.stored.Runs) > 0 && x.stored.Runs[len(x.stored.Runs)-1].Outcome == string(Failed)
	if outcome == Failed && !Permanent(why) && !again {
		return // it may have passed before anybody reads of it
	}
	if told := rec.Told; told.State == kind && sameText(told.Reason, why.Error()) {
		return
	}
	x.addNotice(rec, kind, why.Error(), nil)
	rec.Told.State, rec.Told.Reason = kind, state.CutReason(why.Error())
}

// announceOrder tells that what was told of is over.
func (x *run) announceOrder(rec *state.Record) {
	told := rec.Told
	if told.State == "" || x.rollback != nil { // a rollback looked at no source
		return
	}
	x.addNotice(rec, state.NoticeRecovered, "it was "+told.State+": "+told.Reason, nil)
	rec.Told.State, rec.Told.Reason = "", ""
}

// announceFiles tells of the files whose fate changed.
func (x *run) announceFiles(rec *state.Record) {
	if x.plan.made {
		now := fates{}
		now.add(state.Kept, x.plan.kept)
		now.add(state.LeftOut, x.plan.leftOut)
		before := fatesOfLines(x.live)
		if old := x.stored.Live; old == nil || x.record.Live == nil || old.Run != x.record.Live.Run {
			before = fates{} // the record does not know what is live, so nobody was told of its files
		}
		x.announceFates(rec, before, now)
	}
	before, now := importFates(x.stored.ImportErrors), importFates(rec.ImportErrors) // these differ by what Airflow says, and by nothing else
	x.addNotice(rec, state.NoticeImportErrors, "", now.without(before, ""))
	x.addNotice(rec, state.NoticeRecovered, "", before.gone(now))
}

func (x *run) announceFates(rec *state.Record, before, now fates) {
	x.addNotice(rec, state.NoticeKept, "", now.without(before, state.Kept))
	x.addNotice(rec, state.NoticeLeftOut, "", now.without(before, state.LeftOut))
	x.addNotice(rec, state.NoticeRecovered, "", before.gone(now))
}

// announceFinished tells of a deploy whose run died, or lost the answer, before it could tell: in that run's name.
func (x *run) announceFinished(ctx context.Context, rec *state.Record) error {
	if x.Notifier == nil { // also of a dry run: an approval stores what it found finished
		return nil
	}
	var before []state.File
	var err error
	if x.record.Live != nil {
		before, err = x.Store.ReadManifest(ctx, x.record.Live.Manifest)
	}
	after, failed := x.Store.ReadManifest(ctx, rec.Live.Manifest)
	if err = cmp.Or(failed, err); errors.Is(err, bucket.ErrNotExist) || errors.Is(err, state.ErrDamaged) {
		x.Log.Warn("cannot tell of the files of a deploy that a later run finished", "route", x.Name, "error", err)
		return nil
	}
	if err != nil {
		return err
	}
	own := x.id
	x.id = rec.Live.Run
	defer func() { x.id = own }()
	x.announceFates(rec, fatesOfLines(before), fatesOfLines(after))
	x.addNotice(rec, state.NoticeDeployed, "finished by a later run", changedFiles(changedPaths(shipped(before), shipped(after))))
	return nil
}

// failedAtAstro is what Told.Drift says of deploys of ours that Astro does not run: of a series of them people are told once.
const failedAtAstro = "failed at Astro"

// announceDrift tells of what others did to the Deployment's DAGs, or of a deploy of ours that Astro does not run, and of the end of that.
func (x *run) announceDrift(rec *state.Record, outcome Outcome) {
	told, kind, drift := rec.Told.Drift, state.NoticeDrift, x.drift
	if x.notRun {
		kind, drift = state.NoticeFailed, failedAtAstro
	}
	isOver := outcome == Unchanged && x.drift == "" || outcome == Deployed && told != failedAtAstro
	switch {
	case drift != "" && !sameText(told, drift):
		x.addNotice(rec, kind, x.drift, nil)
		if rec.Told.Drift = state.CutReason(drift); outcome == Deployed && !x.notRun {
			rec.Told.Drift = "" // that ended with this very run
		}
	case told == failedAtAstro && isOver && rec.Live != nil && rec.Live.Confirmed:
		x.addNotice(rec, state.NoticeRecovered, "Astro runs what was deployed last", nil)
		rec.Told.Drift = ""
	case told != "" && told != failedAtAstro && isOver:
		x.addNotice(rec, state.NoticeRecovered, "the Deployment's DAGs are those that were deployed from here again", nil)
		rec.Told.Drift = ""
	}
}

// addNotice puts a notice into the outbox, if anybody wants one of its kind. One about files needs some.
func (x *run) addNotice(rec *state.Record, kind, reason string, files []state.NoticeFile) {
	if reason == "" && len(files) == 0 && kind != state.NoticeDeployed || len(x.Notifier.Targets(kind)) == 0 {
		return
	}
	for i := range files[:min(len(files), state.NoticeFiles)] {
		files[i].Message = shorten(files[i].Message)
	}
	n := state.Notice{ID: x.id + "-" + kind, Kind: kind, At: x.Clock.Now().UTC(), Route: x.Name, Deployment: x.deployment.Name, URL: x.deployment.URL,
		Reason: state.CutReason(reason), Run: x.id, Files: files[:min(len(files), state.NoticeFiles)], Total: len(files)}
	if n.Deployment == "" {
		n.Deployment = x.Deployment
	}
	if rec.Live != nil {
		n.DeployID = rec.Live.DeployID
	}
	for i := range rec.Outbox {
		if rec.Outbox[i].Notice.ID == n.ID { // recovered has several causes
			n.ID += "-" + x.NewRun()
		}
	}
	rec.Outbox = append(rec.Outbox, state.Outgoing{Notice: n})
	rec.Outbox = rec.Outbox[max(0, len(rec.Outbox)-outboxLimit):]
}

// shorten cuts a text that others wrote to what a notice needs of it: the record holds many of them.
func shorten(text string) string {
	const limit = 300 // bytes
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "…"
}

// fates are the files that people should hear of, by what makes it news.
type fates map[string]fated

type fated struct {
	state string
	file  state.NoticeFile
}

func (f fates) add(fate string, notes []Note) {
	for _, n := range notes {
		if !isNews(n.Reason) {
			continue
		}
		version := ""
		if n.refused != nil {
			version = n.refused.Version // of each broken upload its author should hear
		}
		f[strings.Join([]string{n.Path, fate, n.Reason, version}, "\x00")] = fated{fate,
			state.NoticeFile{Path: n.Path, Reason: n.Reason, Message: n.Message, Line: n.Line, Column: n.Column}}
	}
}

// isNews reports whether a reason is one that somebody should do something about.
func isNews(reason string) bool {
	switch reason {
	case selection.ReasonExcluded, selection.ReasonIgnored, reasonRolledBack, reasonChanging, reasonUnchecked:
		return false
	}
	return true
}

func fatesOfLines(lines []state.File) fates {
	f := fates{}
	for i := range lines {
		if s := lines[i].State; s == state.Kept || s == state.LeftOut {
			f.add(s, []Note{noteOf(&lines[i])})
		}
	}
	return f
}

func importFates(list []state.ImportError) fates {
	f := fates{}
	for _, e := range list {
		f[e.Path+"\x00"+e.Message] = fated{"", state.NoticeFile{Path: e.Path, Message: e.Message, Line: e.Line, Reason: "import error"}}
	}
	return f
}

// without lists the files of a state that are not in before.
func (f fates) without(before fates, fate string) []state.NoticeFile {
	var files []state.NoticeFile
	for _, key := range sortedKeys(f) {
		if _, known := before[key]; !known && f[key].state == fate {
			files = append(files, f[key].file)
		}
	}
	return files
}

// gone lists the files that have no fate any more.
func (f fates) gone(now fates) []state.NoticeFile {
	still := map[string]bool{}
	for _, c := range now {
		still[c.file.Path] = true
	}
	var files []state.NoticeFile
	for _, key := range sortedKeys(f) {
		if file := f[key].file; !still[file.Path] {
			still[file.Path] = true
			files = append(files, state.NoticeFile{Path: file.Path, Reason: file.Reason})
		}
	}
	return files
}

func changedFiles(added, modified, removed []string) []state.NoticeFile {
	var files []state.NoticeFile
	for _, list := range []struct {
		reason string
		paths  []string
	}{{"added", added}, {"modified", modified}, {"removed", removed}} {
		for _, path := range list.paths {
			files = append(files, state.NoticeFile{Path: path, Reason: list.reason})
		}
	}
	return files
}

// sameText reports whether two texts differ at most in times, numbers and IDs: those make no news.
func sameText(a, b string) bool { return slices.Equal(plainWords(a), plainWords(b)) }

var fleeting = regexp.MustCompile(`^[^\pL\d]*(\d[\dTZhms.,:+-]*|[A-Za-z0-9-]*\d[A-Za-z0-9-]*)[^\pL\d]*$`)

func plainWords(text string) []string {
	return slices.DeleteFunc(strings.Fields(text), fleeting.MatchString)
}

// sendNotices empties the outbox as far as the targets let it. Nothing that fails here fails the run.
func (x *run) sendNotices(ctx context.Context) {
	if x.dry || x.Notifier == nil || len(x.record.Outbox) == 0 {
		return
	}
	rec, now := x.record.Clone(), x.Clock.Now()
	changed := x.sendAll(ctx, rec.Outbox)
	keep := rec.Outbox[:0]
	for _, out := range rec.Outbox {
		if now.Sub(out.Notice.At) < outboxLife && len(x.missingTargets(&out)) > 0 {
			keep = append(keep, out)
		} else {
			changed = true
		}
	}
	if rec.Outbox = keep; !changed {
		return
	}
	if err := x.swap(ctx, rec); err != nil {
		x.Log.Info("could not note which notifications were sent; they may be sent again", "route", x.Name, "error", err)
	}
	// A crash here, or before, leaves notices in the record that some targets have already: they get them again.
}

// missingTargets are those that did not get a notice yet.
func (x *run) missingTargets(out *state.Outgoing) []string {
	return slices.DeleteFunc(slices.Clone(x.Notifier.Targets(out.Notice.Kind)), func(t string) bool { return slices.Contains(out.Sent, t) })
}

// sendAll sends what is due side by side, and notes what arrived.
func (x *run) sendAll(ctx context.Context, outbox []state.Outgoing) (sent bool) {
	ctx, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	due := make([][]string, len(outbox))
	for i := range outbox {
		due[i] = x.missingTargets(&outbox[i])
	}
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(sendsAtOnce)
	for i := range outbox {
		for _, target := range due[i] {
			g.Go(func() error {
				if err := x.Notifier.Send(ctx, target, &outbox[i].Notice); err != nil {
					x.Log.Warn("a notification could not be sent; a later run tries again", "route", x.Name, "target", target, "kind", outbox[i].Notice.Kind, "error", err)
					return nil
				}
				mu.Lock()
				defer mu.Unlock()
				outbox[i].Sent, sent = append(outbox[i].Sent, target), true
				return nil
			})
		}
	}
	_ = g.Wait() // nothing returns an error
	return sent
}
