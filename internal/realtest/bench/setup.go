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
	"github.com/aws/aws-sdk-go-v2/service/s3"
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

// fill puts the objects of a scenario into a new bucket. Their content is text that compresses about as well as code.
func (b *bench) fill(ctx context.Context, name string, s scenario) error {
	if _, err := b.s3.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &name}); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for i := range s.files {
		g.Go(func() error {
			key := fmt.Sprintf("dags/team_%02d/dag_%05d.py", i%20, i)
			_, err := b.s3.PutObject(ctx, &s3.PutObjectInput{Bucket: &name, Key: &key, Body: bytes.NewReader(text(uint64(i), s.size))})
			return err
		})
	}
	return g.Wait()
}

// text is made-up code of a given size, always the same for the same seed.
func text(seed uint64, size int) []byte {
	words := strings.Fields("import from def return for in if else not and or with as task dag airflow datetime schedule start_date catchup " +
		"PythonOperator BashOperator retries owner email default_args params context xcom_pull xcom_push = == ( ) [ ] { } : , . \n \n \n")
	r := rand.New(rand.NewPCG(seed, 1))
	var out bytes.Buffer
	for out.Len() < size {
		if r.IntN(4) == 0 {
			fmt.Fprintf(&out, "name_%x ", r.Uint32())
		} else {
			out.WriteString(words[r.IntN(len(words))] + " ")
		}
	}
	return out.Bytes()[:size]
}

// removeBucket removes a bucket and what it holds.
func (b *bench) removeBucket(ctx context.Context, name string) error {
	pages := s3.NewListObjectsV2Paginator(b.s3, &s3.ListObjectsV2Input{Bucket: &name})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, o := range page.Contents {
			if _, err := b.s3.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &name, Key: o.Key}); err != nil {
				return err
			}
		}
	}
	_, err := b.s3.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: &name})
	return err
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

// proxy stands before the S3 server and makes it as far away as real ones are.
type proxy struct {
	url   string
	inner *toxiproxy.Proxy
}

// startProxy delays each answer of the server behind upstream, a URL, by latency.
func startProxy(upstream string, latency time.Duration) (*proxy, error) {
	quiet := zerolog.Nop()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), quiet)
	inner := toxiproxy.NewProxy(server, "s3", "127.0.0.1:0", strings.TrimPrefix(upstream, "http://"))
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
