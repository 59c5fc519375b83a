package deployer

import (
	"context"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dagbucket/dagbucket/internal/state"
)

const (
	followPoll   = time.Second
	followMargin = 15 * time.Second // of the invocation's time, which is left for what comes after
)

// StepFollow is the step of Result.Seconds in which a run waits for Astro to run what it deployed.
const StepFollow = "follow"

// follow waits until Astro runs what this run deployed, and notes how long that took. It ends early for everything that is more urgent; then a
// later run finds out. Nothing that fails here fails the run.
func (x *run) follow(ctx context.Context) {
	if x.Follow <= 0 || x.record.Live == nil || x.record.Live.Confirmed {
		return
	}
	_ = x.step(StepFollow, func() error {
		for end := x.Clock.Now().Add(x.Follow); x.Clock.Now().Before(end) && !x.hurried(ctx); {
			if x.Clock.Sleep(ctx, followPoll) != nil {
				break
			}
			d, err := x.Astro.Deployment(ctx)
			if err != nil || d.DesiredVersion != x.record.Live.TarballVersion {
				break // the next run looks into it
			}
			if d.RunningVersion == d.DesiredVersion && d.Healthy {
				x.recordLive(ctx)
				break
			}
		}
		return nil
	})
}

// hurried reports whether somebody waits for this run, or its time is nearly over.
func (x *run) hurried(ctx context.Context) bool {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < followMargin || x.Wanted != nil && x.Wanted() {
		return true
	}
	rung, err := x.Store.Owed(ctx)
	return rung || err != nil
}

// recordLive notes that Astro runs what was deployed.
func (x *run) recordLive(ctx context.Context) {
	rec := x.record.Clone()
	rec.SeenLive(x.Clock.Now().UTC())
	x.claimPages(&rec, Deployed, nil)
	if err := x.swap(ctx, rec); err != nil {
		x.Log.Info("could not note that the deploy is live; a later run does", "route", x.Name, "error", err)
		return
	}
	// A crash here leaves pages that call it on its way, for the next run to renew.
	x.writePages(ctx, Deployed, nil)
}

const (
	importErrorLimit   = 100 // in a record
	importErrorMessage = 300 // bytes
	// askTime is what an Airflow that does not answer may cost a run.
	askTime = 15 * time.Second
)

// askAirflow notes what the Deployment's Airflow cannot import of what is live. Not being told fails nothing.
func (x *run) askAirflow(ctx context.Context, rec *state.Record) {
	if x.Airflow == nil || rec.Live == nil || !rec.Live.Confirmed || rec.Live.TarballVersion != x.deployment.DesiredVersion {
		return
	}
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < askTime+followMargin {
		return
	}
	_ = x.step("import errors", func() error {
		asking, cancel := context.WithTimeout(ctx, askTime)
		defer cancel()
		found, err := x.Airflow.ImportErrors(asking)
		if err == nil && len(found) > 0 {
			err = x.readLive(ctx)
		}
		if err != nil {
			x.Log.Warn("cannot ask Airflow for import errors", "route", x.Name, "error", err)
			return nil
		}
		live := x.liveFiles()
		rec.ImportErrors = nil
		for _, e := range found {
			if p := x.pathOf(e.File, live); p != "" && len(rec.ImportErrors) < importErrorLimit {
				message, line := lastOfTrace(e.Trace, path.Base(p))
				rec.ImportErrors = append(rec.ImportErrors, state.ImportError{Path: p, Message: message, Line: line, At: e.At.UTC()})
			}
		}
		slices.SortFunc(rec.ImportErrors, func(a, b state.ImportError) int { return strings.Compare(a.Path, b.Path) })
		return nil
	})
}

// pathOf is the live file that Airflow means: it names them by their place on its own disk. "" is none of ours.
func (x *run) pathOf(file string, live map[string]*state.File) string {
	for rest := strings.TrimPrefix(file, "/"); rest != ""; {
		for _, p := range []string{rest, x.archivePath(rest)} {
			if _, ours := live[p]; ours {
				return p
			}
		}
		_, after, more := strings.Cut(rest, "/")
		if !more {
			break
		}
		rest = after
	}
	return ""
}

var traceLine = regexp.MustCompile(`File "([^"]*)", line ([0-9]{1,7})`)

// lastOfTrace is the error of a Python stack trace, and the last line of the file that is in it; 0 if there is none.
func lastOfTrace(trace, base string) (message string, line int) {
	for l := range strings.Lines(trace) {
		if m := traceLine.FindStringSubmatch(l); m != nil && path.Base(m[1]) == base {
			line, _ = strconv.Atoi(m[2])
		}
		if text := strings.TrimSpace(l); text != "" {
			message = text
		}
	}
	if strings.HasPrefix(message, "REDACTED") { // some versions of Airflow 3 show nothing of a file whose DAGs they do not know yet
		message = "Airflow does not say why to this token: see Import Errors in its web interface"
	}
	return strings.ToValidUTF8(message[:min(len(message), importErrorMessage)], ""), line
}
