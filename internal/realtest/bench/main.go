// Command bench measures the real functions, each over a real server of its cloud's storage, beside a floor that does the bare work (see
// the floor command): the Lambda binary under a Runtime API server over S3, and the Cloud Run function over Cloud Storage. Function and
// floor are measured interleaved in one run, since machines are noisy; what counts is the ratio.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"
)

// scenario is one source to deploy.
type scenario struct {
	name  string
	files int
	size  int // bytes of each
}

var scenarios = []scenario{{"1,000 × 2 KB", 1000, 2 << 10}, {"10,000 × 2 KB", 10_000, 2 << 10}, {"100 × 10 MB", 100, 10 << 20}}

// The bars.
const (
	maxRatio = 1.3
	maxRSS   = 200e6 // bytes
	maxStart = 200 * time.Millisecond
)

// options are the command's flags.
type options struct {
	cloud, only    string
	rounds, starts int
}

func main() {
	var o options
	flag.StringVar(&o.cloud, "cloud", "all", "measure only this cloud: "+strings.Join(cloudNames(), " or "))
	flag.StringVar(&o.only, "only", "", "measure only what has a name that contains this: a scenario, or syntax")
	flag.IntVar(&o.rounds, "rounds", 5, "how often each is measured")
	flag.IntVar(&o.starts, "starts", 20, "how often the start-up is measured")
	flag.Parse()
	if err := run(context.Background(), o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	dir, err := os.MkdirTemp("", "dagbucket-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if strings.Contains("syntax", o.only) {
		if err := measureSyntax(ctx, dir, o); err != nil {
			return fmt.Errorf("syntax check: %w", err)
		}
	}
	known := false
	for _, c := range clouds {
		if o.cloud != "all" && o.cloud != c.name {
			continue
		}
		known = true
		if err := measureCloud(ctx, c, dir, o); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	if !known {
		return fmt.Errorf("there is no cloud %q: write all, %s", o.cloud, strings.Join(cloudNames(), " or "))
	}
	return nil
}

func measureCloud(ctx context.Context, c namedCloud, dir string, o options) error {
	b, err := newBench(c, dir)
	if err != nil {
		return err
	}
	defer b.close()
	fmt.Printf("\n%s\n", c.title)
	if err := b.startUp(ctx, o.starts); err != nil {
		return err
	}
	if strings.Contains("syntax", o.only) {
		if err := b.measureDelay(ctx, o.rounds); err != nil {
			return fmt.Errorf("a changed file: %w", err)
		}
	}
	fmt.Printf("\n%-14s %-9s %9s %9s %7s   %-7s %9s   %-8s %10s   %s\n", "source", "network", "floor", "dagbucket", "ratio", "≤ 1.3", "peak RSS",
		"≤ 200 MB", "no change", "requests of a sync without changes")
	for _, s := range scenarios {
		if !strings.Contains(s.name, o.only) {
			continue
		}
		if err := b.measure(ctx, s, o.rounds); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

func verdict[T cmp.Ordered](value, bar T, otherwise string) string {
	if value <= bar {
		return "ok"
	}
	return otherwise
}
