package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/event"
	"github.com/dagbucket/dagbucket/internal/state"
	"github.com/dagbucket/dagbucket/internal/statuspage"
)

const maxPayload = 8 << 20 // bytes of an event file; SQS batches are at most 6 MB

type syncCmd struct {
	route
	Wait bool `help:"Also wait until the Deployment runs what was deployed (at most 10 minutes)."`
}

// Run does one run.
func (s syncCmd) Run(ctx context.Context, c *console) error {
	display := c.display()
	svc, r, err := s.wire(ctx, c, display.show)
	if err != nil {
		return err
	}
	result := svc.Sync(ctx, r, nil)
	if s.Wait && exitCode(result.Outcome) == exitOK {
		display.show(deployer.Progress{Step: "wait for the Deployment"})
		err = r.WaitUntilRunning(ctx, result.TarballVersion)
	}
	display.clear()
	return c.finish(result, s.JSON, err)
}

type planCmd struct{ route }

// Run shows what a run would do.
func (p planCmd) Run(ctx context.Context, c *console) error {
	display := c.display()
	_, r, err := p.wire(ctx, c, display.show)
	if err != nil {
		return err
	}
	result := r.Plan(ctx)
	display.clear()
	return c.finish(result, p.JSON, nil)
}

type eventCmd struct {
	File string `arg:"" help:"File with the payload as the cloud delivered it; - reads standard input."`
	JSON bool   `name:"json" help:"Print one JSON object on standard output: the results of all routes."`
}

// Run does what the function would do for the payload.
func (e eventCmd) Run(ctx context.Context, c *console) error {
	payload, err := readPayload(e.File)
	if err != nil {
		return &exitError{exitUsage, err}
	}
	batch, err := event.Decode(payload)
	if err != nil {
		return &exitError{exitUsage, fmt.Errorf("%s: %w", e.File, err)}
	}
	display := c.display()
	svc, err := c.service(ctx, display.show)
	if err != nil {
		return err
	}
	report := svc.Handle(ctx, batch)
	display.clear()
	return c.finishEvent(e, batch, report.Results)
}

func readPayload(file string) ([]byte, error) {
	in := os.Stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	payload, err := io.ReadAll(io.LimitReader(in, maxPayload+1))
	if err == nil && len(payload) > maxPayload {
		err = fmt.Errorf("%s is larger than %d bytes: no cloud delivers such an event", file, maxPayload)
	}
	return payload, err
}

func (c *console) finishEvent(e eventCmd, batch event.Batch, results []deployer.Result) error {
	code := exitOK
	if e.JSON {
		if err := c.printJSON(struct {
			Results []deployer.Result `json:"results"`
		}{results}); err != nil {
			return err
		}
	}
	for _, r := range results {
		if !e.JSON {
			c.printResult(r)
		}
		code = max(code, exitCode(r.Outcome))
	}
	for _, m := range batch.Messages {
		if m.Err != nil {
			return &exitError{exitFailed, fmt.Errorf("%s: message %q: %w", e.File, m.ID, m.Err)}
		}
	}
	if len(results) == 0 && !e.JSON {
		fmt.Fprintln(c.out, "the event asks for no route of this configuration")
	}
	if code != exitOK {
		return &exitError{code: code}
	}
	return nil
}

type statusCmd struct {
	route
	HTML string `name:"html" placeholder:"FILE" help:"Write the status page into a file; - is standard output."`
}

// Run shows the status.
func (s statusCmd) Run(ctx context.Context, c *console) error {
	_, r, err := s.wire(ctx, c, nil)
	if err != nil {
		return err
	}
	status, err := r.Status(ctx)
	if status.Route == "" { // nothing is known
		return err
	}
	return cmp.Or(s.show(c, &status), err)
}

func (s statusCmd) show(c *console, status *state.Status) error {
	switch {
	case s.HTML == "-":
		return statuspage.Render(c.out, status)
	case s.HTML != "":
		return writePage(s.HTML, status)
	case s.JSON:
		return c.printJSON(status)
	}
	c.printStatus(status, time.Now())
	return nil
}

func writePage(name string, status *state.Status) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return cmp.Or(statuspage.Render(f, status), f.Close())
}

// finish prints a result and turns it into an exit code. err is what went wrong after the run.
func (c *console) finish(r deployer.Result, asJSON bool, err error) error {
	if asJSON {
		if err := c.printJSON(r); err != nil {
			return err
		}
	} else {
		c.printResult(r)
	}
	if err != nil {
		return err
	}
	if code := exitCode(r.Outcome); code != exitOK {
		return &exitError{code: code}
	}
	return nil
}

func (c *console) printJSON(v any) error {
	enc := json.NewEncoder(c.out)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
