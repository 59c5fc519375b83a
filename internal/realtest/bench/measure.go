package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dagbucket/dagbucket/internal/astro/astrotest"
	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/realtest"
)

// bench is everything that is started once for a cloud.
type bench struct {
	cloud
	scheme string
	floor  string // path of the program
	slow   *proxy // in front of the storage, adds latency
	astro  *astrotest.Server
	used   int // Deployments
}

func newBench(c namedCloud, dir string) (b *bench, err error) {
	root, err := realtest.ProjectRoot()
	if err != nil {
		return nil, err
	}
	b = &bench{scheme: c.scheme, astro: astrotest.New(astrotest.Options{DiscardArchives: true, Deployments: deployments()})}
	if b.floor, err = build(root, dir, "floor"); err != nil {
		return nil, err
	}
	if b.cloud, err = c.open(root, dir); err != nil {
		return nil, err
	}
	b.slow, err = startProxy(b.endpoint(), 20*time.Millisecond)
	if err = errors.Join(err, b.astro.Start()); err != nil {
		b.cloud.close()
		return nil, err
	}
	return b, nil
}

// build builds one of the commands of this module.
func build(root, dir, command string) (binary string, err error) {
	binary = filepath.Join(dir, command)
	cmd := exec.Command("go", "build", "-o", binary, "./"+command)
	cmd.Dir = filepath.Join(root, "internal", "realtest")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %s: %w: %s", command, err, out)
	}
	return binary, nil
}

func (b *bench) close() {
	b.astro.Close()
	b.slow.stop()
	b.cloud.close()
}

// env is the function's environment for one bucket, state and endpoint.
func (b *bench) env(source, state, endpoint string) []string {
	token := astrotest.Token(astrotest.OrganizationID, time.Now().Add(time.Hour))
	return append(b.environment(endpoint), "DAGBUCKET_SOURCE="+b.url(source), "DAGBUCKET_STATE="+b.scheme+"://"+state+"/",
		"DAGBUCKET_QUIET_PERIOD=0s", "DAGBUCKET_SYNTAX=off", "DAGBUCKET_FOLLOW=0s",
		"ASTRO_DEPLOYMENT_ID="+b.nextDeployment(), "ASTRO_API_TOKEN="+token, "ASTRO_API_URL="+b.astro.URL())
}

// url is where the DAG files of a bucket are.
func (b *bench) url(bucket string) string { return b.scheme + "://" + bucket + "/" + folder }

// nextDeployment is one that nothing was deployed to: what is live there would be recognised.
func (b *bench) nextDeployment() string {
	b.used++
	return deploymentID(b.used)
}

// startUp measures from the start of the process until it is ready for work.
func (b *bench) startUp(ctx context.Context, starts int) error {
	var took []float64
	for range starts {
		f, err := b.start(ctx, b.env("none", "none", b.endpoint()))
		if err != nil {
			return err
		}
		took = append(took, f.StartDuration().Seconds())
		f.Stop()
	}
	fmt.Printf("start-up until it is ready for work: median %.1f ms, worst %.1f ms, of %d; median ≤ %d ms: %s\n", median(took)*1000,
		slices.Max(took)*1000, starts, maxStart.Milliseconds(), verdict(median(took), maxStart.Seconds(), "SLOW"))
	return nil
}

// measure fills a bucket and measures it on the plain loopback and with latency.
func (b *bench) measure(ctx context.Context, s scenario, rounds int) error {
	source := fmt.Sprintf("src-%d-%d", s.files, s.size)
	if err := b.fill(ctx, source, s); err != nil {
		return err
	}
	for _, network := range []struct{ name, endpoint string }{{"loopback", b.endpoint()}, {"+20 ms", b.slow.url}} {
		var all series
		for round := range rounds {
			state := fmt.Sprintf("%s-%s-%d", source, strings.Trim(network.name, "+ ms"), round)
			if err := b.round(ctx, s, source, state, network.endpoint, &all); err != nil {
				return err
			}
		}
		first, floor := median(all.firsts), median(all.floors)
		fmt.Printf("%-14s %-9s %8.2fs %8.2fs %7.2f   %-7s %6.0f MB   %-8s %9.3fs   %v\n", s.name, network.name, floor, first, first/floor,
			verdict(first/floor, maxRatio, "SLOW"), float64(all.rss)/1e6, verdict(float64(all.rss), maxRSS, "LARGE"), median(all.seconds),
			all.requests)
	}
	return b.removeBucket(ctx, source)
}

// series is what the rounds of one line of the table measured.
type series struct {
	floors, firsts, seconds []float64 // seconds: of the floor, a first sync and one without changes
	rss                     int64     // bytes, the largest
	requests                map[string]int64
}

// round measures the floor and the function once.
func (b *bench) round(ctx context.Context, s scenario, source, state, endpoint string, all *series) error {
	if err := b.createBucket(ctx, state); err != nil {
		return err
	}
	floor, err := b.runFloor(ctx, source, state, endpoint)
	if err != nil {
		return err
	}
	f, err := b.start(ctx, b.env(source, state, endpoint))
	if err != nil {
		return err
	}
	defer f.Stop()
	first, firstTook, err := sync(ctx, f, deployer.Deployed)
	if err != nil {
		return err
	}
	if first.Files != s.files {
		return fmt.Errorf("%d files were deployed, not %d", first.Files, s.files)
	}
	if _, _, err := sync(ctx, f, deployer.Unchanged); err != nil { // it sees the deploy live, and writes that on the pages
		return err
	}
	again, againTook, err := sync(ctx, f, deployer.Unchanged)
	if err != nil {
		return err
	}
	if want := int64((s.files + 999) / 1000); again.Requests["list"] != want || again.Requests["get"] != 2 {
		return fmt.Errorf("a sync without changes made %v requests: want %d lists, a read of the record and one of the lease", again.Requests, want)
	}
	all.floors, all.firsts, all.seconds = append(all.floors, floor), append(all.firsts, firstTook), append(all.seconds, againTook)
	all.rss, all.requests = max(all.rss, f.PeakRSS()), again.Requests
	return b.removeBucket(ctx, state)
}

// runFloor runs the bare work in a process of its own.
func (b *bench) runFloor(ctx context.Context, source, state, endpoint string) (seconds float64, err error) {
	upload, err := b.uploadURL(ctx)
	if err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, b.floor, "-source", b.url(source), "-state", b.url(state), "-upload", upload)
	cmd.Env = append(os.Environ(), b.environment(endpoint)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("the floor: %w", err)
	}
	return strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
}

// sync invokes the function once, by hand.
func sync(ctx context.Context, f function, want deployer.Outcome) (deployer.Result, float64, error) {
	answer, took, err := f.sync(ctx)
	if err != nil {
		return deployer.Result{}, 0, err
	}
	var body struct{ Results []deployer.Result }
	if err := json.Unmarshal(answer, &body); err != nil || len(body.Results) != 1 || body.Results[0].Outcome != want {
		return deployer.Result{}, 0, fmt.Errorf("want %s, got %s", want, answer)
	}
	return body.Results[0], took.Seconds(), nil
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}
