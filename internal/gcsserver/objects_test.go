package gcsserver_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"cloud.google.com/go/storage"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/iterator"
)

func write(c *client, key, content string) (*storage.ObjectAttrs, error) {
	w := c.google.Bucket("dags").Object(key).NewWriter(c.t.Context())
	_, _ = w.Write([]byte(content))
	if err := w.Close(); err != nil {
		return nil, err
	}
	return w.Attrs(), nil
}

func read(c *client, o *storage.ObjectHandle) (string, *storage.Reader) {
	c.t.Helper()
	r, err := o.NewReader(c.t.Context())
	require.NoError(c.t, err)
	defer r.Close()
	content, err := io.ReadAll(r)
	require.NoError(c.t, err)
	return string(content), r
}

// list lists with Google's client.
func list(c *client, query *storage.Query) (keys []string) {
	c.t.Helper()
	for it := c.google.Bucket("dags").Objects(c.t.Context(), query); ; {
		o, err := it.Next()
		if errors.Is(err, iterator.Done) {
			return keys
		}
		require.NoError(c.t, err)
		keys = append(keys, o.Name+o.Prefix)
	}
}

func TestOddKeys(t *testing.T) {
	c := start(t)
	keys := []string{
		"plain.py", "a b.py", "a+b.py", "a%2Fb.py", "a%20b.py", "%", "%zz", "a&b=c;d.py", `quo"te's.py`, "what?#x.py", "<tag>.py", "*[1]{2}|$`.py",
		"~tilde", "-dash", " leading", "trailing ", `back\slash.py`, "dot./x.py", "..x/...", ".hidden", "@:,=!().py", "\u00e9.py", "e\u0301.py",
		"中文/日本.py", "😀.py", "\u200b.py", "tab\t\x01.py", strings.Repeat("s", 1024),
		"file", "file/below.py", "a//b.py", "./x.py", "../x.py", "/leading", "//two", "folder/", "a/..", "a/.", "...", "/", "//", "/./", "o", "o/", "b/dags/o/x",
		"a/acl", "a/compose", "x/rewriteTo/b/dags/o/y", "storage/v1/b", "_internal/healthcheck", ".well-known/other",
	}
	for _, key := range keys {
		attrs, err := write(c, key, "content of "+key)
		require.NoError(t, err, key)
		require.Equal(t, key, attrs.Name)
	}
	slices.Sort(keys)
	require.Equal(t, keys, list(c, nil))
	for _, key := range keys {
		o := c.google.Bucket("dags").Object(key)
		content, _ := read(c, o)
		require.Equal(t, "content of "+key, content)
		attrs, err := o.Attrs(t.Context())
		require.NoError(t, err)
		require.Equal(t, key, attrs.Name)
		require.Contains(t, list(c, &storage.Query{Prefix: key}), key)
		require.NoError(t, o.If(storage.Conditions{GenerationMatch: attrs.Generation}).Delete(t.Context()), key)
		_, err = o.NewReader(t.Context())
		require.ErrorIs(t, err, storage.ErrObjectNotExist, key)
	}
	require.Empty(t, list(c, nil))
}

func TestKeysThatCloudStorageCannotHold(t *testing.T) {
	c := start(t)
	for _, key := range []string{".", "..", "new\nline", "carriage\rreturn", "\xff\xfe", ".well-known/acme-challenge/x", strings.Repeat("s", 1025)} {
		for _, uploadType := range []string{"media", "resumable"} {
			status, answer, _ := c.do(http.MethodPost, strings.Replace(uploadPath("dags", key), "media", uploadType, 1), "x")
			require.Equal(t, http.StatusBadRequest, status, "%q %s", key, answer)
			require.Contains(t, answer, `"reason":"invalid"`)
		}
	}
	_, err := write(c, "new\nline", "x")
	refusal := new(googleapi.Error)
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, "invalid", refusal.Errors[0].Reason)
	require.Empty(t, list(c, nil))
}

func TestMetadata(t *testing.T) {
	c := start(t)
	w := c.google.Bucket("dags").Object("dir/a.py").NewWriter(t.Context())
	w.ContentType, w.CacheControl, w.Metadata = "text/x-python", "no-cache", map[string]string{"owner": "me"}
	_, err := w.Write([]byte("hello"))
	require.NoError(t, err)
	require.NoError(t, w.Close())

	o := c.google.Bucket("dags").Object("dir/a.py")
	attrs, err := o.Attrs(t.Context())
	require.NoError(t, err)
	require.Equal(t, w.Attrs(), attrs)
	require.Equal(t, "text/x-python no-cache map[owner:me] STANDARD 5", fmt.Sprint(attrs.ContentType, " ", attrs.CacheControl, " ", attrs.Metadata, " ",
		attrs.StorageClass, " ", attrs.Size))
	require.Equal(t, "5d41402abc4b2a76b9719d911017c592", fmt.Sprintf("%x", attrs.MD5))
	require.Equal(t, int64(1), attrs.Metageneration)

	patched, err := o.Update(t.Context(), storage.ObjectAttrsToUpdate{Metadata: map[string]string{"owner": "you"}})
	require.NoError(t, err)
	require.Equal(t, int64(2), patched.Metageneration)
	require.Equal(t, attrs.Generation, patched.Generation)
	require.Equal(t, "you", patched.Metadata["owner"])
	require.NotEqual(t, attrs.Etag, patched.Etag)
	content, r := read(c, o)
	require.Equal(t, "hello", content)
	require.Equal(t, patched.Generation, r.Attrs.Generation)
	require.Equal(t, []string{"OBJECT_FINALIZE dags/dir/a.py 5"}, c.events(), "a patch is no change")
}

func TestCopies(t *testing.T) {
	c := start(t)
	c.put("a", "one, ")
	c.put("b", "two")
	bucket := c.google.Bucket("dags")
	copied, err := bucket.Object("a/copy").CopierFrom(bucket.Object("a")).Run(t.Context())
	require.NoError(t, err)
	require.Equal(t, "a/copy", copied.Name)
	_, err = c.google.Bucket("state").Object("a").CopierFrom(bucket.Object("a")).Run(t.Context())
	require.NoError(t, err)
	composed, err := bucket.Object("a").ComposerFrom(bucket.Object("a"), bucket.Object("b")).Run(t.Context())
	require.NoError(t, err)
	require.Greater(t, composed.Generation, copied.Generation)
	content, _ := read(c, bucket.Object("a"))
	require.Equal(t, "one, two", content)
	content, _ = read(c, c.google.Bucket("state").Object("a"))
	require.Equal(t, "one, ", content)
	require.Equal(t, []string{"a", "a/copy", "b"}, list(c, nil))
	require.Equal(t, []string{"OBJECT_FINALIZE dags/a 5", "OBJECT_FINALIZE dags/b 3", "OBJECT_FINALIZE dags/a/copy 5", "OBJECT_FINALIZE state/a 5",
		"OBJECT_DELETE dags/a 5", "OBJECT_FINALIZE dags/a 8"}, c.events())
}

func TestRanges(t *testing.T) {
	c := start(t)
	generation := c.put("a", "0123456789")
	c.put("empty", "")
	for _, test := range []struct {
		key, asked   string
		status       int
		content      string
		contentRange string
	}{
		{"a", "", 200, "0123456789", ""},
		{"a", "bytes=2-", 206, "23456789", "bytes 2-9/10"},
		{"a", "bytes=2-3", 206, "23", "bytes 2-3/10"},
		{"a", "bytes=0-99", 206, "0123456789", "bytes 0-9/10"},
		{"a", "bytes=-3", 206, "789", "bytes 7-9/10"},
		{"a", "bytes=-99", 206, "0123456789", "bytes 0-9/10"},
		{"a", "bytes=3-2", 200, "0123456789", ""},
		{"a", "bytes=x", 200, "0123456789", ""},
		{"a", "lines=1-2", 200, "0123456789", ""},
		{"a", "bytes=10-", 416, "", "bytes */10"},
		{"empty", "", 200, "", ""},
		{"empty", "bytes=0-", 416, "", "bytes */0"},
	} {
		for _, path := range []string{"/dags/" + test.key, objectPath(test.key) + "?alt=media"} {
			t.Run(path+" "+test.asked, func(t *testing.T) {
				status, content, header := c.do(http.MethodGet, path, "", "Range", test.asked)
				require.Equal(t, test.status, status)
				require.Equal(t, test.contentRange, header.Get("Content-Range"))
				require.Equal(t, status == http.StatusOK, header["X-Goog-Hash"] != nil)
				if status == http.StatusRequestedRangeNotSatisfiable {
					require.Contains(t, content, "<Code>InvalidRange</Code><Message>The requested range cannot be satisfied.</Message><Details>"+test.asked)
					require.Equal(t, "application/xml; charset=UTF-8", header.Get("Content-Type"))
					return
				}
				require.Equal(t, test.content, content)
				require.Equal(t, strconv.Itoa(len(content)), header.Get("Content-Length"))
			})
		}
	}
	status, _, header := c.do(http.MethodHead, "/dags/a", "")
	require.Equal(t, http.StatusOK, status)
	for name, value := range map[string]string{
		"X-Goog-Generation": generation, "X-Goog-Stored-Content-Length": "10", "X-Goog-Stored-Content-Encoding": "identity", "Content-Length": "10",
		"Etag": `"781e5e245d69b566979b86e28d23f2c7"`, "Content-Type": "text/plain", "Accept-Ranges": "bytes",
	} {
		require.Equal(t, value, header.Get(name), name)
	}
	require.Equal(t, []string{"crc32c=KAwGng==", "md5=eB5eJF1ptWaXm4bijSPyxw=="}, header["X-Goog-Hash"])
}

func TestCompressedObjects(t *testing.T) {
	c := start(t)
	var compressed bytes.Buffer
	z := gzip.NewWriter(&compressed)
	_, err := z.Write([]byte("hello hello"))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	w := c.google.Bucket("dags").Object("a").NewWriter(t.Context())
	w.ContentEncoding = "gzip"
	_, err = w.Write(compressed.Bytes())
	require.NoError(t, err)
	require.NoError(t, w.Close())

	status, content, header := c.do(http.MethodGet, "/dags/a", "", "Range", "bytes=2-")
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "hello hello", content)
	require.Empty(t, header.Get("Content-Encoding"))
	require.Equal(t, "gzip", header.Get("X-Goog-Stored-Content-Encoding"))
	status, content, header = c.do(http.MethodGet, "/dags/a", "", "Accept-Encoding", "gzip", "Range", "bytes=2-")
	require.Equal(t, http.StatusPartialContent, status)
	require.Equal(t, compressed.String()[2:], content)
	require.Equal(t, "gzip", header.Get("Content-Encoding"))
	require.Equal(t, strconv.Itoa(compressed.Len()), header.Get("X-Goog-Stored-Content-Length"))
	content, _ = read(c, c.google.Bucket("dags").Object("a").ReadCompressed(true))
	require.Equal(t, compressed.String(), content)
	require.Equal(t, "a", c.keys())
}

// TestReadsAreNeverStale: what is read is the content of the generation in the same answer, and not older than a write that ended before.
func TestReadsAreNeverStale(t *testing.T) {
	const writes = 300
	c := start(t)
	c.put("a", "0")
	o := c.google.Bucket("dags").Object("a")
	var group errgroup.Group
	done := make(chan struct{})
	for range 4 {
		group.Go(func() error {
			for last := 0; ; {
				select {
				case <-done:
					return nil
				default:
				}
				number, _, err := readNumber(t.Context(), o)
				if err != nil || number < last {
					return fmt.Errorf("read %d after %d (%w)", number, last, err)
				}
				last = number
			}
		})
	}
	group.Go(func() error {
		defer close(done)
		for i := range writes {
			attrs, err := write(c, "a", strconv.Itoa(i))
			if err != nil {
				return err
			}
			number, generation, err := readNumber(t.Context(), o.Generation(attrs.Generation))
			if err != nil || number != i || generation != attrs.Generation {
				return fmt.Errorf("wrote %d as %d, read %d as %d (%w)", i, attrs.Generation, number, generation, err)
			}
		}
		return nil
	})
	require.NoError(t, group.Wait())
}

func readNumber(ctx context.Context, o *storage.ObjectHandle) (number int, generation int64, err error) {
	r, err := o.NewReader(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer r.Close()
	content, err := io.ReadAll(r)
	if err != nil {
		return 0, 0, err
	}
	number, err = strconv.Atoi(string(content))
	return number, r.Attrs.Generation, err
}

func TestGenerationsRise(t *testing.T) {
	c := start(t)
	const writers, each = 8, 50
	generations := make(chan int64, writers*each)
	var group errgroup.Group
	for range writers {
		group.Go(func() error {
			var last int64
			for range each {
				attrs, err := write(c, "a", "x")
				if err != nil {
					return err
				}
				if attrs.Generation <= last {
					return fmt.Errorf("%d after %d", attrs.Generation, last)
				}
				last = attrs.Generation
				generations <- last
			}
			return nil
		})
	}
	require.NoError(t, group.Wait())
	close(generations)
	seen := map[int64]bool{}
	for generation := range generations {
		seen[generation] = true
	}
	require.Len(t, seen, writers*each)
}
