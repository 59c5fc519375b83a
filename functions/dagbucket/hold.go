package main

import (
	"context"
	"fmt"
)

type approveCmd struct {
	route
	DryRun bool `help:"Print what would be let go, and let nothing go."`
}

// Run lets go what waits for a person.
func (a approveCmd) Run(ctx context.Context, c *console) error {
	_, r, err := a.wire(ctx, c, nil)
	if err != nil {
		return err
	}
	approve := r.Approve
	if a.DryRun {
		approve = r.Approvable
	}
	approval, err := approve(ctx)
	if err != nil {
		return err
	}
	if a.JSON {
		return c.printJSON(approval)
	}
	if len(approval.Removed) == 0 && approval.Replace == "" {
		fmt.Fprintf(c.out, "%s  nothing waits for approval\n", r.Name)
		return nil
	}
	verb := "approved"
	if a.DryRun {
		verb = "waiting for approval"
	}
	fmt.Fprintf(c.out, "%s  %s: %s to remove\n", r.Name, verb, count(len(approval.Removed), "file"))
	for _, p := range approval.Removed {
		fmt.Fprintf(c.out, "  - %s\n", p)
	}
	if approval.Replace != "" {
		fmt.Fprintf(c.out, "  and to replace the DAGs that are live, of which nothing is known here (tarball version %s)\n", approval.Replace)
	}
	if !a.DryRun {
		fmt.Fprintln(c.out, "The next run does it: the scheduled one within minutes, or dagbucket sync now.")
	}
	return nil
}

type pauseCmd struct {
	route
	Reason string `placeholder:"TEXT" help:"Why; whoever asks for the status reads it."`
}

// Run pauses the route.
func (p pauseCmd) Run(ctx context.Context, c *console) error {
	_, r, err := p.wire(ctx, c, nil)
	if err != nil {
		return err
	}
	if err := r.Pause(ctx, p.Reason); err != nil {
		return err
	}
	return c.tell(p.JSON, r.Name, "paused", "nothing is deployed until dagbucket resume")
}

type resumeCmd struct{ route }

// Run ends a pause.
func (s resumeCmd) Run(ctx context.Context, c *console) error {
	_, r, err := s.wire(ctx, c, nil)
	if err != nil {
		return err
	}
	if err := r.Resume(ctx); err != nil {
		return err
	}
	return c.tell(s.JSON, r.Name, "resumed", "the next run deploys what the bucket holds: the scheduled one within minutes, or dagbucket sync now")
}

// tell prints what was done to a route.
func (c *console) tell(asJSON bool, route, done, next string) error {
	if asJSON {
		return c.printJSON(map[string]string{"route": route, "done": done})
	}
	_, err := fmt.Fprintf(c.out, "%s  %s: %s\n", route, done, next)
	return err
}
