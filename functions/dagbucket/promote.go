package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/promotion"
	"github.com/dagbucket/dagbucket/internal/service"
)

type promoteCmd struct {
	From   string   `required:"" placeholder:"ROUTE" help:"The route whose live files are copied."`
	To     string   `required:"" placeholder:"ROUTE" help:"The route into whose sources they are copied."`
	Paths  []string `arg:"" optional:"" name:"path" help:"Only these files and folders, such as dags/team; removals too."`
	DryRun bool     `help:"Print what would be done, and change nothing."`
	Force  bool     `help:"Also overwrite, or remove, what was changed in the target since the last promotion."`
	NoSync bool     `help:"Leave the deploy to the function's next run."`
	JSON   bool     `name:"json" help:"Print one JSON object on standard output."`
}

// promoted is what --json prints.
type promoted struct {
	promotion.Result
	Sync *deployer.Result `json:"sync"` // the target's run; null if there was none
}

// Run promotes, and then has the target deploy.
func (p promoteCmd) Run(ctx context.Context, c *console) error {
	display := c.display()
	svc, err := c.service(ctx, display.show)
	if err != nil {
		return err
	}
	from, err := svc.Route(p.From)
	if err != nil {
		return &exitError{exitUsage, err}
	}
	to, err := svc.Route(p.To)
	if err == nil && from == to {
		err = errors.New("--from and --to are the same route")
	}
	if err != nil {
		return &exitError{exitUsage, err}
	}
	result, err := svc.Promote(ctx, from, to, service.PromoteOptions{Paths: p.Paths, Force: p.Force, DryRun: p.DryRun})
	done := promoted{Result: result}
	if err == nil && len(result.Refused) == 0 && !p.DryRun && !p.NoSync {
		// Also where there was nothing to do: an earlier call may have been interrupted just before this.
		synced := svc.Sync(ctx, to, nil)
		done.Sync = &synced
	}
	display.clear()
	return c.finishPromotion(done, p.JSON, err)
}

func (c *console) finishPromotion(p promoted, asJSON bool, err error) error {
	if asJSON {
		if err := c.printJSON(p); err != nil {
			return err
		}
	} else if err == nil || len(p.Copied)+len(p.Removed) > 0 {
		c.printPromotion(p)
	}
	switch {
	case err != nil:
		return err
	case len(p.Refused) > 0:
		return &exitError{code: exitHeld}
	case p.Sync != nil && exitCode(p.Sync.Outcome) != exitOK:
		return &exitError{code: exitCode(p.Sync.Outcome)}
	}
	return nil
}

func (c *console) printPromotion(p promoted) {
	fmt.Fprintf(c.out, "%s → %s  ", p.From, p.To)
	verb := ""
	if p.DryRun {
		verb = "would be "
	}
	switch {
	case len(p.Refused) > 0:
		fmt.Fprintln(c.out, "refused")
	case len(p.Copied)+len(p.Removed) == 0:
		fmt.Fprintf(c.out, "nothing to do: %s there already\n", count(p.Unchanged, "file"))
	default:
		fmt.Fprintf(c.out, "%s %scopied, %d %sremoved, %d there already\n", count(len(p.Copied), "file"), verb, len(p.Removed), verb, p.Unchanged)
	}
	for _, path := range p.Copied {
		fmt.Fprintf(c.out, "  > %s\n", path)
	}
	for _, path := range p.Removed {
		fmt.Fprintf(c.out, "  - %s\n", path)
	}
	for _, list := range []struct {
		fate  string
		notes []promotion.Note
	}{{"refused", p.Refused}, {"warning", p.Warnings}} {
		for _, n := range list.notes {
			if n.Path != "" {
				n.Path += ": "
			}
			fmt.Fprintf(c.out, "  %s %s%s\n", list.fate, n.Path, n.Why)
		}
	}
	if p.Sync != nil {
		c.printResult(*p.Sync)
	}
}
