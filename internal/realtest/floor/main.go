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
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/dagbucket/dagbucket/internal/bundle"
	"github.com/dagbucket/dagbucket/internal/deployer"
)

func main() {
	source := flag.String("source", "", "URL of the DAG files, such as gs://acme/dags/")
	state := flag.String("state", "", "URL of a place for the result, in the same cloud")
	upload := flag.String("upload", "", "URL that takes the result")
	flag.Parse()
	start := time.Now()
	if err := work(context.Background(), *source, *state, *upload); err != nil {
		fmt.Fprintln(os.Stderr, "floor:", err)
		os.Exit(1)
	}
	fmt.Printf("%.6f\n", time.Since(start).Seconds())
}

// store is a cloud's storage, asked by its own client library in the way that is fastest.
type store interface {
	list(ctx context.Context, bucket, prefix string) (keys []string, err error)
	open(ctx context.Context, bucket, key string) (body io.ReadCloser, size int64, err error)
	put(ctx context.Context, bucket, key string, content []byte) error
}

func work(ctx context.Context, source, state, upload string) error {
	scheme, bucket, prefix := cutURL(source)
	_, stateBucket, statePrefix := cutURL(state)
	s, err := newStore(ctx, scheme)
	if err != nil {
		return err
	}
	keys, err := s.list(ctx, bucket, prefix)
	if err != nil {
		return err
	}
	packed, err := pack(ctx, s, bucket, keys)
	if err != nil {
		return err
	}
	result := statePrefix + "result.gz"
	if err := s.put(ctx, stateBucket, result, packed); err != nil {
		return err
	}
	stored, size, err := s.open(ctx, stateBucket, result)
	if err != nil {
		return err
	}
	defer stored.Close()
	return putToAstro(ctx, upload, stored, size)
}

func cutURL(url string) (scheme, bucket, prefix string) {
	scheme, rest, _ := strings.Cut(url, "://")
	bucket, prefix, _ = strings.Cut(rest, "/")
	return scheme, bucket, prefix
}

func newStore(ctx context.Context, scheme string) (store, error) {
	switch scheme {
	case "s3":
		return newS3(ctx)
	case "gs":
		return newGCS(ctx)
	}
	return nil, fmt.Errorf("no storage has URLs of %q", scheme)
}

// pack reads the objects with dagbucket's concurrency, and compresses them in order with its library and level.
func pack(ctx context.Context, s store, bucket string, keys []string) ([]byte, error) {
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
				content, err := read(ctx, s, bucket, key)
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

func read(ctx context.Context, s store, bucket, key string) ([]byte, error) {
	body, size, err := s.open(ctx, bucket, key)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	content := make([]byte, size)
	_, err = io.ReadFull(body, content)
	return content, err
}

func putToAstro(ctx context.Context, url string, body io.Reader, size int64) error {
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
