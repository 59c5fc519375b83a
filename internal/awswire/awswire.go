// Package awswire makes the AWS clients of an entry point: S3 buckets, local directories, secrets, and topics of SNS.
package awswire

import (
	"context"
	"fmt"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/bucket/dirbucket"
	"github.com/dagbucket/dagbucket/internal/bucket/s3bucket"
	"github.com/dagbucket/dagbucket/internal/notify"
	"github.com/dagbucket/dagbucket/internal/notify/snsnotify"
	"github.com/dagbucket/dagbucket/internal/secret"
	"github.com/dagbucket/dagbucket/internal/secret/awssecret"
	"github.com/dagbucket/dagbucket/internal/state"
)

// Clients are made when they are first wanted, and then kept. They may be used concurrently.
type Clients struct {
	env func(string) string

	mu      sync.Mutex
	config  *aws.Config
	s3      *s3.Client
	sns     notify.Topics
	secrets secret.Resolver
}

// New returns the clients of an environment. The AWS SDK reads its own settings from the process's environment.
func New(env func(string) string) *Clients { return &Clients{env: env} }

func (c *Clients) awsConfig(ctx context.Context) (aws.Config, error) {
	if c.config == nil {
		cfg, err := config.LoadDefaultConfig(ctx, config.WithHTTPClient(s3bucket.NewHTTPClient()))
		if err != nil {
			return aws.Config{}, fmt.Errorf("reading the AWS settings: %w", err)
		}
		cfg.HTTPClient = newTurns(cfg.HTTPClient)
		c.config = &cfg
	}
	return *c.config, nil
}

func (c *Clients) s3Client(ctx context.Context) (*s3.Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.s3 == nil {
		cfg, err := c.awsConfig(ctx)
		if err != nil {
			return nil, err
		}
		c.s3 = s3bucket.NewClient(cfg, c.env("AWS_ENDPOINT_URL_S3") != "" || c.env("AWS_ENDPOINT_URL") != "")
	}
	return c.s3, nil
}

// Buckets opens s3:// and file:// URLs.
func (c *Clients) Buckets() bucket.Openers {
	return bucket.Openers{
		"s3": func(ctx context.Context, u bucket.URL) (bucket.Bucket, error) {
			client, err := c.s3Client(ctx)
			if err != nil {
				return nil, err
			}
			return s3bucket.New(client, u.Bucket), nil
		},
		"file": func(_ context.Context, u bucket.URL) (bucket.Bucket, error) { return dirbucket.New(u.Bucket) },
	}
}

// Secrets resolves references to the environment, to files, to Secrets Manager and to Systems Manager.
func (c *Clients) Secrets() secret.Resolver {
	local := secret.Local(c.env)
	lazy := secret.Resolver{}
	for _, scheme := range []string{"aws-sm", "aws-ssm"} {
		lazy[scheme] = func(ctx context.Context, ref string) (string, error) {
			sources, err := c.secretSources(ctx)
			if err != nil {
				return "", err
			}
			return sources[scheme](ctx, ref)
		}
	}
	return local.With(lazy)
}

func (c *Clients) secretSources(ctx context.Context) (secret.Resolver, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.secrets == nil {
		cfg, err := c.awsConfig(ctx)
		if err != nil {
			return nil, err
		}
		c.secrets = awssecret.Sources(cfg)
	}
	return c.secrets, nil
}

// Topics publishes notices to topics of SNS.
func (c *Clients) Topics() notify.Clouds {
	return notify.Clouds{"sns": func(topic string) notify.Send {
		return func(ctx context.Context, n *state.Notice) error {
			topics, err := c.snsTopics(ctx)
			if err != nil {
				return err
			}
			return topics(topic)(ctx, n)
		}
	}}
}

func (c *Clients) snsTopics(ctx context.Context) (notify.Topics, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sns == nil {
		cfg, err := c.awsConfig(ctx)
		if err != nil {
			return nil, err
		}
		c.sns = snsnotify.New(cfg)
	}
	return c.sns, nil
}

// Anonymous opens buckets of an S3 server that asks for no credentials, at a URL such as http://127.0.0.1:9000.
func Anonymous(_ context.Context, endpoint string) (bucket.Openers, error) {
	client := s3bucket.NewClient(aws.Config{
		Region: "us-east-1", BaseEndpoint: &endpoint, HTTPClient: s3bucket.NewHTTPClient(),
		Credentials: credentials.NewStaticCredentialsProvider("anyone", "anything", ""),
	}, true)
	return bucket.Openers{"s3": func(_ context.Context, u bucket.URL) (bucket.Bucket, error) {
		return s3bucket.New(client, u.Bucket), nil
	}}, nil
}
