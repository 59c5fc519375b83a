// Command floor does the bare work of a deploy, for the bench to compare dagbucket with. It prints, as JSON, the seconds it took, its peak
// memory and its requests to the storage. Its ways are:
//
//   - first: what a first sync cannot do without. List, read every object, gzip, one PUT to the state bucket, one read of it, one PUT
//     to Astro's storage.
//   - list: list.
//   - change: what one changed object cannot do without. List, read the stored bundle and the object, gunzip and gzip again, one PUT to
//     the state bucket, one PUT to Astro's storage.
//   - template: what the function of Astro's documentation does. List, download one object after the other into a new folder, pack it,
//     one PUT to Astro's storage.
//   - rclone: the same with rclone, which downloads many objects at once, into a folder that may hold an earlier copy.
//
// The first three plan nothing, check nothing, remember nothing, and hold everything in memory.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/klauspost/compress/gzip"
	"golang.org/x/sync/errgroup"

	"github.com/dagbucket/dagbucket/internal/bundle"
	"github.com/dagbucket/dagbucket/internal/deployer"
)

// options are the command's flags.
type options struct {
	way, source, state, upload string
	bundle, object             string // change
	rclone, folder             string // rclone
}

func main() {
	var o options
	flag.StringVar(&o.way, "way", "first", "what to do: first, list, change, template or rclone")
	flag.StringVar(&o.source, "source", "", "URL of the DAG files, such as gs://acme/dags/")
	flag.StringVar(&o.state, "state", "", "URL of a place for the result, in the same cloud; it is removed afterwards")
	flag.StringVar(&o.upload, "upload", "", "URL that takes the result")
	flag.StringVar(&o.bundle, "bundle", "", "key of the stored bundle, in the bucket of -state")
	flag.StringVar(&o.object, "object", "", "key of the changed object, in the bucket of -source")
	flag.StringVar(&o.rclone, "rclone", "", "path of the rclone binary")
	flag.StringVar(&o.folder, "folder", "", "where rclone downloads to")
	flag.Parse()
	if err := run(context.Background(), o); err != nil {
		fmt.Fprintf(os.Stderr, "floor, %s: %v\n", o.way, err)
		os.Exit(1)
	}
}

// place is a bucket with a prefix.
type place struct{ scheme, bucket, prefix string }

func cutURL(url string) place {
	scheme, rest, _ := strings.Cut(url, "://")
	bucket, prefix, _ := strings.Cut(rest, "/")
	return place{scheme, bucket, prefix}
}

// floor is the work of one run.
type floor struct {
	options
	store
	source, state place
	stored        string // key of the result; "" if there is none
}

func run(ctx context.Context, o options) error {
	f := &floor{options: o, source: cutURL(o.source), state: cutURL(o.state)}
	work := map[string]func(context.Context) error{
		"first": f.first, "list": f.onlyList, "change": f.change, "template": f.template, "rclone": f.copyWithRclone,
	}[o.way]
	if work == nil {
		return errors.New("there is no such way")
	}
	start := time.Now()
	var err error
	counted := &countingStore{}
	if counted.store, err = newStore(ctx, f.source.scheme); err != nil {
		return err
	}
	f.store = counted
	if err := work(ctx); err != nil {
		return err
	}
	took, requests := time.Since(start), counted.requests()
	if f.stored != "" { // what is measured after this finds the state as it was
		if err := f.delete(ctx, f.state.bucket, f.stored); err != nil {
			return fmt.Errorf("removing the result: %w", err)
		}
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{"seconds": took.Seconds(), "peakRSS": peakRSS(), "requests": requests})
}

// store is a cloud's storage, asked by its own client library in the way that is fastest.
type store interface {
	list(ctx context.Context, bucket, prefix string) (keys []string, err error)
	open(ctx context.Context, bucket, key string) (body io.ReadCloser, size int64, err error)
	put(ctx context.Context, bucket, key string, content []byte) error
	delete(ctx context.Context, bucket, key string) error
}

// countingStore counts the requests that a store makes.
type countingStore struct {
	store
	lists, gets, puts atomic.Int64
}

func (c *countingStore) requests() map[string]int64 {
	return map[string]int64{"list": c.lists.Load(), "get": c.gets.Load(), "put": c.puts.Load()}
}

func (c *countingStore) list(ctx context.Context, bucket, prefix string) ([]string, error) {
	keys, err := c.store.list(ctx, bucket, prefix)
	c.lists.Add(max(1, int64(len(keys)+999)/1000)) // both clouds' pages hold 1,000
	return keys, err
}

func (c *countingStore) open(ctx context.Context, bucket, key string) (io.ReadCloser, int64, error) {
	c.gets.Add(1)
	return c.store.open(ctx, bucket, key)
}

func (c *countingStore) put(ctx context.Context, bucket, key string, content []byte) error {
	c.puts.Add(1)
	return c.store.put(ctx, bucket, key, content)
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

func (f *floor) first(ctx context.Context) error {
	keys, err := f.list(ctx, f.source.bucket, f.source.prefix)
	if err != nil {
		return err
	}
	packed, err := f.pack(ctx, keys)
	if err != nil {
		return err
	}
	if err := f.keep(ctx, packed); err != nil {
		return err
	}
	stored, size, err := f.open(ctx, f.state.bucket, f.stored)
	if err != nil {
		return err
	}
	defer stored.Close()
	return putToAstro(ctx, f.upload, stored, size)
}

func (f *floor) onlyList(ctx context.Context) error {
	_, err := f.list(ctx, f.source.bucket, f.source.prefix)
	return err
}

func (f *floor) change(ctx context.Context) error {
	if err := f.onlyList(ctx); err != nil {
		return err
	}
	packed, err := f.repack(ctx)
	if err != nil {
		return err
	}
	if err := f.keep(ctx, packed); err != nil {
		return err
	}
	return putToAstro(ctx, f.upload, bytes.NewReader(packed), int64(len(packed)))
}

// repack reads the object while it reads the bundle, and appends it.
func (f *floor) repack(ctx context.Context) ([]byte, error) {
	var object []byte
	var reading errgroup.Group
	reading.Go(func() (err error) {
		object, err = f.read(ctx, f.source.bucket, f.object)
		return err
	})
	old, _, err := f.open(ctx, f.state.bucket, f.bundle)
	if err != nil {
		return nil, err
	}
	defer old.Close()
	content, err := gzip.NewReader(old)
	if err != nil {
		return nil, err
	}
	var packed bytes.Buffer
	gz, err := gzip.NewWriterLevel(&packed, bundle.Level)
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(gz, content); err != nil {
		return nil, err
	}
	if err := reading.Wait(); err != nil {
		return nil, err
	}
	if _, err := gz.Write(object); err != nil {
		return nil, err
	}
	return packed.Bytes(), gz.Close()
}

// keep stores the result.
func (f *floor) keep(ctx context.Context, packed []byte) error {
	f.stored = f.state.prefix + "result.gz"
	return f.put(ctx, f.state.bucket, f.stored, packed)
}

// pack reads the objects with dagbucket's concurrency, and compresses them in order with its library and level.
func (f *floor) pack(ctx context.Context, keys []string) ([]byte, error) {
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
				content, err := f.read(ctx, f.source.bucket, key)
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

func (f *floor) read(ctx context.Context, bucket, key string) ([]byte, error) {
	body, size, err := f.open(ctx, bucket, key)
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

// peakRSS is the most resident memory, in bytes, that this process or one that it ran has had; 0 if that is not known.
func peakRSS() int64 {
	var children syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_CHILDREN, &children) // leaves 0
	status, _ := os.ReadFile("/proc/self/status")             // there is none outside Linux
	var own int64
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			_, _ = fmt.Sscan(value, &own)
		}
	}
	return max(own, children.Maxrss) * 1024
}
