package promotion

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/bundle"
	"github.com/dagbucket/dagbucket/internal/state"
)

// live is what is live on the from-route.
type live struct {
	deploy *state.Deploy
	files  map[string]*state.File // by path below the base folder
}

// readLive finds out what is live on the from-route, and refuses where that is not known for sure, or not what anybody chose. A pause is no
// hindrance: it makes what is live stand still.
func (x *run) readLive(ctx context.Context) error {
	name := x.From.Name
	status, err := x.From.Status(ctx)
	if err != nil {
		return err
	}
	for _, h := range status.Holds {
		if h.Kind != state.Paused {
			x.refuse("", "%s is held: %s", name, h.Reason)
		}
	}
	record, _, err := x.From.Store.ReadRecord(ctx)
	if err != nil {
		return err
	}
	x.live = live{files: map[string]*state.File{}}
	if status.Live != nil {
		x.live.deploy = deployOf(record, status.Live.TarballVersion)
	}
	switch {
	case x.refused():
		return nil
	case status.Live == nil:
		x.refuse("", "nothing was deployed on %s yet", name)
		return nil
	case status.Drift != "" || !status.Deployment.InSync:
		x.refuse("", "the Deployment of %s does not run what was deployed from there last (%s): run dagbucket sync --route %s", name, status.Drift, name)
		return nil
	case x.live.deploy == nil:
		x.refuse("", "the state of %s does not know what is live: run dagbucket sync --route %s", name, name)
		return nil
	case !status.Live.Live:
		x.refuse("", "the Deployment of %s was not seen to run its last deploy yet: run dagbucket sync --wait --route %s", name, name)
		return nil
	}
	return x.readLiveFiles(ctx)
}

// deployOf is the deploy of a record that is live. One whose run died after it took effect is pending there.
func deployOf(record state.Record, tarballVersion string) *state.Deploy {
	for _, d := range []*state.Deploy{record.Live, record.Pending} {
		if d != nil && d.TarballVersion == tarballVersion {
			return d
		}
	}
	return nil
}

func (x *run) readLiveFiles(ctx context.Context) error {
	files, err := x.From.Store.ReadManifest(ctx, x.live.deploy.Manifest)
	if err == nil && digestOf(files) != x.live.deploy.Digest {
		err = state.ErrDamaged
	}
	if errors.Is(err, bucket.ErrNotExist) || errors.Is(err, state.ErrDamaged) {
		x.refuse("", "the state of %s lost its manifest: run dagbucket sync --route %s", x.From.Name, x.From.Name)
		return nil
	}
	if err != nil {
		return err
	}
	for i := range files {
		if rel, ok := below(x.From, files[i].Path); ok && files[i].State != state.LeftOut {
			x.live.files[rel] = &files[i]
		}
	}
	return nil
}

// digestOf is the digest of what a manifest describes.
func digestOf(files []state.File) string {
	return bundle.Digest(func(yield func(path, sum string) bool) {
		for _, f := range files {
			if f.State != state.LeftOut && !yield(f.Path, f.SHA256) {
				return
			}
		}
	})
}

// choose returns the paths that are looked at: those that are live, or were promoted before, as far as Paths names them. A promotion that
// finishes an interrupted one also takes what that had begun to change.
func (x *run) choose() map[string]bool {
	all := map[string]bool{}
	for rel := range x.live.files {
		all[rel] = true
	}
	for rel := range x.target.memory {
		all[rel] = true
	}
	if len(x.Paths) == 0 {
		return all
	}
	chosen := map[string]bool{}
	for _, path := range x.Paths {
		if !x.chooseBelow(chosen, all, path) {
			x.refuse(path, "nothing of that name is live on %s, or was promoted before", x.From.Name)
		}
	}
	for rel, m := range x.target.memory {
		if x.target.interrupted && m.begun() {
			chosen[rel] = true
		}
	}
	return chosen
}

// chooseBelow adds what a path names: in an archive, or else below the base folder.
func (x *run) chooseBelow(chosen, all map[string]bool, path string) bool {
	path = strings.TrimSuffix(strings.TrimPrefix(path, "./"), "/")
	for _, nameOf := range []func(rel string) string{
		func(rel string) string { return archivePath(x.From, rel) },
		func(rel string) string { return archivePath(x.To, rel) },
		func(rel string) string { return rel },
	} {
		found := false
		for rel := range all {
			if name := nameOf(rel); name == path || strings.HasPrefix(name, path+"/") && path != "" {
				chosen[rel], found = true, true
			}
		}
		if found {
			return true
		}
	}
	return false
}

// refuseKept refuses chosen paths that are not live as their source holds them.
func (x *run) refuseKept(chosen map[string]bool) {
	for _, rel := range sorted(chosen) {
		if f := x.live.files[rel]; f != nil && f.State != state.Live {
			x.refuse(archivePath(x.To, rel), "%s keeps an earlier version of it (%s)", x.From.Name, f.Reason)
		}
	}
}

// sourceOf is the bucket that a live file came from, or nil if the route has that source no more.
func (x *run) sourceOf(f *state.File) bucket.Reader {
	for _, s := range x.From.Sources {
		if s.URL == f.Source {
			return s.Bucket
		}
	}
	return nil
}

// byArchivePath puts steps into the order of the from-route's bundle.
func byArchivePath(steps []*step) {
	slices.SortFunc(steps, func(a, b *step) int { return strings.Compare(a.line.Path, b.line.Path) })
}
