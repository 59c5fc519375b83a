package s3bucket

import (
	"net"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/dagbucket/dagbucket/internal/network"
)

const (
	attempts   = 5
	maxBackoff = 5 * time.Second // the SDK's 20 s would spend half an invocation on one call; the event comes again anyway
)

// NewHTTPClient returns an HTTP client that keeps enough connections for parallel reads, and gives up on a silent server.
func NewHTTPClient() *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().
		WithDialerOptions(func(d *net.Dialer) { d.Timeout = network.DialTimeout }).
		WithTransportOptions(network.Configure)
}

// NewClient returns an S3 client for cfg. With an endpoint of its own (AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL) buckets are
// addressed by path, since few such servers have a name for each bucket.
func NewClient(cfg aws.Config, pathStyle bool) *s3.Client {
	return s3.NewFromConfig(cfg, func(o *s3.Options) {
		o.UsePathStyle = pathStyle
		o.Retryer = retry.NewStandard(func(r *retry.StandardOptions) {
			r.MaxAttempts, r.MaxBackoff = attempts, maxBackoff
			r.Retryables = append(r.Retryables, retry.IsErrorRetryableFunc(retryBrokenAnswer))
		})
		o.APIOptions = append(o.APIOptions, countRequests, keepLastFailure, refuseForeignParts)
		o.DisableLogOutputChecksumValidationSkipped = true
	})
}
