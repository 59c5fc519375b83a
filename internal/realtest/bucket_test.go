package realtest_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/bucket/buckettest"
	"github.com/dagbucket/dagbucket/internal/bucket/s3bucket"
	"github.com/dagbucket/dagbucket/internal/realtest"
)

func client(endpoint, accessKey, secretKey string) *s3.Client {
	return s3bucket.NewClient(aws.Config{
		Region: "us-east-1", BaseEndpoint: &endpoint, HTTPClient: s3bucket.NewHTTPClient(),
		Credentials:                credentials.NewStaticCredentialsProvider(accessKey, secretKey, ""),
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenSupported, // as the SDK's own configuration has them
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenSupported,
	}, true)
}

// TestBucketContract runs the storage contract over the AWS SDK against a real server, with a real broken network.
func TestBucketContract(t *testing.T) {
	gateway, err := realtest.StartVersitygw(t.TempDir())
	require.NoError(t, err)
	t.Cleanup(gateway.Stop)
	direct := client(gateway.Endpoint, gateway.AccessKey, gateway.SecretKey)
	var count atomic.Int64
	create := func(t *testing.T) string {
		name := fmt.Sprintf("contract-%d", count.Add(1))
		_, err := direct.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &name})
		require.NoError(t, err)
		return name
	}
	buckettest.Run(t, buckettest.Harness{
		New:      func(t *testing.T) bucket.Bucket { return s3bucket.New(direct, create(t)) },
		PageSize: 1000,
		Lacks:    lacks,
		// If-Match on DELETE is checked only where there is an object.
		DeletesNothing: true,
		// It renews the Date of its answers once a second, or a little later.
		ClockLag: 2 * time.Second,
		Denied: func(t *testing.T) bucket.Bucket {
			return s3bucket.New(client(gateway.Endpoint, gateway.AccessKey, "wrong"), create(t))
		},
		Missing: func(*testing.T) bucket.Bucket { return s3bucket.New(direct, "no-such-bucket") },
		Pair: func(t *testing.T) (from, to bucket.Bucket) {
			return s3bucket.New(direct, create(t)), s3bucket.New(direct, create(t))
		},
		IgnoresCopyConditions: true, // S3 itself heeds them
		Cutting: func(t *testing.T) (bucket.Bucket, func()) {
			name, proxy := create(t), startProxy(t, gateway.Endpoint)
			through := client("http://"+proxy.Listen, gateway.AccessKey, gateway.SecretKey)
			return s3bucket.New(through, name), func() {
				toxic := fmt.Sprintf(`{"type":"limit_data","stream":"downstream","attributes":{"bytes":%d}}`, buckettest.CutAfter)
				_, err := proxy.Toxics.AddToxicJson(strings.NewReader(toxic))
				require.NoError(t, err)
			}
		},
	})
}

// TestBucketCleanUp: an unfinished upload that began long ago goes; a younger one and those elsewhere stay.
func TestBucketCleanUp(t *testing.T) {
	dir, name := t.TempDir(), "cleanup"
	gateway, err := realtest.StartVersitygw(dir)
	require.NoError(t, err)
	t.Cleanup(gateway.Stop)
	direct := client(gateway.Endpoint, gateway.AccessKey, gateway.SecretKey)
	_, err = direct.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &name})
	require.NoError(t, err)
	b := s3bucket.New(direct, name)
	require.NoError(t, b.CleanUp(t.Context(), "prod/", 0), "of nothing")

	for key, age := range map[string]time.Duration{"prod/bundles/old": 2 * time.Hour, "prod/bundles/young": 0, "other/old": 2 * time.Hour} {
		begun, err := direct.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: &name, Key: &key})
		require.NoError(t, err)
		_, err = direct.UploadPart(t.Context(), &s3.UploadPartInput{Bucket: &name, Key: &key, UploadId: begun.UploadId, PartNumber: aws.Int32(1), Body: strings.NewReader("x")})
		require.NoError(t, err)
		ageUpload(t, dir, *begun.UploadId, age)
	}
	unfinished := func() (keys []string) {
		uploads, err := direct.ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: &name})
		require.NoError(t, err)
		for _, u := range uploads.Uploads {
			keys = append(keys, *u.Key)
		}
		return keys
	}
	require.Equal(t, []string{"other/old", "prod/bundles/old", "prod/bundles/young"}, unfinished())
	require.NoError(t, b.CleanUp(t.Context(), "prod/", time.Hour))
	require.Equal(t, []string{"other/old", "prod/bundles/young"}, unfinished())
}

// ageUpload makes an unfinished upload older: the server takes its age from the directory that it keeps it in.
func ageUpload(t *testing.T, dir, uploadID string, age time.Duration) {
	t.Helper()
	found := 0
	began := time.Now().Add(-age)
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Name() != uploadID {
			return err
		}
		found++
		return os.Chtimes(path, began, began)
	}))
	require.Equal(t, 1, found)
}

func TestWrongAccessKey(t *testing.T) {
	gateway, err := realtest.StartVersitygw(t.TempDir())
	require.NoError(t, err)
	t.Cleanup(gateway.Stop)
	b := s3bucket.New(client(gateway.Endpoint, "nobody", "wrong-secret"), "any")
	_, err = b.List(t.Context(), "")
	require.ErrorIs(t, err, bucket.ErrDenied)
	require.NotContains(t, err.Error(), "wrong-secret")
	_, err = b.Open(t.Context(), "dags/a.py", "version", 0)
	require.ErrorIs(t, err, bucket.ErrDenied)
	require.NotErrorIs(t, err, bucket.ErrChanged)
}

// startProxy puts a proxy that can break connections in front of an endpoint.
func startProxy(t *testing.T, endpoint string) *toxiproxy.Proxy {
	t.Helper()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	proxy := toxiproxy.NewProxy(server, "s3", "127.0.0.1:0", strings.TrimPrefix(endpoint, "http://"))
	require.NoError(t, proxy.Start())
	t.Cleanup(proxy.Stop)
	return proxy
}

// lacks names what a server whose objects are files cannot hold; S3 itself holds all of it.
func lacks(key string) bool {
	for segment := range strings.SplitSeq(key, "/") {
		if segment == "" || segment == "." || segment == ".." || len(segment) > 255 {
			return true
		}
	}
	// dags/file/below.py cannot be beside dags/file, and this server ignores encoding-type, without which XML holds only Unicode.
	return key == "dags/file/below.py" || !utf8.ValidString(key)
}
