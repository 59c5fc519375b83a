package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/state"
)

// printResult tells a person about one run, file by file.
func (c *console) printResult(r deployer.Result) {
	fmt.Fprintf(c.out, "%s  %s", r.Route, r.Outcome)
	switch r.Outcome {
	case deployer.Deployed, deployer.Unchanged:
		fmt.Fprintf(c.out, ": %s, %s; deploy %s, digest %.12s", count(r.Files, "file"), size(r.Bytes), r.DeployID, r.Digest)
	case deployer.Changes:
		fmt.Fprintf(c.out, ": %s, %s would be live", count(r.Files, "file"), size(r.Bytes))
	}
	fmt.Fprintln(c.out)
	if r.Reason != "" {
		fmt.Fprintf(c.out, "  %s\n", r.Reason)
	}
	printFiles(c.out, r)
}

func printFiles(w io.Writer, r deployer.Result) {
	for _, list := range []struct {
		mark  string
		paths []string
	}{{"+", r.Added}, {"~", r.Modified}, {"-", r.Removed}} {
		for _, p := range list.paths {
			fmt.Fprintf(w, "  %s %s\n", list.mark, p)
		}
	}
	printNotes(w, "kept", r.Kept)
	printNotes(w, "left out", r.LeftOut)
	printNotes(w, "warning", r.Warnings)
}

func printNotes(w io.Writer, fate string, notes []deployer.Note) {
	for _, n := range notes {
		fmt.Fprintf(w, "  %s %s", fate, n.Path)
		if n.Line > 0 {
			fmt.Fprintf(w, ":%d", n.Line)
		}
		if n.Column > 0 {
			fmt.Fprintf(w, ":%d", n.Column)
		}
		if n.Reason != "" {
			fmt.Fprintf(w, " (%s)", n.Reason)
		}
		if n.Message != "" {
			fmt.Fprintf(w, ": %s", n.Message)
		}
		fmt.Fprintln(w)
		for line := range strings.Lines(n.Excerpt) {
			fmt.Fprintf(w, "      %s\n", strings.TrimSuffix(line, "\n"))
		}
	}
}

func (c *console) printStatus(s *state.Status, now time.Time) {
	fmt.Fprintf(c.out, "%s  %s: %s\n  next: %s\n", s.Route, s.State, s.Summary, s.Next)
	where := s.Deployment.Name
	if s.Deployment.URL != "" {
		where += ", " + s.Deployment.URL
	}
	fmt.Fprintf(c.out, "  Deployment %s\n", where)
	c.printLive(s, now)
	for _, h := range s.Holds {
		fmt.Fprintf(c.out, "  %s since %s: %s\n", h.Kind, ago(now, h.At), h.Reason)
	}
	if s.Drift != "" {
		fmt.Fprintf(c.out, "  drift: %s\n", s.Drift)
	}
	if s.Pending != nil {
		fmt.Fprintf(c.out, "  pending: deploy %s, %s\n", s.Pending.DeployID, count(s.Pending.Files, "file"))
	}
	for _, fate := range []struct{ state, shown string }{{state.Waiting, "waiting"}, {state.HeldFile, "held"}, {state.Kept, "kept"},
		{state.LeftOut, "left out"}, {state.Live, "warning"}} {
		printStatusFiles(c.out, fate.shown, s.In(fate.state))
	}
	if n := len(s.Runs); n > 0 {
		last := s.Runs[n-1]
		fmt.Fprintf(c.out, "  last run %s: %s %s\n", ago(now, last.At), last.Outcome, last.Reason)
	}
}

func (c *console) printLive(s *state.Status, now time.Time) {
	live := s.Live
	switch {
	case live == nil:
		fmt.Fprintln(c.out, "  nothing was deployed from here yet")
		return
	case s.Deployment.InSync && !live.LiveAt.IsZero() && !live.At.IsZero():
		fmt.Fprintf(c.out, "  live since %s; Astro ran it %s after the deploy\n", ago(now, live.LiveAt), seconds(live.LiveAt.Sub(live.At).Seconds()))
	case s.Deployment.InSync && live.Live:
		fmt.Fprintf(c.out, "  live; deployed %s\n", ago(now, live.At))
	case s.Deployment.InSync:
		fmt.Fprintf(c.out, "  deployed %s, and not yet seen to run\n", ago(now, live.At))
	default:
		fmt.Fprintf(c.out, "  deployed %s, but the Deployment's DAGs are others now (tarball version %s)\n", ago(now, live.At), s.Deployment.DesiredVersion)
	}
	fmt.Fprintf(c.out, "  %s, %s; deploy %s, digest %.12s, tarball version %s\n",
		count(live.Files, "file"), size(live.Bytes), live.DeployID, live.Digest, live.TarballVersion)
	if live.RolledBack != "" {
		fmt.Fprintf(c.out, "  it was rolled back to run %s\n", live.RolledBack)
	}
	if !s.Checked.IsZero() {
		fmt.Fprintf(c.out, "  the bucket was last found in order %s\n", ago(now, s.Checked))
	}
}

func printStatusFiles(w io.Writer, fate string, files []state.StatusFile) {
	var notes []deployer.Note
	for _, f := range files {
		if f.Reason == "" && f.ImportError != "" {
			f.Reason, f.Message, f.Column = "import error", f.ImportError, 0
		}
		notes = append(notes, deployer.Note{Path: f.Path, Reason: f.Reason, Line: f.Line, Column: f.Column, Message: f.Message, Excerpt: f.Excerpt})
	}
	printNotes(w, fate, notes)
}

// ago is a time as a person asks for it.
func ago(now, t time.Time) string {
	if t.IsZero() {
		return "(unknown)"
	}
	return fmt.Sprintf("%s (%s ago)", t.UTC().Format("2006-01-02 15:04:05Z"), max(now.Sub(t), 0).Round(time.Second))
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func size(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d B", n)
}

// display is one line on the terminal that tells how far a run is; elsewhere it is silent.
type display struct {
	w    io.Writer
	last time.Time
	step string
}

func (c *console) display() *display {
	if !c.errTerminal || c.verbose {
		return &display{}
	}
	return &display{w: c.err}
}

// refresh is how often the line changes at most: terminals are slow.
const refresh = 50 * time.Millisecond

func (d *display) show(p deployer.Progress) {
	if d.w == nil || p.Step == d.step && time.Since(d.last) < refresh && p.Done < p.Total {
		return
	}
	d.last, d.step = time.Now(), p.Step
	line := p.Step
	if p.Total > 0 {
		const width = 24
		full := width * p.Done / p.Total
		line = fmt.Sprintf("%-8s %s%s %d/%d", p.Step, strings.Repeat("█", full), strings.Repeat("░", width-full), p.Done, p.Total)
	}
	if p.Bytes > 0 {
		line += "  " + size(p.Bytes)
	}
	fmt.Fprint(d.w, "\r\x1b[K", line)
}

func (d *display) clear() {
	if d.w != nil {
		fmt.Fprint(d.w, "\r\x1b[K")
	}
}
