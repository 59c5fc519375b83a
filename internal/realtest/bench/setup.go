package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/dagbucket/dagbucket/internal/astro/astrotest"
)

const maxDeployments = 10_000

func deploymentID(n int) string { return fmt.Sprintf("deployment%05d", n) }

func deployments() []astrotest.Deployment {
	list := make([]astrotest.Deployment, maxDeployments)
	for n := range list {
		list[n].ID = deploymentID(n)
	}
	return list
}

// folder is where in a bucket the DAG files are.
const folder = "dags/"

const parallel = 8 // requests of the bench itself

// fill puts the objects of a scenario into a new bucket.
func (b *bench) fill(ctx context.Context, bucket string, s scenario) error {
	if err := b.createBucket(ctx, bucket); err != nil {
		return err
	}
	return b.write(ctx, bucket, s.files, s.size)
}

// write puts new content into the first count objects of a bucket.
func (b *bench) write(ctx context.Context, bucket string, count, size int) error {
	b.written++
	generation := uint64(b.written) << 32
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for i := range count {
		g.Go(func() error { return b.put(ctx, bucket, objectKey(i), text(generation+uint64(i), size)) })
	}
	return g.Wait()
}

func objectKey(i int) string { return fmt.Sprintf("%steam_%02d/dag_%05d.py", folder, i%20, i) }

// removeBucket removes a bucket with all it holds.
func (b *bench) removeBucket(ctx context.Context, bucket string) error {
	keys, err := b.list(ctx, bucket, "")
	if err != nil {
		return err
	}
	g, deleting := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for _, key := range keys {
		g.Go(func() error { return b.delete(deleting, bucket, key) })
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("emptying the bucket %s: %w", bucket, err)
	}
	return b.deleteBucket(ctx, bucket)
}

// text is made-up Python of a given size that compresses about as well as code, always the same for the same seed.
func text(seed uint64, size int) []byte {
	words := strings.Fields("dag airflow datetime schedule start_date catchup PythonOperator BashOperator retries owner email default_args " +
		"params context xcom_pull xcom_push")
	r := rand.New(rand.NewPCG(seed, 1))
	word := func() string { return words[r.IntN(len(words))] }
	forms := []func() string{
		func() string {
			return fmt.Sprintf("%s = %s(name_%x, %s=[%q])\n", word(), word(), r.Uint32(), word(), word())
		},
		func() string { return fmt.Sprintf("if %s and not %s:\n    %s(%s)\n", word(), word(), word(), word()) },
		func() string {
			return fmt.Sprintf("def name_%x(%s, *args):\n    return %s\n", r.Uint32(), word(), word())
		},
		func() string { return fmt.Sprintf("%s >> %s  # then %s\n", word(), word(), word()) },
	}
	var out bytes.Buffer
	for {
		line := forms[r.IntN(len(forms))]()
		if out.Len()+len(line) > size {
			out.WriteString(strings.Repeat("#", size-out.Len()))
			return out.Bytes()
		}
		out.WriteString(line)
	}
}

// uploadURL creates a deploy at the stand-in and returns where its bundle goes.
func (b *bench) uploadURL(ctx context.Context) (string, error) {
	url := fmt.Sprintf("%s/organizations/%s/deployments/%s/deploys", b.astro.URL(), astrotest.OrganizationID, b.nextDeployment())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(`{"type":"DAG_ONLY","description":"floor"}`))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+astrotest.Token(astrotest.OrganizationID, time.Now().Add(time.Hour)))
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	var deploy struct {
		UploadURL string `json:"dagsUploadUrl"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&deploy); err != nil || deploy.UploadURL == "" {
		return "", fmt.Errorf("creating a deploy: %s", answer.Status)
	}
	return deploy.UploadURL, nil
}

// proxy stands before the storage and makes it as far away as real ones are.
type proxy struct {
	url   string
	inner *toxiproxy.Proxy
}

// startProxy delays each answer of the server behind upstream, a URL, by latency.
func startProxy(upstream string, latency time.Duration) (*proxy, error) {
	quiet := zerolog.Nop()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), quiet)
	inner := toxiproxy.NewProxy(server, "storage", "127.0.0.1:0", strings.TrimPrefix(upstream, "http://"))
	if err := inner.Start(); err != nil {
		return nil, err
	}
	toxic := fmt.Sprintf(`{"type":"latency","stream":"downstream","attributes":{"latency":%d}}`, latency.Milliseconds())
	if _, err := inner.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
		return nil, err
	}
	return &proxy{"http://" + inner.Listen, inner}, nil
}

func (p *proxy) stop() { p.inner.Stop() }
