// Command dagbucket is the command line: the same sync as the cloud functions', for operators, for CI and for trying it out.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/alecthomas/kong"
	"golang.org/x/term"

	"github.com/dagbucket/dagbucket/internal/awswire"
	"github.com/dagbucket/dagbucket/internal/config"
	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/gcpwire"
	"github.com/dagbucket/dagbucket/internal/pysyntax"
	"github.com/dagbucket/dagbucket/internal/service"
)

// version is set when the binary is built.
var version = "dev"

// Exit codes; the outcomes' own are in exitCode.
const (
	exitOK      = 0
	exitFailed  = 1
	exitUsage   = 2 // or configuration
	exitHeld    = 3
	exitBusy    = 4
	exitChanges = 5 // plan only
)

const description = `Deploys the DAG files of a bucket to an Astro Deployment.

Configuration comes from the file or URL in DAGBUCKET_CONFIG, or for one route from DAGBUCKET_SOURCE, DAGBUCKET_STATE,
ASTRO_DEPLOYMENT_ID and ASTRO_API_TOKEN. To try it without any account, run: dagbucket demo

Exit codes: 0 in order, 1 failed, 2 usage or configuration, 3 held until somebody acts, 4 another run is at it,
5 there are changes (plan).`

// cli is every command with its flags.
type cli struct {
	Verbose bool `short:"v" help:"Log every step."`

	Demo     demoCmd     `cmd:"" help:"Start a storage server, an Astro stand-in and the function, all embedded, with sample DAGs to play with."`
	Sync     syncCmd     `cmd:"" help:"Make the Deployment's DAGs equal to what the sources hold: one run."`
	Plan     planCmd     `cmd:"" help:"Show what a run would do, and change nothing."`
	Event    eventCmd    `cmd:"" help:"Do what the function would do for a recorded event payload."`
	Status   statusCmd   `cmd:"" help:"Show what is live since when, what waits, is kept, left out or held, and who is to act; or write the status page."`
	History  historyCmd  `cmd:"" help:"Show what the last runs did, and which of them a rollback can bring back."`
	Diff     diffCmd     `cmd:"" help:"Show which files differ between what two runs deployed."`
	Approve  approveCmd  `cmd:"" help:"Let removals, or a first deploy over foreign DAGs, go ahead, and print them."`
	Pause    pauseCmd    `cmd:"" help:"Deploy nothing until resume; uploads wait in the bucket."`
	Resume   resumeCmd   `cmd:"" help:"End a pause."`
	Rollback rollbackCmd `cmd:"" help:"Bring back what an earlier run deployed, until the files change in the bucket."`
	Promote  promoteCmd  `cmd:"" help:"Copy what is live on one route into the sources of another, such as dev to prod, and deploy it there."`
	Doctor   doctorCmd   `cmd:"" help:"Check a live set-up end to end, and say how to repair each fault. Exit codes: 0 all is well, 1 a fault, 2 warnings only."`
	Version  versionCmd  `cmd:"" help:"Print the version."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], &console{
		env: os.Getenv, out: os.Stdout, err: os.Stderr, machineCode: machineCode(),
		outTerminal: term.IsTerminal(int(os.Stdout.Fd())), errTerminal: term.IsTerminal(int(os.Stderr.Fd())),
	})
	stop()
	os.Exit(code)
}

// console is the surroundings of one call.
type console struct {
	env                      func(string) string
	out, err                 io.Writer
	machineCode              string // folder of the syntax checker's, made once for a user and a machine; "" if there is none
	outTerminal, errTerminal bool
	verbose                  bool
}

// exitError ends the program with a code of its own; its text, if any, is printed.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func run(ctx context.Context, args []string, c *console) int {
	var commands cli
	exited := -1
	parser, err := kong.New(&commands, kong.Name("dagbucket"), kong.Description(description), kong.Writers(c.out, c.err),
		kong.UsageOnError(), kong.Exit(func(code int) { exited = code }), kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(c),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 120}))
	if err != nil {
		panic(err) // the commands above are wrong
	}
	parsed, err := parser.Parse(args)
	if exited >= 0 {
		return exited
	}
	if err != nil {
		fmt.Fprintf(c.err, "dagbucket: %v; see dagbucket --help\n", err)
		return exitUsage
	}
	c.verbose = commands.Verbose
	return c.exit(parsed.Run())
}

// exit prints an error once and returns the exit code.
func (c *console) exit(err error) int {
	if err == nil {
		return exitOK
	}
	code := exitFailed
	var withCode *exitError
	if errors.As(err, &withCode) {
		code = withCode.code
		if err = withCode.err; err == nil {
			return code
		}
	}
	fmt.Fprintf(c.err, "dagbucket: %v\n", err)
	return code
}

func exitCode(o deployer.Outcome) int {
	switch o {
	case deployer.Held:
		return exitHeld
	case deployer.Busy:
		return exitBusy
	case deployer.Failed:
		return exitFailed
	case deployer.Changes:
		return exitChanges
	}
	return exitOK
}

func machineCode() string {
	folder, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(folder, "dagbucket", "pysyntax")
}

// checker is the syntax check, with machine code that is made when it is first wanted. That takes its time, so people are told.
func (c *console) checker() *pysyntax.Checker {
	o := pysyntax.Options{Cache: c.machineCode, Make: c.machineCode != "", Log: c.log()}
	if c.errTerminal {
		plain := func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey || a.Key == slog.LevelKey {
				return slog.Attr{}
			}
			return a
		}
		o.Log = slog.New(slog.NewTextHandler(c.err, &slog.HandlerOptions{ReplaceAttr: plain}))
	}
	return pysyntax.New(o)
}

// log writes text for people and JSON for programs. People see warnings only, since the result is printed anyway.
func (c *console) log() *slog.Logger {
	if !c.errTerminal {
		return slog.New(slog.NewJSONHandler(c.err, nil))
	}
	level := slog.LevelError + 1
	if c.verbose {
		level = slog.LevelInfo
	}
	return slog.New(slog.NewTextHandler(c.err, &slog.HandlerOptions{Level: level}))
}

// service wires the configuration of the environment.
func (c *console) service(ctx context.Context, progress func(deployer.Progress)) (*service.Service, error) {
	aws, google := awswire.New(c.env), gcpwire.New(c.env)
	buckets := aws.Buckets().With(google.Buckets())
	cfg, err := config.Load(ctx, c.env, buckets.ReadURL)
	if err != nil {
		return nil, &exitError{exitUsage, err}
	}
	s, err := service.New(ctx, cfg, service.Deps{
		Buckets: buckets, Secrets: aws.Secrets().With(google.Secrets()), Topics: aws.Topics().With(google.Topics()), Version: version, Log: c.log(), Progress: progress,
		Syntax: c.checker(),
	})
	if err != nil {
		return nil, &exitError{exitUsage, err}
	}
	return s, nil
}

// route is the flag that most commands share.
type route struct {
	Route string `placeholder:"NAME" help:"Which route; needed if there are several."`
	JSON  bool   `name:"json" help:"Print one JSON object on standard output."`
}

func (r route) wire(ctx context.Context, c *console, progress func(deployer.Progress)) (*service.Service, *deployer.Route, error) {
	s, err := c.service(ctx, progress)
	if err != nil {
		return nil, nil, err
	}
	chosen, err := s.Route(r.Route)
	if err != nil {
		return nil, nil, &exitError{exitUsage, err}
	}
	return s, chosen, nil
}

type versionCmd struct{}

// Run prints the version.
func (versionCmd) Run(c *console) error {
	_, err := fmt.Fprintln(c.out, "dagbucket", version)
	return err
}
