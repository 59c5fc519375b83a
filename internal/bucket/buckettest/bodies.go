package buckettest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/bucket"
)

// large is a size in bytes that a streaming Put splits into parts, and no buffer on the way swallows whole.
const large = 16 << 20

// content returns size bytes that look random and are the same for the same seed, as a stream that hides its length.
func content(seed byte, size int64) io.Reader {
	block := make([]byte, 1<<20+7) // no part and no buffer is a multiple of it
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(block)
	return struct{ io.Reader }{io.LimitReader(&cycle{block: block}, size)}
}

// cycle reads a block again and again.
type cycle struct {
	block []byte
	at    int
}

func (c *cycle) Read(p []byte) (int, error) {
	n := copy(p, c.block[c.at:])
	c.at = (c.at + n) % len(c.block)
	return n, nil
}

func contentBytes(t *testing.T, seed byte, size int64) []byte {
	t.Helper()
	all, err := io.ReadAll(content(seed, size))
	require.NoError(t, err)
	return all
}

func digest(t *testing.T, r io.Reader) (sum [sha256.Size]byte, size int64) {
	t.Helper()
	h := sha256.New()
	size, err := io.Copy(h, r)
	require.NoError(t, err)
	h.Sum(sum[:0])
	return sum, size
}

func put(t *testing.T, b bucket.Bucket, key, body string) (version string) {
	t.Helper()
	version, err := b.Put(t.Context(), key, strings.NewReader(body), bucket.Always)
	require.NoError(t, err)
	require.NotEmpty(t, version)
	return version
}

func putLarge(t *testing.T, b bucket.Bucket, key string, seed byte, size int64) (version string) {
	t.Helper()
	version, err := b.Put(t.Context(), key, content(seed, size), bucket.Always)
	require.NoError(t, err)
	return version
}

func read(t *testing.T, b bucket.Bucket, key, version string, offset int64) (string, bucket.Object) {
	t.Helper()
	body, err := b.Open(t.Context(), key, version, offset)
	require.NoError(t, err)
	all, err := io.ReadAll(body)
	require.NoError(t, err)
	require.NoError(t, body.Close())
	return string(all), body.Object
}

func list(t *testing.T, b bucket.Bucket, prefix string) []bucket.Object {
	t.Helper()
	listing, err := b.List(t.Context(), prefix)
	require.NoError(t, err)
	return listing.Objects
}

func keys(objects []bucket.Object) []string {
	names := []string{}
	for _, o := range objects {
		names = append(names, o.Key)
	}
	return names
}

// failingReader gives its bytes, then its error.
func failingReader(size int64, err error) io.Reader {
	return io.MultiReader(content(1, size), callback(func() error { return err }))
}

// callback is a reader without bytes: it calls, and ends with what the call returns; nil is io.EOF.
type callback func() error

func (c callback) Read([]byte) (int, error) {
	if err := c(); err != nil {
		return 0, err
	}
	return 0, io.EOF
}

// callsOf is every call of the contract, with a small body.
func callsOf(b bucket.Bucket, key string) map[string]func(context.Context) error {
	calls := map[string]func(context.Context) error{
		"List": func(ctx context.Context) error { _, err := b.List(ctx, "dags/"); return err },
		"Open": func(ctx context.Context) error { _, err := b.Open(ctx, key, "", 0); return err },
		"Put": func(ctx context.Context) error {
			_, err := b.Put(ctx, key, bytes.NewReader([]byte("x")), bucket.Always)
			return err
		},
		"Put if absent": func(ctx context.Context) error {
			_, err := b.Put(ctx, key, bytes.NewReader([]byte("x")), bucket.IfAbsent())
			return err
		},
		"Delete": func(ctx context.Context) error { return b.Delete(ctx, key, "") },
	}
	if c, ok := b.(bucket.Copier); ok {
		calls["Copy"] = func(ctx context.Context) error {
			_, err := c.Copy(ctx, b, key, "1", key+".copy", bucket.Always)
			return err
		}
	}
	return calls
}
