package promotion

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/bundle"
	"github.com/dagbucket/dagbucket/internal/deployer"
)

const (
	// inMemory is the largest file, in bytes, that passes through here under a condition: the contract's limit. Larger ones are streamed without.
	inMemory = 16 << 20
	// allInMemory bounds the files that pass through at once, in bytes.
	allInMemory = 64 << 20
)

// errGone says that a source no longer has what is live: its bytes are in the live bundle.
var errGone = errors.New("the source holds another version now")

// apply copies, then removes: first what the storage copies by itself or what passes through here, then what only the live bundle still has. What
// was changed in the target since it was listed is left alone; another look decides on it.
func (x *run) apply(ctx context.Context) error {
	x.done = 0
	gone, err := x.copyAll(ctx)
	if err == nil && len(gone) > 0 {
		err = x.copyFromBundle(ctx, gone)
	}
	if err != nil {
		return err
	}
	return x.each(ctx, func(ctx context.Context, s *step) error {
		if s.line != nil {
			return nil
		}
		return x.remove(ctx, s)
	})
}

// each does something for every step, many side by side.
func (x *run) each(ctx context.Context, do func(context.Context, *step) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for _, s := range x.plan.steps {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return do(ctx, s)
		})
	}
	return g.Wait()
}

// copyAll copies what the sources still hold, and returns what they do not.
func (x *run) copyAll(ctx context.Context) (gone []*step, err error) {
	budget := semaphore.NewWeighted(allInMemory)
	err = x.each(ctx, func(ctx context.Context, s *step) error {
		if s.line == nil {
			return nil
		}
		if err := x.stillOurs(ctx); err != nil {
			return err
		}
		v, err := x.copyObject(ctx, s, budget)
		if errors.Is(err, errGone) {
			x.mu.Lock()
			gone = append(gone, s)
			x.mu.Unlock()
			return nil
		}
		return x.wrote(s, v, err)
	})
	return gone, err
}

// wrote notes a copy. What others changed meanwhile is no failure yet: another look decides.
func (x *run) wrote(s *step, newVersion string, err error) error {
	// A crash here leaves a copy that the next promotion knows by its content, and its intent.
	if err != nil && !errors.Is(err, bucket.ErrChanged) {
		return fmt.Errorf("copying %s: %w", archivePath(x.To, s.rel), err)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if err == nil {
		x.copied[s.rel] = true
		x.target.known[x.versionAt(s.to, newVersion)] = s.line.SHA256
	}
	x.step("copy")
	return nil
}

// step tells of the progress; x.mu must be held.
func (x *run) step(name string) {
	x.done++
	x.progress(deployer.Progress{Step: name, Done: x.done, Total: len(x.plan.steps)})
}

func (s *step) condition() bucket.Condition {
	if s.have == nil {
		return bucket.IfAbsent()
	}
	return bucket.IfVersion(s.have.Version)
}

// copyObject copies one file under the version that is live. Where the storage does not copy it by itself, or not for us, it passes through here.
func (x *run) copyObject(ctx context.Context, s *step, budget *semaphore.Weighted) (newVersion string, err error) {
	source := x.sourceOf(s.line)
	if source == nil {
		return "", errGone
	}
	if c := x.copiers[s.to.source]; c != nil {
		newVersion, err = c.Copy(ctx, source, s.line.Key, s.line.Version, s.to.key, s.condition())
		switch {
		case errors.Is(err, bucket.ErrChanged), errors.Is(err, bucket.ErrArchived): // if it is the target that changed, the bundle will not get there either
			return "", errGone
		case !errors.Is(err, bucket.ErrCannotCopy) && !errors.Is(err, bucket.ErrDenied):
			return newVersion, err
		}
	}
	weight := min(s.line.Size, inMemory) + 1
	if err := budget.Acquire(ctx, weight); err != nil {
		return "", err
	}
	defer budget.Release(weight)
	return x.passThrough(ctx, source, s)
}

// passThrough reads a file from its source and writes it.
func (x *run) passThrough(ctx context.Context, source bucket.Reader, s *step) (newVersion string, err error) {
	if s.line.Size <= inMemory {
		content, _, err := bucket.Read(ctx, source, s.line.Key, s.line.Version, allInMemory)
		if isGone(err) {
			return "", errGone
		}
		if err != nil {
			return "", err
		}
		return x.put(ctx, s, bytes.NewReader(content))
	}
	opened, err := source.Open(ctx, s.line.Key, s.line.Version, 0)
	if isGone(err) {
		return "", errGone
	}
	if err != nil {
		return "", err
	}
	_ = opened.Close() // asked only for what the object is
	body := bucket.NewReader(ctx, source, opened.Object)
	defer body.Close()
	content, err := plain(body, opened.Object.Gzip)
	if err != nil {
		return "", err
	}
	return x.put(ctx, s, content)
}

// isGone reports whether a source no longer gives what was live.
func isGone(err error) bool {
	for _, sign := range []error{errGone, bucket.ErrChanged, bucket.ErrNotExist, bucket.ErrArchived, bucket.ErrDenied} {
		if errors.Is(err, sign) {
			return true
		}
	}
	return false
}

// plain is what an object's author has of it: decompressed, if it is stored compressed and really is.
func plain(body io.Reader, compressed bool) (io.Reader, error) {
	if !compressed {
		return body, nil
	}
	head := new(bytes.Buffer)
	zr, err := gzip.NewReader(io.TeeReader(body, head))
	if errors.Is(err, gzip.ErrHeader) || errors.Is(err, io.EOF) {
		return io.MultiReader(head, body), nil
	}
	return zr, err
}

// errBody says that it was not the writing that failed, but the reading of what is written.
var errBody = errors.New("cannot read what is copied")

// put writes what content holds, if that is what is live. A body that turns out to be something else leaves nothing, and is errGone.
func (x *run) put(ctx context.Context, s *step, content io.Reader) (newVersion string, err error) {
	checked := &checkedReader{from: content, hash: sha256.New(), left: s.line.Size, sum: s.line.SHA256}
	when := s.condition()
	if s.line.Size > inMemory {
		when = bucket.Always
	}
	newVersion, err = x.Buckets[s.to.source].Put(ctx, s.to.key, checked, when)
	switch {
	case checked.failed != nil && isGone(checked.failed):
		return "", fmt.Errorf("%w: %w", errBody, errGone)
	case checked.failed != nil:
		return "", fmt.Errorf("%w: %w", errBody, checked.failed)
	}
	return newVersion, err
}

// checkedReader fails, instead of ending, if what it read is not the content that was meant.
type checkedReader struct {
	from   io.Reader
	hash   hash.Hash
	left   int64
	sum    string
	failed error
}

func (r *checkedReader) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	_, _ = r.hash.Write(p[:n])
	r.left -= int64(n)
	if r.left < 0 || err == io.EOF && hex.EncodeToString(r.hash.Sum(nil)) != r.sum {
		err = errGone
	}
	if err != nil && err != io.EOF {
		r.failed = err
	}
	return n, err
}

// copyFromBundle takes from the live bundle what the sources no longer hold, in its order.
func (x *run) copyFromBundle(ctx context.Context, steps []*step) error {
	byArchivePath(steps)
	body, err := x.From.Store.OpenBundle(ctx, x.live.deploy.Run, x.live.deploy.BundleSize)
	if err != nil {
		return err
	}
	defer body.Close()
	members, err := bundle.NewReader(body)
	if err != nil {
		return x.bundleError(steps[0], err)
	}
	for _, s := range steps {
		if err := x.stillOurs(ctx); err != nil {
			return err
		}
		if _, err := members.Seek(s.line.Path); err != nil {
			return x.bundleError(s, err)
		}
		newVersion, err := x.put(ctx, s, members)
		if errors.Is(err, errBody) {
			return x.bundleError(s, err)
		}
		if err := x.wrote(s, newVersion, err); err != nil {
			return err
		}
	}
	return nil
}

func (x *run) bundleError(s *step, err error) error {
	if errors.Is(err, bucket.ErrNotExist) || errors.Is(err, errGone) || bundle.Damaged(err) {
		return fmt.Errorf("%s is live on %s, but its source holds another version, and the state lost the bundle (%w): run dagbucket sync --route %s",
			s.line.Path, x.From.Name, err, x.From.Name)
	}
	return fmt.Errorf("reading what is live on %s: %w", x.From.Name, err)
}

// remove removes one file, if it is still the one that was listed.
func (x *run) remove(ctx context.Context, s *step) error {
	if err := x.stillOurs(ctx); err != nil {
		return err
	}
	err := x.Buckets[s.to.source].Delete(ctx, s.to.key, s.have.Version)
	// A crash here leaves it removed, as the intent says.
	if err != nil && !errors.Is(err, bucket.ErrChanged) {
		return fmt.Errorf("removing %s: %w", archivePath(x.To, s.rel), err)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if err == nil {
		x.removed[s.rel] = true
	}
	x.step("remove")
	return nil
}
