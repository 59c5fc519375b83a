package promotion

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/selection"
	"github.com/dagbucket/dagbucket/internal/state"
)

// target is what is known of the target route.
type target struct {
	record      state.Record
	version     state.Version
	interrupted bool              // a promotion from the same route began, and did not end
	memory      map[string]memory // by path below the base folder
	old         []string          // manifests of promotions that nothing refers to once this one has ended
	known       map[version]string
	shown       []map[string]bucket.Object // by source, by key
}

// version names an object version of the target over all its sources.
type version struct{ source, key, version string }

// memory is what promotions left at a path, or meant to leave: the lines of the last one's manifest.
type memory []state.File

// The states of a line in a promotion's manifest. Those of a promotion that ended are all "live".
const (
	left     = state.Live    // it is there
	copying  = state.Waiting // a promotion began to copy it there
	removing = state.LeftOut // a promotion began to remove it
)

// begun reports whether a promotion that did not end meant to change the path.
func (m memory) begun() bool {
	return slices.ContainsFunc(m, func(f state.File) bool { return f.State != left })
}

// has reports whether a line of this state names a content; "" is any.
func (m memory) has(fate, sum string) bool {
	return slices.ContainsFunc(m, func(f state.File) bool { return f.State == fate && (sum == "" || f.SHA256 == sum) })
}

// owns reports whether a content was put there by a promotion.
func (m memory) owns(sum string) bool { return sum != "" && (m.has(left, sum) || m.has(copying, sum)) }

// readTarget reads the target's record, what earlier promotions left there, and what its last deploy was made of. What cannot be read of the
// latter two is as good as unknown: then contents are read, and refused if they are others.
func (x *run) readTarget(ctx context.Context) error {
	t := target{memory: map[string]memory{}, known: map[version]string{}}
	var err error
	if t.record, t.version, err = x.To.Store.ReadRecord(ctx); err != nil {
		return err
	}
	if h := t.record.Hold(state.Promoting); h != nil {
		from, _ := parseHold(h.Reason)
		if t.interrupted = from == x.From.Name; !t.interrupted {
			x.refuse("", "another promotion (%s) writes into the sources of %s since %s: let it end; if it was interrupted, finish it, or lift its hold with dagbucket resume --route %s",
				h.Reason, x.To.Name, h.At.Format("2006-01-02 15:04:05Z07:00"), x.To.Name)
			return nil
		}
		x.result.Warnings = append(x.result.Warnings, Note{"", fmt.Sprintf("this finishes the promotion that began at %s and did not end; if it is still at work elsewhere, it ends there",
			h.At.Format("2006-01-02 15:04:05Z07:00"))})
	}
	if err := x.readMemory(ctx, &t); err != nil {
		return err
	}
	if t.record.Live != nil {
		files, err := x.readLines(ctx, t.record.Live.Manifest)
		if err != nil {
			return err
		}
		t.learn(files)
	}
	x.target = t
	return nil
}

func (x *run) readMemory(ctx context.Context, t *target) error {
	if t.record.Promotion == nil {
		return nil
	}
	t.old = append(t.old, t.record.Promotion.Manifest)
	files, err := x.readLines(ctx, t.record.Promotion.Manifest)
	if err != nil {
		return err
	}
	for _, f := range files {
		if rel, ok := below(x.To, f.Path); ok {
			t.memory[rel] = append(t.memory[rel], f)
		}
	}
	t.learn(files)
	return nil
}

// readLines reads a manifest of the target; one that is lost has no lines.
func (x *run) readLines(ctx context.Context, manifest string) ([]state.File, error) {
	files, err := x.To.Store.ReadManifest(ctx, manifest)
	if errors.Is(err, bucket.ErrNotExist) || errors.Is(err, state.ErrDamaged) {
		return nil, nil
	}
	return files, err
}

// learn remembers which object versions have which contents.
func (t *target) learn(files []state.File) {
	for _, f := range files {
		if f.Version != "" && f.SHA256 != "" {
			t.known[version{f.Source, f.Key, f.Version}] = f.SHA256
		}
		if r := f.Refused; r != nil {
			t.known[version{r.Source, r.Key, r.Version}] = r.SHA256
		}
	}
}

// list shows what the target's sources hold.
func (x *run) list(ctx context.Context) error {
	x.target.shown = make([]map[string]bucket.Object, len(x.To.Sources))
	g, ctx := errgroup.WithContext(ctx)
	for i, s := range x.To.Sources {
		g.Go(func() error {
			listing, err := x.Buckets[i].List(ctx, s.Prefix)
			objects := make(map[string]bucket.Object, len(listing.Objects))
			for _, o := range listing.Objects {
				objects[o.Key] = o
			}
			x.target.shown[i] = objects
			return err
		})
	}
	return g.Wait()
}

// place is where a file of the target lies.
type place struct {
	source int
	key    string
}

// placeOf finds the place of a path: where it lies already, or else the source with the longest mount above it. why says why there is none.
func (x *run) placeOf(rel string) (p place, why string) {
	var places, taken []place
	for i, s := range x.To.Sources {
		rest, ok := rel, true
		if s.Mount != "" {
			rest, ok = strings.CutPrefix(rel, s.Mount+"/")
		}
		switch {
		case !ok:
			continue
		case rest == selection.IgnoreFile:
			why = "there it would say what is left out of the whole source"
			continue
		}
		at := place{i, s.Prefix + rest}
		places = append(places, at)
		if _, there := x.target.shown[i][at.key]; there {
			taken = append(taken, at)
		}
	}
	mounts := func(a, b place) int { return len(x.To.Sources[b.source].Mount) - len(x.To.Sources[a.source].Mount) }
	slices.SortStableFunc(places, mounts)
	switch {
	case len(taken) > 1:
		return place{}, "several sources of " + x.To.Name + " hold it: remove all but one"
	case len(taken) == 1:
		return taken[0], ""
	case len(places) > 0:
		return places[0], ""
	case why != "":
		return place{}, why
	}
	return place{}, "no source of " + x.To.Name + " is mounted there"
}

// placed is the place of a line of a promotion's manifest; ok is false if the route has that source no more.
func (x *run) placed(f state.File) (p place, ok bool) {
	at := slices.IndexFunc(x.To.Sources, func(s deployer.Source) bool { return s.URL == f.Source })
	return place{at, f.Key}, at >= 0 && strings.HasPrefix(f.Key, x.To.Sources[at].Prefix)
}

func (x *run) objectAt(p place) *bucket.Object {
	if o, ok := x.target.shown[p.source][p.key]; ok {
		return &o
	}
	return nil
}

func (x *run) versionAt(p place, v string) version {
	return version{x.To.Sources[p.source].URL, p.key, v}
}

// sumOf is the SHA-256 of an object of the target; "" if it has none of the sizes that matter, or cannot be told.
func (x *run) sumOf(ctx context.Context, p place, o *bucket.Object, sizes []int64) (string, error) {
	if sum, ok := x.target.known[x.versionAt(p, o.Version)]; ok {
		return sum, nil
	}
	if o.Archived || !o.Gzip && !slices.Contains(sizes, o.Size) {
		return "", nil
	}
	body := bucket.NewReader(ctx, x.Buckets[p.source], *o)
	defer body.Close()
	content, err := plain(body, o.Gzip)
	h := sha256.New()
	if err == nil {
		_, err = io.Copy(h, content)
	}
	switch {
	case errors.Is(err, bucket.ErrChanged), errors.Is(err, bucket.ErrArchived):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("reading what is in the target: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
