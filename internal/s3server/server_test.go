package s3server_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/s3server"
)

// client is a plain HTTP client, as curl is.
type client struct {
	t       *testing.T
	base    string
	mu      sync.Mutex
	changes []s3server.Change
}

func start(t *testing.T) *client {
	t.Helper()
	c := &client{t: t}
	server := s3server.New("dags", "state")
	server.OnChange = func(change s3server.Change) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.changes = append(c.changes, change)
	}
	listener := httptest.NewServer(server)
	t.Cleanup(listener.Close)
	c.base = listener.URL
	return c
}

func (c *client) do(method, path, body string, headers ...string) (int, string, http.Header) {
	c.t.Helper()
	request, err := http.NewRequestWithContext(c.t.Context(), method, c.base+path, strings.NewReader(body))
	require.NoError(c.t, err)
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	require.NoError(c.t, err)
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	require.NoError(c.t, err)
	return response.StatusCode, string(answer), response.Header
}

func (c *client) put(path, body string) (etag string) {
	c.t.Helper()
	status, answer, header := c.do(http.MethodPut, path, body)
	require.Equal(c.t, http.StatusOK, status, answer)
	return header.Get("ETag")
}

func (c *client) events() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	names := []string{}
	for _, change := range c.changes {
		names = append(names, fmt.Sprintf("%s %s/%s %d", change.Event, change.Bucket, change.Key, change.Size))
	}
	return names
}

func TestPreconditions(t *testing.T) {
	for _, test := range []struct {
		name, method, path   string
		header, value        string // "" stands for the ETag of /dags/a
		status               int
		code                 string
		objects              string // left in the bucket
		wantBody, forbidBody string
	}{
		{"get matches", http.MethodGet, "/dags/a", "If-Match", "", 200, "", "a", "hello", ""},
		{"get matches unquoted", http.MethodGet, "/dags/a", "If-Match", "5d41402abc4b2a76b9719d911017c592", 200, "", "a", "hello", ""},
		{"get does not match", http.MethodGet, "/dags/a", "If-Match", `"other"`, 412, "PreconditionFailed", "a", "", "hello"},
		{"get of an empty object does not match", http.MethodGet, "/dags/empty", "If-Match", `"other"`, 412, "PreconditionFailed", "a", "", ""},
		{"head does not match", http.MethodHead, "/dags/a", "If-Match", `"other"`, 412, "", "a", "", ""},
		{"get of nothing", http.MethodGet, "/dags/b", "If-Match", `"other"`, 404, "NoSuchKey", "a", "", ""},
		{"get if none match", http.MethodGet, "/dags/a", "If-None-Match", "", 304, "", "a", "", "hello"},
		{"put matches", http.MethodPut, "/dags/a", "If-Match", "", 200, "", "a", "", ""},
		{"put does not match", http.MethodPut, "/dags/a", "If-Match", `"other"`, 412, "PreconditionFailed", "a", "", ""},
		{"put in place of nothing", http.MethodPut, "/dags/b", "If-Match", `"other"`, 404, "NoSuchKey", "a", "", ""},
		{"put if absent", http.MethodPut, "/dags/b", "If-None-Match", "*", 200, "", "a b", "", ""},
		{"put if absent, but there", http.MethodPut, "/dags/a", "If-None-Match", "*", 412, "PreconditionFailed", "a", "", ""},
		{"put into no bucket", http.MethodPut, "/none/a", "If-Match", `"x"`, 404, "NoSuchBucket", "a", "", ""},
		{"delete matches", http.MethodDelete, "/dags/a", "If-Match", "", 204, "", "", "", ""},
		{"delete any", http.MethodDelete, "/dags/a", "If-Match", "*", 204, "", "", "", ""},
		{"delete does not match", http.MethodDelete, "/dags/a", "If-Match", `"other"`, 412, "PreconditionFailed", "a", "", ""},
		{"delete of nothing", http.MethodDelete, "/dags/b", "If-Match", `"x"`, 404, "NoSuchKey", "a", "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := start(t)
			etag := c.put("/dags/a", "hello")
			c.put("/dags/empty", "")
			if test.value == "" {
				test.value = etag
			}
			status, answer, _ := c.do(test.method, test.path, "", test.header, test.value)
			require.Equal(t, test.status, status, answer)
			require.Contains(t, answer, test.code)
			require.Contains(t, answer, test.wantBody)
			if test.forbidBody != "" {
				require.NotContains(t, answer, test.forbidBody)
			}
			left := strings.Join(c.list(t, "").keys(), " ")
			require.Equal(t, strings.TrimSpace(test.objects+" empty"), left)
		})
	}
}

func TestAPreconditionComesBeforeTheRange(t *testing.T) {
	c := start(t)
	etag := c.put("/dags/a", "hello")
	status, answer, _ := c.do(http.MethodGet, "/dags/a", "", "If-Match", etag, "Range", "bytes=2-")
	require.Equal(t, http.StatusPartialContent, status)
	require.Equal(t, "llo", answer)
	status, _, _ = c.do(http.MethodGet, "/dags/a", "", "If-Match", etag, "Range", "bytes=5-")
	require.Equal(t, http.StatusRequestedRangeNotSatisfiable, status)
	status, _, _ = c.do(http.MethodGet, "/dags/a", "", "If-Match", `"other"`, "Range", "bytes=5-")
	require.Equal(t, http.StatusPreconditionFailed, status)
}

func TestChangesAreTold(t *testing.T) {
	c := start(t)
	c.put("/dags/a%20b+c%2B/%C3%A9.py", "12345")
	status, _, _ := c.do(http.MethodPut, "/state/copy", "", "X-Amz-Copy-Source", "/dags/a%20b%2Bc%2B/%C3%A9.py")
	require.Equal(t, http.StatusOK, status)
	status, _, _ = c.do(http.MethodPut, "/dags/refused", "x", "If-Match", `"other"`)
	require.Equal(t, http.StatusNotFound, status)
	status, _, _ = c.do(http.MethodDelete, "/dags/never-was", "")
	require.Equal(t, http.StatusNoContent, status)
	status, _, _ = c.do(http.MethodDelete, "/state/copy", "")
	require.Equal(t, http.StatusNoContent, status)
	c.put("/dags/x", "x")
	c.put("/dags/y", "y")
	status, _, _ = c.do(http.MethodPost, "/dags?delete",
		"<Delete><Quiet>true</Quiet><Object><Key>x</Key></Object><Object><Key>none</Key></Object><Object><Key>y</Key></Object></Delete>")
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, []string{
		"ObjectCreated:Put dags/a b+c+/é.py 5", "ObjectCreated:Copy state/copy 5", "ObjectRemoved:Delete state/copy 0",
		"ObjectCreated:Put dags/x 1", "ObjectCreated:Put dags/y 1", "ObjectRemoved:Delete dags/x 0", "ObjectRemoved:Delete dags/y 0",
	}, c.events())

	document, err := json.MarshalIndent(c.changes[0].Notification(), "", "  ")
	require.NoError(t, err)
	require.JSONEq(t, fmt.Sprintf(`{"Records": [{
		"eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": "us-east-1", "eventTime": %q, "eventName": "ObjectCreated:Put",
		"userIdentity": {"principalId": "AWS:DEMO"}, "requestParameters": {"sourceIPAddress": "127.0.0.1"},
		"responseElements": {"x-amz-request-id": "000000000000000001"},
		"s3": {"s3SchemaVersion": "1.0", "configurationId": "dagbucket",
			"bucket": {"name": "dags", "ownerIdentity": {"principalId": "DEMO"}, "arn": "arn:aws:s3:::dags"},
			"object": {"key": "a+b%%2Bc%%2B/%%C3%%A9.py", "size": 5, "eTag": "827ccb0eea8a706c4c34a16891f84e7b", "sequencer": "000000000000000001"}}
	}]}`, c.changes[0].Time.Format("2006-01-02T15:04:05.000Z")), string(document))

	removed, err := json.Marshal(c.changes[2].Notification())
	require.NoError(t, err)
	require.Contains(t, string(removed), `"object":{"key":"copy","sequencer":"000000000000000003"}`)
}

func TestMultipartUpload(t *testing.T) {
	c := start(t)
	_, answer, _ := c.do(http.MethodPost, "/dags/large?uploads", "")
	var begun struct{ UploadId string }
	require.NoError(t, xml.Unmarshal([]byte(answer), &begun))
	var parts strings.Builder
	for i, body := range []string{"part one, ", "part two"} {
		status, answer, header := c.do(http.MethodPut, fmt.Sprintf("/dags/large?uploadId=%s&partNumber=%d", begun.UploadId, i+1), body)
		require.Equal(t, http.StatusOK, status, answer)
		fmt.Fprintf(&parts, "<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>", i+1, header.Get("ETag"))
	}
	require.Empty(t, c.list(t, "").Contents, "visible before it is complete")
	require.Empty(t, c.events())
	status, answer, _ := c.do(http.MethodPost, "/dags/large?uploadId="+begun.UploadId,
		"<CompleteMultipartUpload>"+parts.String()+"</CompleteMultipartUpload>")
	require.Equal(t, http.StatusOK, status, answer)
	var done struct{ ETag string }
	require.NoError(t, xml.Unmarshal([]byte(answer), &done))
	listed := c.list(t, "").Contents
	require.Len(t, listed, 1)
	require.Equal(t, done.ETag, listed[0].ETag)
	_, answer, header := c.do(http.MethodGet, "/dags/large", "")
	require.Equal(t, "part one, part two", answer)
	require.Equal(t, done.ETag, header.Get("ETag"))
	require.Equal(t, []string{"ObjectCreated:CompleteMultipartUpload dags/large 18"}, c.events())
}

func TestChunkedUploads(t *testing.T) {
	const signature = ";chunk-signature=0123456789abcdef"
	for _, test := range []struct {
		name, body, size string
		status           int
		stored           string
	}{
		{"signed chunks", "5" + signature + "\r\nhello\r\n6" + signature + "\r\n world\r\n0" + signature + "\r\n\r\n", "11", 200, "hello world"},
		{"unsigned chunks with a trailer", "b\r\nhello world\r\n0\r\nx-amz-checksum-crc32:DUoRhQ==\r\n\r\n", "11", 200, "hello world"},
		{"nothing but a trailer", "0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n", "0", 200, ""},
		{"cut in a chunk", "b\r\nhello", "11", 400, ""},
		{"cut between chunks", "5\r\nhello\r\n", "11", 400, ""},
		{"ends too early", "5\r\nhello\r\n0\r\n\r\n", "11", 400, ""},
		{"longer than it says", "b\r\nhello world\r\n0\r\n\r\n", "5", 400, ""},
		{"no size of a chunk", "hello\r\n", "5", 400, ""},
		{"no size of the object", "0\r\n\r\n", "", 411, ""},
		{"a size over the limit", "0\r\n\r\n", "99999999999", 400, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := start(t)
			status, answer, _ := c.do(http.MethodPut, "/dags/a", test.body, "X-Amz-Content-Sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
				"X-Amz-Decoded-Content-Length", test.size, "Content-Encoding", "aws-chunked,gzip", "X-Amz-Meta-Owner", "me", "X-Amz-Trailer", "x")
			require.Equal(t, test.status, status, answer)
			status, answer, header := c.do(http.MethodGet, "/dags/a", "", "Accept-Encoding", "gzip")
			if test.status != http.StatusOK {
				require.Equal(t, http.StatusNotFound, status)
				return
			}
			require.Equal(t, test.stored, answer)
			require.Equal(t, "gzip", header.Get("Content-Encoding"))
			require.Equal(t, "me", header.Get("X-Amz-Meta-Owner"))
			require.Empty(t, header.Get("X-Amz-Trailer"))
		})
	}
}

func TestBodiesAreBounded(t *testing.T) {
	c := start(t)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, c.base+"/dags/a", http.NoBody)
	require.NoError(t, err)
	request.Body, request.ContentLength = io.NopCloser(io.LimitReader(zeros{}, s3server.MaxBody+1)), s3server.MaxBody+1
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusBadRequest, response.StatusCode)
	require.Contains(t, string(answer), "EntityTooLarge")
	require.Empty(t, c.events())
}

// TestABodyOfUnknownLength is what `curl -T - URL` sends.
func TestABodyOfUnknownLength(t *testing.T) {
	c := start(t)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, c.base+"/dags/a", io.MultiReader(strings.NewReader("hello")))
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusOK, response.StatusCode)
	_, answer, _ := c.do(http.MethodGet, "/dags/a", "")
	require.Equal(t, "hello", answer)
	require.Equal(t, []string{"ObjectCreated:Put dags/a 5"}, c.events())
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

type listing struct {
	KeyCount              int
	IsTruncated           bool
	NextContinuationToken string
	Contents              []struct{ Key, ETag string }
	CommonPrefixes        []struct{ Prefix string }
}

func (l listing) keys() []string {
	names := []string{}
	for _, o := range l.Contents {
		names = append(names, o.Key)
	}
	return names
}

func (c *client) list(t *testing.T, query string) listing {
	t.Helper()
	status, answer, _ := c.do(http.MethodGet, "/dags?list-type=2&"+query, "")
	require.Equal(t, http.StatusOK, status, answer)
	var l listing
	require.NoError(t, xml.NewDecoder(bytes.NewReader([]byte(answer))).Decode(&l))
	return l
}

func TestListing(t *testing.T) {
	c := start(t)
	for _, key := range []string{"a/b", "a-b", "a/c/d", "a/c/e", "b+ c&<>é", "z"} {
		c.put("/dags/"+url.PathEscape(key), key)
	}
	require.Equal(t, []string{"a-b", "a/b", "a/c/d", "a/c/e", "b+ c&<>é", "z"}, c.list(t, "").keys())

	first := c.list(t, "prefix=a/&max-keys=2")
	require.Equal(t, []string{"a/b", "a/c/d"}, first.keys())
	require.True(t, first.IsTruncated)
	second := c.list(t, "prefix=a/&max-keys=2&continuation-token="+url.QueryEscape(first.NextContinuationToken))
	require.Equal(t, []string{"a/c/e"}, second.keys())
	require.False(t, second.IsTruncated, "only keys outside the prefix follow")
	require.Empty(t, second.NextContinuationToken)

	last := c.list(t, "prefix=a/c/&max-keys=2")
	require.False(t, last.IsTruncated, "exactly one page")

	folders := c.list(t, "prefix=a&delimiter=/&max-keys=2")
	require.Equal(t, []string{"a-b"}, folders.keys())
	require.Equal(t, "a/", folders.CommonPrefixes[0].Prefix)
	require.False(t, folders.IsTruncated)
	require.Equal(t, []string{"b%2B+c%26%3C%3E%C3%A9"}, c.list(t, "prefix=b&encoding-type=url").keys())
	require.Equal(t, []string{"z"}, c.list(t, "start-after=b%2B%20c%26%3C%3E%C3%A9").keys())

	status, answer, _ := c.do(http.MethodGet, "/none?list-type=2", "")
	require.Equal(t, http.StatusNotFound, status)
	require.Contains(t, answer, "NoSuchBucket")
	status, _, _ = c.do(http.MethodGet, "/dags?list-type=2&max-keys=x", "")
	require.Equal(t, http.StatusBadRequest, status)
}
