package simulation

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/bucket/membucket"
	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/state"
)

var (
	errFault  = errors.New("a fault")
	errKilled = errors.New("killed")
)

// fate is what becomes of one call.
type fate struct {
	failBefore, failAfter bool
	killBefore, killAfter bool
	late                  time.Duration // the effect comes that long after the caller gave up
}

func (a *actor) fate(r *rand.Rand, effect bool) fate {
	var f fate
	if a.sure || a.w.isCalm() {
		return f
	}
	p := a.w.p
	switch x := r.Float64(); {
	case x < p.fail/2:
		f.failBefore = true
	case x < p.fail:
		f.failAfter = true
	case x < p.fail+p.kill/2:
		f.killBefore = true
	case x < p.fail+p.kill:
		f.killAfter = true
	case x < p.fail+p.kill+p.late && effect:
		f.late = between(r, time.Second, 2*time.Minute)
		f.killBefore = r.IntN(2) == 0
	}
	return f
}

// late marks the context of an effect that nobody waits for any more.
type late struct{}

func isLate(ctx context.Context) bool { return ctx.Value(late{}) != nil }

// call is one call of the outside: it takes time before and after its effect, and anything can happen to it.
func (a *actor) call(ctx context.Context, what string, effect bool, do func(context.Context) error) error {
	if ctx.Err() != nil { // whether a renewal still tries, when its time is over just as it is due, is chance
		return ctx.Err()
	}
	if effect && a.wish != nil && a.wish.dry {
		a.w.violate("a dry rollback: %s", what)
	}
	r := a.w.roll(a.name, what)
	delay := between(r, time.Millisecond, 200*time.Millisecond)
	stall := a.w.p.stall
	if what == finalizeCall {
		stall = stall*6 + a.w.p.slow // Astro takes its time there, some minutes now and then
	}
	if r.Float64() < stall && !a.sure && !a.w.isCalm() {
		delay = between(r, 20*time.Second, 170*time.Second)
		a.freeze(delay)
	}
	f := a.fate(r, effect)
	if f != (fate{}) {
		a.w.fault()
	}
	if err := a.pass(ctx, delay); err != nil {
		return err
	}
	if f.late > 0 {
		a.w.log("%s %s: takes effect in %s", a.name, what, f.late)
		a.w.later(f.late, func() {
			a.w.log("%s %s: takes effect now", a.name, what)
			_ = do(context.WithValue(context.Background(), late{}, true))
		})
		f.failBefore = true
	}
	if f.killBefore {
		a.kill("before " + what)
	}
	if f.failBefore || a.isDead() {
		return a.failure(what)
	}
	if err := do(ctx); err != nil {
		return err
	}
	if f.killAfter {
		a.kill("after " + what)
	}
	if err := a.pass(ctx, between(r, time.Millisecond, 50*time.Millisecond)); err != nil {
		return err
	}
	if f.failAfter {
		return a.failure(what + " after its effect")
	}
	return nil
}

// fault counts what went wrong, or was written beside a run: after it a notice may come twice.
func (w *world) fault() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults++
}

func (a *actor) failure(what string) error {
	if a.isDead() {
		return errKilled
	}
	a.w.log("%s %s: fails", a.name, what)
	return errFault
}

// freeze stops all of a process for a while: it misses its renewals, too. What it does at this very instant, in no certain order, is
// not stopped.
func (a *actor) freeze(d time.Duration) {
	a.w.log("%s is frozen for %s", a.name, d)
	a.w.fault()
	a.mu.Lock()
	defer a.mu.Unlock()
	if until := time.Now().Add(d); until.After(a.frozen) {
		a.frozen = until
	}
	a.frozenAt = time.Now()
}

// pass lets time pass for a call.
func (a *actor) pass(ctx context.Context, d time.Duration) error {
	if a.isDead() {
		return errKilled
	}
	a.mu.Lock()
	if thaw := time.Until(a.frozen); thaw > d && time.Now().After(a.frozenAt) {
		d += thaw
	}
	a.mu.Unlock()
	err := deployer.SystemClock{}.Sleep(ctx, d)
	if a.isDead() {
		return errKilled
	}
	return err
}

// simBucket is a bucket as one actor sees it.
type simBucket struct {
	a      *actor
	inner  *membucket.Bucket
	source int // -1: the state
}

func (b *simBucket) String() string { return b.inner.String() }

// listing is what one run was shown of a source.
type listing struct {
	called, began, ended time.Time
	objects              []bucket.Object
	versions             map[string]string
}

func (b *simBucket) List(ctx context.Context, prefix string) (result bucket.Listing, err error) {
	called := time.Now()
	var seen *listing
	err = b.a.call(ctx, b.String()+" list "+prefix, false, func(ctx context.Context) error {
		began := time.Now()
		if result, err = b.inner.List(ctx, prefix); err == nil && b.source >= 0 {
			b.a.w.sources[b.source].misshow(&result)
			seen = b.a.saw(b.source, called, began, result.Objects)
		}
		return err
	})
	if seen != nil {
		seen.ended = time.Now()
	}
	return result, err
}

// saw remembers a listing for the oracle.
func (a *actor) saw(source int, called, began time.Time, objects []bucket.Object) *listing {
	l := &listing{called: called, began: began, objects: slices.Clone(objects), versions: map[string]string{}}
	for _, o := range objects {
		l.versions[o.Key] = o.Version
	}
	a.mu.Lock()
	a.listings[source] = append(a.listings[source], l)
	a.mu.Unlock()
	a.w.sources[source].shown(l)
	return l
}

// lastSeen is the last listing of each source.
func (a *actor) lastSeen() []*listing {
	a.mu.Lock()
	defer a.mu.Unlock()
	seen := make([]*listing, len(a.listings))
	for i, list := range a.listings {
		if len(list) > 0 {
			seen[i] = list[len(list)-1]
		}
	}
	return seen
}

func (b *simBucket) Open(ctx context.Context, key, version string, offset int64) (body *bucket.Body, err error) {
	err = b.a.call(ctx, b.String()+" open "+key, false, func(ctx context.Context) error {
		body, err = b.inner.Open(ctx, key, version, offset)
		b.a.sees(key)
		if b.source >= 0 {
			b.a.w.mu.Lock()
			b.a.w.read++
			b.a.w.mu.Unlock()
		}
		return err
	})
	return body, err
}

func (b *simBucket) Put(ctx context.Context, key string, body io.Reader, when bucket.Condition) (version string, err error) {
	content, err := io.ReadAll(body)
	if err != nil {
		return "", err
	}
	if err := b.awaitTurn(ctx, key); err != nil {
		return "", err
	}
	isRecord, seen := strings.HasSuffix(key, "record.json"), b.a.lastSeen()
	err = b.a.call(ctx, b.String()+" put "+key, true, func(ctx context.Context) error {
		var old state.Record
		if isRecord {
			old = b.a.w.oracle.record()
		}
		stored, err := b.inner.Put(ctx, key, bytes.NewReader(content), when)
		if err == nil && isRecord {
			b.a.wrote = time.Now()
			b.a.w.oracle.recorded(b.a, old, seen)
		}
		if err == nil && strings.HasSuffix(key, "lease.json") {
			var l struct {
				Holder string
				Again  bool
			}
			_ = json.Unmarshal(content, &l)
			b.a.w.log("%s writes the lease: holder %q, bell %v", b.a.name, l.Holder, l.Again)
		}
		if !isLate(ctx) {
			version = stored
			b.a.sees(key)
		}
		return err
	})
	return version, err
}

func (b *simBucket) Delete(ctx context.Context, key, version string) error {
	return b.a.call(ctx, b.String()+" delete "+key, true, func(ctx context.Context) error {
		return b.inner.Delete(ctx, key, version)
	})
}

const finalizeCall = "astro finalize"

// simAstro is Astro as one actor sees it.
type simAstro struct {
	a          *actor
	inner      deployer.Astro
	deployment string
}

func (s *simAstro) Deployment(ctx context.Context) (d deployer.Deployment, err error) {
	err = s.a.call(ctx, "astro deployment", false, func(ctx context.Context) error {
		s.a.looked = time.Now()
		d, err = s.inner.Deployment(ctx)
		s.a.knows.desired, s.a.knows.python = d.DesiredVersion, d.Python
		return err
	})
	return d, err
}

func (s *simAstro) Deploys(ctx context.Context, limit int) (list []deployer.Deploy, err error) {
	err = s.a.call(ctx, "astro deploys", false, func(ctx context.Context) error {
		list, err = s.inner.Deploys(ctx, limit)
		return err
	})
	return list, err
}

func (s *simAstro) Create(ctx context.Context, description string) (d deployer.Deploy, err error) {
	err = s.a.call(ctx, "astro create", true, func(ctx context.Context) error {
		created, err := s.inner.Create(ctx, description)
		if !isLate(ctx) {
			d = created
		}
		return err
	})
	return d, err
}

func (s *simAstro) Upload(ctx context.Context, d deployer.Deploy, open func(context.Context) (io.ReadCloser, error), size int64) (version string, err error) {
	// The client would open it, and repeat with pauses by chance: a seed must be a schedule.
	body, err := open(ctx)
	if err != nil {
		return "", err
	}
	content, err := io.ReadAll(body)
	if err != nil {
		return "", err
	}
	read := func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }
	err = s.a.call(ctx, "astro upload", false, func(ctx context.Context) error {
		if version, err = s.inner.Upload(ctx, d, read, size); err == nil {
			s.a.w.oracle.uploaded(s.a, s.deployment, version, d.Description)
		}
		return err
	})
	return version, err
}

func (s *simAstro) Finalize(ctx context.Context, deployID, version string) error {
	return s.a.call(ctx, finalizeCall, true, func(ctx context.Context) error {
		before := s.a.w.oracle.before(s.deployment)
		err := s.inner.Finalize(ctx, deployID, version)
		if err == nil {
			s.a.w.oracle.finalized(s.a, s.deployment, version, before, isLate(ctx))
		}
		return err
	})
}
