package gcsserver_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"cloud.google.com/go/storage"
	"github.com/stretchr/testify/require"
	"google.golang.org/api/googleapi"

	"github.com/dagbucket/dagbucket/internal/gcsserver"
)

// begin begins a resumable upload and returns the path that takes its content.
func (c *client) begin(key, query string) (path string) {
	c.t.Helper()
	status, answer, header := c.do(http.MethodPost, strings.Replace(uploadPath("dags", key), "media", "resumable", 1)+query, `{"contentType": "text/x-dag"}`)
	require.Equal(c.t, http.StatusOK, status, answer)
	path, ok := strings.CutPrefix(header.Get("Location"), c.base)
	require.True(c.t, ok, header.Get("Location"))
	return path
}

func TestLargeUpload(t *testing.T) {
	c := start(t)
	content := bytes.Repeat([]byte("0123456789abcdef"), 50<<20/16)
	o := c.google.Bucket("dags").Object("large")
	upload := func(o *storage.ObjectHandle) error {
		w := o.NewWriter(t.Context())
		w.ChunkSize = 8 << 20
		if _, err := w.Write(content); err != nil {
			return errors.Join(err, w.Close())
		}
		require.Empty(t, c.keys(), "visible before it is complete")
		return w.Close()
	}
	require.NoError(t, upload(o.If(storage.Conditions{DoesNotExist: true})))
	r, err := o.NewReader(t.Context())
	require.NoError(t, err)
	defer r.Close()
	stored, err := io.ReadAll(r)
	require.NoError(t, err)
	require.True(t, bytes.Equal(content, stored))
	require.Equal(t, []string{"OBJECT_FINALIZE dags/large 52428800"}, c.events())

	content = content[:9<<20]
	w := o.If(storage.Conditions{DoesNotExist: true}).NewWriter(t.Context())
	w.ChunkSize = 8 << 20
	_, err = w.Write(content)
	refusal := new(googleapi.Error)
	require.ErrorAs(t, errors.Join(err, w.Close()), &refusal)
	require.Equal(t, http.StatusPreconditionFailed, refusal.Code)
	attrs, err := o.Attrs(t.Context())
	require.NoError(t, err)
	require.Equal(t, int64(50<<20), attrs.Size)
}

// TestAPreconditionCountsAtTheEnd: somebody else writes between the chunks.
func TestAPreconditionCountsAtTheEnd(t *testing.T) {
	c := start(t)
	path := c.begin("a", "&ifGenerationMatch=0")
	status, _, _ := c.do(http.MethodPut, path, "mine", "Content-Range", "bytes 0-3/*")
	require.Equal(t, http.StatusPermanentRedirect, status)
	c.put("a", "theirs")
	for range 2 { // the answer may have been lost
		status, answer, _ := c.do(http.MethodPut, path, "!", "Content-Range", "bytes 4-4/5")
		require.Equal(t, http.StatusPreconditionFailed, status)
		require.Equal(t, conditionNotMet, answer)
	}
	_, content, _ := c.do(http.MethodGet, "/dags/a", "")
	require.Equal(t, "theirs", content)
}

// TestAnUploadIsResumed sends what a client sends whose connection broke.
func TestAnUploadIsResumed(t *testing.T) {
	c := start(t)
	path := c.begin("a", "")
	for _, step := range []struct {
		name, contentRange, body string
		status                   int
		arrived                  string
	}{
		{"nothing yet", "bytes */*", "", 308, ""},
		{"first chunk", "bytes 0-3/*", "0123", 308, "bytes=0-3"},
		{"the same again", "bytes 0-3/*", "0123", 308, "bytes=0-3"},
		{"how much is there?", "bytes */*", "", 308, "bytes=0-3"},
		{"how much of ten is there?", "bytes */10", "", 308, "bytes=0-3"},
		{"a gap", "bytes 5-6/*", "56", 400, ""},
		{"not what it says", "bytes 4-9/*", "4", 400, ""},
		{"nonsense", "lines 4-9", "4", 400, ""},
		{"overlapping", "bytes 2-6/*", "23456", 308, "bytes=0-6"},
		{"the end", "bytes 7-9/10", "789", 200, ""},
		{"the end again", "bytes 7-9/10", "789", 200, ""},
		{"is it complete?", "bytes */10", "", 200, ""},
	} {
		t.Run(step.name, func(t *testing.T) {
			status, answer, header := c.do(http.MethodPut, path, step.body, "Content-Range", step.contentRange)
			require.Equal(t, step.status, status, answer)
			require.Equal(t, step.arrived, header.Get("Range"))
			if status == http.StatusOK {
				require.Contains(t, answer, `"size":"10"`)
				require.Contains(t, answer, `"contentType":"text/x-dag"`)
			}
		})
	}
	_, content, _ := c.do(http.MethodGet, "/dags/a", "")
	require.Equal(t, "0123456789", content)
	require.Equal(t, []string{"OBJECT_FINALIZE dags/a 10"}, c.events())

	status, _, _ := c.do(http.MethodPut, c.begin("empty", ""), "", "Content-Range", "bytes */0")
	require.Equal(t, http.StatusOK, status)
	status, _, _ = c.do(http.MethodPut, c.begin("bad", ""), "x", "Content-Range", "bytes 0-0/1", "X-Goog-Hash", "crc32c=AAAAAA==")
	require.Equal(t, http.StatusBadRequest, status)
	path = c.begin("cancelled", "")
	status, _, _ = c.do(http.MethodDelete, path, "")
	require.Equal(t, 499, status)
	status, _, _ = c.do(http.MethodPut, path, "x")
	require.Equal(t, http.StatusNotFound, status)
	require.Equal(t, "a empty", c.keys())
}

// TestAClientThatGoesAway leaves nothing, in one request or several.
func TestAClientThatGoesAway(t *testing.T) {
	for _, test := range []struct {
		name      string
		chunkSize int
	}{{"one request", 0}, {"several requests", 256 << 10}} {
		t.Run(test.name, func(t *testing.T) {
			c := start(t)
			ctx, cancel := context.WithCancel(t.Context())
			w := c.google.Bucket("dags").Object("a").NewWriter(ctx)
			w.ChunkSize = test.chunkSize
			_, err := w.Write(make([]byte, 1<<20))
			require.NoError(t, err)
			cancel()
			for err == nil { // until the client has noticed: Close could end the request as if it were whole
				_, err = w.Write(make([]byte, 1<<10))
			}
			require.ErrorIs(t, w.Close(), context.Canceled)
			require.Empty(t, c.keys())
			require.Empty(t, c.events())
		})
	}
}

func TestABodyCutShort(t *testing.T) {
	c := start(t)
	for _, path := range []string{uploadPath("dags", "a"), c.begin("a", "")} {
		body := io.MultiReader(strings.NewReader("hel"), iotest.ErrReader(io.ErrClosedPipe))
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.base+path, body)
		require.NoError(t, err)
		request.ContentLength = 5
		_, err = http.DefaultClient.Do(request)
		require.Error(t, err)
	}
	require.Empty(t, c.keys())
	require.Empty(t, c.events())
}

func TestMultipartUploads(t *testing.T) {
	const metadata = "--x\r\nContent-Type: application/json\r\n\r\n{\"name\": \"a\"}\r\n"
	for _, test := range []struct {
		name, body string
		status     int
	}{
		{"whole", metadata + "--x\r\nContent-Type: text/plain\r\n\r\nhello\r\n--x--", 200},
		{"empty content", metadata + "--x\r\nContent-Type: text/plain\r\n\r\n\r\n--x--", 200},
		{"cut in the content", metadata + "--x\r\nContent-Type: text/plain\r\n\r\nhel", 400},
		{"cut before the content", metadata, 400},
		{"no content", metadata + "--x--", 400},
		{"no metadata", "--x\r\n\r\nhello\r\n--x--", 400},
		{"three parts", metadata + "--x\r\n\r\na\r\n--x\r\n\r\nb\r\n--x--", 400},
		{"nothing", "", 400},
		{"a wrong checksum", strings.Replace(metadata, `"a"`, `"a", "md5Hash": "XUFAKrxLKna5cZ2REBfFkg=="`, 1) + "--x\r\n\r\nhallo\r\n--x--", 400},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := start(t)
			status, answer, _ := c.do(http.MethodPost, "/upload/storage/v1/b/dags/o?uploadType=multipart", test.body, "Content-Type", "multipart/related; boundary=x")
			require.Equal(t, test.status, status, answer)
			require.Equal(t, status == http.StatusOK, c.keys() == "a")
		})
	}
}

// TestUploadsOfGcloud: its boundary is quoted in a way that Go does not parse, and its resumable uploads have a path of their own.
func TestUploadsOfGcloud(t *testing.T) {
	c := start(t)
	status, answer, _ := c.do(http.MethodPost, "/upload/storage/v1/b/dags/o?alt=json&uploadType=multipart",
		"--==1==\r\n\r\n{\"name\": \"a\"}\r\n--==1==\r\n\r\nhello\r\n--==1==--", "Content-Type", "multipart/related; boundary='==1=='")
	require.Equal(t, http.StatusOK, status, answer)
	status, answer, header := c.do(http.MethodPost, "/resumable/upload/storage/v1/b/dags/o?alt=json&uploadType=resumable", `{"name": "b"}`,
		"X-Upload-Content-Type", "text/x-dag")
	require.Equal(t, http.StatusOK, status, answer)
	status, answer, _ = c.do(http.MethodPut, strings.TrimPrefix(header.Get("Location"), c.base), "hello", "Content-Range", "bytes 0-4/5")
	require.Equal(t, http.StatusOK, status, answer)
	require.Contains(t, answer, `"contentType":"text/x-dag"`)
	require.Equal(t, "a b", c.keys())
}

func TestBodiesAreBounded(t *testing.T) {
	c := start(t)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.base+uploadPath("dags", "a"), io.LimitReader(zeros{}, gcsserver.MaxBody+1))
	require.NoError(t, err)
	request.ContentLength = gcsserver.MaxBody + 1
	response, err := http.DefaultClient.Do(request)
	if err == nil { // else it was refused while it was still being sent
		defer response.Body.Close()
		require.Equal(t, http.StatusRequestEntityTooLarge, response.StatusCode)
	}
	require.Empty(t, c.keys())
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
