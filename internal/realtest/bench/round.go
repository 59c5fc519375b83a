package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/dagbucket/dagbucket/internal/deployer"
)

// What is measured.
const (
	firstFloor   = "floor of a first sync"
	firstSync    = "first sync"
	noChange     = "no change"
	onlyListing  = "listing alone"
	changeFloor  = "floor of one changed"
	changedSync  = "one changed"
	template     = "documentation template"
	rcloneCopy   = "rclone copy"
	rcloneKept   = "rclone sync of one changed, folder kept"
	checkedFirst = "first sync, syntax check on"
	checkedSync  = "one changed, syntax check on"
)

var allVariants = []string{firstFloor, firstSync, noChange, onlyListing, changeFloor, changedSync, template, rcloneCopy, rcloneKept, checkedFirst, checkedSync}

// variants are the parts of a round that not every scenario has.
type variants struct {
	changed    bool // one object is overwritten
	checked    bool // with the syntax check, on the loopback
	byTemplate bool
	byRclone   bool
}

// round measures each variant once, one after the other: what disturbs the machine disturbs them all.
type round struct {
	*bench
	point
	variants
	source, state, checkedState string
	env, checkedEnv             []string
	function                    function // the one of the first sync
	folder                      string   // rclone's
	all                         series
}

func (b *bench) round(ctx context.Context, p point, source string, number int, with variants, all series) (err error) {
	id := fmt.Sprintf("%s-%s-%d", source, strings.Trim(string(p.network), "+ ms"), number)
	r := &round{bench: b, point: p, variants: with, source: source, state: id, checkedState: id + "-checked", folder: filepath.Join(b.dir, id), all: all}
	r.checked = r.checked && p.network == loopback
	// To download 10,000 files one by one takes a quarter of a minute, and from afar four minutes.
	r.byTemplate = r.byTemplate && (p.files <= 1000 || p.network == loopback && number < 3)
	for _, step := range []func(context.Context) error{
		r.open, r.firstFloor, r.firstSync, r.template, r.noChange, r.rcloneCopy, r.checkedFirst,
		r.overwrite, r.onlyListing, r.changeFloor, r.changedSync, r.rcloneKept, r.checkedSync, r.close,
	} {
		if err := step(ctx); err != nil {
			if r.function != nil {
				r.function.Stop()
			}
			return err
		}
	}
	return nil
}

func (r *round) open(ctx context.Context) (err error) {
	endpoint := r.endpointOf(r.network)
	if err := r.createBucket(ctx, r.state); err != nil {
		return err
	}
	if r.env = r.bench.env(r.source, r.state, endpoint); r.files > 50_000 {
		if r.env, err = r.fileEnv(r.source, r.state, endpoint); err != nil {
			return err
		}
	}
	if !r.checked {
		return nil
	}
	r.checkedEnv = append(r.bench.env(r.source, r.checkedState, endpoint), "DAGBUCKET_SYNTAX=keep-last-good")
	return r.createBucket(ctx, r.checkedState)
}

func (r *round) close(ctx context.Context) error {
	if err := os.RemoveAll(r.folder); err != nil {
		return err
	}
	if r.checked {
		if err := r.removeBucket(ctx, r.checkedState); err != nil {
			return err
		}
	}
	return r.removeBucket(ctx, r.state)
}

func (r *round) firstSync(ctx context.Context) (err error) {
	if r.function, err = r.start(ctx, r.env); err != nil {
		return err
	}
	return r.first(ctx, r.function, firstSync)
}

func (r *round) first(ctx context.Context, f function, variant string) error {
	result, seconds, err := sync(ctx, f, deployer.Deployed)
	if err != nil {
		return fmt.Errorf("%s: %w", variant, err)
	}
	if result.Files != r.files || len(result.Kept)+len(result.LeftOut) > 0 {
		return fmt.Errorf("%s: %d files were deployed, not %d; %d kept, %d left out", variant, result.Files, r.files, len(result.Kept), len(result.LeftOut))
	}
	r.all.add(variant, measured{seconds, f.PeakRSS(), result.Requests})
	return nil
}

func (r *round) noChange(ctx context.Context) error {
	defer func() { r.function.Stop(); r.function = nil }()
	if _, _, err := sync(ctx, r.function, deployer.Unchanged); err != nil { // it sees the deploy live, and writes that on the pages
		return fmt.Errorf("confirming: %w", err)
	}
	result, seconds, err := sync(ctx, r.function, deployer.Unchanged)
	if err != nil {
		return fmt.Errorf("%s: %w", noChange, err)
	}
	const renewal = 20 // seconds: a longer run looks at its lease again
	if result.Requests["list"] != pages(r.files) || result.Requests["get"] < 2 || result.Requests["get"] > 2+int64(seconds/renewal) {
		return fmt.Errorf("a sync without changes made %v requests: want %d lists, a read of the record and one of the lease", result.Requests, pages(r.files))
	}
	r.all.add(noChange, measured{seconds, r.function.PeakRSS(), result.Requests})
	return nil
}

func (r *round) checkedFirst(ctx context.Context) error {
	if !r.checked {
		return nil
	}
	f, err := r.start(ctx, r.checkedEnv)
	if err != nil {
		return err
	}
	defer f.Stop()
	if err := r.first(ctx, f, checkedFirst); err != nil {
		return err
	}
	_, _, err = sync(ctx, f, deployer.Unchanged)
	return err
}

func (r *round) overwrite(ctx context.Context) error {
	if !r.changed {
		return nil
	}
	return r.write(ctx, r.source, 1, r.size)
}

func (r *round) changedSync(ctx context.Context) error {
	if !r.changed {
		return nil
	}
	m, err := r.incremental(ctx, r.env, r.source, r.scenario, 1)
	if err == nil {
		r.all.add(changedSync, m)
	}
	return err
}

func (r *round) checkedSync(ctx context.Context) error {
	if !r.checked || !r.changed {
		return nil
	}
	m, err := r.incremental(ctx, r.checkedEnv, r.source, r.scenario, 1)
	if err == nil {
		r.all.add(checkedSync, m)
	}
	return err
}

// incremental measures what the event of changed files leads to, in a new process, so that the peak of its memory is of this run alone.
func (b *bench) incremental(ctx context.Context, env []string, source string, s scenario, changed int) (measured, error) {
	f, err := b.start(ctx, env)
	if err != nil {
		return measured{}, err
	}
	defer f.Stop()
	took, err := f.notify(ctx, source, objectKey(0))
	var run summary
	if err == nil {
		run, err = lastRun(f.Logs())
	}
	if err == nil {
		err = requireChanged(run, s, changed)
	}
	if err != nil {
		return measured{}, fmt.Errorf("%d changed: %w", changed, err)
	}
	return measured{took.Seconds(), f.PeakRSS(), run.requests()}, nil
}

// requireChanged holds a run against what it may cost: at most two listings, one read for each changed object, and a few other requests.
func requireChanged(r summary, s scenario, changed int) error {
	if r.Outcome != string(deployer.Deployed) || r.Modified != changed || r.Added+r.Removed+r.Kept+r.LeftOut > 0 || r.Files != s.files {
		return fmt.Errorf("%s: of %d files, %d were modified, %d added, %d removed, %d kept, %d left out; %s", r.Outcome, r.Files, r.Modified, r.Added,
			r.Removed, r.Kept, r.LeftOut, r.Reason)
	}
	each, lists := pages(s.files), r.RequestsList
	if rest := lists % each; lists < each || lists > 2*each+1 || each > 1 && rest > 1 { // one is of the state, to prune old bundles
		return fmt.Errorf("%d list calls: want %d for each listing, at most two listings, and one of the state", lists, each)
	}
	if each := s.reads(); r.RequestsSourceGet != int64(changed)*each {
		return fmt.Errorf("%d reads of the source: want %d for each changed object", r.RequestsSourceGet, each)
	}
	other := lists%max(each, 2) + r.RequestsGet - r.RequestsSourceGet + r.RequestsPut + r.RequestsDelete + r.RequestsAstro
	if most := maxOther + s.parts(); other > most {
		return fmt.Errorf("%d other requests: want at most %d", other, most)
	}
	return nil
}

// reads is how often a changed object is read: one of the same size as before that does not fit into memory is compared first, since a content
// that stayed keeps its time, and the archive wants that before the content.
func (s scenario) reads() int64 {
	if s == heavy {
		return 2
	}
	return 1
}

// parts is how many requests more the bundle and the pages of many or large files may take.
func (s scenario) parts() int64 {
	return int64(s.files)*int64(s.size)>>25 + 2*int64((s.files-1)/10_000)
}

// maxOther are the requests of a run besides its listings and the objects: lease, record, manifest, bundle, pages, Astro.
const maxOther = 20

func pages(files int) int64 { return int64(files+999) / 1000 }

func (r *round) firstFloor(ctx context.Context) error { return r.bare(ctx, firstFloor, "first") }

func (r *round) onlyListing(ctx context.Context) error {
	if !r.changed {
		return nil
	}
	return r.bare(ctx, onlyListing, "list")
}

func (r *round) changeFloor(ctx context.Context) error {
	if !r.changed {
		return nil
	}
	bundles, err := r.list(ctx, r.state, "default/bundles/")
	if err != nil {
		return err
	}
	if len(bundles) != 1 {
		return fmt.Errorf("the state holds %d bundles after the first sync, not 1", len(bundles))
	}
	return r.bare(ctx, changeFloor, "change", "-bundle", bundles[0], "-object", objectKey(0))
}

func (r *round) template(ctx context.Context) error {
	if !r.byTemplate {
		return nil
	}
	return r.bare(ctx, template, "template")
}

func (r *round) rcloneCopy(ctx context.Context) error {
	if !r.byRclone {
		return nil
	}
	return r.bare(ctx, rcloneCopy, "rclone", "-rclone", r.rclone, "-folder", r.folder)
}

func (r *round) rcloneKept(ctx context.Context) error {
	if !r.byRclone || !r.changed {
		return nil
	}
	return r.bare(ctx, rcloneKept, "rclone", "-rclone", r.rclone, "-folder", r.folder)
}

// bare runs the floor program, which does without dagbucket.
func (r *round) bare(ctx context.Context, variant, way string, more ...string) error {
	upload, err := r.uploadURL(ctx)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, r.floor, append(more, "-way", way, "-source", r.url(r.source), "-state", r.url(r.state), "-upload", upload)...)
	cmd.Env = append(os.Environ(), r.environment(r.endpointOf(r.network))...)
	cmd.Env = append(cmd.Env, "TMPDIR="+r.dir) // is removed, even if the program is killed
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s: %w", variant, err)
	}
	var said struct {
		Seconds  float64
		PeakRSS  int64
		Requests map[string]int64 // none are known of rclone
	}
	if err := json.Unmarshal(out, &said); err != nil {
		return fmt.Errorf("%s: %w", variant, err)
	}
	r.all.add(variant, measured{said.Seconds, said.PeakRSS, said.Requests})
	return nil
}
