package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/dagbucket/dagbucket/internal/deployer"
)

type historyCmd struct{ route }

// Run prints the history.
func (h historyCmd) Run(ctx context.Context, c *console) error {
	_, r, err := h.wire(ctx, c, nil)
	if err != nil {
		return err
	}
	history, err := r.History(ctx)
	if err != nil {
		return err
	}
	if h.JSON {
		return c.printJSON(history)
	}
	printHistory(c.out, history)
	return nil
}

// printHistory prints a line for each run, the newest last, where the prompt is.
func printHistory(w io.Writer, h deployer.History) {
	if len(h.Runs) == 0 {
		fmt.Fprintf(w, "%s  no run has come to an outcome yet\n", h.Route)
		return
	}
	rollback := false
	for _, r := range h.Runs {
		mark := " "
		switch {
		case r.Live:
			mark = "*"
		case r.Stored:
			mark, rollback = "<", true
		}
		fmt.Fprintf(w, "%s %s  %-9s %s  %s\n", mark, r.At.UTC().Format("2006-01-02 15:04:05Z"), r.Outcome, r.Run.Run, whatRunDid(r))
		if r.Reason != "" {
			fmt.Fprintf(w, "    %s\n", r.Reason)
		}
	}
	if rollback {
		fmt.Fprintln(w, "\n* is live; dagbucket rollback --to RUN brings back one that is marked <")
	}
}

func whatRunDid(r deployer.HistoryRun) string {
	parts := []string{}
	if r.DeployID != "" {
		parts = append(parts, count(r.Files, "file"))
	}
	if r.Added+r.Modified+r.Removed > 0 {
		parts = append(parts, fmt.Sprintf("+%d ~%d -%d", r.Added, r.Modified, r.Removed))
	}
	if r.Kept+r.LeftOut > 0 {
		parts = append(parts, fmt.Sprintf("%d kept, %d left out", r.Kept, r.LeftOut))
	}
	if r.Seconds > 0 {
		parts = append(parts, "took "+seconds(r.Seconds))
	}
	if r.LiveAfter > 0 {
		parts = append(parts, "live after "+seconds(r.LiveAfter))
	}
	if r.Outcome == string(deployer.Deployed) {
		parts = append(parts, "deploy "+r.DeployID)
	}
	if r.Restored {
		parts = append(parts, "brought back")
	}
	return strings.Join(parts, ", ")
}

func seconds(s float64) string {
	d := time.Duration(s * float64(time.Second))
	if d < 10*time.Second {
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

type diffCmd struct {
	route
	From string `arg:"" optional:"" name:"run" help:"A run or deploy, as in the history; its beginning is enough. Default: the one before what is live."`
	To   string `arg:"" optional:"" name:"other" help:"What to compare it with. Default: what is live."`
}

// Run prints what differs.
func (d diffCmd) Run(ctx context.Context, c *console) error {
	_, r, err := d.wire(ctx, c, nil)
	if err != nil {
		return err
	}
	diff, err := r.Diff(ctx, d.From, d.To)
	if err != nil {
		return err
	}
	if d.JSON {
		return c.printJSON(diff)
	}
	fmt.Fprintf(c.out, "%s  from run %s to %s\n", diff.Route, diff.From, diff.To)
	if len(diff.Added)+len(diff.Modified)+len(diff.Removed) == 0 {
		fmt.Fprintln(c.out, "  the same files")
	}
	for _, list := range []struct {
		mark  string
		files []deployer.DiffFile
	}{{"+", diff.Added}, {"~", diff.Modified}, {"-", diff.Removed}} {
		for _, f := range list.files {
			change := size(f.Size)
			if list.mark == "~" {
				change = size(f.Was) + " → " + size(f.Size)
			}
			fmt.Fprintf(c.out, "  %s %s  (%s)\n", list.mark, f.Path, change)
		}
	}
	return nil
}

type rollbackCmd struct {
	route
	To     string   `placeholder:"RUN" help:"The run or deploy to go back to, as in the history; its beginning is enough. Default: the one before what is live."`
	DryRun bool     `help:"Print what would be brought back, and change nothing."`
	Paths  []string `arg:"" optional:"" name:"path" help:"Files or folders to bring back, such as dags/team/my_dag.py. Default: everything that differs."`
}

// Run goes back to stored content.
func (b rollbackCmd) Run(ctx context.Context, c *console) error {
	display := c.display()
	svc, r, err := b.wire(ctx, c, display.show)
	if err != nil {
		return err
	}
	result := svc.Rollback(ctx, r, b.To, b.Paths, b.DryRun)
	display.clear()
	if b.DryRun && result.Outcome == deployer.Changes {
		if b.JSON {
			return c.printJSON(result)
		}
		c.printResult(result)
		fmt.Fprintln(c.out, "  nothing was changed (--dry-run)")
		return nil
	}
	return c.finish(result, b.JSON, nil)
}
