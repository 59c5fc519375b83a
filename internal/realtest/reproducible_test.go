package realtest_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/bucket/membucket"
	"github.com/dagbucket/dagbucket/internal/bucket/s3bucket"
	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/realtest"
	"github.com/dagbucket/dagbucket/internal/service"
	"github.com/dagbucket/dagbucket/internal/state"
)

// receiver is an Astro that only looks at what is uploaded.
type receiver struct{ sum, desired string }

func (r *receiver) Deployment(context.Context) (deployer.Deployment, error) {
	return deployer.Deployment{DesiredVersion: r.desired}, nil
}
func (r *receiver) Deploys(context.Context, int) ([]deployer.Deploy, error) { return nil, nil }
func (r *receiver) Create(context.Context, string) (deployer.Deploy, error) {
	return deployer.Deploy{ID: "1"}, nil
}
func (r *receiver) Upload(ctx context.Context, _ deployer.Deploy, open func(context.Context) (io.ReadCloser, error), size int64) (string, error) {
	body, err := open(ctx)
	if err != nil {
		return "", err
	}
	defer body.Close()
	h := sha256.New()
	n, err := io.Copy(h, body)
	if err == nil && n != size {
		err = fmt.Errorf("%d bytes of %d", n, size)
	}
	r.sum = hex.EncodeToString(h.Sum(nil))
	return "v1", err
}
func (r *receiver) Finalize(_ context.Context, _, version string) error {
	r.desired = version
	return nil
}

// TestSameObjectsSameBytes deploys the same bucket with other page sizes and other concurrency, from a real server.
func TestSameObjectsSameBytes(t *testing.T) {
	gateway, err := realtest.StartVersitygw(t.TempDir())
	require.NoError(t, err)
	defer gateway.Stop()
	sdk := client(gateway.Endpoint, gateway.AccessKey, gateway.SecretKey)
	name := "same"
	_, err = sdk.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &name})
	require.NoError(t, err)
	source := s3bucket.New(sdk, name)
	var g errgroup.Group
	g.SetLimit(16)
	for i := range 1500 {
		g.Go(func() error {
			content := strings.Repeat(fmt.Sprintf("task_%d = %d\n", i, i*i), i%90)
			if i%500 == 7 {
				content = strings.Repeat(content, 1000) // larger than what is held of one object
			}
			_, err := source.Put(t.Context(), fmt.Sprintf("dags/%d/dag_%04d.py", i%13, i), strings.NewReader(content), bucket.Always)
			return err
		})
	}
	require.NoError(t, g.Wait())

	sums := map[string]string{}
	for _, c := range []struct {
		page   int32
		window int
	}{{1000, 64}, {1000, 1}, {7, 64}, {333, 5}} {
		astro := new(receiver)
		route := &deployer.Route{Name: "r", Deployment: "d", BaseDir: "dags", Astro: astro, Store: state.NewStore(membucket.New("state"), "", "r"),
			Sources: []deployer.Source{{URL: "s3://same/dags/", Bucket: source.WithPageSize(c.page), Prefix: "dags/"}},
			Window:  c.window, KeepBundles: 1, Clock: deployer.SystemClock{}, NewRun: service.NewRun, Log: slog.New(slog.DiscardHandler)}
		r := route.Sync(t.Context(), nil)
		require.Equal(t, deployer.Deployed, r.Outcome, r.Reason)
		require.Equal(t, 1500, r.Files)
		require.Equal(t, int64((1500+c.page-1)/c.page), r.Requests["list"])
		sums[astro.sum] = fmt.Sprintf("pages of %d, window %d", c.page, c.window)
	}
	require.Len(t, sums, 1, "%v", sums)
}
