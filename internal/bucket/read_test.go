package bucket_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/bucket/membucket"
)

const text = "0123456789"

// hold returns a bucket that holds text under "dags/a.py", and the object as listed.
func hold(t *testing.T) (*membucket.Bucket, bucket.Object) {
	t.Helper()
	b := membucket.New("acme")
	_, err := b.Put(t.Context(), "dags/a.py", strings.NewReader(text), bucket.Always)
	require.NoError(t, err)
	listing, err := b.List(t.Context(), "")
	require.NoError(t, err)
	return b, listing.Objects[0]
}

func TestRead(t *testing.T) {
	b, object := hold(t)
	content, got, err := bucket.Read(t.Context(), b, "dags/a.py", object.Version, int64(len(text)))
	require.NoError(t, err)
	require.Equal(t, text, string(content))
	require.Equal(t, object, got)
	_, _, err = bucket.Read(t.Context(), b, "dags/a.py", "", int64(len(text))-1)
	require.EqualError(t, err, "mem://acme/dags/a.py: the object is too large for what it should be: it has 10 bytes, and at most 9 are allowed there")
	_, _, err = bucket.Read(t.Context(), b, "dags/b.py", "", 10)
	require.ErrorIs(t, err, bucket.ErrNotExist)
	_, _, err = bucket.Read(t.Context(), b, "dags/a.py", "another", 10)
	require.ErrorIs(t, err, bucket.ErrChanged)
}

func TestReadResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, object := hold(t)
		b.Cut = func(string, int64) int64 { return 6 }
		content, got, err := bucket.Read(t.Context(), b, "dags/a.py", "", 10)
		require.NoError(t, err)
		require.Equal(t, text, string(content))
		require.Equal(t, object, got)

		b.Cut = func(string, int64) int64 { return 0 }
		_, _, err = bucket.Read(t.Context(), b, "dags/a.py", "", 10)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		require.ErrorContains(t, err, "mem://acme/dags/a.py")

		b.Cut = func(string, int64) int64 { return 6 }
		overwriteAfterOpen(b)
		_, _, err = bucket.Read(t.Context(), b, "dags/a.py", "", 10)
		require.ErrorIs(t, err, bucket.ErrChanged, "halves of two versions were put together")
	})
}

// overwriteAfterOpen puts another text of the same size in place of each object that is opened.
func overwriteAfterOpen(b *membucket.Bucket) {
	b.Fault = func(op membucket.Op, key string, after bool) error {
		if op == membucket.Open && after {
			_, _ = b.Put(context.Background(), key, strings.NewReader("abcdefghij"), bucket.Always)
		}
		return nil
	}
}

func TestReaderResumes(t *testing.T) {
	for _, test := range []struct {
		name string
		cut  int64 // bytes that each connection lasts
		gets int64
	}{
		{"never cut", -1, 1},
		{"cut once", 6, 2},
		{"cut after every byte", 1, 10}, // more often than one byte may be tried for
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, object := hold(t)
				b.Cut = func(string, int64) int64 { return test.cut }
				if test.gets == 2 {
					b.Cut = func(_ string, offset int64) int64 {
						if offset == 0 {
							return test.cut
						}
						return -1
					}
				}
				if test.cut == 1 {
					b.Cut = func(_ string, offset int64) int64 {
						if offset == int64(len(text))-1 {
							return -1
						}
						return 1
					}
				}
				var requests bucket.Requests
				reader := bucket.NewReader(bucket.CountRequests(t.Context(), &requests), b, object)
				require.Zero(t, requests.Get.Load(), "connected before the first read")
				content, err := io.ReadAll(reader)
				require.NoError(t, err)
				require.Equal(t, text, string(content))
				require.Equal(t, test.gets, requests.Get.Load())
				require.NoError(t, reader.Close())
			})
		})
	}
}

type brokenRead struct {
	name    string
	prepare func(b *membucket.Bucket, object *bucket.Object)
	want    error
	message string
	gets    int64
	within  time.Duration
}

func brokenReads() []brokenRead {
	const seconds = time.Second
	return []brokenRead{
		{"a connection that never lasts", func(b *membucket.Bucket, _ *bucket.Object) {
			b.Cut = func(_ string, offset int64) int64 { return max(0, 4-offset) }
		}, io.ErrUnexpectedEOF, "mem://acme/dags/a.py at byte 4: ", 6, 10 * seconds},
		{"no object", func(_ *membucket.Bucket, o *bucket.Object) { o.Key, o.Version = "dags/b.py", "" }, bucket.ErrNotExist, "dags/b.py", 1, 0},
		{"another version", func(_ *membucket.Bucket, o *bucket.Object) { o.Version = "7" }, bucket.ErrChanged, "dags/a.py", 1, 0},
		{"another size", func(_ *membucket.Bucket, o *bucket.Object) { o.Version, o.Size = "", 11 }, bucket.ErrChanged, "it has 10 bytes, not 11", 1, 0},
		{"rights withdrawn in between", func(b *membucket.Bucket, _ *bucket.Object) {
			b.Cut = func(string, int64) int64 { return 4 }
			opened := 0
			b.Fault = func(op membucket.Op, _ string, after bool) error {
				if op == membucket.Open && !after {
					opened++
				}
				if opened > 1 {
					return bucket.ErrDenied
				}
				return nil
			}
		}, bucket.ErrDenied, "dags/a.py at byte 4", 2, seconds},
		{"overwritten in between", func(b *membucket.Bucket, _ *bucket.Object) {
			b.Cut = func(string, int64) int64 { return 4 }
			overwriteAfterOpen(b)
		}, bucket.ErrChanged, "dags/a.py at byte 4", 2, seconds},
		{"overwritten in between, any version asked for", func(b *membucket.Bucket, o *bucket.Object) {
			o.Version = ""
			b.Cut = func(string, int64) int64 { return 4 }
			overwriteAfterOpen(b)
		}, bucket.ErrChanged, "dags/a.py at byte 4", 2, seconds},
		{"a body longer than its object", func(b *membucket.Bucket, o *bucket.Object) {
			b.Change(o.Key, func(o *bucket.Object) { o.Size-- })
			o.Size--
		}, bucket.ErrChanged, "it has more than 9 bytes", 1, 0},
		{"a body shorter than its object", func(b *membucket.Bucket, o *bucket.Object) {
			b.Change(o.Key, func(o *bucket.Object) { o.Size++ })
			o.Size++
		}, io.ErrUnexpectedEOF, "at byte 10", 6, 10 * seconds},
	}
}

func TestReaderGivesUp(t *testing.T) {
	for _, test := range brokenReads() {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, object := hold(t)
				test.prepare(b, &object)
				var requests bucket.Requests
				began := time.Now()
				reader := bucket.NewReader(bucket.CountRequests(t.Context(), &requests), b, object)
				content, err := io.ReadAll(reader)
				require.ErrorIs(t, err, test.want)
				require.ErrorContains(t, err, test.message)
				require.True(t, strings.HasPrefix(text, string(content)))
				require.Equal(t, test.gets, requests.Get.Load())
				require.LessOrEqual(t, time.Since(began), test.within)
				_, again := reader.Read(make([]byte, 1))
				require.Equal(t, err, again, "the error stays")
				require.NoError(t, reader.Close())
			})
		})
	}
}

// checking is a bucket that compares a checksum at the end of each body that it reads from the beginning, as the AWS SDK does.
type checking struct {
	*membucket.Bucket
	err error
}

func (c checking) Open(ctx context.Context, key, version string, offset int64) (*bucket.Body, error) {
	body, err := c.Bucket.Open(ctx, key, version, offset)
	if err == nil && offset == 0 {
		body.ReadCloser = io.NopCloser(io.MultiReader(body.ReadCloser, failing{c.err}))
	}
	return body, err
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestAWrongChecksumIsNotResumedAway(t *testing.T) {
	b, object := hold(t)
	cause := errors.New("checksum did not match")
	var requests bucket.Requests
	_, err := io.ReadAll(bucket.NewReader(bucket.CountRequests(t.Context(), &requests), checking{b, cause}, object))
	require.ErrorIs(t, err, cause)
	require.ErrorContains(t, err, "mem://acme/dags/a.py at byte 10")
	require.Equal(t, int64(1), requests.Get.Load())
}

func TestReaderLeavesTheFirstOpenToTheImplementation(t *testing.T) {
	b, object := hold(t)
	cause := errors.New("the server is down")
	b.Fault = func(membucket.Op, string, bool) error { return cause }
	var requests bucket.Requests
	_, err := io.ReadAll(bucket.NewReader(bucket.CountRequests(t.Context(), &requests), b, object))
	require.ErrorIs(t, err, cause)
	require.Equal(t, int64(1), requests.Get.Load())
}

func TestReaderEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, object := hold(t)
		b.Cut = func(string, int64) int64 { return 0 }
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond) // less than the first pause
		defer cancel()
		began := time.Now()
		_, err := io.ReadAll(bucket.NewReader(ctx, b, object))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 10*time.Millisecond, time.Since(began))
	})
}

func TestReaderCanBeClosedAtAnyTime(t *testing.T) {
	b, object := hold(t)
	for _, n := range []int{0, 3, len(text)} {
		reader := bucket.NewReader(t.Context(), b, object)
		_, err := io.ReadFull(reader, make([]byte, n))
		require.NoError(t, err)
		require.NoError(t, reader.Close())
		require.NoError(t, reader.Close())
		_, err = reader.Read(make([]byte, 1))
		require.ErrorContains(t, err, "read after close")
	}
}
