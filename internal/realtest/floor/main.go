// Command floor does the work of a first sync with nothing around it: list, read every object, gzip, one PUT to the state
// bucket, one read of it, one PUT to Astro's storage. It is what the bench compares dagbucket with. It prints the seconds it took.
//
// It plans nothing, checks nothing, remembers nothing, and holds everything in memory.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/klauspost/compress/gzip"

	"github.com/dagbucket/dagbucket/internal/bundle"
	"github.com/dagbucket/dagbucket/internal/deployer"
)

func main() {
	source := flag.String("source", "", "bucket of the DAG files")
	prefix := flag.String("prefix", "", "prefix of the DAG files")
	state := flag.String("state", "", "bucket of the result")
	upload := flag.String("upload", "", "URL that takes the result")
	flag.Parse()
	start := time.Now()
	if err := work(context.Background(), *source, *prefix, *state, *upload); err != nil {
		fmt.Fprintln(os.Stderr, "floor:", err)
		os.Exit(1)
	}
	fmt.Printf("%.6f\n", time.Since(start).Seconds())
}

func work(ctx context.Context, source, prefix, state, upload string) error {
	client, err := newClient(ctx)
	if err != nil {
		return err
	}
	keys, err := list(ctx, client, source, prefix)
	if err != nil {
		return err
	}
	packed, err := pack(ctx, client, source, keys)
	if err != nil {
		return err
	}
	result := aws.String(prefix + "result.gz")
	_, err = client.PutObject(ctx, &s3.PutObjectInput{Bucket: &state, Key: result, Body: bytes.NewReader(packed)})
	if err != nil {
		return err
	}
	stored, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: &state, Key: result})
	if err != nil {
		return err
	}
	defer stored.Body.Close()
	return put(ctx, upload, stored.Body, int64(len(packed)))
}

// newClient keeps as many connections as there are readers, as dagbucket does.
func newClient(ctx context.Context) (*s3.Client, error) {
	transport := awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.MaxIdleConnsPerHost, t.MaxIdleConns = deployer.DefaultWindow, deployer.DefaultWindow
	})
	cfg, err := config.LoadDefaultConfig(ctx, config.WithHTTPClient(transport))
	return s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true }), err
}

func list(ctx context.Context, client *s3.Client, source, prefix string) ([]string, error) {
	var keys []string
	pages := s3.NewListObjectsV2Paginator(client, &s3.ListObjectsV2Input{Bucket: &source, Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, o := range page.Contents {
			keys = append(keys, *o.Key)
		}
	}
	return keys, nil
}

// pack reads the objects with dagbucket's concurrency, and compresses them in order with its library and level.
func pack(ctx context.Context, client *s3.Client, source string, keys []string) ([]byte, error) {
	type object struct {
		content []byte
		err     error
	}
	ahead := make(chan chan object, deployer.DefaultWindow-1)
	go func() {
		defer close(ahead)
		for _, key := range keys {
			one := make(chan object, 1)
			ahead <- one
			go func() {
				content, err := read(ctx, client, source, key)
				one <- object{content, err}
			}()
		}
	}()
	var packed bytes.Buffer
	gz, err := gzip.NewWriterLevel(&packed, bundle.Level)
	if err != nil {
		return nil, err
	}
	for one := range ahead {
		o := <-one
		if o.err != nil {
			return nil, o.err // ends the process, and with it the reads ahead
		}
		if _, err := gz.Write(o.content); err != nil {
			return nil, err
		}
	}
	return packed.Bytes(), gz.Close()
}

func read(ctx context.Context, client *s3.Client, source, key string) ([]byte, error) {
	answer, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: &source, Key: &key})
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	content := make([]byte, *answer.ContentLength)
	_, err = io.ReadFull(answer.Body, content)
	return content, err
}

func put(ctx context.Context, url string, body io.Reader, size int64) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, url, body)
	if err != nil {
		return err
	}
	req.ContentLength = size
	req.Header.Set("x-ms-blob-type", "BlockBlob")
	answer, err := http.DefaultClient.Do(req)
	if err == nil && answer.StatusCode/100 != 2 {
		err = fmt.Errorf("upload: %s", answer.Status)
	}
	return err
}
