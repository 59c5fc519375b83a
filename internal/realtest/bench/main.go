// Command bench measures the real functions, each over a real server of its cloud's storage, beside a floor that does the bare work and
// beside the ways in which people do it today (see the floor command): the Lambda binary under a Runtime API server over S3, and the
// Cloud Run function over Cloud Storage. All are measured interleaved in one run, since machines are noisy; what counts is the ratio.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"github.com/dagbucket/dagbucket/internal/realtest"
)

const longest = 100 * time.Minute // of the whole command

// scenario is one source to deploy.
type scenario struct {
	name  string
	files int
	size  int // bytes of each
}

var (
	small     = scenario{"1,000 × 2 KB", 1000, 2 << 10}
	medium    = scenario{"10,000 × 2 KB", 10_000, 2 << 10}
	heavy     = scenario{"100 × 10 MB", 100, 10 << 20}
	large     = scenario{"100,000 × 2 KB", 100_000, 2 << 10}
	scenarios = []scenario{small, medium, heavy, large}
)

// The sections beside the scenarios.
const (
	startUpSection  = "start-up"
	syntaxSection   = "syntax"
	templateSection = "template"
	rcloneSection   = "rclone"
	growthSection   = "growth"
	priceSection    = "price"
)

var sections = []string{startUpSection, syntaxSection, templateSection, rcloneSection, growthSection, priceSection}

// options are the command's flags.
type options struct {
	cloud, only, out            string
	rounds, roundsLarge, starts int
}

func main() {
	var o options
	flag.StringVar(&o.cloud, "cloud", "all", "measure only this cloud: "+strings.Join(cloudNames(), " or "))
	flag.StringVar(&o.only, "only", "", "measure only what has a name that contains this: a scenario, such as 1,000, or "+strings.Join(sections, ", "))
	flag.StringVar(&o.out, "out", "", "folder for results.md, results.json and results.svg (default internal/realtest/bench/results if everything is measured, else none)")
	flag.IntVar(&o.rounds, "rounds", 5, "how often each is measured")
	flag.IntVar(&o.roundsLarge, "rounds-large", 5, "how often "+large.name+" is measured")
	flag.IntVar(&o.starts, "starts", 20, "how often the start-up is measured")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func (o options) wants(name string) bool { return strings.Contains(name, o.only) }

func run(ctx context.Context, o options) error {
	chosen, err := o.clouds()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "dagbucket-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if o.wants(syntaxSection) {
		if err := measureSyntax(ctx, dir, o); err != nil {
			return fmt.Errorf("syntax check: %w", err)
		}
	}
	r := &report{out: os.Stdout}
	for _, c := range chosen {
		if err := measureCloud(ctx, c, dir, o, r); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	folder, err := o.folder()
	if err != nil || folder == "" {
		return err
	}
	return r.save(folder)
}

func (o options) clouds() ([]namedCloud, error) {
	var chosen []namedCloud
	for _, c := range clouds {
		if o.cloud == "all" || o.cloud == c.name {
			chosen = append(chosen, c)
		}
	}
	if chosen == nil {
		return nil, fmt.Errorf("there is no cloud %q: write all, %s", o.cloud, strings.Join(cloudNames(), " or "))
	}
	names := append([]string{}, sections...)
	for _, s := range scenarios {
		names = append(names, s.name)
	}
	for _, name := range names {
		if o.wants(name) {
			return chosen, nil
		}
	}
	return nil, fmt.Errorf("nothing has a name that contains %q: there are %s", o.only, strings.Join(names, ", "))
}

// folder is where the results go; "" if they are only printed, so that a part never replaces the whole.
func (o options) folder() (string, error) {
	if o.out != "" || o.only != "" || o.cloud != "all" {
		return o.out, nil
	}
	root, err := realtest.ProjectRoot()
	return filepath.Join(root, "internal", "realtest", "bench", "results"), err
}

func measureCloud(ctx context.Context, c namedCloud, dir string, o options, r *report) error {
	b, err := newBench(c, dir, r)
	if err != nil {
		return err
	}
	defer b.close()
	fmt.Printf("\n%s\n", c.title)
	if o.wants(startUpSection) {
		if err := b.startUp(ctx, o.starts); err != nil {
			return err
		}
	}
	if o.wants(syntaxSection) {
		if err := b.measureDelay(ctx, o.rounds); err != nil {
			return fmt.Errorf("a changed file: %w", err)
		}
	}
	for _, s := range b.scenarios(o) {
		rounds, over := o.rounds, networks
		switch {
		case s == large: // a round takes two minutes and a half
			rounds, over = o.roundsLarge, networks[:1]
		case b.name != "aws":
			rounds = min(rounds, 3)
		}
		if err := b.measure(ctx, s, over, rounds, b.variants(s, o)); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	if o.wants(growthSection) && b.name == "aws" {
		if err := b.growth(ctx, min(o.rounds, 3)); err != nil {
			return fmt.Errorf("growth: %w", err)
		}
	}
	if o.wants(priceSection) {
		if err := b.price(ctx, min(o.rounds, 3)); err != nil {
			return fmt.Errorf("price: %w", err)
		}
	}
	return nil
}

// scenarios are those that the options choose, by their own names or by what is measured beside them.
func (b *bench) scenarios(o options) []scenario {
	var chosen []scenario
	for _, s := range scenarios {
		has := b.possible(s)
		if (s != large || b.name == "aws") &&
			(o.wants(s.name) || o.wants(templateSection) && has.byTemplate && s == small || o.wants(rcloneSection) && has.byRclone && s == medium) {
			chosen = append(chosen, s)
		}
	}
	return chosen
}

// possible is what can be measured of a scenario in reasonable time.
func (b *bench) possible(s scenario) variants {
	aws := b.name == "aws"
	return variants{
		changed:    aws || s.files >= small.files, // Google's large objects stay without
		checked:    aws && s == medium,
		byTemplate: aws && s.size == small.size && s.files <= medium.files,
		byRclone:   aws && s.size == small.size && s.files <= medium.files,
	}
}

// variants are what the options leave of that.
func (b *bench) variants(s scenario, o options) variants {
	v := b.possible(s)
	v.checked = v.checked && o.wants(s.name)
	v.byTemplate = v.byTemplate && o.wants(templateSection)
	v.byRclone = v.byRclone && o.wants(rcloneSection)
	return v
}

func verdict[T cmp.Ordered](value, bar T, otherwise string) string {
	if value <= bar {
		return "ok"
	}
	return otherwise
}
