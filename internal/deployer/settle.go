package deployer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/state"
)

// rules names this version's way from listings to paths. Raise it when selection changes, so that unchanged buckets are looked at again.
const rules = "1"

// view is what all sources showed.
type view struct {
	listings []bucket.Listing // by source
	listed   time.Time        // when the listing began, by the storage's clock (the earliest of several)
	began    time.Time        // the same by the local clock
	revision string           // equal revisions show equal keys and versions
	missing  map[string]bool  // what is live and not shown; of a listing that is waited behind
	// doubtful holds what is live and missing here, but not missing in the listing before: such a removal does not count.
	doubtful map[string]bool
}

// settle is step 4: it lists until the sources are quiet, and at most for MaxWait. Any listing error ends the run.
func (x *run) settle(ctx context.Context) error {
	start := x.Clock.Now()
	var before *view // the oldest listing equal to the last one; without its objects, which nobody needs while this waits
	for {
		v, err := x.listAhead(ctx)
		if err != nil {
			return err
		}
		if x.isLive(v.revision) {
			x.view = *v
			return nil
		}
		if err := x.readLive(ctx); err != nil {
			return err
		}
		x.loadChecker(v)
		missing := x.missing(v)
		wait := x.untilQuiet(v)
		if wait <= 0 && len(missing) == 0 {
			x.view = *v
			return nil
		}
		if before != nil && before.revision == v.revision && v.listed.Sub(before.listed) >= x.QuietPeriod {
			x.view = *v
			return nil
		}
		left := x.MaxWait - x.Clock.Now().Sub(start)
		if before != nil && left <= 0 {
			v.doubtful = without(missing, before.missing)
			x.view = *v
			return nil
		}
		if before == nil || before.revision != v.revision {
			before = &view{listed: v.listed, revision: v.revision, missing: missing}
		}
		v = nil
		if wait <= 0 {
			wait = x.QuietPeriod
		}
		if err := x.step("wait", func() error { return x.Clock.Sleep(ctx, max(min(wait, left), 0)) }); err != nil {
			return fmt.Errorf("waiting for the sources to be quiet: %w", err)
		}
	}
}

// without returns what is in a and not in b.
func without(a, b map[string]bool) map[string]bool {
	rest := map[string]bool{}
	for k := range a {
		if !b[k] {
			rest[k] = true
		}
	}
	return rest
}

// listAhead lists all sources. If an event tells that something changed, it reads meanwhile what the listing will be compared with.
func (x *run) listAhead(ctx context.Context) (v *view, err error) {
	var read sync.WaitGroup
	defer read.Wait()
	if slices.ContainsFunc(x.wake, func(event time.Time) bool { return !event.IsZero() }) {
		read.Go(func() { _ = x.readLive(ctx) }) // whoever needs it reads it again, and learns of the error
	}
	return x.list(ctx)
}

// list lists all sources.
func (x *run) list(ctx context.Context) (*view, error) {
	v := &view{listings: make([]bucket.Listing, len(x.Sources)), began: x.Clock.Now()}
	err := x.step("list", func() error {
		g, ctx := errgroup.WithContext(ctx)
		for i, s := range x.Sources {
			g.Go(func() (err error) {
				v.listings[i], err = s.Bucket.List(x.account.ofSources(ctx), s.Prefix)
				return err
			})
		}
		return g.Wait()
	})
	if err != nil {
		return nil, err
	}
	for _, l := range v.listings {
		if v.listed.IsZero() || l.Time.Before(v.listed) {
			v.listed = l.Time
		}
	}
	v.revision = x.revision(v.listings)
	return v, nil
}

// revision hashes all that decides the paths and contents of a set: the configuration of paths and guard, keys and versions.
func (x *run) revision(listings []bucket.Listing) string {
	h := sha256.New()
	var text []byte
	field := func(s string) {
		text = append(append(strconv.AppendInt(text, int64(len(s)), 10), ':'), s...)
		if len(text) > 32<<10 { // a short write costs as much as hashing it
			_, _ = h.Write(text)
			text = text[:0]
		}
	}
	field(x.configuration())
	field(fmt.Sprint(x.AllowEmpty, x.MaxRemovedPercent, x.MaxRemovedFiles))
	for _, l := range listings {
		text = fmt.Appendf(text, "%d\n", len(l.Objects))
		for _, o := range l.Objects {
			field(o.Key)
			field(o.Version)
			if o.Archived {
				field("archived")
			}
		}
	}
	_, _ = h.Write(text)
	return hex.EncodeToString(h.Sum(nil))
}

// configuration names what is listed, and under which paths it is shipped.
func (r *Route) configuration() string {
	parts := []string{rules, r.BaseDir}
	for _, s := range r.Sources {
		parts = append(parts, s.URL, s.Mount)
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", parts))
	return hex.EncodeToString(sum[:8])
}

// untilQuiet returns how long it takes until nothing in v, and no event, is younger than the quiet period; at most that
// period, since a time in the future says nothing.
func (x *run) untilQuiet(v *view) time.Duration {
	var wait time.Duration
	for _, l := range v.listings {
		for _, o := range l.Objects {
			wait = max(wait, x.QuietPeriod-l.Time.Sub(o.Modified))
		}
	}
	for _, t := range x.wake {
		if !t.IsZero() {
			wait = max(wait, x.QuietPeriod-v.listed.Sub(t))
		}
	}
	return min(wait, x.QuietPeriod)
}

// missing returns the ids of the objects that are live and not in v.
func (x *run) missing(v *view) map[string]bool {
	shown := map[string]*finder{}
	for i, l := range v.listings {
		shown[x.Sources[i].URL] = &finder{objects: l.Objects}
	}
	missing := map[string]bool{}
	look := func(source, key string) {
		if l := shown[source]; l == nil || !l.has(key) {
			missing[objectID(source, key)] = true
		}
	}
	for i := range x.live {
		f := &x.live[i]
		switch {
		case f.Pinned != nil: // also of what is left out: one listing that misses it does not end a rollback
			if f.Pinned.Version != "" {
				look(f.Pinned.Source, f.Pinned.Key)
			}
		// What the guard keeps was found missing twice already.
		case f.State == state.Live || f.State == state.Kept && f.Reason != reasonRemoval:
			look(f.Source, f.Key)
		}
	}
	return missing
}

// finder finds the keys of a listing, fastest if they are asked for in its order, as those of a manifest mostly are.
type finder struct {
	objects []bucket.Object // ascending by key
	next    int
}

func (f *finder) has(key string) (found bool) {
	at := f.next
	if at >= len(f.objects) || f.objects[at].Key != key {
		at, found = slices.BinarySearchFunc(f.objects, key, func(o bucket.Object, key string) int { return strings.Compare(o.Key, key) })
		if !found {
			return false
		}
	}
	f.next = at + 1
	return true
}

// objectID names an object over all sources. Neither part can hold the separator: keys with it are unsafe and never live.
func objectID(source, key string) string { return source + "\x00" + key }
