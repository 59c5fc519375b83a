package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/dagbucket/dagbucket/internal/awswire"
	"github.com/dagbucket/dagbucket/internal/demo"
	"github.com/dagbucket/dagbucket/internal/deployer"
)

type demoCmd struct {
	Once bool `help:"Do one round from upload to deploy, compare, and exit. Default where there is no terminal."`
}

// Run starts the demo.
func (d demoCmd) Run(ctx context.Context, c *console) error {
	log := slog.New(slog.DiscardHandler)
	if c.verbose {
		log = slog.New(slog.NewTextHandler(c.err, nil))
	}
	return demo.Run(ctx, demo.Options{
		Out: c.out, Log: log, OpenBucket: awswire.Anonymous, Version: version, Once: d.Once || !c.outTerminal,
		Print: func(r deployer.Result) {
			fmt.Fprintln(c.out)
			c.printResult(r)
		},
	})
}
