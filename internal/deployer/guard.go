package deployer

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/selection"
	"github.com/dagbucket/dagbucket/internal/state"
)

// guardRemovals lets go of the live paths that nothing shows any more, or keeps them: those of a source that became empty, and those
// of a mass removal. It is asked once, with all of them in ascending order.
func (b *planner) guardRemovals(paths []string) {
	bySource, approved := map[string][]string{}, map[string]int{}
	for _, p := range paths {
		f := b.live[p]
		if source, ok := b.approved[p]; ok && source == f.Source {
			b.plan.removed = append(b.plan.removed, p)
			approved[source]++
			delete(b.live, p)
			continue
		}
		bySource[f.Source] = append(bySource[f.Source], p)
	}
	b.plan.approved = sortedKeys(approved)
	nothingLeft := len(b.plan.items) == 0 && !b.AllowEmpty
	for _, source := range sortedKeys(bySource) {
		message := b.massRemoval(source, len(bySource[source]), approved[source])
		if message == "" && nothingLeft {
			message = "nothing else would be left; dagbucket approve lets it go"
		}
		for _, p := range bySource[source] {
			if message != "" {
				b.keep(p, b.live[p].Key, reasonRemoval, message)
				continue
			}
			delete(b.live, p)
			b.plan.removed = append(b.plan.removed, p)
		}
	}
}

// massRemoval explains why n removals from a source, beside those that were approved, must be approved; "" lets them go.
func (b *planner) massRemoval(source string, n, approved int) string {
	if empty, configured := b.plan.empty[source]; configured && empty {
		if b.AllowEmpty {
			return ""
		}
		return "its source is empty; dagbucket approve lets it go"
	}
	live := b.record.Live
	g, guarded := live.Guarded[source]
	if !guarded || approved > 0 {
		g.Largest = b.record.LargestSet(source, b.view.listed)
		g.Gone = g.Largest - live.Sources[source]
		g.Largest -= approved // what a person let go is no measure of what nobody did
	}
	gone := g.Gone + n
	if gone <= b.MaxRemovedFiles || gone*100 <= b.MaxRemovedPercent*g.Largest {
		return ""
	}
	if b.plan.guarded == nil {
		b.plan.guarded = map[string]state.Guarded{}
	}
	b.plan.guarded[source] = g
	return fmt.Sprintf("%d of the %d files that its source had in the last 24 hours are gone; dagbucket approve lets them go", gone, g.Largest)
}

// guard holds the run where going on could empty or overwrite what a person wants to keep.
func (x *run) guard() error {
	for _, check := range []func() error{x.guardForeign, x.guardEmpty, x.guardLimits} {
		if err := check(); err != nil {
			return err
		}
	}
	for _, it := range x.plan.items {
		if it.object == nil && x.bundleGone {
			return x.keptIsGone(&it)
		}
	}
	return nil
}

func (x *run) keptIsGone(it *item) error {
	return held(fmt.Sprintf("%s keeps its last good content (%s), but the state no longer holds it", it.path, it.line.Reason),
		"upload a file that can go live there, or remove it")
}

// mayReplace reports whether DAGs that are live, and that nobody here knows, may be replaced.
func (x *run) mayReplace() bool {
	a := x.approval()
	return x.ReplaceExisting || a != nil && a.Replace == orNone(x.deployment.DesiredVersion)
}

// approval is what a person let go and is not too long ago, or nil.
func (x *run) approval() *state.Approval {
	a := x.record.Approved
	if a == nil || x.version.Now.Sub(a.At) > state.ApprovalLife {
		return nil
	}
	return a
}

func (x *run) guardForeign() error {
	if x.foreign && !x.mayReplace() {
		x.replaces = orNone(x.deployment.DesiredVersion)
		return held("the Deployment already has DAGs that were not deployed from here; the first deploy would replace them",
			"put them into the bucket and run dagbucket approve (or set replace_existing: true), or deploy to another Deployment")
	}
	return nil
}

func (x *run) guardEmpty() error {
	if len(x.plan.items) == 0 && x.record.Live == nil && !x.AllowEmpty {
		return &HeldError{Reason: "waiting for the first file: nothing to deploy below " + x.sourceList(), idle: true}
	}
	const repair = "upload the files again, let them go with dagbucket approve, or set guard.allow_empty: true"
	keptOf := map[string]int{}
	for _, it := range x.plan.items {
		if it.line.State == state.Kept && it.line.Reason == reasonRemoval {
			keptOf[it.line.Source]++
		}
	}
	for i := range x.Sources {
		url := x.Sources[i].URL
		if !x.plan.empty[url] || x.AllowEmpty {
			continue
		}
		if !x.liveKnown && !x.mayReplace() {
			return held(url+" is empty, and the state no longer tells what is live from it", repair)
		}
		if n := keptOf[url]; n > 0 {
			return held(fmt.Sprintf("%s is empty, and its %d live files stay", url, n), repair)
		}
	}
	return nil
}

const raiseLimit = "remove files, or raise the limit"

func (x *run) guardLimits() error {
	if n := len(x.plan.items); x.MaxFiles > 0 && n > x.MaxFiles {
		return held(fmt.Sprintf("%d files are more than limits.max_files (%d)", n, x.MaxFiles), raiseLimit)
	}
	if x.MaxBytes > 0 && x.plan.bytes > x.MaxBytes {
		return x.tooManyBytes(x.plan.bytes)
	}
	return nil
}

func (x *run) sourceList() string {
	var urls []string
	for _, s := range x.Sources {
		urls = append(urls, s.URL)
	}
	return strings.Join(urls, ", ")
}

// emptySources tells of each source whether it shows no file at all.
func (x *run) emptySources(files [][]selection.File) map[string]bool {
	empty := map[string]bool{}
	for i, s := range x.Sources {
		empty[s.URL] = len(files[i]) == 0
	}
	return empty
}

// readApproved reads which paths a person let go, with their sources.
func (x *run) readApproved(ctx context.Context) (map[string]string, error) {
	files, err := x.approvedFiles(ctx)
	if err != nil {
		return nil, err
	}
	approved := make(map[string]string, len(files))
	for _, f := range files {
		approved[f.Path] = f.Source
	}
	return approved, nil
}

// approvedFiles reads the manifest lines of what a person let go.
func (x *run) approvedFiles(ctx context.Context) ([]state.File, error) {
	a := x.approval()
	if a == nil || a.Manifest == "" {
		return nil, nil
	}
	files, err := x.Store.ReadManifest(ctx, a.Manifest)
	if errors.Is(err, bucket.ErrNotExist) || errors.Is(err, state.ErrDamaged) {
		x.Log.Warn("what was approved is lost in the state: approve it again", "route", x.Name, "error", err)
		return nil, nil
	}
	return files, err
}

func (x *run) tooManyBytes(n int64) error {
	return held(fmt.Sprintf("%d bytes are more than limits.max_bytes (%d)", n, x.MaxBytes), raiseLimit)
}
