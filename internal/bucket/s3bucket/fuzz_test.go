package s3bucket_test

import (
	"io"
	"net/http"
	"strings"
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
		"<ListBucketResult>" + entry("a", "") + entry("b", "<StorageClass>GLACIER</StorageClass>") + "</ListBucketResult>",
		"<ListBucketResult><EncodingType>url</EncodingType>" + entry("a%20b", "") + entry("a+c%FF", "") + entry("%zz", "") + "</ListBucketResult>",
		"<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>x</NextContinuationToken>" + entry("a", "") + "</ListBucketResult>",
		"<ListBucketResult><IsTruncated>true</IsTruncated>" + entry("a", "") + "</ListBucketResult>",
		"<ListBucketResult><Contents><Key>a</Key></Contents></ListBucketResult>", "<ListBucketResult><Contents><Key>b</Key><Size>x</Size></Contents></ListBucketResult>",
		"<ListBucketResult>" + entry("b", "") + entry("a", "") + "</ListBucketResult>", "<ListBucketResult>" + entry("a&#10;b&#27;", "") + "</ListBucketResult>",
		"", "<html>Sign in</html>", "<ListBucketResult>", strings.Repeat("<a>", 11_000), "{}", "<Error><Code>AccessDenied</Code><Message>no\nway</Message></Error>",
	} {
		f.Add(200, document)
		f.Add(403, document)
	}
	f.Fuzz(func(t *testing.T, status int, document string) {
		if status < 200 || status > 599 || status == 204 || status >= 300 && status < 400 {
			return
		}
		synctest.Test(t, func(t *testing.T) {
			requests := 0
			listing, err := at("http://localhost", httpClient(func(r *http.Request) (*http.Response, error) {
				body, answered := document, status
				if requests++; requests > 10 {
					body, answered = "<ListBucketResult></ListBucketResult>", 200
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
			for i := 1; i < len(listing.Objects); i++ {
				require.Less(t, listing.Objects[i-1].Key, listing.Objects[i].Key)
			}
		})
	})
}
