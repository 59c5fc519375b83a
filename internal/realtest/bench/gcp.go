package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"cloud.google.com/go/storage"
	"google.golang.org/api/iterator"
	"google.golang.org/api/option"

	"github.com/dagbucket/dagbucket/internal/realtest/buildpack"
	"github.com/dagbucket/dagbucket/internal/realtest/cloudrun"
)

type gcp struct {
	binary string
	server *exec.Cmd
	url    string // of the server
	client *storage.Client
}

// openGCP starts the server as a process of its own, so that its processor time and memory are not the bench's.
func openGCP(root, dir string) (cloud, error) {
	binary, err := build(root, dir, "gcsserve")
	if err != nil {
		return nil, err
	}
	server := exec.Command(binary)
	server.Stderr = os.Stderr
	said, err := server.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := server.Start(); err != nil {
		return nil, err
	}
	g := &gcp{binary: filepath.Join(root, "build", "cloudfunction", "function"), server: server}
	if err := g.connect(said); err != nil {
		g.close()
		return nil, err
	}
	return g, nil
}

// connect reads where the server listens.
func (g *gcp) connect(said io.Reader) error {
	address, err := bufio.NewReader(said).ReadString('\n')
	if err != nil {
		return fmt.Errorf("the server says not where it listens: %w", err)
	}
	g.url = "http://" + strings.TrimSpace(address)
	g.client, err = storage.NewClient(context.Background(), option.WithEndpoint(g.url+"/storage/v1/"), option.WithoutAuthentication(),
		storage.WithDisabledClientMetrics())
	return err
}

func (g *gcp) endpoint() string { return g.url }

func (g *gcp) close() {
	_ = g.server.Process.Kill() // it keeps nothing
	_ = g.server.Wait()
}

func (g *gcp) environment(endpoint string) []string {
	return []string{"STORAGE_EMULATOR_HOST=" + strings.TrimPrefix(endpoint, "http://")}
}

// start ends when the function has answered once; cloudrun itself is content when it listens.
func (g *gcp) start(ctx context.Context, env []string) (function, error) {
	began := time.Now()
	instance, err := cloudrun.Start(ctx, cloudrun.Options{Binary: g.binary, Env: env, Timeout: invocationTimeout, Folder: buildpack.Workspace(g.binary)})
	if err != nil {
		return nil, err
	}
	answer, err := http.Get(instance.URL()) // is refused, since it is no POST
	if err != nil {
		instance.Stop()
		return nil, err
	}
	return cloudFunction{instance, time.Since(began)}, answer.Body.Close()
}

type cloudFunction struct {
	*cloudrun.Instance
	started time.Duration
}

func (f cloudFunction) StartDuration() time.Duration { return f.started }

func (f cloudFunction) sync(ctx context.Context) ([]byte, time.Duration, error) {
	began := time.Now()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.URL(), strings.NewReader(`{}`))
	if err != nil {
		return nil, 0, err
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", answer.Status, body)
	}
	return body, time.Since(began), err
}

func (g *gcp) createBucket(ctx context.Context, bucket string) error {
	return g.client.Bucket(bucket).Create(ctx, "bench", nil)
}

func (g *gcp) put(ctx context.Context, bucket, key string, content []byte) error {
	w := g.client.Bucket(bucket).Object(key).NewWriter(ctx)
	w.ChunkSize = 0
	if _, err := w.Write(content); err != nil {
		return err
	}
	return w.Close()
}

func (g *gcp) list(ctx context.Context, bucket, prefix string) ([]string, error) {
	var keys []string
	objects := g.client.Bucket(bucket).Objects(ctx, &storage.Query{Prefix: prefix})
	for {
		o, err := objects.Next()
		if errors.Is(err, iterator.Done) {
			return keys, nil
		}
		if err != nil {
			return nil, err
		}
		keys = append(keys, o.Name)
	}
}

func (g *gcp) delete(ctx context.Context, bucket, key string) error {
	return g.client.Bucket(bucket).Object(key).Delete(ctx)
}

func (g *gcp) deleteBucket(ctx context.Context, bucket string) error {
	return g.client.Bucket(bucket).Delete(ctx)
}
