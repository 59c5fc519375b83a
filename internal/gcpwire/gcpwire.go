// Package gcpwire makes the Google clients of an entry point: Cloud Storage buckets, local directories, secrets, and topics of Pub/Sub.
package gcpwire

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"cloud.google.com/go/compute/metadata"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/bucket/dirbucket"
	"github.com/dagbucket/dagbucket/internal/bucket/gcsbucket"
	"github.com/dagbucket/dagbucket/internal/notify"
	"github.com/dagbucket/dagbucket/internal/notify/pubsubnotify"
	"github.com/dagbucket/dagbucket/internal/secret"
	"github.com/dagbucket/dagbucket/internal/secret/gcpsecret"
)

// Clients are made when they are first wanted, and then kept. They may be used concurrently.
type Clients struct {
	env func(string) string

	mu      sync.Mutex
	storage *gcsbucket.Client
}

// New returns the clients of an environment. Google's libraries read their own settings from the process's environment.
func New(env func(string) string) *Clients { return &Clients{env: env} }

func (c *Clients) client(ctx context.Context) (*gcsbucket.Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.storage == nil {
		// The library finds the emulator by itself; it only must not look for credentials.
		client, err := gcsbucket.NewClient(ctx, gcsbucket.Options{Anonymous: c.env("STORAGE_EMULATOR_HOST") != "", Payer: c.payer})
		if err != nil {
			return nil, err
		}
		c.storage = client
	}
	return c.storage, nil
}

// Buckets opens gs:// and file:// URLs.
func (c *Clients) Buckets() bucket.Openers {
	return bucket.Openers{
		"gs": func(ctx context.Context, u bucket.URL) (bucket.Bucket, error) {
			client, err := c.client(ctx)
			if err != nil {
				return nil, err
			}
			return gcsbucket.New(client, u.Bucket), nil
		},
		"file": func(_ context.Context, u bucket.URL) (bucket.Bucket, error) { return dirbucket.New(u.Bucket) },
	}
}

// Secrets resolves references to the environment, to files and to Secret Manager.
func (c *Clients) Secrets() secret.Resolver {
	return secret.Local(c.env).With(gcpsecret.Sources())
}

// Topics publishes notices to topics of Pub/Sub, or of the emulator that PUBSUB_EMULATOR_HOST names.
func (c *Clients) Topics() notify.Clouds {
	return notify.Clouds{"pubsub": pubsubnotify.New(pubsubnotify.Options{Emulator: c.env("PUBSUB_EMULATOR_HOST")})}
}

// payer is the project that pays for requests to requester-pays buckets: the one that is set, or the function's own.
func (c *Clients) payer(ctx context.Context) (string, error) {
	for _, name := range []string{"GOOGLE_CLOUD_QUOTA_PROJECT", "GOOGLE_CLOUD_PROJECT", "GCLOUD_PROJECT", "GCP_PROJECT"} {
		if project := c.env(name); project != "" {
			return project, nil
		}
	}
	if !metadata.OnGCEWithContext(ctx) {
		return "", errors.New("no project is known")
	}
	project, err := metadata.ProjectIDWithContext(ctx)
	if err != nil {
		return "", fmt.Errorf("no project is known: %w", err)
	}
	return project, nil
}

// Anonymous opens a bucket of a Cloud Storage server that asks for no credentials, at a URL such as http://127.0.0.1:4443.
func Anonymous(ctx context.Context, endpoint string) (bucket.Openers, error) {
	client, err := gcsbucket.NewClient(ctx, gcsbucket.Options{Endpoint: endpoint})
	if err != nil {
		return nil, err
	}
	return bucket.Openers{"gs": func(_ context.Context, u bucket.URL) (bucket.Bucket, error) {
		return gcsbucket.New(client, u.Bucket), nil
	}}, nil
}
