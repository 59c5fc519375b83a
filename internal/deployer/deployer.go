// Package deployer is the one pipeline of dagbucket: it makes an Astro Deployment's DAGs equal to what a route's
// sources hold. An event only wakes it; what it deploys is always the state of a listing.
//
// Follow one run from Route.Sync in run.go; each step is a function in the order of the design.
package deployer

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/pysyntax"
	"github.com/dagbucket/dagbucket/internal/selection"
	"github.com/dagbucket/dagbucket/internal/state"
)

// Route is one Deployment with the sources that feed it. All fields but those marked optional must be set. A Route may run
// many times, also concurrently.
type Route struct {
	Name            string
	Deployment      string // Astro Deployment ID
	BaseDir         string // folder in the archive: "dags", or "" for its root
	Sources         []Source
	Store           *state.Store
	Astro           Astro
	QuietPeriod     time.Duration // how long the sources must have been quiet; 0 does not wait
	MaxWait         time.Duration // longest wait for quiet
	AllowEmpty      bool          // deploy a source that became empty
	ReplaceExisting bool          // deploy over DAGs that are not ours
	OnDrift         string        // Heal (also ""), Redeploy or Report
	// A removal of more than both of a source's files, against its largest set of the last 24 hours, must be approved.
	MaxRemovedPercent, MaxRemovedFiles int
	MaxFiles                           int     // 0: no limit
	MaxBytes                           int64   // 0: no limit
	KeepBundles                        int     // how many bundles stay in the state
	Window                             int     // optional: how many objects are fetched at once; 0 is DefaultWindow
	Syntax                             Checker // optional: checks Python files; nil checks none
	SmallBundle                        int     // optional, bytes: a bundle up to this size is held for its upload; 0 is DefaultSmallBundle

	Pages    Pages         // optional: shows people how the route is doing
	Notifier Notifier      // optional: tells people of changes
	Airflow  Airflow       // optional: is asked for import errors once a deploy is live
	Memory   Memory        // optional: what the runs of a process may hold together; nil bounds nothing
	Follow   time.Duration // how long a run that deployed waits for Astro to run it; 0: a later run finds out
	Wanted   func() bool   // optional: reports whether somebody in this process waits for the next run

	Clock    Clock
	NewRun   func() string // a new run's name, ascending with time; letters, digits and dashes
	Log      *slog.Logger
	Progress func(Progress) // optional; called from one goroutine at a time
}

// Source is one prefix of one bucket.
type Source struct {
	URL    string // as configured, for people and for the manifest
	Bucket bucket.Reader
	Prefix string // "" or ending in "/"
	Mount  string // sub-directory of the base folder, or ""
	Syntax string // what becomes of Python files with syntax errors: KeepLastGood (also ""), Hold, Warn or Off
}

// Checker finds syntax errors in Python sources. It may be used concurrently. *pysyntax.Checker is one.
type Checker interface {
	// Load makes Check ready, unless it is, and returns when it is done.
	Load() error
	// Check returns the errors of a source for a Python version such as "3.12", or "" if that is unknown; none if it is valid. An error for
	// which pysyntax.IsUnchecked holds means that there is no verdict.
	Check(ctx context.Context, source []byte, python string) ([]pysyntax.Diagnostic, error)
}

// Memory bounds what runs hold at once. It is used concurrently.
type Memory interface {
	// Acquire waits until n bytes are free, or all there are if that is less, and returns how many it got; or until ctx ends, and returns its error.
	Acquire(ctx context.Context, n int64) (got int64, err error)
	// Release gives back some of what was got.
	Release(n int64)
}

// Pages stores what people read of a route. A run that cannot write it goes on.
type Pages interface {
	Write(ctx context.Context, s *state.Status) error
}

// Notifier tells people of changes. A run that cannot send goes on, and a later run sends again.
type Notifier interface {
	// Targets names where notices of a kind go: names that stay the same, and are no secrets.
	Targets(kind string) []string
	// Send sends a notice to one target, in 10 seconds at most. After an error it may have arrived.
	Send(ctx context.Context, target string, n *state.Notice) error
}

// Airflow is what a run asks of the Deployment's Airflow. It may be used concurrently.
type Airflow interface {
	// ImportErrors returns what Airflow could not import; File is as Airflow names it.
	ImportErrors(ctx context.Context) ([]ImportError, error)
}

// ImportError is one of Airflow's.
type ImportError struct {
	File  string // such as /usr/local/airflow/dags/team/a.py, or relative to a folder of DAGs
	Trace string // the stack trace, as Airflow has it
	At    time.Time
}

// Astro is what a run asks of the Astro Deploy API for its Deployment. Implementations retry what is safe to repeat,
// so an error is final for this run. An error may have a method Permanent() bool (it will not pass by itself) or Held()
// bool (nothing can be deployed until a person or the Deployment changes).
type Astro interface {
	// Deployment reads the Deployment, and refuses one that DAGs cannot be deployed to.
	Deployment(ctx context.Context) (Deployment, error)
	// Deploys returns up to limit deploys of the Deployment, newest first.
	Deploys(ctx context.Context, limit int) ([]Deploy, error)
	// Create begins a DAG-only deploy. Until it is finalized it changes nothing, and may be left.
	Create(ctx context.Context, description string) (Deploy, error)
	// Upload sends the bundle of size bytes that open reads from its beginning, perhaps several times, and returns its tarball version.
	Upload(ctx context.Context, d Deploy, open func(context.Context) (io.ReadCloser, error), size int64) (version string, err error)
	// Finalize makes the uploaded version the Deployment's desired one. It may be repeated. After an error it may have taken effect.
	Finalize(ctx context.Context, deployID, version string) error
}

// Deployment is what a run must know of the Astro Deployment.
type Deployment struct {
	Organization   string // Organization ID
	Name           string
	URL            string // of its page in Astro; "" if unknown
	DesiredVersion string // DAG tarball version it is going to; "" if no DAGs were ever deployed
	RunningVersion string // DAG tarball version it runs now
	Healthy        bool
	Hybrid         bool   // expects the monitoring DAG from its client
	Python         string // the newest version that its DAGs may run on, such as "3.12"; "" if unknown
	// Ignores is how its Airflow may read .airflowignore files; empty if unknown.
	Ignores []selection.AirflowSyntax
}

// Deploy is one deploy of the Deployment.
type Deploy struct {
	ID             string
	Description    string
	TarballVersion string // "" until finalized
	Finished       bool   // it was finalized, and did not fail
	Failed         bool   // Astro could not carry it out
	Image          bool   // it brought an image, with the image's DAGs
	Rollback       bool   // somebody went back to an earlier deploy
	Upload         any    // the implementation's own handle: may hold a secret
}

// Clock is the local clock; it measures waits and nothing else.
type Clock interface {
	Now() time.Time
	// Sleep waits for d, or until ctx ends and returns its error.
	Sleep(ctx context.Context, d time.Duration) error
	// Tick sends on the channel every d until stop is called.
	Tick(d time.Duration) (ticks <-chan time.Time, stop func())
}

// SystemClock is the machine's clock.
type SystemClock struct{}

// Now is the time.
func (SystemClock) Now() time.Time { return time.Now() }

// Sleep waits.
func (SystemClock) Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// Tick ticks.
func (SystemClock) Tick(d time.Duration) (<-chan time.Time, func()) {
	t := time.NewTicker(d)
	return t.C, t.Stop
}

// Progress tells how far a run is.
type Progress struct {
	Step  string // "list", "pack", "upload", "finalize", …
	Done  int    // files, within Step
	Total int    // files; 0 if unknown
	Bytes int64  // within Step
}

// Outcome is how a run ended.
type Outcome string

// The outcomes. Covered and Busy are not errors: another listing sees, or has seen, the same.
const (
	Deployed  Outcome = "deployed"
	Unchanged Outcome = "unchanged"
	Covered   Outcome = "covered"
	Held      Outcome = "held"
	Busy      Outcome = "busy"
	Failed    Outcome = "failed"
)

// Result tells everything about one run. Its JSON form is documented and stable.
type Result struct {
	Route          string             `json:"route"`
	Outcome        Outcome            `json:"outcome"`
	Reason         string             `json:"reason"` // one line; "" if there is nothing to explain
	DeployID       string             `json:"deployId"`
	TarballVersion string             `json:"tarballVersion"`
	Digest         string             `json:"digest"`
	Files          int                `json:"files"`
	Bytes          int64              `json:"bytes"` // of the files
	Added          []string           `json:"added"`
	Modified       []string           `json:"modified"`
	Removed        []string           `json:"removed"`
	Kept           []Note             `json:"kept"`
	LeftOut        []Note             `json:"leftOut"`
	Warnings       []Note             `json:"warnings"`   // of files that are shipped as the bucket holds them
	Seconds        map[string]float64 `json:"seconds"`    // per step
	NotLiveAge     float64            `json:"notLiveAge"` // seconds since the newest change that is not live, by the storage's clock; 0 if all is live
	Requests       map[string]int64   `json:"requests"`   // to the storages: list, get, put, delete; sourceGet: those of get that read the sources; astro: to Astro and its storage

	Retryable bool  `json:"-"` // the events should come again: Failed in a way that may pass, or Busy while the other run may be dead
	Err       error `json:"-"` // Failed and Held only
	// Began is when the listing behind Deployed or Unchanged began, by the local clock: what happened before it was seen. Zero if there is
	// none, or if it covers nothing.
	Began time.Time `json:"-"`
	// Looked is, if Began is set, when the run had begun to look at the record and at Astro before that listing.
	Looked time.Time `json:"-"`
}

// Note is what there is to say of one path, such as why it is not shipped as the bucket holds it.
type Note struct {
	Path    string `json:"path"` // in the archive
	Key     string `json:"key"`
	Reason  string `json:"reason"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Message string `json:"message,omitempty"`
	Excerpt string `json:"excerpt,omitempty"` // the source line, and below it a caret under the column

	refused *state.Refused
	pinned  *state.Pinned
}

// HeldError ends a run as Held.
type HeldError struct {
	Reason string // what is in the way
	Repair string // who is to do what; "" if that is not known
	idle   bool   // nothing is wrong: there is nothing to tell people of
}

func (e *HeldError) Error() string {
	if e.Repair == "" {
		return e.Reason
	}
	return e.Reason + ": " + e.Repair
}

func held(reason, repair string) error { return &HeldError{Reason: reason, Repair: repair} }

// PermanentError ends a run as Failed and not Retryable.
type PermanentError struct{ Err error }

func (e *PermanentError) Error() string   { return e.Err.Error() }
func (e *PermanentError) Unwrap() error   { return e.Err }
func (e *PermanentError) Permanent() bool { return true }

func isHeld(err error) bool {
	var h *HeldError
	var m interface{ Held() bool }
	return errors.As(err, &h) || errors.As(err, &m) && m.Held()
}

// Permanent reports whether a run's error will not pass by itself.
func Permanent(err error) bool {
	var m interface{ Permanent() bool }
	return bucket.Permanent(err) || errors.As(err, &m) && m.Permanent()
}
