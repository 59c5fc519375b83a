// Command bench measures the real Lambda binary under a Runtime API server, over a real S3 server, beside a floor that does the
// bare work (see the floor command). Both are measured interleaved in one run, since machines are noisy; what counts is the ratio.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/dagbucket/dagbucket/internal/astro/astrotest"
	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/realtest"
	"github.com/dagbucket/dagbucket/internal/realtest/lambdaruntime"
)

// scenario is one source to deploy.
type scenario struct {
	name  string
	files int
	size  int // bytes of each
}

var scenarios = []scenario{{"1,000 × 2 KB", 1000, 2 << 10}, {"10,000 × 2 KB", 10_000, 2 << 10}, {"100 × 10 MB", 100, 10 << 20}}

const invocationTimeout = 15 * time.Minute // as Lambda's longest

func main() {
	rounds := flag.Int("rounds", 5, "how often each is measured")
	starts := flag.Int("starts", 20, "how often the start-up is measured")
	only := flag.String("only", "", "measure only the scenarios whose name contains this")
	flag.Parse()
	if err := run(context.Background(), *rounds, *starts, *only); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, rounds, starts int, only string) error {
	dir, err := os.MkdirTemp("", "dagbucket-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b, err := newBench(dir)
	if err != nil {
		return err
	}
	defer b.close()
	if err := b.startUp(ctx, starts); err != nil {
		return err
	}
	fmt.Printf("\n%-14s %-9s %9s %9s %7s   %-7s %9s %10s   %s\n",
		"source", "network", "floor", "dagbucket", "ratio", "≤ 1.3", "peak RSS", "no change", "requests of a sync without changes")
	for _, s := range scenarios {
		if !strings.Contains(s.name, only) {
			continue
		}
		if err := b.measure(ctx, s, rounds); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

// bench is everything that is started once.
type bench struct {
	root, dir string
	gateway   *realtest.Gateway
	slow      *proxy // in front of the gateway, adds latency
	astro     *astrotest.Server
	s3        *s3.Client
	used      int // Deployments
}

func newBench(dir string) (*bench, error) {
	root, err := realtest.ProjectRoot()
	if err != nil {
		return nil, err
	}
	b := &bench{root: root, dir: dir}
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "floor"), "./floor")
	build.Dir = filepath.Join(root, "internal", "realtest")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building the floor: %w: %s", err, out)
	}
	if b.gateway, err = realtest.StartVersitygw(filepath.Join(dir, "s3")); err != nil {
		return nil, err
	}
	if b.slow, err = startProxy(b.gateway.Endpoint, 20*time.Millisecond); err != nil {
		return nil, err
	}
	b.astro = astrotest.New(astrotest.Options{DiscardArchives: true, Deployments: deployments()})
	if err := b.astro.Start(); err != nil {
		return nil, err
	}
	b.s3 = s3.New(s3.Options{Region: "us-east-1", BaseEndpoint: &b.gateway.Endpoint, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(b.gateway.AccessKey, b.gateway.SecretKey, "")})
	return b, nil
}

func (b *bench) close() {
	b.astro.Close()
	b.slow.stop()
	b.gateway.Stop()
}

// env is the function's environment for one bucket, state and endpoint.
func (b *bench) env(source, state, endpoint string) []string {
	token := astrotest.Token(astrotest.OrganizationID, time.Now().Add(time.Hour))
	return append(b.credentials(endpoint),
		"DAGBUCKET_SOURCE=s3://"+source+"/dags/", "DAGBUCKET_STATE=s3://"+state+"/", "DAGBUCKET_QUIET_PERIOD=0s", "DAGBUCKET_SYNTAX=off",
		"ASTRO_DEPLOYMENT_ID="+b.nextDeployment(), "ASTRO_API_TOKEN="+token, "ASTRO_API_URL="+b.astro.URL())
}

// nextDeployment is one that nothing was deployed to: what is live there would be recognised.
func (b *bench) nextDeployment() string {
	b.used++
	return deploymentID(b.used)
}

func (b *bench) credentials(endpoint string) []string {
	return []string{"AWS_ACCESS_KEY_ID=" + b.gateway.AccessKey, "AWS_SECRET_ACCESS_KEY=" + b.gateway.SecretKey, "AWS_REGION=us-east-1",
		"AWS_ENDPOINT_URL_S3=" + endpoint}
}

func (b *bench) start(ctx context.Context, env []string) (*lambdaruntime.Environment, error) {
	return lambdaruntime.Start(ctx, lambdaruntime.Options{Binary: filepath.Join(b.root, "build", "lambda", "bootstrap"), Env: env, MemoryMB: 512})
}

// startUp measures from the start of the process to its first request for work.
func (b *bench) startUp(ctx context.Context, starts int) error {
	var took []float64
	for range starts {
		e, err := b.start(ctx, b.env("none", "none", b.gateway.Endpoint))
		if err != nil {
			return err
		}
		took = append(took, e.InitDuration().Seconds())
		e.Stop()
	}
	fmt.Printf("start-up to the first request for work: median %.1f ms, worst %.1f ms, of %d\n", median(took)*1000, slices.Max(took)*1000, starts)
	return nil
}

// measure fills a bucket and measures it on the plain loopback and with latency.
func (b *bench) measure(ctx context.Context, s scenario, rounds int) error {
	source := fmt.Sprintf("src-%d-%d", s.files, s.size)
	if err := b.fill(ctx, source, s); err != nil {
		return err
	}
	for _, network := range []struct{ name, endpoint string }{{"loopback", b.gateway.Endpoint}, {"+20 ms", b.slow.url}} {
		var floors, firsts, seconds []float64
		var rss int64
		var requests map[string]int64
		for round := range rounds {
			state := fmt.Sprintf("%s-%s-%d", source, strings.Trim(network.name, "+ ms"), round)
			floor, err := b.floor(ctx, source, state, network.endpoint)
			if err != nil {
				return err
			}
			one, err := b.lambda(ctx, s, source, state, network.endpoint)
			if err != nil {
				return err
			}
			floors, firsts, seconds = append(floors, floor), append(firsts, one.first), append(seconds, one.second)
			rss, requests = max(rss, one.rss), one.requests
			if err := b.removeBucket(ctx, state); err != nil {
				return err
			}
		}
		ratio := median(firsts) / median(floors)
		fmt.Printf("%-14s %-9s %8.2fs %8.2fs %7.2f   %-7s %6.0f MB %9.3fs   %v\n", s.name, network.name, median(floors), median(firsts), ratio,
			verdict(ratio <= 1.3), float64(rss)/1e6, median(seconds), requests)
	}
	return b.removeBucket(ctx, source)
}

func verdict(ok bool) string {
	if ok {
		return "ok"
	}
	return "SLOW"
}

// floor runs the bare work in a process of its own.
func (b *bench) floor(ctx context.Context, source, state, endpoint string) (float64, error) {
	if _, err := b.s3.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &state}); err != nil {
		return 0, err
	}
	upload, err := b.uploadURL(ctx)
	if err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(b.dir, "floor"), "-source", source, "-prefix", "dags/", "-state", state, "-upload", upload)
	cmd.Env = append(os.Environ(), b.credentials(endpoint)...)
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("the floor: %w", err)
	}
	return strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
}

// measured is one cold Lambda process: a first sync, and one without changes.
type measured struct {
	first, second float64 // seconds
	rss           int64   // bytes, at the peak
	requests      map[string]int64
}

func (b *bench) lambda(ctx context.Context, s scenario, source, state, endpoint string) (measured, error) {
	e, err := b.start(ctx, b.env(source, state, endpoint))
	if err != nil {
		return measured{}, err
	}
	defer e.Stop()
	first, took, err := sync(ctx, e, deployer.Deployed)
	if err != nil {
		return measured{}, err
	}
	if first.Files != s.files {
		return measured{}, fmt.Errorf("%d files were deployed, not %d", first.Files, s.files)
	}
	m := measured{first: took}
	again, took, err := sync(ctx, e, deployer.Unchanged)
	if err != nil {
		return measured{}, err
	}
	m.second, m.requests, m.rss = took, again.Requests, e.PeakRSS()
	if want := int64((s.files + 999) / 1000); again.Requests["list"] != want || again.Requests["get"] != 3 {
		return measured{}, fmt.Errorf("a sync without changes made %v requests: want %d lists, the record's read and two of the lease", again.Requests, want)
	}
	return m, nil
}

// sync invokes the function once, by hand.
func sync(ctx context.Context, e *lambdaruntime.Environment, want deployer.Outcome) (deployer.Result, float64, error) {
	answer, err := e.Invoke(ctx, []byte(`{}`), invocationTimeout)
	if err != nil {
		return deployer.Result{}, 0, err
	}
	var body struct{ Results []deployer.Result }
	if err := json.Unmarshal(answer.Response, &body); err != nil || len(body.Results) != 1 || body.Results[0].Outcome != want {
		return deployer.Result{}, 0, fmt.Errorf("want %s, got %s %s", want, answer.Response, answer.FunctionError)
	}
	return body.Results[0], answer.Duration.Seconds(), nil
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}
