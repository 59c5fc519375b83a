package state

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/dagbucket/dagbucket/internal/bucket"
)

// StatusFormat is the format of status.json. It is raised only by changes that break readers; new fields may come without.
const StatusFormat = 1

// Status is what status.json tells of a route, and what the status page and the command line show. All times are UTC.
type Status struct {
	Format     int              `json:"format"`
	Route      string           `json:"route"`
	Written    time.Time        `json:"written"` // by the local clock
	State      string           `json:"state"`   // one of the words below
	Summary    string           `json:"summary"` // one sentence
	Next       string           `json:"next"`    // who is to act next, and how; one sentence
	Deployment StatusDeployment `json:"deployment"`
	Sources    []StatusSource   `json:"sources"`
	Live       *StatusDeploy    `json:"live"`             // the last deploy from here; null before the first
	Pending    *StatusDeploy    `json:"pending"`          // on its way; null if there is none
	Checked    time.Time        `json:"checked,omitzero"` // the sources were last listed and found to be live, by the storage's clock
	Holds      []Hold           `json:"holds"`            // why nothing is deployed: until they are lifted
	Drift      string           `json:"drift"`            // what others did to the Deployment's DAGs; "" if nothing
	Counts     StatusCounts     `json:"counts"`
	Files      []StatusFile     `json:"files"` // every file of the sources and of what is live, ascending by path
	Runs       []Run            `json:"runs"`  // newest last
}

// The states of a Status, worst first.
const (
	StatusFailed    = "failed"    // the last run failed
	StatusHeld      = "held"      // nothing is deployed until somebody acts
	StatusDrifted   = "drifted"   // the Deployment's DAGs are not those that were deployed last from here
	StatusAttention = "attention" // everything else is live, but files are kept or left out, or Airflow cannot import one
	StatusWaiting   = "waiting"   // files wait for the next run, or for the first file
	StatusDeploying = "deploying" // deployed, and Astro was not seen to run it yet
	StatusLive      = "live"      // the Deployment runs what the sources hold
)

// In returns the files of a state. Of Live it returns those that there is something to say of.
func (s *Status) In(fate string) []StatusFile {
	var files []StatusFile
	for i := range s.Files {
		if f := &s.Files[i]; f.State == fate && (fate != Live || f.Reason != "" || f.ImportError != "") {
			files = append(files, *f)
		}
	}
	return files
}

// StatusDeployment is the Astro Deployment of a route.
type StatusDeployment struct {
	ID             string `json:"id"`
	Name           string `json:"name"`
	URL            string `json:"url"` // of its page in Astro; "" if unknown
	DesiredVersion string `json:"desiredVersion"`
	InSync         bool   `json:"inSync"` // the desired version is that of the last deploy from here
}

// StatusSource is one source.
type StatusSource struct {
	URL   string `json:"url"`
	Mount string `json:"mount"`
}

// StatusDeploy is one deploy from here.
type StatusDeploy struct {
	Run            string    `json:"run"`
	DeployID       string    `json:"deployId"`
	URL            string    `json:"url"` // of the Deployment's deploys in Astro; "" if unknown
	TarballVersion string    `json:"tarballVersion"`
	Digest         string    `json:"digest"`
	Files          int       `json:"files"`
	Bytes          int64     `json:"bytes"`
	At             time.Time `json:"at"`                  // when it was finalized
	Live           bool      `json:"live"`                // Astro was seen to run it
	LiveAt         time.Time `json:"liveAt,omitzero"`     // when a run first saw that; absent before
	RolledBack     string    `json:"rolledBack,omitzero"` // the run whose contents it brought back
}

// StatusCounts counts files by their state.
type StatusCounts struct {
	Live     int `json:"live"`
	Waiting  int `json:"waiting"`
	Kept     int `json:"kept"`
	LeftOut  int `json:"leftOut"`
	Held     int `json:"held"`
	Warnings int `json:"warnings"` // of Live: files with something to be said of
	Errors   int `json:"errors"`   // of Live and Kept: files that Airflow cannot import
}

// The states of a StatusFile besides Live, Kept and LeftOut.
const (
	Waiting  = "waiting" // in a source, and not live yet: the next run deploys it
	HeldFile = "held"    // in a source, and not live since the run is held
)

// StatusFile is one file. A path of which a newer version waits has the state of that, and Since and DeployID of what is live.
type StatusFile struct {
	Path        string    `json:"path"` // in the archive
	Source      string    `json:"source"`
	Key         string    `json:"key"`
	Size        int64     `json:"size"` // bytes
	Modified    time.Time `json:"modified,omitzero"`
	State       string    `json:"state"`
	Since       time.Time `json:"since,omitzero"`    // its content is live since then
	DeployID    string    `json:"deployId,omitzero"` // by this deploy
	Run         string    `json:"run,omitzero"`      // of this run
	Reason      string    `json:"reason,omitzero"`   // why it is kept, left out or held, or what is warned of
	Message     string    `json:"message,omitzero"`
	Line        int       `json:"line,omitzero"` // that the message is about; with Column, from 1
	Column      int       `json:"column,omitzero"`
	Excerpt     string    `json:"excerpt,omitzero"`
	ImportError string    `json:"importError,omitzero"` // what Airflow says about it
}

// ImportError is a file of ours that the Deployment's Airflow cannot import.
type ImportError struct {
	Path    string    `json:"path"` // in the archive
	Message string    `json:"message"`
	Line    int       `json:"line,omitempty"`
	At      time.Time `json:"at,omitzero"` // by Airflow's clock
}

// The kinds of a Notice. Their words are those of the configuration.
const (
	NoticeKept         = "kept"
	NoticeLeftOut      = "left_out"
	NoticeHeld         = "held"
	NoticeFailed       = "failed"
	NoticeRecovered    = "recovered" // what one of the others told of is over
	NoticeDrift        = "drift"
	NoticeImportErrors = "import_errors"
	NoticeDeployed     = "deployed" // on request
)

// Notice is one notification: a change that people are told of, once.
type Notice struct {
	ID         string       `json:"id"`   // the same however often it is sent
	Kind       string       `json:"kind"` // one of the words above
	At         time.Time    `json:"at"`
	Route      string       `json:"route"`
	Deployment string       `json:"deployment"`       // its name, or its ID where that is not known
	URL        string       `json:"url,omitempty"`    // of the Deployment in Astro
	Reason     string       `json:"reason,omitempty"` // of held, failed, drift, recovered: what, and what to do
	Run        string       `json:"run,omitempty"`
	DeployID   string       `json:"deployId,omitempty"`
	Files      []NoticeFile `json:"files,omitempty"` // the first NoticeFiles of them
	Total      int          `json:"total,omitempty"` // of Files, and those that are not in it
}

// NoticeFiles bounds the files of a Notice.
const NoticeFiles = 10

// NoticeFile is one file that a Notice is about.
type NoticeFile struct {
	Path    string `json:"path"`
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
}

// PutStatus stores status.json, and status.html as render writes it. Runs that write at the same time leave either's.
func (s *Store) PutStatus(ctx context.Context, st *Status, render func(io.Writer) error) error {
	return WriteStatus(ctx, s.bucket, s.prefix, st, render)
}

// WriteStatus stores status.json and status.html, side by side, below a prefix ("" or ending in "/") of any bucket.
func WriteStatus(ctx context.Context, b bucket.Bucket, prefix string, st *Status, render func(io.Writer) error) error {
	asJSON := func(w io.Writer) error { return writeStatus(w, st) }
	put := func(name string, write func(io.Writer) error) error {
		if err := putStream(ctx, b, prefix+name, write); err != nil {
			return fmt.Errorf("writing %s/%s%s: %w", b, prefix, name, err)
		}
		return nil
	}
	page := make(chan error, 1)
	go func() { page <- put("status.html", render) }()
	err := put("status.json", asJSON)
	return errors.Join(err, <-page)
}

// writeStatus writes the JSON of a status without ever holding that of all its files.
func writeStatus(w io.Writer, st *Status) error {
	rest := *st
	rest.Files = []StatusFile{}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(&rest); err != nil {
		return err
	}
	const empty = `"files":[`
	at := bytes.Index(text.Bytes(), []byte(empty)) + len(empty) // in a text its quotes would be escaped
	_, err := w.Write(text.Bytes()[:at])
	if err == nil {
		err = writeLines(w, st.Files, ",")
	}
	if err == nil {
		_, err = w.Write(text.Bytes()[at:])
	}
	return err
}

// putStream stores what write writes, as it comes.
func putStream(ctx context.Context, b bucket.Bucket, key string, write func(io.Writer) error) error {
	pr, pw := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = pw.CloseWithError(write(pw))
	}()
	_, err := b.Put(ctx, key, pr, bucket.Always)
	_ = pr.Close()
	<-done
	return err
}
