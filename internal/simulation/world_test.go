// Package simulation runs the real pipeline, with the real record, lease and bundle code, in virtual time: over buckets in memory and the
// stand-in for Astro, under a schedule that a seed decides. An oracle that saw everything checks each deploy and the end.
//
// What happens at one instant of virtual time is decided by the seed and that instant alone, and hardly two things happen at one
// instant; so a seed is a schedule, and can be replayed.
package simulation

import (
	"context"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dagbucket/dagbucket/internal/astro"
	"github.com/dagbucket/dagbucket/internal/astro/astrotest"
	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/bucket/membucket"
	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/service"
	"github.com/dagbucket/dagbucket/internal/state"
)

const (
	quietPeriod       = 10 * time.Second
	maxWait           = time.Minute
	reconcilePeriod   = 5 * time.Minute
	invocationTime    = 4 * time.Minute
	visibilityTime    = 5 * time.Minute // longer than an invocation, as it must be
	maxReceives       = 10
	activeTime        = 12 * time.Minute // of authors and faults
	maxRemovedPercent = 50
	maxRemovedFiles   = 3
	keepBundles       = 5
)

// profile is what kind of world a seed makes.
type profile struct {
	sources   int
	workers   int     // runs at once, beside the reconcile
	pageSize  int     // of listings
	etags     bool    // versions are those of S3, not Google's
	google    bool    // events come as requests, side by side, which share runs; one write a second of an object
	versioned bool    // a delete leaves a marker, and can be undone
	fail      float64 // chance of a fault, for each call
	kill      float64 // chance of a kill, for each call
	late      float64 // chance, for each effect, that its caller ends first
	drop      float64 // chance of losing an event
	partial   float64 // chance that a listing misses some keys
	stall     float64 // chance, for each call, that its process freezes for a minute
	reconcile bool    // the schedule is on
	strangers bool    // image deploys, foreign DAG-only deploys, rollbacks, deploys that fail
	losses    bool    // of the state, or a return to an older one
	retarget  bool    // the configuration changes its Deployment
	people    bool    // approve, pause, resume
	pace      time.Duration
	slow      float64 // chance that a finalize takes minutes, and its process with it
	broken    bool    // files have syntax errors, and there is a check
	rollers   bool    // people roll back
	notifies  bool    // people are told, and there are pages
	follow    time.Duration
}

// Some seeds are about one thing, in every classes.
const (
	classes    = 16
	overtaking = 1 // runs overtake each other at the worst moment
	dying      = 5 // runs are killed, and their own events alone must bring everything right, without the schedule
)

func profileOf(seed uint64) profile {
	r := rand.New(rand.NewPCG(seed, 1))
	p := profile{sources: 1 + r.IntN(3)/2, workers: 1 + r.IntN(4), pageSize: []int{0, 2, 5}[r.IntN(3)], etags: r.IntN(2) == 0, versioned: r.IntN(2) == 0,
		pace: []time.Duration{5 * time.Second, 20 * time.Second, 60 * time.Second}[r.IntN(3)]}
	switch class := seed % 4; class {
	case 0: // nothing goes wrong but for time: without any reconcile
		p.stall = []float64{0, 0.01, 0.04}[r.IntN(3)]
	case 1: // calls fail, but nothing dies
		p.fail = []float64{0.01, 0.03}[r.IntN(2)]
		p.stall = []float64{0, 0.01, 0.03}[r.IntN(3)]
		switch seed % classes {
		case overtaking:
			p.fail, p.stall, p.slow, p.workers, p.pace = 0.04, 0, 0.5, 3, 20*time.Second
		case dying:
			p.fail, p.kill, p.workers, p.pace = 0, 0.01, 3, 20*time.Second
		}
	default:
		p.reconcile = true
		pick := func(values ...float64) float64 { return values[r.IntN(len(values))] }
		p.fail, p.kill, p.late = pick(0, 0.02, 0.05), pick(0, 0.01, 0.04), pick(0, 0.02, 0.1)
		p.drop, p.stall, p.partial = pick(0, 0.1, 0.5), pick(0, 0.01), pick(0, 0, 0.1)
		p.people = r.IntN(2) == 0
		if class == 3 {
			p.strangers, p.losses, p.retarget = r.IntN(2) == 0, r.IntN(3) == 0, r.IntN(4) == 0
		}
	}
	p.google = !p.etags && r.IntN(3) > 0
	p.broken = r.IntN(3) == 0
	r = rand.New(rand.NewPCG(seed, 2))
	p.notifies = r.IntN(3) > 0
	if special := seed % classes; special != overtaking && special != dying {
		p.rollers, p.follow = r.IntN(5) < 2, []time.Duration{0, 0, 25 * time.Second, time.Minute}[r.IntN(4)]
	}
	return p
}

// world is everything outside the code under test.
type world struct {
	seed    uint64
	p       profile
	began   time.Time
	sources []*source
	states  *membucket.Bucket
	astro   *astrotest.Server
	oracle  *oracle
	queue   chan *message
	lanes   []*lane       // the instances of Google's function
	stop    chan struct{} // closed when faults end
	ended   chan struct{} // closed when everything ends

	mu          sync.Mutex
	deployment  string // that the configuration names
	actors      int
	busy        int  // runs, deliveries and effects under way
	calm        bool // no faults any more
	excused     bool // from being live without the reconcile
	pausedAt    time.Time
	messages    int
	pythons     map[string]string    // by Deployment
	uncheckable bool                 // no file can be checked
	asked       int                  // how often a checker was asked
	read        int                  // how many objects of sources were read
	written     map[string]time.Time // when an object of the state was last written
	down        map[string]bool      // who listens, and is away
	faults      int                  // that happened
	shown       shown                // on the pages
	recorder    *actor               // who wrote the record last
	trace       []string
	violations  []string
}

func newWorld(seed uint64) *world {
	w := &world{seed: seed, p: profileOf(seed), began: time.Now(), states: membucket.New("state"), queue: make(chan *message, 100_000),
		stop: make(chan struct{}), ended: make(chan struct{}), deployment: deployments[0], written: map[string]time.Time{}, pythons: map[string]string{}, down: map[string]bool{}}
	w.states.ETags, w.states.Now = w.p.etags, storageClock
	w.astro = astrotest.New(astrotest.Options{LiveAfter: bringUpTime,
		Deployments: []astrotest.Deployment{{ID: deployments[0]}, {ID: deployments[1]}}})
	for i := range w.p.sources {
		w.sources = append(w.sources, newSource(w, i))
	}
	for i := range w.p.workers {
		w.lanes = append(w.lanes, newLane(w, i))
	}
	w.oracle = newOracle(w)
	for _, deployment := range deployments {
		if w.p.broken {
			w.setRuntime(w.roll("runtime", deployment), deployment)
		}
	}
	return w
}

var deployments = []string{"clmh57jtm000008lb58fe2wmv", "clmh57jtm000008lb58fe2wmw"}

// storageClock has whole seconds, as the Date and Last-Modified headers have.
func storageClock() time.Time { return time.Now().Truncate(time.Second) }

// roll returns the chance of this instant. tags tell apart what happens at the same one.
func (w *world) roll(tags ...string) *rand.Rand {
	h := fnv.New64a()
	for _, t := range tags {
		_, _ = h.Write([]byte(t + "\x00"))
	}
	return rand.New(rand.NewPCG(w.seed*0x9e3779b97f4a7c15^h.Sum64(), uint64(time.Now().UnixNano())))
}

func between(r *rand.Rand, low, high time.Duration) time.Duration {
	return low + time.Duration(r.Int64N(int64(high-low)))
}

func (w *world) log(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trace = append(w.trace, fmt.Sprintf("%9.3f  ", time.Since(w.began).Seconds())+fmt.Sprintf(format, args...))
}

func (w *world) violate(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	w.log("VIOLATION: %s", text)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.violations = append(w.violations, text)
}

// begin counts what is under way; it returns the end of it.
func (w *world) begin() (end func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.busy++
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.busy--
	}
}

// later does something after a delay.
func (w *world) later(d time.Duration, do func()) {
	end := w.begin()
	go func() {
		defer end()
		time.Sleep(d)
		do()
	}()
}

func (w *world) isCalm() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.calm
}

// quiesce waits until nothing is under way; it gives up after some hours.
func (w *world) quiesce() {
	for range 10_000 {
		w.mu.Lock()
		busy := w.busy
		w.mu.Unlock()
		if busy == 0 {
			return
		}
		time.Sleep(1234567890 * time.Nanosecond)
	}
	w.violate("something is under way for ever")
}

// actor is one invocation of the function.
type actor struct {
	w        *world
	name     string
	start    time.Time
	cancel   context.CancelFunc
	mu       sync.Mutex
	dead     bool
	listings [][]*listing // by source
	uploaded map[string]*set
	looked   time.Time     // at the Deployment
	frozen   time.Time     // until then
	frozenAt time.Time     // since then
	wrote    time.Time     // the record
	late     bool          // it finalized after it was overtaken
	skew     time.Duration // of its local clock
	wanted   func() bool   // somebody waits for the next run of its process
	wish     *wish         // what it is to bring back
	backs    []*set        // what it brought back
	unshown  bool          // it could not write the pages
	sure     bool          // a person at a terminal: tries until it works, so nothing goes wrong
	runs     int

	knows  knowledge
	spared map[string]bool // contents that it got no verdict on
}

func (w *world) newActor(ctx context.Context, cancel context.CancelFunc) *actor {
	w.mu.Lock()
	w.actors++
	name := fmt.Sprintf("a%03d", w.actors)
	w.mu.Unlock()
	return &actor{w: w, name: name, start: time.Now(), cancel: cancel, listings: make([][]*listing, len(w.sources)), uploaded: map[string]*set{}, spared: map[string]bool{},
		skew: between(w.roll("skew", name), -10*time.Minute, 10*time.Minute)}
}

func (w *world) newAdmin() *actor {
	a := w.newActor(context.Background(), func() {})
	a.sure = true
	return a
}

func (a *actor) isDead() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.dead
}

func (a *actor) kill(where string) {
	a.w.log("%s is killed: %s", a.name, where)
	a.mu.Lock()
	a.dead = true
	a.mu.Unlock()
	a.cancel()
}

// Now is the actor's own clock, which is wrong.
func (a *actor) Now() time.Time { return time.Now().Add(a.skew) }

// Sleep implements deployer.Clock.
func (a *actor) Sleep(ctx context.Context, d time.Duration) error {
	return deployer.SystemClock{}.Sleep(ctx, d)
}

// Tick implements deployer.Clock.
func (a *actor) Tick(d time.Duration) (<-chan time.Time, func()) {
	return deployer.SystemClock{}.Tick(d)
}

func (a *actor) newRun() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.runs++
	return fmt.Sprintf("%s-%s-%d", a.Now().UTC().Format("150405"), a.name, a.runs)
}

// route is the route as this actor is configured.
func (a *actor) route() *deployer.Route {
	w := a.w
	w.mu.Lock()
	deployment := w.deployment
	w.mu.Unlock()
	client, err := astro.New(astro.Options{BaseURL: "http://127.0.0.1/v1", Organization: astrotest.OrganizationID, Deployment: deployment,
		Token: func(context.Context, bool) (string, error) { return token, nil }, Transport: w.astro.Transport()})
	if err != nil {
		panic(err)
	}
	r := &deployer.Route{
		Name: "sim", Deployment: deployment, BaseDir: "dags", Store: state.NewStore(&simBucket{a: a, inner: w.states, source: -1}, "", "sim"),
		Astro:       &simAstro{a: a, inner: service.Astro(client), deployment: deployment},
		QuietPeriod: quietPeriod, MaxWait: maxWait, MaxRemovedPercent: maxRemovedPercent, MaxRemovedFiles: maxRemovedFiles,
		Follow: w.p.follow, Wanted: a.wanted, KeepBundles: keepBundles, Window: 2, SmallBundle: 1 + int(w.seed/classes%2)<<20, Clock: a, NewRun: a.newRun, Log: slog.New(reader{slog.DiscardHandler, a}),
	}
	for i, s := range w.sources {
		r.Sources = append(r.Sources, deployer.Source{URL: s.url, Bucket: &simBucket{a: a, inner: s.bucket, source: i}, Prefix: "dags/", Mount: s.name})
	}
	if w.p.notifies {
		r.Notifier, r.Pages = simNotifier{a}, simPages{a}
	}
	if w.p.broken {
		r.Syntax, a.knows.settings = simChecker{a}, nil
		for i, s := range w.sources {
			a.knows.settings = append(a.knows.settings, s.syntax())
			r.Sources[i].Syntax = a.knows.settings[i]
		}
	}
	return r
}

// reader reads an actor's log.
type reader struct {
	slog.Handler
	a *actor
}

func (h reader) Enabled(context.Context, slog.Level) bool { return true }

// Handle looks for a run that failed and could not even ring: that is as if it had died.
func (h reader) Handle(_ context.Context, r slog.Record) error {
	if strings.HasPrefix(r.Message, "could not write the status pages") {
		h.a.unshown = true
	}
	if strings.HasPrefix(r.Message, "could not note that the status pages are old") {
		h.a.w.doubtPages()
	}
	if strings.HasPrefix(r.Message, "could not give back the lease") && !h.a.isDead() {
		h.a.w.log("%s %s", h.a.name, r.Message)
		h.a.w.excused = true
	}
	return nil
}

var token = astrotest.Token(astrotest.OrganizationID, time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC))

// invoke runs the route once. It reports whether the events are done with.
func (w *world) invoke(events []time.Time) bool {
	ctx, cancel := context.WithTimeout(context.Background(), invocationTime)
	defer cancel()
	a := w.newActor(ctx, cancel)
	r := w.sync(ctx, a, events)
	return !a.isDead() && !r.Retryable
}

func (w *world) sync(ctx context.Context, a *actor, events []time.Time) deployer.Result {
	defer w.begin()()
	w.log("%s starts for %d events", a.name, len(events))
	a.knows.end, _ = ctx.Deadline()
	r := a.route().Sync(ctx, events)
	if ctx.Err() != nil { // all of its calls end at one instant, and any of them may give the reason
		w.fault() // it may have told people of what it could not note as told
		w.log("%s ends: %s, interrupted", a.name, r.Outcome)
	} else {
		w.log("%s ends: %s %s", a.name, r.Outcome, r.Reason)
	}
	w.checkAside(r)
	if ctx.Err() == nil {
		w.oracle.checkShownBy(a, r)
	}
	if a.late && ctx.Err() != nil {
		w.excused = true // a finalize landed late, and its run was killed or out of time before it repaired that
	}
	if r.Outcome == deployer.Failed && !r.Retryable {
		w.violate("a run failed for good: %s", r.Reason)
	}
	return r
}

// message is an event on its way.
type message struct {
	id       int
	at       time.Time
	receives int
}

// notify delivers an event: late, several times, or never.
func (w *world) notify(s *source, key string) {
	r := w.roll("event", s.name, key)
	copies := 1
	if r.IntN(8) == 0 {
		copies = 2
	}
	for range copies {
		if r.Float64() < w.p.drop && !w.isCalm() {
			w.log("the event for %s is lost", key)
			continue
		}
		delay := between(r, 50*time.Millisecond, 3*time.Second)
		if r.IntN(12) == 0 {
			delay = between(r, 3*time.Second, 2*time.Minute)
		}
		w.mu.Lock()
		w.messages++
		m := &message{id: w.messages, at: time.Now().Truncate(time.Millisecond)}
		w.mu.Unlock()
		if w.p.google {
			w.later(delay, func() { w.push(m) })
			continue
		}
		end := w.begin()
		time.AfterFunc(delay, func() { w.queue <- m; end() })
	}
}

// work takes batches off the queue, as an event source mapping does for a function.
func (w *world) work(worker int) {
	time.Sleep(time.Duration(worker)) // so that they stand in line in their order
	for {
		var batch []*message
		select {
		case m := <-w.queue:
			batch = append(batch, m)
		case <-w.ended:
			return
		}
		end := w.begin()
		time.Sleep(between(w.roll("batch", fmt.Sprint(worker)), 100*time.Millisecond, 2*time.Second))
		for len(batch) < 10 && len(w.queue) > 0 {
			batch = append(batch, <-w.queue)
		}
		var events []time.Time
		for _, m := range batch {
			events = append(events, m.at)
		}
		if !w.invoke(events) {
			w.returnToQueue(batch)
		}
		end()
	}
}

func (w *world) returnToQueue(batch []*message) {
	for i, m := range batch {
		if m.receives++; m.receives >= maxReceives {
			w.log("an event is given up")
			w.excused = true // it lies in the dead-letter queue, and somebody is told
			continue
		}
		w.later(visibilityTime-invocationTime+time.Duration(i)*time.Nanosecond, func() { w.queue <- m })
	}
}

// schedule runs the reconcile every five minutes; like Lambda, it tries a failed one twice more.
func (w *world) schedule() {
	for {
		select {
		case <-time.After(reconcilePeriod):
		case <-w.stop:
			return
		}
		w.later(between(w.roll("reconcile"), time.Millisecond, time.Second), func() { w.reconcile() })
	}
}

func (w *world) reconcile() {
	for _, pause := range []time.Duration{time.Minute, 2 * time.Minute, 0} {
		if w.invoke(nil) || pause == 0 {
			return
		}
		time.Sleep(pause)
	}
}

// simulate lets one world run, and returns what went wrong.
func simulate(t *testing.T, seed uint64) *world {
	w := newWorld(seed)
	defer w.astro.Close()
	for i := range w.p.workers {
		go w.work(i)
	}
	phases := 4
	if w.p.reconcile {
		phases = 1
		go w.schedule()
	}
	w.disturb()
	for range phases {
		w.letAuthorsWork(activeTime / time.Duration(phases))
		if !w.p.reconcile { // then everything must be live without it, again and again
			w.quiesce()
			w.oracle.checkAnswered()
		}
	}
	close(w.stop)
	w.mu.Lock()
	w.calm = true
	w.mu.Unlock()
	w.quiesce()
	w.finish()
	close(w.ended)
	return w
}

func (w *world) letAuthorsWork(d time.Duration) {
	end := time.Now().Add(d)
	for i, s := range w.sources {
		go s.author(fmt.Sprint("author", i), end)
	}
	time.Sleep(d + 7*time.Millisecond)
}

// finish lets everything come to rest, and compares.
func (w *world) finish() {
	time.Sleep(state.LeaseLife + time.Second)
	admin := w.newAdmin()
	route := admin.route()
	if err := route.Resume(context.Background()); err != nil {
		w.violate("resume: %v", err)
	}
	for _, s := range w.sources {
		s.put("dags/last.py", "last") // the bucket changes, so that even foreign deploys must go
	}
	w.quiesce()
	time.Sleep(state.LeaseLife)
	w.reconcile()
	w.oracle.checkConverged("after one reconcile", true)
	w.oracle.checkPages("after one reconcile", false)
	if w.p.broken {
		w.repair()
	}
	approved := w.approve()
	w.reconcile()
	w.oracle.checkConverged("after approve", false)
	if w.p.broken {
		w.changePython()
	}
	finalized, asked, read := len(w.astro.Finalized(w.deployment)), w.asked, w.read
	w.reconcile()
	if w.asked > asked || w.read > read {
		w.violate("G6: a reconcile that finds nothing new reads or checks files")
	}
	if n := len(w.astro.Finalized(w.deployment)); n != finalized {
		w.violate("G6: a reconcile that finds nothing new deploys")
	}
	w.log("approved at the end: %v", approved)
	if w.p.rollers {
		w.goBack()
	}
	w.readPages()
	w.checkOrphans()
}

// checkOrphans lets the longest run pass, and looks at what later runs left in the state.
func (w *world) checkOrphans() {
	for range 2 {
		time.Sleep(2 * time.Hour)
		asked, read := w.asked, w.read
		w.sources[0].put("dags/last.py", fmt.Sprint("later ", time.Since(w.began)))
		w.quiesce()
		w.reconcile()
		if w.asked > asked+1 || w.read > read+1 {
			w.violate("G6: one file changed, %d were read and %d checked", w.read-read, w.asked-asked)
		}
	}
	listing, err := w.states.List(context.Background(), "")
	if err != nil {
		panic(err)
	}
	runs := map[string]bool{}
	for _, o := range listing.Objects {
		if dir, name, ok := strings.Cut(strings.TrimPrefix(o.Key, "sim/"), "/"); ok && (dir == "bundles" || dir == "manifests") {
			runs[name[:strings.IndexByte(name, '.')]] = true
		}
	}
	if len(runs) > keepBundles+2 {
		w.violate("%d runs are still in the state, %d is the limit: %v", len(runs), keepBundles+2, runs)
	}
}

// approve is an operator who lets go what waits.
func (w *world) approve() []string {
	admin := w.newAdmin()
	a, err := admin.route().Approve(context.Background())
	if err != nil {
		w.log("approve: %v", err)
		return nil
	}
	w.log("approved: %v %s", a.Removed, a.Replace)
	w.oracle.approved(a)
	return a.Removed
}

var _ bucket.Bucket = (*simBucket)(nil)
