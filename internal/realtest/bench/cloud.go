package main

import (
	"context"
	"time"
)

// cloud is a storage server, and the function that is built for that storage.
type cloud interface {
	store
	// endpoint is the URL of the storage.
	endpoint() string
	// environment tells the floor and the function where the storage is: at a URL that leads to it.
	environment(endpoint string) []string
	// start starts the function as a process of its own, with this environment.
	start(ctx context.Context, env []string) (function, error)
	close()
}

// store makes buckets and what they hold. Its methods may be called concurrently.
type store interface {
	createBucket(ctx context.Context, bucket string) error
	put(ctx context.Context, bucket, key string, content []byte) error
	list(ctx context.Context, bucket, prefix string) (keys []string, err error)
	delete(ctx context.Context, bucket, key string) error
	deleteBucket(ctx context.Context, bucket string) error // an empty one
}

// function is one instance of the function.
type function interface {
	// sync runs every route, and returns what a person who asks for that gets.
	sync(ctx context.Context) (answer []byte, took time.Duration, err error)
	// notify wakes the function as its cloud does, with the event of an upload, which it must acknowledge.
	notify(ctx context.Context, bucket, key string) (took time.Duration, err error)
	Logs() []byte
	StartDuration() time.Duration // from the start of the process until it was ready for work
	PeakRSS() int64               // bytes, of the process
	Stop()
}

// namedCloud is a cloud that is not started yet.
type namedCloud struct {
	name, title string
	scheme      string // of its buckets' URLs
	open        func(root, dir string) (cloud, error)
}

var clouds = []namedCloud{
	{"aws", "AWS: the Lambda binary, over S3 (versitygw)", "s3", openAWS},
	{"gcp", "Google: the Cloud Run function, over Cloud Storage (internal/gcsserver)", "gs", openGCP},
}

func cloudNames() []string {
	var names []string
	for _, c := range clouds {
		names = append(names, c.name)
	}
	return names
}

const invocationTimeout = 15 * time.Minute // as Lambda's longest
