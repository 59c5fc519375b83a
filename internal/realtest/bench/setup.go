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

// fill puts the objects of a scenario into a new bucket. Their content is text that compresses about as well as code.
func (b *bench) fill(ctx context.Context, bucket string, s scenario) error {
	if err := b.createBucket(ctx, bucket); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for i := range s.files {
		g.Go(func() error {
			return b.put(ctx, bucket, fmt.Sprintf("%steam_%02d/dag_%05d.py", folder, i%20, i), text(uint64(i), s.size))
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
