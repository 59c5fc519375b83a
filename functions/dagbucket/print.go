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
			fmt.Fprintf(w, ":%d:%d", n.Line, n.Column)
		}
		fmt.Fprintf(w, " (%s)", n.Reason)
		if n.Message != "" {
			fmt.Fprintf(w, ": %s", n.Message)
		}
		fmt.Fprintln(w)
		for line := range strings.Lines(n.Excerpt) {
			fmt.Fprintf(w, "      %s\n", strings.TrimSuffix(line, "\n"))
		}
	}
}

func (c *console) printStatus(s deployer.Status, now time.Time) {
	fmt.Fprintf(c.out, "%s  Deployment %s\n", s.Route, s.Deployment)
	switch {
	case s.Live == nil:
		fmt.Fprintln(c.out, "  nothing was deployed from here yet")
	case s.InSync:
		fmt.Fprintf(c.out, "  live since %s\n", ago(now, s.Live.At))
	default:
		fmt.Fprintf(c.out, "  deployed %s, but the Deployment's DAGs are others now (tarball version %s)\n", ago(now, s.Live.At), s.DesiredVersion)
	}
	if s.Live != nil {
		printDeploy(c.out, s.Live)
	}
	if !s.Listed.IsZero() {
		fmt.Fprintf(c.out, "  the bucket was last found in order %s\n", ago(now, s.Listed))
	}
	for _, h := range s.Holds {
		fmt.Fprintf(c.out, "  %s since %s: %s\n", h.Kind, ago(now, h.At), h.Reason)
	}
	if s.Drift != "" {
		fmt.Fprintf(c.out, "  drift: %s\n", s.Drift)
	}
	if s.Pending != nil {
		fmt.Fprintf(c.out, "  pending: deploy %s, %s\n", s.Pending.DeployID, count(s.Pending.Files, "file"))
	}
	printNotes(c.out, "kept", s.Kept)
	printNotes(c.out, "left out", s.LeftOut)
	printNotes(c.out, "warning", s.Warnings)
	if n := len(s.Runs); n > 0 {
		last := s.Runs[n-1]
		fmt.Fprintf(c.out, "  last run %s: %s %s\n", ago(now, last.At), last.Outcome, last.Reason)
	}
}

func printDeploy(w io.Writer, d *state.Deploy) {
	fmt.Fprintf(w, "  %s, %s; deploy %s, digest %.12s, tarball version %s\n",
		count(d.Files, "file"), size(d.Bytes), d.DeployID, d.Digest, d.TarballVersion)
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
