// Package promotion copies what is live on one route into the sources of another: dev to prod.
//
// It deploys nothing. A hold in the target's record keeps the target's runs back while its sources are written, so that the next run makes
// one deploy of all of it. Follow one promotion from Promotion.Run; what it needs is: what is live (from.go), what is there (target.go), what to do
// about it (plan.go), whether that may be written (probe.go), doing it (apply.go), and the records (record.go).
package promotion

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/state"
)

const (
	atOnce      = 16 // objects side by side: what one HTTP client keeps connections for
	maxRestarts = 20 // after being overtaken by runs of the routes, which are done in seconds
	maxRounds   = 5  // over sources that others write to meanwhile
)

// Promotion is one promotion. All fields but those marked optional must be set.
type Promotion struct {
	From, To *deployer.Route
	Buckets  []bucket.Bucket         // those of To.Sources in their order, to write to
	Paths    []string                // optional: files and folders, as in the archive or below the base folder; none is all
	Force    bool                    // overwrite, and remove, what was changed in the target since the last promotion
	DryRun   bool                    // change nothing
	Progress func(deployer.Progress) // optional; called from one goroutine at a time
}

// Note says something of a path as in the target's archive, or of the whole promotion if the path is "".
type Note struct {
	Path string `json:"path"`
	Why  string `json:"why"`
}

// Result is what a promotion did, or with DryRun would do. One with Refused changed nothing, unless it was refused on the way, by what
// others wrote meanwhile. Its JSON form is documented and stable.
type Result struct {
	From      string   `json:"from"`
	To        string   `json:"to"`
	DryRun    bool     `json:"dryRun"`
	Copied    []string `json:"copied"`    // paths as in the target's archive, also those that the interrupted promotion copied which this one finishes
	Removed   []string `json:"removed"`   // likewise
	Unchanged int      `json:"unchanged"` // files that were in the target already
	Refused   []Note   `json:"refused"`
	Warnings  []Note   `json:"warnings"`
}

// run is one promotion under way.
type run struct {
	*Promotion
	result Result
	live   live
	target target
	plan   plan

	name     string          // in the target's record and state, once it has begun
	began    time.Time       // the promotion that it finishes, if it does
	copiers  []bucket.Copier // by source of the target; nil where files pass through
	intended map[string]bool
	copied   map[string]bool
	removed  map[string]bool

	mu      sync.Mutex
	done    int       // steps
	checked time.Time // when the hold was last seen to be ours
}

// Run promotes. A promotion that is interrupted leaves the target held, and is finished by the same one again; copies that are there already
// are recognised by their content. Whether it was refused is in the result, not in the error.
func (p *Promotion) Run(ctx context.Context) (Result, error) {
	x := &run{Promotion: p}
	err := x.prepare(ctx)
	for range maxRestarts {
		if !errors.Is(err, state.ErrOvertaken) {
			break
		}
		err = x.prepare(ctx)
	}
	if err == nil && x.name != "" {
		err = x.work(ctx)
	}
	x.report()
	return x.result, err
}

// prepare looks at both sides and, unless there is nothing to do or something is in the way, begins.
func (x *run) prepare(ctx context.Context) error {
	x.result = Result{From: x.From.Name, To: x.To.Name, DryRun: x.DryRun, Copied: []string{}, Removed: []string{}, Refused: []Note{}, Warnings: []Note{}}
	x.copied, x.removed = map[string]bool{}, map[string]bool{}
	x.refuseSameSources()
	x.progress(deployer.Progress{Step: "look"})
	for _, step := range []func(context.Context) error{x.readLive, x.readTarget, x.look, x.warnOfIgnored, x.checkWritable} {
		if x.refused() {
			return nil
		}
		if err := step(ctx); err != nil {
			return err
		}
	}
	if x.refused() || x.DryRun || x.plan.nothingToDo() && !x.target.interrupted && !x.plan.news {
		return nil
	}
	return x.begin(ctx)
}

// work writes until the target shows what it should.
func (x *run) work(ctx context.Context) error {
	if err := x.findCopiers(ctx); err != nil {
		return x.interrupted(err)
	}
	for range maxRounds {
		if err := x.apply(ctx); err != nil {
			return x.interrupted(err)
		}
		// Others may have written meanwhile, and an answer may have been lost: only another look tells.
		if err := x.look(ctx); err != nil {
			return x.interrupted(err)
		}
		if x.refused() { // others wrote meanwhile
			x.result.Warnings = append(x.result.Warnings, Note{"", x.staysHeld()})
			return nil
		}
		if x.plan.nothingToDo() {
			return x.finish(ctx)
		}
	}
	return x.interrupted(fmt.Errorf("the sources of %s are written to all the time", x.To.Name))
}

func (x *run) interrupted(err error) error {
	if errors.Is(err, errTakenOver) {
		return err
	}
	return fmt.Errorf("%w; %s", err, x.staysHeld())
}

func (x *run) staysHeld() string {
	return fmt.Sprintf("%s stays held: promote again to finish, or let dagbucket resume --route %s deploy what is there", x.To.Name, x.To.Name)
}

func (x *run) refused() bool { return len(x.result.Refused) > 0 }

func (x *run) refuse(path, format string, args ...any) {
	x.result.Refused = append(x.result.Refused, Note{path, fmt.Sprintf(format, args...)})
}

// refuseSameSources refuses to promote within one place: what is copied would be what is replaced.
func (x *run) refuseSameSources() {
	for i, to := range x.To.Sources {
		for _, from := range x.From.Sources {
			shared := x.Buckets[i].String() == from.Bucket.String() && (strings.HasPrefix(to.Prefix, from.Prefix) || strings.HasPrefix(from.Prefix, to.Prefix))
			if shared {
				x.refuse("", "source %s of %s and source %s of %s are one place: what is in the one is in the other already", to.URL, x.To.Name, from.URL, x.From.Name)
			}
		}
	}
}

// report says what was done, or would be.
func (x *run) report() {
	if x.DryRun && !x.refused() {
		for _, s := range x.plan.steps {
			set := x.copied
			if s.line == nil {
				set = x.removed
			}
			set[s.rel] = true
		}
	}
	for i := range x.plan.lines {
		if rel, _ := below(x.To, x.plan.lines[i].Path); !x.copied[rel] {
			x.result.Unchanged++
		}
	}
	for rel := range x.copied {
		x.result.Copied = append(x.result.Copied, archivePath(x.To, rel))
	}
	for rel := range x.removed {
		x.result.Removed = append(x.result.Removed, archivePath(x.To, rel))
	}
	slices.Sort(x.result.Copied)
	slices.Sort(x.result.Removed)
	for _, notes := range [][]Note{x.result.Refused, x.result.Warnings} {
		slices.SortStableFunc(notes, func(a, b Note) int { return cmp.Or(strings.Compare(a.Path, b.Path), strings.Compare(a.Why, b.Why)) })
	}
}

func (x *run) progress(p deployer.Progress) {
	if x.Progress != nil {
		x.Progress(p)
	}
}

// archivePath is the path in a route's archive of a path below its base folder.
func archivePath(r *deployer.Route, rel string) string {
	if r.BaseDir == "" {
		return rel
	}
	return r.BaseDir + "/" + rel
}

// below is the path below a route's base folder of a path in its archive; ok is false for one that is elsewhere.
func below(r *deployer.Route, path string) (rel string, ok bool) {
	if r.BaseDir == "" {
		return path, true
	}
	return strings.CutPrefix(path, r.BaseDir+"/")
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
