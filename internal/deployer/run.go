package deployer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/dagbucket/dagbucket/internal/state"
)

const (
	maxRestarts = 5  // after being overtaken; then the events come again
	maxRelists  = 20 // when objects change under the fetch; then likewise
	// An object that changed under the fetch this often keeps its last good content, so that the rest can go live.
	maxChanges = 3
	graceTime  = 2 * time.Second // for cleaning up after the invocation's time is over: less than the margin kept for it
)

// run is one Sync under way. What it knows is dropped step by step when it must go back.
type run struct {
	*Route
	id      string
	wake    []time.Time // of the events that woke it
	dry     bool        // nothing may be changed, neither in the state nor at Astro
	result  Result
	account account

	// Step 2
	lease   string // names this run in the lease
	unclean bool   // a run before this one failed or died, and may have left things in the state

	// Step 3
	looked      time.Time          // when it began, by the local clock
	stepsBefore map[string]float64 // seconds by step, when it began
	record      state.Record
	stored      *state.Record // as it is in the state; nil if that could not be read
	version     state.Version // of the record as read or last written
	deployment  Deployment
	live        []state.File   // lines of the live manifest; nil if unknown
	liveKnown   bool           // live describes what is live at Astro
	foreign     bool           // DAGs are live that are not ours
	replaces    string         // the tarball version of live DAGs that a person must approve to be replaced
	redeploy    bool           // what is live must be replaced even by the same contents
	drift       string         // for people: what is live is not what we put there
	notRun      bool           // drift is of a deploy of ours that Astro does not run
	answers     string         // the foreign deploy that the redeploy answers
	failed      *state.Failure // set if the redeploy answers a deploy of ours that failed
	refused     refusal
	bundleGone  bool // the live bundle is missing or damaged in the state

	// Step 4
	view    view
	changes map[string]int // how often an object changed while it was fetched, by source and key
	ignores map[string]*ignoreFile

	rollback  *rollback // set while this run is to go back
	plan      plan
	checks    checks
	packed    *packed
	deployed  *Result   // of the last deploy of this run
	reserved  int64     // bytes of Memory
	graceEnd  time.Time // of cleaning up after the run's time was over
	mustShow  bool      // this run is to write the status pages
	orphans   []string  // named in swaps that were overtaken: the record names them, or nobody does
	leftovers bool      // the state holds this run's bundle or manifest, and the record does not name them yet
}

func (r *Route) newRun() *run {
	x := &run{Route: r, changes: map[string]int{}, ignores: map[string]*ignoreFile{}, checks: checks{large: make(chan struct{}, largeReads)}}
	x.result = Result{Route: r.Name, Seconds: map[string]float64{}}
	return x
}

// Sync is one run of the route. events are the times of the events behind it; a zero time, or no event at all, is a run
// that nobody can call late. It never returns without an outcome.
func (r *Route) Sync(ctx context.Context, events []time.Time) Result {
	x := r.newRun()
	x.wake, x.lease = events, r.NewRun()
	ctx = x.account.open(ctx)
	err := x.sync(ctx)
	if err != nil {
		x.fail(ctx, err)
	}
	if x.leftovers { // last, since it matters least when time runs out
		x.discard(ctx)
	}
	return x.finish()
}

// sync is steps 1, 2 and 11 around the work: a run that nothing is left to do for, or that finds another at work, ends here.
func (x *run) sync(ctx context.Context) error {
	covered, err := x.covered(ctx) // step 1
	if err != nil || covered {
		x.result.Outcome = Covered
		return err
	}
	if x.rollback != nil {
		return x.syncRollback(ctx)
	}
	return x.syncSources(ctx)
}

// syncSources looks until nobody rings any more.
func (x *run) syncSources(ctx context.Context) error {
	for {
		err := x.workUnderLease(ctx) // steps 2 to 10
		if err != nil && !isHeld(err) {
			return err
		}
		again, releaseErr := x.releaseLease(ctx) // step 11
		if releaseErr != nil {
			return releaseErr
		}
		if !again {
			x.tellOfDeploy()
			return err
		}
	}
}

// syncRollback goes back, and then looks at the sources if somebody rang: also before it, since taking the lease cleared the bell of a run that failed or died.
func (x *run) syncRollback(ctx context.Context) error {
	ended := x.workUnderLease(ctx)
	var refused *PastError
	if ended != nil && !isHeld(ended) && !errors.As(ended, &refused) {
		return ended
	}
	x.rollback = nil // the manifest of what is live remembers it from here on
	again := x.unclean
	if !again {
		var err error
		if again, err = x.releaseLease(ctx); err != nil {
			return err
		}
	}
	if again {
		err := x.syncSources(ctx)
		if err != nil && !isHeld(err) {
			return err
		}
		if ended == nil && err != nil { // what holds the sources is no outcome of the rollback
			x.result.Outcome = Unchanged
		}
	}
	x.tellOfDeploy()
	return ended
}

// tellOfDeploy makes the deploy of an earlier look the outcome of a run that looked again and found nothing more to do.
func (x *run) tellOfDeploy() {
	if x.deployed != nil && x.result.Outcome == Unchanged {
		last := x.result
		x.result = *x.deployed
		x.result.Seconds, x.result.Began, x.result.Looked, x.result.NotLiveAge = last.Seconds, last.Began, last.Looked, last.NotLiveAge
	}
}

// workUnderLease takes the lease, unless this run has it, and does the work. A run that was overtaken starts again here.
func (x *run) workUnderLease(ctx context.Context) error {
	for range maxRestarts {
		if err := x.takeLease(ctx); err != nil { // step 2
			return err
		}
		stop := x.renewLease(ctx)
		err := x.attempt(ctx)
		if isHeld(err) {
			if failed := x.recordFate(ctx, Held, err); failed != nil {
				err = failed
			} else {
				x.tell(ctx, Held, err)
			}
		}
		stop()
		if !errors.Is(err, state.ErrOvertaken) {
			return err
		}
		x.Log.Info("overtaken by another run, starting again", "route", x.Name)
	}
	return fmt.Errorf("route %s: %w, %d times in a row", x.Name, state.ErrOvertaken, maxRestarts)
}

func (x *run) attempt(ctx context.Context) error {
	defer x.releaseMemory()
	if x.leftovers { // by an attempt that was overtaken
		x.discard(ctx)
	}
	clear(x.changes)
	if err := x.reconcile(ctx); err != nil { // step 3
		if x.stored != nil && !errors.Is(err, state.ErrOvertaken) {
			x.lookAsStored(ctx)
		}
		return err
	}
	if x.rollback != nil { // a person's wish, also while the route is paused
		return x.rollBack(ctx)
	}
	if err := x.checkPaused(); err != nil {
		x.lookWhilePaused(ctx)
		return err
	}
	if err := x.collectUntilStill(ctx); err != nil { // steps 4 to 8
		return err
	}
	if x.packed == nil || x.packed.same {
		if err := x.recordUnchanged(ctx); err != nil { // end of step 8
			return err
		}
		x.tell(ctx, Unchanged, nil)
		return nil
	}
	if err := x.checkRefused(); err != nil {
		return err
	}
	x.shrinkMemory()
	return x.deployAndTell(ctx)
}

// deployAndTell is steps 9 and 10.
func (x *run) deployAndTell(ctx context.Context) error {
	if err := x.deploy(ctx); err != nil {
		return err
	}
	if err := x.recordDeployed(ctx); err != nil {
		return err
	}
	x.tell(ctx, Deployed, nil)
	x.follow(ctx)
	return nil
}

// tell is the end of step 10: people read of an outcome that the record holds.
func (x *run) tell(ctx context.Context, outcome Outcome, why error) {
	x.result.NotLiveAge = x.notLiveAge(ctx, outcome)
	x.writePages(ctx, outcome, why)
	x.sendNotices(ctx)
}

// lookAsStored is lookWhilePaused after a step 3 that failed: what is live is what the record says, and nothing that this run began to believe.
func (x *run) lookAsStored(ctx context.Context) {
	x.record, x.live, x.liveKnown, x.foreign, x.bundleGone = x.stored.Clone(), nil, true, false, false
	x.lookWhilePaused(ctx)
}

// lookWhilePaused finds out what waits while nothing can be deployed, for people to read. Not finding out fails nothing.
func (x *run) lookWhilePaused(ctx context.Context) {
	if x.Pages == nil && !x.dry || x.rollback != nil {
		return
	}
	v, err := x.list(ctx)
	if err == nil {
		err = x.readLive(ctx)
	}
	if err == nil {
		x.view = *v
		err = x.makePlan(ctx)
	}
	if err != nil && !isHeld(err) {
		x.Log.Warn("cannot tell what waits while nothing may be deployed", "route", x.Name, "error", err)
	}
}

// collectUntilStill goes back to listing as long as the bucket moves under the fetch.
func (x *run) collectUntilStill(ctx context.Context) error {
	for range maxRelists {
		err := x.collect(ctx)
		var moved *movedError
		if !errors.As(err, &moved) {
			return err
		}
		x.note(moved)
	}
	return fmt.Errorf("route %s: the sources changed under each of %d listings", x.Name, maxRelists)
}

// collect finds out what to deploy and packs it. A *movedError says that the bucket moved meanwhile.
func (x *run) collect(ctx context.Context) error {
	x.packed = nil
	x.releaseMemory() // of an earlier plan: this may wait long
	x.checks.reset()
	if x.leftovers {
		x.discard(ctx)
	}
	if err := x.settle(ctx); err != nil { // step 4
		return err
	}
	if x.isLive(x.view.revision) {
		x.plan = plan{}
		x.reportLive(ctx)
		return nil
	}
	if err := x.makePlan(ctx); err != nil { // step 5
		return err
	}
	x.report()
	if !x.mustPack() {
		return nil
	}
	return x.pack(ctx) // steps 6 to 8
}

// mustPack reports whether the plan may change what is live.
func (x *run) mustPack() bool {
	return !x.plan.nothingToDo() || x.redeploy || x.foreign || !x.liveKnown || x.bundleGone
}

// isLive reports whether a listing shows exactly what the live deploy was made of, so that nothing needs to be looked at.
func (x *run) isLive(revision string) bool {
	live := x.record.Live
	return live != nil && live.Revision != "" && live.Revision == revision && !x.redeploy && !x.foreign && x.record.Approved == nil &&
		(live.Verdicts == "" || live.Verdicts == x.verdictsRest())
}

// reportLive says what is kept and left out of what is live. Not being able to say so fails nothing.
func (x *run) reportLive(ctx context.Context) {
	x.result.Kept, x.result.LeftOut, x.result.Warnings = nil, nil, nil
	if live := x.record.Live; live.Kept+live.LeftOut+live.Warned == 0 {
		return
	}
	if err := x.readLive(ctx); err != nil {
		x.Log.Warn("cannot tell what is kept and left out", "route", x.Name, "error", err)
	}
	for i := range x.live {
		n := noteOf(&x.live[i])
		switch {
		case x.live[i].State == state.Kept:
			x.result.Kept = append(x.result.Kept, n)
		case x.live[i].State == state.LeftOut:
			x.result.LeftOut = append(x.result.LeftOut, n)
		case n.Reason != "":
			x.result.Warnings = append(x.result.Warnings, n)
		}
	}
}

// report copies the plan into the result.
func (x *run) report() {
	p := &x.plan
	x.result.Added, x.result.Modified, x.result.Removed = p.added, p.modified, p.removed
	x.result.Kept, x.result.LeftOut, x.result.Warnings = p.kept, p.leftOut, p.warnings
}

// note counts the changes that sent the run back to listing.
func (x *run) note(moved *movedError) {
	if moved.bundle {
		x.bundleGone = true
		x.Log.Warn("the live bundle cannot be read back, fetching every file again", "route", x.Name, "error", moved.Error())
		return
	}
	x.changes[moved.id]++
	x.Log.Info("an object changed while it was fetched, listing again", "route", x.Name, "key", moved.key)
}

// discard removes what this run stored and nobody refers to. A crash before it leaves a bundle or manifest that a later run prunes.
func (x *run) discard(ctx context.Context) {
	x.discardRun(ctx, x.id)
	x.leftovers = false
}

func (x *run) discardRun(ctx context.Context, id string) {
	ctx, cancel := x.grace(ctx)
	defer cancel()
	if err := x.Store.Discard(ctx, id); err != nil {
		x.Log.Warn("could not remove an unused bundle; a later deploy will", "route", x.Name, "run", id, "error", err)
	}
}

// grace is for cleaning up: it outlives ctx. Once that has ended, all that is cleaned up shares one graceTime.
func (x *run) grace(ctx context.Context) (context.Context, context.CancelFunc) {
	until := time.Now().Add(graceTime)
	if ctx.Err() != nil {
		if x.graceEnd.IsZero() {
			x.graceEnd = until
		}
		until = x.graceEnd
	}
	return context.WithDeadline(context.WithoutCancel(ctx), until)
}

// fail turns an error into an outcome.
func (x *run) fail(ctx context.Context, err error) {
	x.result.Err, x.result.Reason, x.result.Began, x.result.Looked = err, err.Error(), time.Time{}, time.Time{}
	if !x.dry {
		x.result.Added, x.result.Modified, x.result.Removed = nil, nil, nil // nothing of it happened
	}
	switch {
	case errors.Is(err, errBusy), errors.Is(err, errLate):
		x.result.Outcome, x.result.Retryable = Busy, errors.Is(err, errLate)
	case isHeld(err):
		x.result.Outcome = Held
	default:
		x.result.Outcome = Failed
		x.result.Retryable = !Permanent(err)
	}
	if x.result.Outcome == Failed && ctx.Err() != nil {
		x.result.Retryable = true
		why := "interrupted"
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			why = "the invocation's time ran out"
		}
		x.result.Reason = why + ": " + err.Error()
	}
	var refused *PastError
	if x.dry || x.result.Outcome != Failed || errors.As(err, &refused) {
		return
	}
	x.abandonLease(ctx) // before anything else: the bell matters most
	if x.stored == nil {
		return
	}
	if fateErr := x.recordFate(ctx, Failed, err); fateErr != nil {
		x.Log.Info("could not note the outcome in the record", "route", x.Name, "error", fateErr)
		return
	}
	if ctx.Err() != nil {
		var cancel context.CancelFunc
		ctx, cancel = x.grace(ctx)
		defer cancel()
	}
	x.tell(ctx, Failed, err)
}

// finish completes the result.
func (x *run) finish() Result {
	r := x.result
	r.Requests = x.account.result()
	for _, list := range []*[]string{&r.Added, &r.Modified, &r.Removed} {
		if *list == nil {
			*list = []string{} // prints as [], not null
		}
	}
	for _, list := range []*[]Note{&r.Kept, &r.LeftOut, &r.Warnings} {
		if *list == nil {
			*list = []Note{}
		}
	}
	return r
}

// step times a step and tells of its progress.
func (x *run) step(name string, do func() error) error {
	x.progress(Progress{Step: name})
	start := x.Clock.Now()
	err := do()
	x.result.Seconds[name] += x.Clock.Now().Sub(start).Seconds()
	return err
}

func (x *run) progress(p Progress) {
	if x.Progress != nil {
		x.Progress(p)
	}
}

// liveFiles maps the paths that are live to their manifest lines.
func (x *run) liveFiles() map[string]*state.File { return shipped(x.live) }

// archivePath is the path in the archive of a path below the base folder.
func (r *Route) archivePath(p string) string {
	if r.BaseDir == "" {
		return p
	}
	return r.BaseDir + "/" + p
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
