// Package state is what a route remembers between runs: its record, its manifests and its bundles, kept in the state
// bucket below "<state>/<route>/".
package state

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/dagbucket/dagbucket/internal/bucket"
)

// Format is the newest format of record.json that this version reads and writes.
const Format = 1

const (
	recordLimit     = 4 << 20 // bytes; a record of 100 runs and 1,000 versions is below 100 KiB
	runsKept        = 100
	supersededLimit = 1000
	answeredLimit   = 100
	sizesLimit      = 100 // for each source
	sizesSpan       = 24 * time.Hour
)

// ErrOvertaken says that somebody else wrote the record since it was read.
var ErrOvertaken = errors.New("another run wrote the record meanwhile")

// Target is what a route deploys to. A record of another target counts as none.
type Target struct {
	Organization string `json:"organization"`
	Deployment   string `json:"deployment"`
	BaseDir      string `json:"baseDir"`
}

// Deploy is one deploy of ours, live or pending.
type Deploy struct {
	Run            string    `json:"run"`      // names its bundle
	Manifest       string    `json:"manifest"` // names its manifest: Run, or a later run that found the same contents
	DeployID       string    `json:"deployId"`
	TarballVersion string    `json:"tarballVersion"`
	Digest         string    `json:"digest"`
	Revision       string    `json:"revision,omitempty"` // of the listing it shows; "" if that may not end a run
	Files          int       `json:"files"`
	Bytes          int64     `json:"bytes"`      // of the files
	BundleSize     int64     `json:"bundleSize"` // bytes, compressed
	Kept           int       `json:"kept,omitempty"`
	LeftOut        int       `json:"leftOut,omitempty"`
	Warned         int       `json:"warned,omitempty"`
	Verdicts       string    `json:"verdicts,omitempty"` // names what verdicts of the syntax check on these files rest on; "" if there are none
	Listed         time.Time `json:"listed,omitzero"`    // start of the listing it shows, by the storage's clock; zero if that covers nothing
	At             time.Time `json:"at"`                 // when it was finalized, by the local clock

	Sources   map[string]int     `json:"sources,omitempty"`   // files by source URL
	Guarded   map[string]Guarded `json:"guarded,omitempty"`   // sources with a mass removal that waits for a person, by URL
	Approved  []string           `json:"approved,omitempty"`  // sources of removals that a person let go
	Answers   string             `json:"answers,omitempty"`   // the deploy of others that it was made to replace
	Confirmed bool               `json:"confirmed,omitempty"` // Astro was seen to run it
	LiveAt    time.Time          `json:"liveAt,omitzero"`     // when, by the local clock

	RolledBack string `json:"rolledBack,omitempty"` // the run whose contents it brought back
}

// Guarded is what a mass removal is measured against, until it is approved or undone: later uploads must not make it look small.
type Guarded struct {
	Largest int `json:"largest"` // files of the largest set when it was first kept
	Gone    int `json:"gone"`    // files of that set that had gone before
}

// Size is how many files of a source were live until a time, by the storage's clock.
type Size struct {
	Files int       `json:"files"`
	Until time.Time `json:"until"`
}

// Hold is a reason for which nothing is deployed.
type Hold struct {
	Kind   string    `json:"kind"` // Paused, Promoting or HeldBack
	Reason string    `json:"reason,omitempty"`
	At     time.Time `json:"at"` // since when, by the local clock
}

// The kinds of a Hold.
const (
	Paused    = "paused"    // by a person, until that is taken back
	Promoting = "promoting" // while a promotion writes into the sources
	HeldBack  = "held"      // by the last run
)

// Approval is what a person let go: it holds for the next deployed or unchanged, and for ApprovalLife at most.
type Approval struct {
	Manifest string    `json:"manifest,omitempty"` // names the manifest of the paths that may be removed
	Files    int       `json:"files,omitempty"`    // in it
	Replace  string    `json:"replace,omitempty"`  // tarball version of foreign or unknown DAGs that may be replaced
	At       time.Time `json:"at"`                 // by the storage's clock
}

// ApprovalLife is how long an approval holds: what was looked at then is not what is there a day later.
const ApprovalLife = time.Hour

// Failure counts the deploys in a row that Astro could not carry out.
type Failure struct {
	Tries int       `json:"tries"` // deployed again so often
	At    time.Time `json:"at"`    // of the last try, by the storage's clock
}

// Run is one past run in short.
type Run struct {
	Run      string    `json:"run"`
	At       time.Time `json:"at"` // its end, by the local clock
	Outcome  string    `json:"outcome"`
	Reason   string    `json:"reason,omitempty"`
	DeployID string    `json:"deployId,omitempty"`
	Digest   string    `json:"digest,omitempty"`
	Files    int       `json:"files"`
	Added    int       `json:"added,omitempty"`
	Modified int       `json:"modified,omitempty"`
	Removed  int       `json:"removed,omitempty"`
	Kept     int       `json:"kept,omitempty"`
	LeftOut  int       `json:"leftOut,omitempty"`

	Permanent bool `json:"permanent,omitempty"` // it failed in a way that does not pass by itself
	Elsewhere bool `json:"elsewhere,omitempty"` // it was of another target than the record's

	Seconds   float64            `json:"seconds,omitempty"`   // how long it took
	Steps     map[string]float64 `json:"steps,omitempty"`     // seconds by step; shared by copies and never changed
	LiveAfter float64            `json:"liveAfter,omitempty"` // seconds from its finalize until Astro was first seen to run it
}

// Promoted is the run of a promotion in its routes' histories.
const Promoted = "promoted"

// Promotion is the last one into a route's sources.
type Promotion struct {
	From     string    `json:"from"`     // route
	Manifest string    `json:"manifest"` // names the manifest of what it left in the sources, with the versions it wrote
	At       time.Time `json:"at"`       // by the local clock
}

// Told is what people were told of last, so that they are told once of each change.
type Told struct {
	State  string `json:"state,omitempty"`  // NoticeHeld or NoticeFailed; "" is in order
	Reason string `json:"reason,omitempty"` // of State
	Drift  string `json:"drift,omitempty"`
}

// Outgoing is a notice that some targets did not get yet.
type Outgoing struct {
	Notice Notice   `json:"notice"`
	Sent   []string `json:"sent,omitempty"` // the targets that got it
}

// Record is the route's memory. Its compare-and-swap before finalize is the fence between runs.
type Record struct {
	Format     int       `json:"format"`
	Nonce      string    `json:"nonce"` // fresh in every write, so that no two versions have equal bytes
	Target     Target    `json:"target"`
	Live       *Deploy   `json:"live,omitempty"`
	Pending    *Deploy   `json:"pending,omitempty"`
	Superseded []string  `json:"superseded,omitempty"` // tarball versions once live, or once pending and given up; oldest first
	Listed     time.Time `json:"listed,omitzero"`      // start of the listing behind the last deployed or unchanged
	Config     string    `json:"config,omitempty"`     // names the configuration of the sources that were listed

	Sizes    map[string][]Size `json:"sizes,omitempty"` // by source URL, of the last 24 h, falling; without what is live
	Holds    []Hold            `json:"holds,omitempty"`
	Approved *Approval         `json:"approved,omitempty"`
	Answered []string          `json:"answered,omitempty"` // deploys of others that were deployed over once, oldest first
	Failed   *Failure          `json:"failed,omitempty"`
	Sweep    time.Time         `json:"sweep,omitzero"` // a run died; from then on, by the storage's clock, what it left can be removed
	Runs     []Run             `json:"runs,omitempty"` // newest last

	ImportErrors []ImportError `json:"importErrors,omitempty"` // of what is live, as Airflow told last
	Promotion    *Promotion    `json:"promotion,omitempty"`    // the last one into this route's sources
	Told         Told          `json:"told,omitzero"`
	Outbox       []Outgoing    `json:"outbox,omitempty"` // oldest first
	Shown        string        `json:"shown,omitempty"`  // names what the status pages show
	ShownAt      time.Time     `json:"shownAt,omitzero"` // by the local clock
}

// Supersede remembers a tarball version that must not stay live.
func (r *Record) Supersede(version string) {
	if version == "" || slices.Contains(r.Superseded, version) {
		return
	}
	r.Superseded = append(r.Superseded, version)
	if over := len(r.Superseded) - supersededLimit; over > 0 {
		r.Superseded = slices.Delete(r.Superseded, 0, over)
	}
}

// Promote makes the pending deploy the live one. at is the local clock, now the storage's.
func (r *Record) Promote(at, now time.Time) {
	if r.Live != nil {
		r.Supersede(r.Live.TarballVersion)
		r.rememberSizes(now)
	}
	r.Live, r.Pending = r.Pending, nil
	r.Live.At = at
	if !r.Live.Listed.IsZero() {
		r.Listed = r.Live.Listed
	}
	for _, source := range r.Live.Approved {
		delete(r.Sizes, source) // or the guard would go on counting what a person let go
	}
	if r.Live.Answers != "" {
		r.answer(r.Live.Answers)
	}
	r.Approved = nil
}

// rememberSizes notes how large the sets of the live deploy are, which ends now.
func (r *Record) rememberSizes(now time.Time) {
	sizes := map[string][]Size{}
	for source, list := range r.Sizes {
		if list = fresh(list, now); len(list) > 0 {
			sizes[source] = list
		}
	}
	for source, n := range r.Live.Sources {
		// What was not larger and ended before can never be the largest again.
		list := slices.DeleteFunc(sizes[source], func(s Size) bool { return s.Files <= n })
		if list = append(list, Size{n, now}); len(list) > sizesLimit {
			list[1].Files = list[0].Files // the larger of two, the longer of two
			list = list[1:]
		}
		sizes[source] = list
	}
	r.Sizes = sizes
}

// fresh returns a copy of the sizes that ended in the last 24 hours.
func fresh(list []Size, now time.Time) []Size {
	return slices.DeleteFunc(slices.Clone(list), func(s Size) bool { return now.Sub(s.Until) >= sizesSpan })
}

// LargestSet is the largest number of files of a source that were live at one time in the last 24 hours.
func (r Record) LargestSet(source string, now time.Time) int {
	largest := 0
	if r.Live != nil {
		largest = r.Live.Sources[source]
	}
	for _, s := range fresh(r.Sizes[source], now) {
		largest = max(largest, s.Files)
	}
	return largest
}

// answer remembers a deploy of others that was deployed over.
func (r *Record) answer(deploy string) {
	r.Answered = append(r.Answered, deploy)
	r.Answered = r.Answered[max(0, len(r.Answered)-answeredLimit):]
}

// SeenLive notes that Astro was seen to run the live deploy, at a time by the local clock.
func (r *Record) SeenLive(at time.Time) {
	r.Live.Confirmed, r.Live.LiveAt, r.Failed = true, at, nil
	for i := range r.Runs {
		if run := &r.Runs[i]; run.DeployID == r.Live.DeployID && run.Run == r.Live.Run && !r.Live.At.IsZero() {
			run.LiveAfter = max(at.Sub(r.Live.At).Round(time.Millisecond).Seconds(), 0)
		}
	}
}

// Hold returns the hold of a kind, or nil.
func (r Record) Hold(kind string) *Hold {
	for i := range r.Holds {
		if r.Holds[i].Kind == kind {
			return &r.Holds[i]
		}
	}
	return nil
}

// SetHold puts a hold in place of the one of its kind, whose beginning stays.
func (r *Record) SetHold(h Hold) {
	h.Reason = CutReason(h.Reason)
	if old := r.Hold(h.Kind); old != nil {
		h.At = old.At
	}
	r.LiftHold(h.Kind)
	r.Holds = append(r.Holds, h)
}

// reasonLimit is in bytes: whatever a run has to say, the record must stay small enough to be read.
const reasonLimit = 4 << 10

// CutReason cuts a text to what a record may hold of it.
func CutReason(reason string) string {
	if len(reason) <= reasonLimit {
		return reason
	}
	return strings.ToValidUTF8(reason[:reasonLimit], "") + "…"
}

// LiftHold ends the hold of a kind.
func (r *Record) LiftHold(kind string) {
	r.Holds = slices.DeleteFunc(r.Holds, func(h Hold) bool { return h.Kind == kind })
}

// AddRun appends to Runs and forgets what is too old: of the older half, rather what did not deploy.
func (r *Record) AddRun(run Run) {
	run.Reason = CutReason(run.Reason)
	r.Runs = append(r.Runs, run)
	for len(r.Runs) > runsKept {
		at := slices.IndexFunc(r.Runs[:runsKept/2], func(old Run) bool { return old.DeployID == "" || old.Outcome != "deployed" })
		at = max(at, 0)
		r.Runs = slices.Delete(r.Runs, at, at+1)
	}
}

// Clone returns a copy that shares nothing with r.
func (r Record) Clone() Record {
	for _, d := range []**Deploy{&r.Live, &r.Pending} {
		if *d != nil {
			c := **d
			c.Sources, c.Guarded, c.Approved = maps.Clone(c.Sources), maps.Clone(c.Guarded), slices.Clone(c.Approved)
			*d = &c
		}
	}
	if r.Approved != nil {
		c := *r.Approved
		r.Approved = &c
	}
	if r.Failed != nil {
		c := *r.Failed
		r.Failed = &c
	}
	r.Sizes = maps.Clone(r.Sizes) // its lists are replaced, never written to
	r.Superseded = slices.Clone(r.Superseded)
	r.Holds = slices.Clone(r.Holds)
	r.Answered = slices.Clone(r.Answered)
	r.Runs = slices.Clone(r.Runs)
	r.ImportErrors = slices.Clone(r.ImportErrors)
	if r.Promotion != nil {
		c := *r.Promotion
		r.Promotion = &c
	}
	r.Outbox = slices.Clone(r.Outbox)
	for i := range r.Outbox {
		r.Outbox[i].Sent = slices.Clone(r.Outbox[i].Sent)
	}
	return r
}

// Version is the opaque token of a record as it was read or written; the zero value is "there is none".
type Version struct {
	v   string
	Now time.Time // the storage's clock when the record was read; zero if there was none
}

// RecordError is a record that this version cannot read. It is never overwritten.
type RecordError struct{ msg string }

func (e *RecordError) Error() string   { return e.msg }
func (e *RecordError) Permanent() bool { return true }

// ReadRecord returns the route's record and its version. Without one it returns the zero Record and Version. A record that
// is damaged, or of a newer format, is a *RecordError.
func (s *Store) ReadRecord(ctx context.Context) (Record, Version, error) {
	key := s.prefix + "record.json"
	data, obj, now, err := bucket.ReadDated(ctx, s.bucket, key, "", recordLimit)
	if errors.Is(err, bucket.ErrNotExist) {
		return Record{}, Version{}, nil
	}
	if err != nil {
		return Record{}, Version{}, fmt.Errorf("reading the record: %w", err)
	}
	rec, err := decodeRecord(fmt.Sprintf("%s/%s", s.bucket, key), data)
	if err != nil {
		return Record{}, Version{}, err
	}
	return rec, Version{obj.Version, now}, nil
}

const recordRepair = "restore an earlier version of it, or delete it to have the route's memory rebuilt"

func decodeRecord(name string, data []byte) (Record, error) {
	refuse := func(format string, args ...any) (Record, error) {
		return Record{}, &RecordError{fmt.Sprintf(format, args...)}
	}
	if begin := bytes.TrimSpace(data); len(begin) == 0 || begin[0] == '<' {
		return refuse("the storage's answer for %s is not a record (it begins with %.40q): check that no proxy answers in the storage's place; "+
			"if the object itself is damaged, %s", name, begin, recordRepair)
	}
	var head struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(data, &head); err != nil || head.Format < 1 {
		return refuse("%s is damaged and was left as it is: %s", name, recordRepair)
	}
	if head.Format > Format {
		return refuse("%s has format %d, newer than this dagbucket understands (%d): deploy the newer dagbucket again, or delete the record to have it rebuilt",
			name, head.Format, Format)
	}
	var rec Record
	if err := json.Unmarshal(data, &rec); err != nil {
		return refuse("%s is damaged (%s) and was left as it is: %s", name, brief(err), recordRepair)
	}
	return rec, nil
}

// brief is the text of an error that may repeat whatever was read: cut, and in one line.
func brief(err error) string {
	printable := func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}
	return fmt.Sprintf("%.200s", strings.Map(printable, err.Error()))
}

// SwapRecord replaces the record if it still has the version old. Otherwise it is ErrOvertaken, and nothing changed. After any other
// error the swap may have happened. A swap whose answer was lost is found by its nonce.
func (s *Store) SwapRecord(ctx context.Context, rec Record, old Version) (Version, error) {
	rec.Format, rec.Nonce = Format, nonce()
	data, err := encodeRecord(&rec)
	if err != nil {
		return Version{}, err
	}
	when := bucket.IfAbsent()
	if old.v != "" {
		when = bucket.IfVersion(old.v)
	}
	version, err := s.bucket.Put(ctx, s.prefix+"record.json", bytes.NewReader(data), when)
	if err == nil {
		return Version{version, old.Now}, nil
	}
	if now, at, readErr := s.ReadRecord(ctx); readErr == nil && now.Nonce == rec.Nonce {
		return at, nil
	}
	if errors.Is(err, bucket.ErrChanged) {
		return Version{}, ErrOvertaken
	}
	return Version{}, fmt.Errorf("writing the record: %w", err)
}

// encodeRecord drops notices, and then the texts of past runs, rather than write what could not be read again.
func encodeRecord(rec *Record) ([]byte, error) {
	for {
		data, err := json.MarshalIndent(rec, "", " ")
		if err != nil || len(data) <= recordLimit/2 {
			return data, err
		}
		at := slices.IndexFunc(rec.Runs, func(r Run) bool { return r.Reason != "" })
		switch {
		case len(rec.Outbox) > 0:
			rec.Outbox = rec.Outbox[(len(rec.Outbox)+1)/2:]
		case at >= 0:
			rec.Runs = slices.Clone(rec.Runs)
			for i := range rec.Runs {
				rec.Runs[i].Reason = ""
			}
		case len(data) <= recordLimit:
			return data, nil
		default:
			return nil, fmt.Errorf("writing the record: %w: it would have %d bytes", bucket.ErrTooLarge, len(data))
		}
	}
}

func nonce() string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
