package s3bucket

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

const (
	connections   = 128 // kept open; more than the deployer's window and its uploads
	attempts      = 5
	dialTimeout   = 5 * time.Second
	headerTimeout = 30 * time.Second // from a request to the beginning of its answer
	idleTimeout   = 60 * time.Second // for a connection without a request
	stallTimeout  = 60 * time.Second // for a body of which nothing moves; longer than headerTimeout
)

// NewHTTPClient returns an HTTP client that keeps enough connections for parallel reads, and gives up on a silent server.
func NewHTTPClient() *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().
		WithDialerOptions(func(d *net.Dialer) { d.Timeout = dialTimeout }).
		WithTransportOptions(func(t *http.Transport) {
			t.MaxIdleConns, t.MaxIdleConnsPerHost = connections, connections
			dial := t.DialContext
			t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
				conn, err := dial(ctx, network, address)
				if err != nil {
					return nil, err
				}
				return stallGuard{conn}, nil
			}
			t.TLSHandshakeTimeout, t.ResponseHeaderTimeout, t.IdleConnTimeout = dialTimeout, headerTimeout, idleTimeout
		})
}

// stallGuard breaks a connection on which nothing moves, in either direction, so that its reader can make another.
type stallGuard struct{ net.Conn }

func (c stallGuard) Read(p []byte) (int, error) {
	if err := c.extend(); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c stallGuard) Write(p []byte) (int, error) {
	if err := c.extend(); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// extend moves the deadline of both directions: while an upload goes on, the answer may be waited for.
func (c stallGuard) extend() error { return c.SetDeadline(time.Now().Add(stallTimeout)) }

// NewClient returns an S3 client for cfg. With an endpoint of its own (AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL) buckets are
// addressed by path, since few such servers have a name for each bucket.
func NewClient(cfg aws.Config, pathStyle bool) *s3.Client {
	return s3.NewFromConfig(cfg, func(o *s3.Options) {
		o.UsePathStyle = pathStyle
		o.Retryer = retry.NewStandard(func(r *retry.StandardOptions) {
			r.MaxAttempts = attempts
			r.Retryables = append(r.Retryables, retry.IsErrorRetryableFunc(retryBrokenAnswer))
		})
		o.APIOptions = append(o.APIOptions, countRequests, keepLastFailure, refuseForeignParts)
		o.DisableLogOutputChecksumValidationSkipped = true
	})
}
