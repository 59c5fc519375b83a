package s3bucket_test

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// httpClient is a function as the SDK's HTTP client.
type httpClient func(*http.Request) (*http.Response, error)

func (f httpClient) Do(r *http.Request) (*http.Response, error) { return f(r) }

// FuzzListing: whatever a storage answers, a listing is in strict order, or an error in one line; and it ends.
func FuzzListing(f *testing.F) {
	for _, document := range []string{
		listHead + entry("dags/a", "") + entry("dags/b", "<StorageClass>GLACIER</StorageClass>") + "</ListBucketResult>",
		listHead + "<EncodingType>url</EncodingType>" + entry("dags/a%20b", "") + entry("dags/a+c%FF", "") + entry("%zz", "") + "</ListBucketResult>",
		listHead + "<IsTruncated>true</IsTruncated><NextContinuationToken>x</NextContinuationToken>" + entry("dags/a", "") + "</ListBucketResult>",
		listHead + "<IsTruncated>true</IsTruncated>" + entry("dags/a", "") + "</ListBucketResult>",
		listHead + "<!--<NextContinuationToken>y</NextContinuationToken>--><IsTruncated>true</IsTruncated><NextContinuationToken>x</NextContinuationToken>" + entry("dags/a", ""),
		listHead + "<Contents><Key>dags/a</Key></Contents></ListBucketResult>", listHead + "<Contents><Key>dags/b</Key><Size>x</Size></Contents></ListBucketResult>",
		listHead + entry("dags/b", "") + entry("dags/a", "") + "</ListBucketResult>", listHead + entry("dags/a&#10;b&#27;", "") + "</ListBucketResult>",
		"<ListBucketResult></ListBucketResult>", "", "<html>Sign in</html>", listHead, strings.Repeat("<a>", 11_000), "{}", "<Error><Code>AccessDenied</Code><Message>no\nway</Message></Error>",
	} {
		f.Add(200, document)
		f.Add(403, document)
	}
	f.Fuzz(func(t *testing.T, status int, document string) {
		if status < 200 || status > 599 || status == 204 || status >= 300 && status < 400 {
			return
		}
		synctest.Test(t, func(t *testing.T) {
			var requests atomic.Int64 // the next page may be asked for beside a repeat
			listing, err := at("http://localhost", httpClient(func(r *http.Request) (*http.Response, error) {
				body, answered := document, status
				if requests.Add(1) > 10 {
					body, answered = listHead+"</ListBucketResult>", 200
				}
				return &http.Response{StatusCode: answered, Header: http.Header{"Content-Type": {"application/xml"}}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
			})).List(t.Context(), "dags/")
			if err != nil {
				require.Empty(t, listing.Objects, "a part of a listing")
				require.Contains(t, err.Error(), "s3://acme/dags/")
				require.NotContains(t, err.Error(), "\n")
				require.NotContains(t, err.Error(), secretKey)
				return
			}
			require.False(t, listing.Time.IsZero())
			for _, o := range listing.Objects {
				require.True(t, strings.HasPrefix(o.Key, "dags/") && o.Version != "" && o.Size >= 0, "%+v", o)
			}
			for i := 1; i < len(listing.Objects); i++ {
				require.Less(t, listing.Objects[i-1].Key, listing.Objects[i].Key)
			}
		})
	})
}
