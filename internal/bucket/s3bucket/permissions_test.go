package s3bucket_test

import (
	"context"
	"maps"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	smithymiddleware "github.com/aws/smithy-go/middleware"
	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/bucket/buckettest"
	"github.com/dagbucket/dagbucket/internal/bucket/s3bucket"
	"github.com/dagbucket/dagbucket/internal/s3server"
)

// operations are those that a client called.
type operations struct {
	mu    sync.Mutex
	names map[string]bool
}

func (o *operations) record(stack *smithymiddleware.Stack) error {
	return stack.Initialize.Add(smithymiddleware.InitializeMiddlewareFunc("Record",
		func(ctx context.Context, in smithymiddleware.InitializeInput, next smithymiddleware.InitializeHandler) (
			smithymiddleware.InitializeOutput, smithymiddleware.Metadata, error,
		) {
			o.mu.Lock()
			o.names[middleware.GetOperationName(ctx)] = true
			o.mu.Unlock()
			return next.HandleInitialize(ctx, in)
		}), smithymiddleware.After)
}

func (o *operations) client(t *testing.T, server *s3server.Server) *s3.Client {
	listener := httptest.NewServer(server)
	t.Cleanup(listener.Close)
	return s3bucket.NewClient(aws.Config{
		Region: "us-east-1", BaseEndpoint: &listener.URL, HTTPClient: s3bucket.NewHTTPClient(),
		Credentials: credentials.NewStaticCredentialsProvider("key", secretKey, ""),
		APIOptions:  []func(*smithymiddleware.Stack) error{o.record},
	}, true)
}

// TestPermissionsAreThoseNeeded: all that the contract can ask for, with an upload that must be aborted, calls what the lists have, and nothing else.
func TestPermissionsAreThoseNeeded(t *testing.T) {
	called := operations{names: map[string]bool{}}
	buckettest.Run(t, buckettest.Harness{
		New:      func(t *testing.T) bucket.Bucket { return s3bucket.New(called.client(t, s3server.New("acme")), "acme") },
		PageSize: 1000,
		Pair: func(t *testing.T) (from, to bucket.Bucket) {
			client := called.client(t, s3server.New("acme", "beside"))
			return s3bucket.New(client, "acme"), s3bucket.New(client, "beside")
		},
	})
	client := called.client(t, s3server.New("acme"))
	name, key := "acme", "unfinished"
	_, err := client.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: &name, Key: &key})
	require.NoError(t, err)
	require.NoError(t, s3bucket.New(client, name).CleanUp(t.Context(), "", -time.Hour))

	listed := maps.Clone(s3bucket.Reading)
	maps.Copy(listed, s3bucket.Writing)
	require.Equal(t, slices.Sorted(maps.Keys(listed)), slices.Sorted(maps.Keys(called.names)))
}
