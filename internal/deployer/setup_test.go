package deployer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/bucket/membucket"
	"github.com/dagbucket/dagbucket/internal/bundle"
	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/selection"
	"github.com/dagbucket/dagbucket/internal/state"
)

// clock stands still but for Sleep, and for what a test does when somebody sleeps.
type clock struct {
	mu      sync.Mutex
	now     time.Time
	onSleep func()
	slept   time.Duration
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Sleep(ctx context.Context, d time.Duration) error {
	c.advance(d)
	c.slept += d
	if c.onSleep != nil {
		c.onSleep()
	}
	return ctx.Err()
}

// Tick never ticks: time passes only between the steps of these tests.
func (c *clock) Tick(time.Duration) (<-chan time.Time, func()) { return nil, func() {} }

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// fakeAstro is one Deployment, with faults before and after each call takes effect.
type fakeAstro struct {
	mu        sync.Mutex
	desired   string
	deploys   []deployer.Deploy // newest first
	bundles   map[string][]byte // by tarball version
	finalized []string          // tarball versions in order
	fault     func(call string, after bool) error
	before    func(call string) // called before each call takes effect
	err       error             // what the preflight refuses with
	uploads   int
	slow      bool // the desired version does not run yet
	python    string
	ignores   []selection.AirflowSyntax
}

func (a *fakeAstro) call(name string, do func()) error {
	if a.before != nil {
		a.before(name)
	}
	if a.fault != nil {
		if err := a.fault(name, false); err != nil {
			return err
		}
	}
	a.mu.Lock()
	do()
	a.mu.Unlock()
	if a.fault != nil {
		return a.fault(name, true)
	}
	return nil
}

func (a *fakeAstro) Deployment(context.Context) (d deployer.Deployment, err error) {
	err = a.call("deployment", func() {
		d = deployer.Deployment{Organization: "org", Name: "Test", DesiredVersion: a.desired, RunningVersion: a.desired, Healthy: !a.slow,
			Python: a.python, Ignores: a.ignores}
	})
	return d, errors.Join(err, a.err)
}

func (a *fakeAstro) Deploys(_ context.Context, limit int) (list []deployer.Deploy, err error) {
	err = a.call("deploys", func() { list = slices.Clone(a.deploys[:min(limit, len(a.deploys))]) })
	return list, err
}

func (a *fakeAstro) Create(_ context.Context, description string) (d deployer.Deploy, err error) {
	err = a.call("create", func() {
		d = deployer.Deploy{ID: fmt.Sprintf("deploy-%d", len(a.deploys)+1), Description: description}
		a.deploys = slices.Insert(a.deploys, 0, d)
	})
	return d, err
}

func (a *fakeAstro) Upload(ctx context.Context, d deployer.Deploy, open func(context.Context) (io.ReadCloser, error), size int64) (version string, err error) {
	body, err := open(ctx)
	if err != nil {
		return "", err
	}
	defer body.Close()
	content, err := io.ReadAll(body)
	if err != nil {
		return "", err
	}
	if int64(len(content)) != size {
		return "", fmt.Errorf("%d bytes were announced and %d came", size, len(content))
	}
	err = a.call("upload", func() {
		a.uploads++
		version = fmt.Sprintf("version-%d", a.uploads)
		a.bundles[version] = content
	})
	return version, err
}

func (a *fakeAstro) Finalize(_ context.Context, deployID, version string) error {
	return a.call("finalize", func() {
		a.desired = version
		a.finalized = append(a.finalized, version)
		for i := range a.deploys {
			if a.deploys[i].ID == deployID {
				a.deploys[i].TarballVersion, a.deploys[i].Finished = version, true
			}
		}
	})
}

// file is one member of a bundle.
type file struct {
	content  string
	modified time.Time
}

func unpack(t testing.TB, archive []byte) map[string]file {
	t.Helper()
	files := map[string]file{}
	r, err := bundle.NewReader(bytes.NewReader(archive))
	require.NoError(t, err)
	for {
		e, err := r.Next()
		if err == io.EOF {
			return files
		}
		require.NoError(t, err)
		content, err := io.ReadAll(r)
		require.NoError(t, err)
		files[e.Path] = file{string(content), e.Modified}
	}
}

// world is a route with everything around it.
type world struct {
	t      testing.TB
	clock  *clock
	source *membucket.Bucket
	states *membucket.Bucket
	astro  *fakeAstro
	route  *deployer.Route
	runs   int
	logs   bytes.Buffer
}

var epoch = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

func newWorld(t testing.TB) *world {
	w := &world{t: t, clock: &clock{now: epoch}, source: membucket.New("source"), states: membucket.New("state"),
		astro: &fakeAstro{bundles: map[string][]byte{}}}
	w.source.Now, w.states.Now = w.clock.Now, w.clock.Now
	var mu sync.Mutex
	w.route = &deployer.Route{
		Name: "prod", Deployment: "deployment", BaseDir: "dags",
		Sources:     []deployer.Source{{URL: "s3://acme/dags/", Bucket: w.source, Prefix: "dags/"}},
		Store:       state.NewStore(w.states, "", "prod"),
		Astro:       w.astro,
		QuietPeriod: 10 * time.Second, MaxWait: 3 * time.Minute, KeepBundles: 20,
		MaxRemovedPercent: 50, MaxRemovedFiles: 10,
		SmallBundle: 1, // all take the long way, over the state
		Clock:       w.clock,
		NewRun: func() string {
			mu.Lock()
			defer mu.Unlock()
			w.runs++
			return fmt.Sprintf("run-%04d", w.runs)
		},
		Log: slog.New(slog.NewTextHandler(&w.logs, nil)),
	}
	return w
}

func (w *world) put(key, content string) {
	w.t.Helper()
	_, err := w.source.Put(context.Background(), key, strings.NewReader(content), bucket.Always)
	require.NoError(w.t, err)
}

func (w *world) delete(key string) {
	w.t.Helper()
	require.NoError(w.t, w.source.Delete(context.Background(), key, ""))
}

// sync runs the route a minute later, when everything is quiet.
func (w *world) sync() deployer.Result {
	w.t.Helper()
	w.clock.advance(time.Minute)
	return w.route.Sync(context.Background(), nil)
}

func (w *world) requireOutcome(want deployer.Outcome, r deployer.Result) deployer.Result {
	w.t.Helper()
	require.Equal(w.t, want, r.Outcome, "reason: %s\n%s", r.Reason, w.logs.String())
	return r
}

// live is what the Deployment goes to: path and content.
func (w *world) live() map[string]string {
	w.t.Helper()
	if w.astro.desired == "" {
		return map[string]string{}
	}
	contents := map[string]string{}
	for path, f := range unpack(w.t, w.astro.bundles[w.astro.desired]) {
		contents[path] = f.content
	}
	return contents
}

// shown is what the source holds, under the paths it should have.
func (w *world) shown() map[string]string {
	w.t.Helper()
	contents := map[string]string{}
	listing, err := w.source.List(context.Background(), "dags/")
	require.NoError(w.t, err)
	for _, o := range listing.Objects {
		content, _, err := bucket.Read(context.Background(), w.source, o.Key, "", 1<<30)
		require.NoError(w.t, err)
		contents[o.Key] = string(content)
	}
	return contents
}

func (w *world) record() state.Record {
	w.t.Helper()
	rec, _, err := w.route.Store.ReadRecord(context.Background())
	require.NoError(w.t, err)
	return rec
}

// stateKeys lists what the state holds.
func (w *world) stateKeys() []string {
	w.t.Helper()
	listing, err := w.states.List(context.Background(), "")
	require.NoError(w.t, err)
	var keys []string
	for _, o := range listing.Objects {
		keys = append(keys, o.Key)
	}
	return keys
}

// storedRuns lists the bundles and manifests in the state.
func (w *world) storedRuns() []string {
	return slices.DeleteFunc(w.stateKeys(), func(key string) bool { return key == "prod/record.json" || key == "prod/lease.json" })
}

func paths(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

// archive moves an object to a storage class that must be restored first.
func (w *world) archive(key string) {
	w.source.Change(key, func(o *bucket.Object) { o.Archived = true })
}

// overwrite changes an object of the state.
func (w *world) overwrite(key string, change func([]byte) []byte) {
	w.t.Helper()
	content, _, err := bucket.Read(context.Background(), w.states, key, "", 1<<30)
	require.NoError(w.t, err)
	_, err = w.states.Put(context.Background(), key, bytes.NewReader(change(content)), bucket.Always)
	require.NoError(w.t, err)
}

// notesIn is what a status says of the files of a state.
func notesIn(s state.Status, fate string) []deployer.Note {
	var notes []deployer.Note
	for _, f := range s.In(fate) {
		notes = append(notes, deployer.Note{Path: f.Path, Key: f.Key, Reason: f.Reason, Line: f.Line, Column: f.Column, Message: f.Message,
			Excerpt: f.Excerpt})
	}
	return notes
}
