package promotion

import (
	"context"
	"errors"
	"strings"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/state"
)

const (
	// probeKey names an object that never is there, at the root of a source; or for a moment, where a storage does not heed conditions. By its
	// end it is none that a run deploys.
	probeKey = ".dagbucket-probe~"
	// noVersion can be a version of every storage, so that each is asked; but none of what is not there.
	noVersion = "1"
)

// checkWritable refuses to begin where the target could not be written to. It asks for what cannot be: to replace, and to remove, a version of an
// object that is not there. The answer to somebody without the right is another one, and nothing changes.
func (x *run) checkWritable(ctx context.Context) error {
	x.progress(deployer.Progress{Step: "check"})
	for i, s := range x.To.Sources {
		writes, deletes := x.needs(i)
		key := s.Prefix + probeKey
		for _, right := range []struct {
			needed bool
			ask    func() error
		}{{writes, func() error { return x.probePut(ctx, x.Buckets[i], key) }}, {deletes, func() error { return x.Buckets[i].Delete(ctx, key, noVersion) }}} {
			if !right.needed || x.refused() {
				continue
			}
			err := right.ask()
			switch {
			case err == nil, errors.Is(err, bucket.ErrChanged):
			case bucket.Permanent(err), errors.Is(err, errHeedless):
				x.refuse("", "source %s of %s is not writable: %v", s.URL, x.To.Name, err)
			default:
				return err
			}
		}
	}
	return nil
}

// needs says what must be allowed in a source. Cloud Storage wants the right to delete for overwriting too.
func (x *run) needs(source int) (writes, deletes bool) {
	overwriteDeletes := strings.HasPrefix(x.Buckets[source].String(), "gs://")
	for _, s := range x.plan.steps {
		if s.to.source == source {
			writes = writes || s.line != nil
			deletes = deletes || s.line == nil || overwriteDeletes && s.have != nil
		}
	}
	return writes, deletes
}

// findCopiers finds out which sources of the target copy by themselves, and only under a condition: some servers that speak S3's protocol heed it
// for what is put, and not for what is copied. There the files pass through.
func (x *run) findCopiers(ctx context.Context) error {
	type pair struct {
		to   int
		from string
	}
	x.copiers = make([]bucket.Copier, len(x.Buckets))
	asked := map[pair]bool{} // once is enough, whatever the answer
	for _, s := range x.plan.steps {
		i := s.to.source
		c, ok := x.Buckets[i].(bucket.Copier)
		if s.line == nil || !ok || x.copiers[i] != nil || asked[pair{i, s.line.Source}] || x.sourceOf(s.line) == nil {
			continue
		}
		asked[pair{i, s.line.Source}] = true
		key := x.To.Sources[i].Prefix + probeKey
		version, err := c.Copy(ctx, x.sourceOf(s.line), s.line.Key, s.line.Version, key, bucket.IfVersion(noVersion))
		switch {
		case err == nil:
			// A crash here leaves an object that no run deploys, and the next promotion writes over.
			if err := x.Buckets[i].Delete(ctx, key, version); err != nil {
				return err
			}
		case errors.Is(err, bucket.ErrChanged):
			if isThere(ctx, x.sourceOf(s.line), s.line) {
				x.copiers[i] = c
			} else {
				delete(asked, pair{i, s.line.Source}) // it is the source that changed, which tells nothing of the target's condition
			}
		case ctx.Err() != nil:
			return err
		}
	}
	return nil
}

// isThere reports whether a source still holds what is live.
func isThere(ctx context.Context, source bucket.Reader, f *state.File) bool {
	body, err := source.Open(ctx, f.Key, f.Version, 0)
	if err != nil {
		return false
	}
	_ = body.Close()
	return true
}

var errHeedless = errors.New("the storage writes whatever the condition is, so that what others write meanwhile could be lost")

func (x *run) probePut(ctx context.Context, b bucket.Bucket, key string) error {
	version, err := b.Put(ctx, key, strings.NewReader("dagbucket asks whether it may write here"), bucket.IfVersion(noVersion))
	if err != nil {
		return err
	}
	return errors.Join(errHeedless, b.Delete(ctx, key, version))
}
