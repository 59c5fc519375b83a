package main

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/dagbucket/dagbucket/internal/realtest"
	"github.com/dagbucket/dagbucket/internal/realtest/lambdaruntime"
)

type aws struct {
	binary  string
	gateway *realtest.Gateway
	client  *s3.Client
}

func openAWS(root, dir string) (cloud, error) {
	gateway, err := realtest.StartVersitygw(filepath.Join(dir, "s3"))
	if err != nil {
		return nil, err
	}
	return &aws{filepath.Join(root, "build", "lambda", "bootstrap"), gateway, s3.New(s3.Options{
		Region: "us-east-1", BaseEndpoint: &gateway.Endpoint, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(gateway.AccessKey, gateway.SecretKey, ""),
	})}, nil
}

func (a *aws) endpoint() string { return a.gateway.Endpoint }

func (a *aws) close() { a.gateway.Stop() }

func (a *aws) environment(endpoint string) []string {
	return []string{"AWS_ACCESS_KEY_ID=" + a.gateway.AccessKey, "AWS_SECRET_ACCESS_KEY=" + a.gateway.SecretKey, "AWS_REGION=us-east-1",
		"AWS_ENDPOINT_URL_S3=" + endpoint}
}

func (a *aws) start(ctx context.Context, env []string) (function, error) {
	e, err := lambdaruntime.Start(ctx, lambdaruntime.Options{Binary: a.binary, Env: env, MemoryMB: 512})
	return lambda{e}, err
}

type lambda struct{ *lambdaruntime.Environment }

func (l lambda) StartDuration() time.Duration { return l.InitDuration() }

func (l lambda) sync(ctx context.Context) ([]byte, time.Duration, error) {
	answer, err := l.Invoke(ctx, []byte(`{}`), invocationTimeout)
	if err == nil && answer.FunctionError != "" {
		err = errors.New(answer.FunctionError)
	}
	return answer.Response, answer.Duration, err
}

func (a *aws) createBucket(ctx context.Context, bucket string) error {
	_, err := a.client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &bucket})
	return err
}

func (a *aws) put(ctx context.Context, bucket, key string, content []byte) error {
	_, err := a.client.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(content)})
	return err
}

func (a *aws) list(ctx context.Context, bucket, prefix string) ([]string, error) {
	var keys []string
	pages := s3.NewListObjectsV2Paginator(a.client, &s3.ListObjectsV2Input{Bucket: &bucket, Prefix: &prefix})
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

func (a *aws) delete(ctx context.Context, bucket, key string) error {
	_, err := a.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &bucket, Key: &key})
	return err
}

func (a *aws) deleteBucket(ctx context.Context, bucket string) error {
	_, err := a.client.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: &bucket})
	return err
}
