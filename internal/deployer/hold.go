package deployer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dagbucket/dagbucket/internal/state"
)

// Approval is what Approve let go.
type Approval struct {
	Route   string   `json:"route"`
	Removed []string `json:"removed"` // paths that the next run removes, if nothing shows them then either
	Replace string   `json:"replace"` // tarball version of DAGs from elsewhere that the next run replaces; "" if there is none
}

// Approve lets go what waits for a person: the paths of a mass removal, those of a source that became empty, or DAGs of others that the
// first deploy replaces. It only notes this in the record: the next run that deploys, or finds nothing to, acts on it, if it comes within
// state.ApprovalLife.
func (r *Route) Approve(ctx context.Context) (Approval, error) {
	for range maxRestarts {
		a, err := r.approve(ctx)
		if !errors.Is(err, state.ErrOvertaken) {
			return a, err
		}
	}
	return Approval{}, fmt.Errorf("route %s: %w, %d times in a row; try again", r.Name, state.ErrOvertaken, maxRestarts)
}

func (r *Route) approve(ctx context.Context) (Approval, error) {
	x := r.dryRun()
	a, waiting, err := x.waiting(ctx)
	if err != nil || len(waiting) == 0 && a.Replace == "" {
		return a, err
	}
	earlier, err := x.approvedFiles(ctx)
	if err != nil {
		return a, err
	}
	waiting = append(waiting, earlier...)
	x.dry = false
	rec := x.record.Clone()
	rec.Approved = &state.Approval{Files: len(waiting), Replace: a.Replace, At: x.view.listed}
	if len(waiting) > 0 {
		rec.Approved.Manifest = x.id
		if err := r.Store.PutManifest(ctx, x.id, waiting); err != nil {
			return a, err
		}
		// A crash here leaves a manifest that nothing refers to; a later run prunes it.
	}
	return a, x.swap(ctx, rec)
}

// Approvable is what Approve would let go.
func (r *Route) Approvable(ctx context.Context) (Approval, error) {
	a, _, err := r.dryRun().waiting(ctx)
	return a, err
}

// waiting finds out what waits for a person.
func (x *run) waiting(ctx context.Context) (Approval, []state.File, error) {
	a := Approval{Route: x.Name, Removed: []string{}}
	if err := x.preview(ctx); err != nil && (!isHeld(err) || x.view.listings == nil) {
		return a, nil, err
	}
	lines := x.live // if the listing is the live one, there is no plan: what is live says what it keeps
	if len(x.plan.items) > 0 {
		lines = x.plan.lines()
	}
	var waiting []state.File
	for _, f := range lines {
		if f.State == state.Kept && (f.Reason == reasonRemoval || f.Pinned != nil && f.Pinned.Removal) { // also with the contents of a rollback
			waiting = append(waiting, f)
			a.Removed = append(a.Removed, f.Path)
		}
	}
	a.Replace = x.replaces
	return a, waiting, nil
}

// Pause lets no run deploy until Resume. A run that is under way is stopped before it finalizes, unless that is on its way already.
func (r *Route) Pause(ctx context.Context, reason string) error {
	return r.changeRecord(ctx, func(rec *state.Record) {
		rec.SetHold(state.Hold{Kind: state.Paused, Reason: reason, At: r.Clock.Now().UTC()})
	})
}

// Resume ends a pause, and what a promotion that was interrupted holds; without either it does nothing.
func (r *Route) Resume(ctx context.Context) error {
	return r.changeRecord(ctx, func(rec *state.Record) {
		rec.LiftHold(state.Paused)
		rec.LiftHold(state.Promoting)
	})
}

func (r *Route) changeRecord(ctx context.Context, change func(*state.Record)) error {
	for range maxRestarts {
		rec, version, err := r.Store.ReadRecord(ctx)
		if err != nil {
			return err
		}
		rec = rec.Clone()
		change(&rec)
		if _, err = r.Store.SwapRecord(ctx, rec, version); !errors.Is(err, state.ErrOvertaken) {
			return err
		}
	}
	return fmt.Errorf("route %s: %w, %d times in a row; try again", r.Name, state.ErrOvertaken, maxRestarts)
}

// checkPaused holds the run while a person wants that, or a promotion writes into the sources: half of one is no set that anybody meant.
func (x *run) checkPaused() error {
	if h := x.record.Hold(state.Paused); h != nil {
		why := ""
		if h.Reason != "" {
			why = " (" + h.Reason + ")"
		}
		return held(fmt.Sprintf("paused since %s%s", h.At.Format(time.RFC3339), why), "dagbucket resume lets it go on")
	}
	if h := x.record.Hold(state.Promoting); h != nil {
		return &HeldError{Reason: fmt.Sprintf("a promotion (%s) writes into the sources since %s", h.Reason, h.At.Format(time.RFC3339)), idle: true,
			Repair: "if it was interrupted, run dagbucket promote again to finish it, or dagbucket resume to deploy what is there"}
	}
	return nil
}

// recordFate notes a held run, or one that failed for good, in the record. As at unchanged the record is always swapped: a run that was
// overtaken has decided on an old view, and must not end so.
func (x *run) recordFate(ctx context.Context, outcome Outcome, why error) error {
	rec := x.stored.Clone() // without what this run only believes
	if mine := x.record.Live; mine != nil && mine.Confirmed && rec.Live != nil && rec.Live.DeployID == mine.DeployID && !rec.Live.Confirmed {
		rec.SeenLive(mine.LiveAt)
	}
	if n := len(rec.Runs); n > 0 && rec.Runs[n-1].Outcome == string(outcome) {
		rec.Runs = rec.Runs[:n-1] // in a row they take one line, or they would push everything else out
	}
	if outcome == Held && rec.Hold(state.Paused) == nil && rec.Hold(state.Promoting) == nil {
		rec.SetHold(state.Hold{Kind: state.HeldBack, Reason: why.Error(), At: x.Clock.Now().UTC()})
	}
	x.addRun(&rec, outcome, why.Error())
	rec.Runs[len(rec.Runs)-1].Permanent = outcome == Failed && Permanent(why)
	x.announce(&rec, outcome, why)
	x.claimPages(&rec, outcome, why)
	ctx, cancel := x.grace(ctx)
	defer cancel()
	version, err := x.Store.SwapRecord(ctx, rec, x.version)
	if err == nil {
		x.record, x.version, x.stored = rec, version, &rec
	}
	return err
	// A crash here leaves people untold: the next run tells them.
}
