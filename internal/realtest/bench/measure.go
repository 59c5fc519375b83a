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
	"time"

	"github.com/dagbucket/dagbucket/internal/astro/astrotest"
	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/realtest"
)

// bench is everything that is started once for a cloud.
type bench struct {
	cloud
	name     string
	scheme   string
	dir      string // temporary
	floor    string // path of the program
	rclone   string // path of the program
	slow     *proxy // in front of the storage, adds latency
	astro    *astrotest.Server
	used     int // Deployments
	written  int // sets of objects, each with new content
	report   *report
	measured map[point]series
}

func newBench(c namedCloud, dir string, r *report) (b *bench, err error) {
	root, err := realtest.ProjectRoot()
	if err != nil {
		return nil, err
	}
	b = &bench{name: c.name, scheme: c.scheme, dir: dir, rclone: filepath.Join(root, "build", "tools", "rclone"), report: r, measured: map[point]series{},
		astro: astrotest.New(astrotest.Options{DiscardArchives: true, Deployments: deployments()})}
	if b.floor, err = build(root, dir, "floor"); err != nil {
		return nil, err
	}
	if b.cloud, err = c.open(root, dir); err != nil {
		return nil, err
	}
	b.slow, err = startProxy(b.endpoint(), latency)
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
	return append(b.commonEnv(endpoint), "DAGBUCKET_SOURCE="+b.url(source), "DAGBUCKET_STATE="+b.scheme+"://"+state+"/",
		"DAGBUCKET_QUIET_PERIOD=0s", "DAGBUCKET_SYNTAX=off", "ASTRO_DEPLOYMENT_ID="+b.nextDeployment())
}

func (b *bench) commonEnv(endpoint string) []string {
	token := astrotest.Token(astrotest.OrganizationID, time.Now().Add(2*time.Hour))
	return append(b.environment(endpoint), "DAGBUCKET_FOLLOW=0s", "ASTRO_API_TOKEN="+token, "ASTRO_API_URL="+b.astro.URL())
}

// fileEnv is the same with a configuration file, which alone can raise the limits.
func (b *bench) fileEnv(source, state, endpoint string) ([]string, error) {
	file := filepath.Join(b.dir, state+".yaml")
	content := fmt.Sprintf(`state: %s://%s/
routes:
  - name: default
    sources: [{url: "%s"}]
    deployment: %s
    quiet_period: 0s
    syntax: "off"
    limits: {max_files: %d}
`, b.scheme, state, b.url(source), b.nextDeployment(), 200_000)
	return append(b.commonEnv(endpoint), "DAGBUCKET_CONFIG="+file), os.WriteFile(file, []byte(content), 0o600)
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
	b.report.add(row{Cloud: b.name, Measured: "start-up until it is ready for work", Rounds: starts, Seconds: median(took), All: took, Checks: []check{
		{Of: "ms", Value: median(took) * 1000, Bar: float64(maxStart.Milliseconds()), Verdict: verdict(median(took), maxStart.Seconds(), "SLOW")}}})
	return nil
}

const latency = 20 * time.Millisecond // of the slow network

// network is how the function reaches the storage.
type network string

const (
	loopback network = "loopback"
	distant  network = "+20 ms"
)

var networks = []network{loopback, distant}

func (b *bench) endpointOf(n network) string {
	if n == distant {
		return b.slow.url
	}
	return b.endpoint()
}

// point is what one series of rounds is about.
type point struct {
	scenario
	network network
}

// series is what the rounds of a point measured, by variant.
type series map[string]*samples

type samples struct {
	seconds  []float64
	rss      int64 // bytes, the largest; 0 if it is not known
	requests map[string]int64
}

func (s series) add(variant string, m measured) {
	if s[variant] == nil {
		s[variant] = &samples{}
	}
	v := s[variant]
	v.seconds, v.rss, v.requests = append(v.seconds, m.seconds), max(v.rss, m.rss), m.requests
}

// measured is one sample.
type measured struct {
	seconds  float64
	rss      int64
	requests map[string]int64
}

// measure fills a bucket and measures the variants on each network.
func (b *bench) measure(ctx context.Context, s scenario, networks []network, rounds int, with variants) error {
	source := fmt.Sprintf("src-%d-%d", s.files, s.size)
	if err := b.fill(ctx, source, s); err != nil {
		return fmt.Errorf("filling %s: %w", source, err)
	}
	for _, n := range networks {
		p := point{s, n}
		all := series{}
		for i := range rounds {
			if err := b.round(ctx, p, source, i, with, all); err != nil {
				return fmt.Errorf("%s, round %d: %w", n, i+1, err)
			}
		}
		b.measured[p] = all
		b.report.addSeries(b.name, p, all)
	}
	return b.removeBucket(ctx, source)
}

// need measures a point, unless it was measured already, and returns it.
func (b *bench) need(ctx context.Context, p point, rounds int) (series, error) {
	if b.measured[p] == nil {
		if err := b.measure(ctx, p.scenario, []network{p.network}, rounds, b.variants(p.scenario, options{})); err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return b.measured[p], nil
}

// sync invokes the function once, by hand.
func sync(ctx context.Context, f function, want deployer.Outcome) (deployer.Result, float64, error) {
	answer, took, err := f.sync(ctx)
	if err != nil {
		return deployer.Result{}, 0, err
	}
	var body struct{ Results []deployer.Result }
	if err := json.Unmarshal(answer, &body); err != nil || len(body.Results) != 1 || body.Results[0].Outcome != want {
		return deployer.Result{}, 0, fmt.Errorf("want %s, got %.2000s", want, answer)
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
