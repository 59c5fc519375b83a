package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/dagbucket/dagbucket/internal/awswire"
	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/demo"
	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/gcpwire"
	"github.com/dagbucket/dagbucket/internal/pysyntax"
)

type demoCmd struct {
	Cloud demo.Cloud `enum:"aws,gcp" default:"aws" help:"Whose storage, events and function to play with: ${enum} (default ${default})."`
	Once  bool       `help:"Do one round from upload to deploy, compare, and exit. Default where there is no terminal."`
}

// Run starts the demo.
func (d demoCmd) Run(ctx context.Context, c *console) error {
	log := slog.New(slog.DiscardHandler)
	if c.verbose {
		log = slog.New(slog.NewTextHandler(c.err, nil))
	}
	open := map[demo.Cloud]func(context.Context, string) (bucket.Openers, error){demo.AWS: awswire.Anonymous, demo.GCP: gcpwire.Anonymous}
	return demo.Run(ctx, demo.Options{
		Cloud: d.Cloud, Out: c.out, Log: log, Open: open[d.Cloud], Version: version, Once: d.Once || !c.outTerminal,
		// A few sample DAGs are sooner interpreted than machine code is made.
		Syntax: pysyntax.New(pysyntax.Options{Cache: c.machineCode, Log: slog.New(slog.DiscardHandler)}),
		Print: func(r deployer.Result) {
			fmt.Fprintln(c.out)
			c.printResult(r)
		},
	})
}
