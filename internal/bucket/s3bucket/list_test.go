package s3bucket_test

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/bucket/s3bucket"
	"github.com/dagbucket/dagbucket/internal/s3server"
)

const (
	html      = "<!DOCTYPE html><html><head><title>Sign in</title></head><body>Accept the terms of use.</body></html>"
	truncated = "<IsTruncated>true</IsTruncated>"
)

// pagesOf answers the calls of one listing with these documents, and counts them.
func pagesOf(t *testing.T, documents ...string) (b *s3bucket.Bucket, calls *atomic.Int64) {
	calls = new(atomic.Int64)
	return open(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer(documents[min(int(calls.Add(1)), len(documents))-1]).ServeHTTP(w, r)
	})), calls
}

func result(contents string) string { return listHead + contents + "</ListBucketResult>" }

func next(token string) string {
	return truncated + "<NextContinuationToken>" + token + "</NextContinuationToken>"
}

// TestADoubtfulPageIsRefused: each of these could read as a listing that has ended, and what it lacks would be removed.
func TestADoubtfulPageIsRefused(t *testing.T) {
	first := result(next("1") + entry("a", ""))
	const object = "<Contents><Key>b</Key><LastModified>2026-11-03T11:59:00.000Z</LastModified>"
	for name, test := range map[string]struct{ page, says string }{
		"HTML":                     {html, "not a listing of this bucket: check that no proxy answers in the storage's place"},
		"HTML that is no XML":      {"<html><br></html>", "check that no proxy answers in the storage's place"},
		"nothing":                  {"", "not a listing of this bucket"},
		"JSON":                     {"{}", "not a listing of this bucket"},
		"another document":         {"<ListAllMyBucketsResult><Buckets/></ListAllMyBucketsResult>", "not a listing of this bucket"},
		"an empty name":            {"<ListBucketResult><Name></Name></ListBucketResult>", "not a listing of this bucket"},
		"more keys than shown":     {result("<KeyCount>2</KeyCount>" + entry("b", "")), "counts 2 keys and shows 1"},
		"fewer keys than shown":    {result("<KeyCount>0</KeyCount>" + entry("b", "")), "counts 0 keys and shows 1"},
		"truncated, no token":      {result(truncated + entry("b", "")), "no NextContinuationToken"},
		"truncated, empty token":   {result(next("") + entry("b", "")), "no NextContinuationToken"},
		"the same token again":     {result(next("1") + entry("b", "")), "its next page is the same again"},
		"no ETag":                  {result(object + "<Size>1</Size></Contents>"), `"b" without an ETag`},
		"an empty ETag":            {result(object + "<ETag></ETag><Size>1</Size></Contents>"), `"b" without an ETag`},
		"no size":                  {result(object + "<ETag>e</ETag></Contents>"), `"b" without a size`},
		"a negative size":          {result(object + "<ETag>e</ETag><Size>-1</Size></Contents>"), `"b" without a size`},
		"the first page once more": {first, "in order"},
	} {
		t.Run(name, func(t *testing.T) {
			b, calls := pagesOf(t, first, test.page)
			listing, err := b.List(t.Context(), "")
			require.ErrorContains(t, err, "cannot list s3://acme/: ")
			require.ErrorContains(t, err, test.says)
			require.False(t, bucket.Permanent(err))
			require.Empty(t, listing.Objects)
			require.Equal(t, int64(2), calls.Load(), "a repeat would not help")
			b, _ = pagesOf(t, test.page, html)
			_, err = b.List(t.Context(), "")
			require.Error(t, err, "as the first page")
		})
	}
}

func TestAKeyThatWasNotAskedForIsRefused(t *testing.T) {
	b, _ := pagesOf(t, result(entry("other/a", "")))
	_, err := b.List(t.Context(), "dags/")
	require.EqualError(t, err, `cannot list s3://acme/dags/: the storage lists "other/a", which was not asked for`)
}

func TestEmptyPages(t *testing.T) {
	var pages []string
	for i := range 10 {
		pages = append(pages, result(next(strconv.Itoa(i))))
	}
	b, _ := pagesOf(t, append(pages, result(next("10")+entry("a", "")), result("<KeyCount>0</KeyCount>"))...)
	listing, err := b.List(t.Context(), "")
	require.NoError(t, err, "S3 may give some")
	require.Len(t, listing.Objects, 1)
	b, calls := pagesOf(t, append(pages, result(next("10")), html)...)
	_, err = b.List(t.Context(), "")
	require.ErrorContains(t, err, "11 pages in a row are empty")
	require.Equal(t, int64(11), calls.Load())
}

// cutBody ends after its text as a connection that breaks.
type cutBody struct {
	io.Reader
	err error
}

func (c cutBody) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	if err == io.EOF {
		err = c.err
	}
	return n, err
}

func (cutBody) Close() error { return nil }

// TestAPageThatBreaksOffIsRepeated without a network, so that the pauses take no time.
func TestAPageThatBreaksOffIsRepeated(t *testing.T) {
	page := result(entry("dags/a", "") + entry("dags/b", ""))
	for name, broken := range map[string]error{
		"announced length": io.ErrUnexpectedEOF, "no length": io.EOF, "reset": fmt.Errorf("read tcp: %w", syscall.ECONNRESET),
	} {
		for cuts, want := range map[int]int{0: 1, 2: 3, 4: 5, 100: 5} {
			t.Run(fmt.Sprint(name, " ", cuts), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					calls := 0
					listing, err := at("http://localhost", httpClient(func(r *http.Request) (*http.Response, error) {
						body := io.ReadCloser(io.NopCloser(strings.NewReader(page)))
						if calls++; calls <= cuts {
							body = cutBody{strings.NewReader(page[:len(page)-40]), broken}
						}
						return &http.Response{StatusCode: 200, Header: http.Header{}, Body: body, Request: r}, nil
					})).List(t.Context(), "dags/")
					require.Equal(t, want, calls)
					if cuts < 5 {
						require.NoError(t, err)
						require.Len(t, listing.Objects, 2)
						return
					}
					require.EqualError(t, err, "cannot list s3://acme/dags/: the answer broke off (tried 5 times)")
					require.False(t, bucket.Permanent(err))
				})
			})
		}
	}
}

// uploads answers CleanUp's calls: a listing of unfinished uploads, page by page, and aborts.
type uploads struct {
	pages   []string
	status  int    // of an abort; 0: 204
	code    string // of an abort that is refused
	aborted []string
}

func (u *uploads) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	switch {
	case r.Method == http.MethodDelete && u.status != 0:
		refusal(u.status, u.code).ServeHTTP(w, r)
	case r.Method == http.MethodDelete:
		u.aborted = append(u.aborted, r.URL.Path+" "+query.Get("uploadId"))
		w.WriteHeader(http.StatusNoContent)
	case query.Get("key-marker") == "":
		answer(u.pages[0]).ServeHTTP(w, r)
	default:
		answer(u.pages[1]).ServeHTTP(w, r)
	}
}

// begun is an unfinished upload, by a server whose clock says 12:00.
func begun(key, id, clock string) string {
	return "<Upload><Key>" + key + "</Key><UploadId>" + id + "</UploadId><Initiated>2026-11-03T" + clock + "Z</Initiated></Upload>"
}

func uploadPage(contents string) string {
	return "<ListMultipartUploadsResult><Bucket>acme</Bucket>" + contents + "</ListMultipartUploadsResult>"
}

func TestCleanUpAbortsOldUploads(t *testing.T) {
	server := &uploads{pages: []string{
		uploadPage(truncated + "<NextKeyMarker>prod/b</NextKeyMarker><NextUploadIdMarker>2</NextUploadIdMarker>" +
			begun("prod/a b", "1", "10:59:59") + begun("prod/b", "2", "11:00:01")),
		uploadPage(begun("prod/b", "3", "11:00:00") + begun("prod/c", "4", "12:00:05")),
	}}
	require.NoError(t, open(t, server).CleanUp(t.Context(), "prod/", time.Hour))
	require.Equal(t, []string{"/acme/prod/a b 1", "/acme/prod/b 3"}, server.aborted)
}

func TestCleanUpFails(t *testing.T) {
	old := []string{uploadPage(begun("prod/a", "1", "10:00:00"))}
	for name, test := range map[string]struct {
		server http.Handler
		says   string
	}{
		"may not list":             {refusal(403, "AccessDenied"), "cannot list the unfinished uploads s3://acme/prod/: access denied"},
		"may not abort":            {&uploads{pages: old, status: 403, code: "AccessDenied"}, "cannot abort the unfinished upload s3://acme/prod/a: access denied"},
		"an upload that has ended": {&uploads{pages: old, status: 404, code: "NoSuchUpload"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := open(t, test.server).CleanUp(t.Context(), "prod/", time.Hour)
			if test.says == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, bucket.ErrDenied)
			require.ErrorContains(t, err, test.says)
		})
	}
}

func TestCleanUpOfNothing(t *testing.T) {
	require.NoError(t, open(t, s3server.New("acme")).CleanUp(t.Context(), "prod/", 0))
}
