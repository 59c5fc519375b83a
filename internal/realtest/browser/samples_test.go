//go:build browser

package browser

import (
	"fmt"
	"time"

	"github.com/dagbucket/dagbucket/internal/state"
)

// now is the clock of all pages.
var now = time.Date(2026, 11, 30, 10, 12, 5, 0, time.UTC)

func before(d time.Duration) time.Time { return now.Add(-d) }

const (
	astroURL   = "https://cloud.astronomer.io/clmg78a9d000008l7ek2m1a2b/deployments/clmh57jtm000008lb58fe2wmv"
	deploysURL = astroURL + "/deploys"
	caret      = "    if day.weekday() > 4\n                        ^"
	traceback  = "Traceback (most recent call last):\n  File \"/usr/local/airflow/dags/team/orders.py\", line 3, in <module>\n    import acme_orders\n" +
		"ModuleNotFoundError: No module named 'acme_orders'"
)

// deployed is a route right after a deploy: everything is live.
func deployed() *state.Status {
	s := &state.Status{Format: state.StatusFormat, Route: "prod", Written: before(2 * time.Minute), State: state.StatusLive,
		Summary: "All 6 files of the source are live.", Next: "Nobody has to act: upload, change or delete files, and they are deployed within seconds.",
		Deployment: state.StatusDeployment{ID: "clmh57jtm000008lb58fe2wmv", Name: "acme-production", URL: astroURL, DesiredVersion: "2026-11-30T10:09:41.8812345Z", InSync: true},
		Sources:    []state.StatusSource{{URL: "s3://acme-dags/dags/"}},
		Live: &state.StatusDeploy{Run: "20261130T100921Z-5f2c", DeployID: "clx9q2v5e00020llk7f3m9a2b", URL: deploysURL, TarballVersion: "2026-11-30T10:09:41.8812345Z",
			Digest: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", Files: 6, Bytes: 48213, At: before(2*time.Minute + 24*time.Second), LiveAt: before(2 * time.Minute)},
		Checked: before(2 * time.Minute),
		Runs: []state.Run{
			{Run: "20261129T081500Z-11aa", At: before(26 * time.Hour), Outcome: "deployed", DeployID: "clx8h1aaa00010llk2b4c6d8e", Files: 5, Added: 5, Seconds: 17.3, LiveAfter: 21,
				Steps: map[string]float64{"lease": 0.1, "record": 0.2, "preflight": 0.6, "list": 0.4, "wait": 10, "pack": 1.1, "create": 0.9, "upload": 1.4, "pending": 0.1, "finalize": 2.5}},
			{Run: "20261130T095500Z-77de", At: before(17 * time.Minute), Outcome: "unchanged", DeployID: "clx8h1aaa00010llk2b4c6d8e", Files: 5, Seconds: 0.9,
				Steps: map[string]float64{"lease": 0.1, "record": 0.2, "preflight": 0.4, "list": 0.2}},
			{Run: "20261130T100921Z-5f2c", At: before(2*time.Minute + 20*time.Second), Outcome: "deployed", DeployID: "clx9q2v5e00020llk7f3m9a2b", Files: 6, Added: 1, Modified: 1, Seconds: 14.2, LiveAfter: 24,
				Steps: map[string]float64{"lease": 0.1, "record": 0.2, "preflight": 0.5, "list": 0.7, "wait": 8.2, "pack": 0.9, "create": 0.7, "upload": 0.8, "pending": 0.1, "finalize": 2}},
		},
	}
	for i, name := range []string{".airflowignore", "common/hooks.py", "finance/close_month.py", "sales/orders_daily.py", "sales/orders_hourly.py", "sql/orders.sql"} {
		f := state.StatusFile{Path: "dags/" + name, Source: "s3://acme-dags/dags/", Key: "dags/" + name, Size: int64(90 + i*i*1740), Modified: before(27 * time.Hour), State: state.Live,
			Since: before(26 * time.Hour), DeployID: "clx8h1aaa00010llk2b4c6d8e", Run: "20261129T081500Z-11aa"}
		if i == 2 || i == 4 {
			f.Since, f.DeployID, f.Run = s.Live.At, s.Live.DeployID, s.Live.Run
		}
		s.Files = append(s.Files, f)
	}
	s.Counts.Live = len(s.Files)
	return s
}

// attention is a route of two sources with each kind of trouble that one file can have.
func attention() *state.Status {
	s := deployed()
	s.State, s.Summary = state.StatusAttention, "3 files need attention; everything else is live."
	s.Next = "The authors of the files below repair them and upload them again; the next run deploys them."
	s.Sources = append(s.Sources, state.StatusSource{URL: "s3://ml-team/exports/", Mount: "ml"})
	s.Files[3].State, s.Files[3].Reason, s.Files[3].Message, s.Files[3].Line, s.Files[3].Column = state.Kept, "syntax", "Expected `:`, found newline", 12, 25
	s.Files[3].Excerpt = caret
	s.Files[4].ImportError = traceback
	s.Files[5].Reason, s.Files[5].Message = "unchecked", "it is larger than 1 MiB"
	s.Files = append(s.Files,
		state.StatusFile{Path: "dags/ml/train.py", Source: "s3://ml-team/exports/", Key: "exports/train.py", Size: 8123, State: state.LeftOut, Reason: "syntax",
			Message: "unterminated string literal (detected at line 3)", Line: 3, Column: 9, Excerpt: "print(\"hello)\n      ^"},
		state.StatusFile{Path: "dags/notes.pyc", Source: "s3://acme-dags/dags/", Key: "dags/notes.pyc", State: state.LeftOut, Reason: "excluded", Message: "Python bytecode"},
		state.StatusFile{Path: "dags/new_report.py", Source: "s3://acme-dags/dags/", Key: "dags/new_report.py", Size: 1300, State: state.Waiting, Modified: before(time.Minute)},
	)
	s.Counts = state.StatusCounts{Live: 5, Kept: 1, LeftOut: 2, Waiting: 1, Warnings: 1, Errors: 1}
	last := &s.Runs[len(s.Runs)-1]
	last.Kept, last.LeftOut, last.Removed = 1, 2, 1
	return s
}

// held is a route whose source became empty, and that somebody paused as well.
func held() *state.Status {
	s := deployed()
	s.State, s.Summary = state.StatusHeld, "Nothing is deployed: the source is empty, though 6 files of it are live."
	s.Next = "An operator uploads the files again, or lets them go with `dagbucket approve`."
	s.Holds = []state.Hold{
		{Kind: state.HeldBack, Reason: "the source s3://acme-dags/dags/ is empty: upload the files again, let them go with `dagbucket approve`, or set guard.allow_empty: true", At: before(40 * time.Minute)},
		{Kind: state.Paused, Reason: "month end, until Tuesday (Ada)", At: before(3 * time.Hour)},
	}
	for i := range s.Files[:2] {
		s.Files[i].State = state.HeldFile
	}
	s.Runs = append(s.Runs, state.Run{Run: "20261130T101100Z-0b0c", At: before(time.Minute), Outcome: "held", Reason: s.Holds[0].Reason, Files: 6, Seconds: 1.2,
		Steps: map[string]float64{"lease": 0.1, "record": 0.2, "preflight": 0.4, "list": 0.5}})
	return s
}

// drifted is a route whose Deployment somebody else deployed to, while a deploy of ours is on its way; the run before failed.
func drifted() *state.Status {
	s := deployed()
	s.State, s.Summary = state.StatusDrifted, "The Deployment runs DAGs that somebody else deployed."
	s.Next = "Whoever deployed them says whether they stay; the next change in the bucket deploys over them."
	s.Deployment.InSync, s.Deployment.DesiredVersion = false, "2026-11-30T10:11:00.0000001Z"
	s.Drift = "Somebody made a DAG-only deploy at 10:11 UTC (clx9zzzzz00090llk0a0b0c0d). It stays until the bucket changes."
	s.Pending = &state.StatusDeploy{Run: "20261130T101150Z-9e9e", DeployID: "clxa00aaa00030llk1a2b3c4d", URL: deploysURL, Files: 7, Bytes: 51200, At: before(15 * time.Second)}
	s.Live.RolledBack = "20261129T081500Z-11aa"
	s.Runs = append(s.Runs, state.Run{Run: "20261130T101000Z-dead", At: before(2 * time.Minute), Outcome: "failed", Files: 6, Seconds: 72.5,
		Reason: "the upload broke off: the storage answered 503; the next run makes a new deploy", Steps: map[string]float64{"list": 0.4, "upload": 70}})
	return s
}

// failed is a route whose last run failed.
func failed() *state.Status {
	s := drifted()
	s.State, s.Drift, s.Pending, s.Deployment.InSync = state.StatusFailed, "", nil, true
	s.Summary = "The last run failed: the API token was refused."
	s.Next = "An operator stores a valid token; nothing is lost, and the next run deploys what waits."
	return s
}

// empty is a route that has not seen a file yet.
func empty() *state.Status {
	return &state.Status{Format: state.StatusFormat, Route: "new-team", Written: before(time.Minute), State: state.StatusWaiting, Summary: "The source is empty: waiting for the first file.",
		Next: "Somebody uploads a file.", Deployment: state.StatusDeployment{ID: "clmh57jtm000008lb58fe2wmv"}, Sources: []state.StatusSource{{URL: "gs://new-team-dags/dags/"}}}
}

// many is a route of n files, of which every 100th has trouble, with 100 runs.
func many(n int) *state.Status {
	s := deployed()
	s.State, s.Summary = state.StatusAttention, fmt.Sprintf("%d files are kept; everything else is live.", n/100)
	s.Files, s.Counts = nil, state.StatusCounts{}
	for i := range n {
		name := fmt.Sprintf("dags/team-%03d/pipeline_%05d/load_%s.py", i/100, i, []string{"orders", "customers", "invoices", "stock"}[i%4])
		f := state.StatusFile{Path: name, Source: "s3://acme-dags/dags/", Key: name, Size: int64(2000 + i%977), Modified: before(30 * time.Hour), State: state.Live,
			Since: before(time.Duration(i%50) * time.Hour), DeployID: fmt.Sprintf("clx8h1%03d00010llk2b4c6d8e", i%50), Run: fmt.Sprintf("run-%d", i%50)}
		if i%100 == 99 {
			f.State, f.Reason, f.Message, f.Line, f.Column, f.Excerpt = state.Kept, "syntax", "Expected `:`, found newline", 12, 25, caret
		}
		s.Files = append(s.Files, f)
	}
	s.Counts.Kept = n / 100
	s.Counts.Live = n - n/100
	one := s.Runs[2]
	s.Runs = nil
	for i := range 100 {
		one.Run, one.At = fmt.Sprintf("run-%d", i), before(time.Duration(100-i)*time.Hour)
		s.Runs = append(s.Runs, one)
	}
	return s
}
