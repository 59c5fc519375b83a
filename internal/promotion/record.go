package promotion

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dagbucket/dagbucket/internal/state"
)

// errTakenOver ends a promotion whose hold is gone.
var errTakenOver = errors.New("this promotion was ended from elsewhere")

// watchEvery is how often a promotion that is writing looks whether it still may.
const watchEvery = 5 * time.Second

// holdReason is what the hold says, to people and to the next promotion.
func holdReason(from, name string) string { return "from " + from + ", run " + name }

func parseHold(reason string) (from, name string) {
	from, name, _ = strings.Cut(strings.TrimPrefix(reason, "from "), ", run ")
	return from, name
}

// begin writes down what is about to be done, and holds the target's runs back: from here on they would deploy half of it. A run that is under
// way has read the record before, and is stopped by this swap before it finalizes anything that it listed later.
func (x *run) begin(ctx context.Context) error {
	name, now := x.To.NewRun(), x.To.Clock.Now().UTC()
	if err := x.To.Store.PutManifest(ctx, name, x.intent()); err != nil {
		return err
	}
	// A crash here leaves a manifest that nothing refers to; a later run prunes it.
	rec := x.target.record.Clone()
	rec.SetHold(state.Hold{Kind: state.Promoting, Reason: holdReason(x.From.Name, name), At: now})
	rec.Promotion = &state.Promotion{From: x.From.Name, Manifest: name, At: now}
	_, err := x.To.Store.SwapRecord(ctx, rec, x.target.version)
	if errors.Is(err, state.ErrOvertaken) {
		x.discard(ctx, name)
		return err
	}
	if err != nil {
		return x.interrupted(err)
	}
	// A crash here leaves the target held. The status says so, and the same promotion finishes it.
	x.name, x.began, x.checked, x.intended = name, rec.Hold(state.Promoting).At, x.To.Clock.Now(), map[string]bool{}
	for _, s := range x.plan.steps {
		x.intended[s.rel] = true
	}
	x.target.old = append(x.target.old, name)
	return nil
}

// intent is the memory with what this promotion is about to write: should it be interrupted, what is found then is known to be a promotion's own.
func (x *run) intent() []state.File {
	var lines []state.File
	add := func(f state.File) {
		for _, have := range x.target.memory[relOf(x, f)] {
			if have.State == f.State && have.SHA256 == f.SHA256 && have.Source == f.Source && have.Key == f.Key {
				return
			}
		}
		lines = append(lines, f)
	}
	for _, rel := range sorted(x.target.memory) {
		lines = append(lines, x.target.memory[rel]...)
	}
	for _, s := range x.plan.steps {
		f := state.File{Path: archivePath(x.To, s.rel), Source: x.To.Sources[s.to.source].URL, Key: s.to.key, State: removing}
		if s.line != nil {
			f.State, f.Size, f.SHA256 = copying, s.line.Size, s.line.SHA256
		}
		add(f)
	}
	return lines
}

func relOf(x *run, f state.File) string {
	rel, _ := below(x.To, f.Path)
	return rel
}

// outcome is the memory after this promotion: of what it looked at just what is there, of the rest what was remembered.
func (x *run) outcome() []state.File {
	lines := append([]state.File{}, x.plan.lines...)
	for _, rel := range sorted(x.target.memory) {
		if !x.plan.chosen[rel] {
			lines = append(lines, x.target.memory[rel]...)
		}
	}
	return lines
}

// stillOurs looks, now and then, whether another promotion took over, or somebody lifted the hold: this one must write no more then.
func (x *run) stillOurs(ctx context.Context) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	now := x.To.Clock.Now()
	if now.Sub(x.checked) < watchEvery {
		return nil
	}
	rec, _, err := x.To.Store.ReadRecord(ctx)
	if err != nil {
		return err
	}
	x.checked = now
	return x.checkHold(rec)
}

func (x *run) checkHold(rec state.Record) error {
	h := rec.Hold(state.Promoting)
	if h == nil {
		return fmt.Errorf("%w: the hold of %s was lifted", errTakenOver, x.To.Name)
	}
	if h.Reason != holdReason(x.From.Name, x.name) {
		return fmt.Errorf("%w: another one (%s) took over", errTakenOver, h.Reason)
	}
	return nil
}

// finish tells the from-route's history, remembers what is there now, and lifts the hold.
func (x *run) finish(ctx context.Context) error {
	final, now := x.To.NewRun(), x.To.Clock.Now().UTC()
	err := change(ctx, x.From.Store, func(rec *state.Record) error { x.tell(rec, "to "+x.To.Name, now); return nil })
	if err != nil {
		return x.interrupted(err)
	}
	// A crash here leaves a line in a history that the promotion that finishes this one replaces.
	if err := x.To.Store.PutManifest(ctx, final, x.outcome()); err != nil {
		return x.interrupted(err)
	}
	// A crash here leaves another manifest that nothing refers to; a later run prunes it.
	err = change(ctx, x.To.Store, func(rec *state.Record) error {
		if err := x.checkHold(*rec); err != nil {
			return err
		}
		rec.LiftHold(state.Promoting)
		rec.Promotion = &state.Promotion{From: x.From.Name, Manifest: final, At: now}
		x.tell(rec, "from "+x.From.Name, now)
		return nil
	})
	if err != nil {
		return x.interrupted(err) // perhaps it took effect, so the manifest stays
	}
	// A crash here leaves manifests that nothing refers to. The target's next run deploys.
	for _, old := range x.target.old {
		x.discard(ctx, old)
	}
	return nil
}

// tell notes the promotion in a history, if it changed anything: once, however often it was interrupted.
func (x *run) tell(rec *state.Record, where string, now time.Time) {
	if len(x.copied)+len(x.removed) == 0 {
		return
	}
	rec.Runs = slices.DeleteFunc(rec.Runs, func(r state.Run) bool {
		return r.Outcome == state.Promoted && strings.HasSuffix(r.Reason, ", "+where) && !r.At.Before(x.began)
	})
	rec.AddRun(state.Run{Run: x.name, At: now, Outcome: state.Promoted, Files: len(x.plan.lines), Modified: len(x.copied), Removed: len(x.removed),
		Reason: fmt.Sprintf("%s copied, %d removed, %s", files(len(x.copied)), len(x.removed), where)})
}

func files(n int) string {
	if n == 1 {
		return "1 file"
	}
	return fmt.Sprintf("%d files", n)
}

// change changes a record by compare-and-swap, again where somebody else wrote it meanwhile.
func change(ctx context.Context, store *state.Store, edit func(*state.Record) error) error {
	for range maxRestarts {
		rec, version, err := store.ReadRecord(ctx)
		if err != nil {
			return err
		}
		rec = rec.Clone()
		if err := edit(&rec); err != nil {
			return err
		}
		if _, err = store.SwapRecord(ctx, rec, version); !errors.Is(err, state.ErrOvertaken) {
			return err
		}
	}
	return fmt.Errorf("%s: %w, %d times in a row; try again", store, state.ErrOvertaken, maxRestarts)
}

// discard removes a manifest that nothing refers to. Where that fails, a later run prunes it.
func (x *run) discard(ctx context.Context, name string) { _ = x.To.Store.Discard(ctx, name) }
