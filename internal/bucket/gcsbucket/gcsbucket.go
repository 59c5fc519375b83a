// Package gcsbucket is the storage contract over Google Cloud Storage.
//
// A version is a generation: a number that grows with each write of an object, also of equal bytes, and over deletions.
package gcsbucket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"cloud.google.com/go/storage"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/iterator"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/network"
)

const (
	// chunkSize is what a streamed Put holds of its body, to send it again where that fails. A multiple of 256 KiB.
	chunkSize = 8 << 20
	// conditionalLimit is the largest body of a conditional Put in bytes.
	conditionalLimit = 16 << 20
	pageSize         = 1000 // the storage's largest
)

// Bucket is one bucket of Cloud Storage.
type Bucket struct {
	client *Client
	name   string
	pages  int
	payer  *atomic.Pointer[string] // the project that pays for requests; nil until the bucket asks for one
}

// New returns the bucket called name; it makes no request.
func New(client *Client, name string) *Bucket {
	return &Bucket{client: client, name: name, pages: pageSize, payer: new(atomic.Pointer[string])}
}

// WithPageSize returns the bucket with listings of that many keys a page, at most 1,000.
func (b *Bucket) WithPageSize(keys int) *Bucket {
	c := *b
	c.pages = keys
	return &c
}

// String is the bucket's URL.
func (b *Bucket) String() string { return "gs://" + b.name }

// handle is the bucket as the client library has it. Retries are bounded by their number; the library's own end with the context only.
func (b *Bucket) handle() (h *storage.BucketHandle, tries *atomic.Int32) {
	tries = new(atomic.Int32)
	h = b.client.storage.Bucket(b.name).Retryer(storage.WithPolicy(storage.RetryAlways), storage.WithBackoff(pauses),
		storage.WithErrorFunc(func(err error) bool { return retryable(err) && tries.Add(1) < attempts }))
	if payer := b.payer.Load(); payer != nil {
		h = h.UserProject(*payer)
	}
	return h, tries
}

// List implements bucket.Bucket. It asks for a thousand keys at a time.
func (b *Bucket) List(ctx context.Context, prefix string) (bucket.Listing, error) {
	return again(ctx, b, func() (bucket.Listing, error) { return b.list(ctx, prefix) })
}

func (b *Bucket) list(ctx context.Context, prefix string) (bucket.Listing, error) {
	query := &storage.Query{Prefix: prefix, Projection: storage.ProjectionNoACL}
	if err := query.SetAttrSelection([]string{"Name", "Size", "Generation", "Created", "ContentEncoding"}); err != nil {
		return bucket.Listing{}, err
	}
	ctx, call := withCall(ctx)
	h, tries := b.handle()
	objects := h.Objects(ctx, query)
	objects.PageInfo().MaxSize = b.pages
	var listing bucket.Listing
	for last := ""; ; {
		attrs, err := objects.Next()
		if err == iterator.Done {
			listing.Time = call.began()
			return listing, nil
		}
		if err != nil {
			return bucket.Listing{}, b.explain(ctx, tries, "list", "storage.objects.list", prefix, err)
		}
		object := objectOf(attrs)
		if err := check(object, prefix, last, len(listing.Objects) == 0); err != nil {
			return bucket.Listing{}, fmt.Errorf("cannot list %s/%s: %w", b, prefix, err)
		}
		last = object.Key
		listing.Objects = append(listing.Objects, object)
		tries.Store(0)
	}
}

func objectOf(a *storage.ObjectAttrs) bucket.Object {
	gzip := a.ContentEncoding == "gzip"
	return bucket.Object{
		Key: a.Name, Size: a.Size, Version: versionOf(a.Generation, gzip), Gzip: gzip,
		Modified: a.Created.UTC(), // when this generation was written
	}
}

// check doubts what is listed: an object that a listing lacks is removed from the Deployment.
func check(o bucket.Object, prefix, last string, first bool) error {
	switch {
	case o.Key == "" || o.Key <= last && !first:
		return fmt.Errorf("the storage does not list keys in order: %q after %q", o.Key, last)
	case len(o.Key) < len(prefix) || o.Key[:len(prefix)] != prefix:
		return fmt.Errorf("the storage lists %q, which was not asked for", o.Key)
	case o.Version == "":
		return fmt.Errorf("the storage lists %q without a generation", o.Key)
	}
	return nil
}

// compressed marks versions of objects that are stored compressed: whether they are is no part of their generation.
const compressed = "/gzip"

// versionOf is "" for what is no generation.
func versionOf(generation int64, gzip bool) string {
	switch {
	case generation <= 0:
		return ""
	case gzip:
		return strconv.FormatInt(generation, 10) + compressed
	}
	return strconv.FormatInt(generation, 10)
}

// generation is 0 for what is no version of this storage: nothing ever matches it.
func generation(version string) int64 {
	n, err := strconv.ParseInt(strings.TrimSuffix(version, compressed), 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// Open implements bucket.Bucket. The bytes are those that are stored: what is stored compressed is not decompressed.
func (b *Bucket) Open(ctx context.Context, key, version string, offset int64) (*bucket.Body, error) {
	if version != "" && generation(version) == 0 {
		return nil, fmt.Errorf("cannot read %s/%s: %w: %q is no generation", b, key, bucket.ErrChanged, version)
	}
	return again(ctx, b, func() (*bucket.Body, error) { return b.open(ctx, key, version, offset) })
}

func (b *Bucket) open(ctx context.Context, key, version string, offset int64) (*bucket.Body, error) {
	ctx, call := withCall(ctx)
	h, tries := b.handle()
	object := h.Object(key)
	if version != "" {
		object = object.If(storage.Conditions{GenerationMatch: generation(version)})
	}
	r, err := object.NewRangeReader(ctx, offset, -1)
	if status(err) == http.StatusRequestedRangeNotSatisfiable {
		return b.openAtEnd(ctx, object, key, version, offset)
	}
	if err != nil {
		return nil, b.explainRead(ctx, tries, key, version, err)
	}
	gzip := r.Attrs.ContentEncoding == "gzip"
	got := bucket.Object{Key: key, Size: r.Attrs.Size, Version: versionOf(call.generation(), gzip), Modified: r.Attrs.LastModified.UTC(), Gzip: gzip}
	if err := b.served(got, version, offset, r.Attrs.StartOffset); err != nil {
		_ = r.Close()
		return nil, err
	}
	return &bucket.Body{ReadCloser: r, Object: got, Now: call.now()}, nil
}

// served doubts an answer to a read. One without a generation is not the storage's, and could not be pinned.
func (b *Bucket) served(got bucket.Object, version string, asked, begins int64) error {
	switch {
	case got.Version == "":
		return fmt.Errorf("cannot read %s/%s: the answer is not an object (it has no generation): %s", b, got.Key, network.NoProxy)
	case version != "" && got.Version != version:
		return fmt.Errorf("cannot read %s/%s: %w", b, got.Key, bucket.ErrChanged)
	case got.Size < 0 || got.Modified.IsZero():
		return fmt.Errorf("cannot read %s/%s: the answer does not say how long or how old it is: %s", b, got.Key, network.NoProxy)
	case asked != begins:
		return fmt.Errorf("%s/%s: the storage was asked for bytes from %d on and sent others", b, got.Key, asked)
	}
	return nil
}

// openAtEnd opens an object whose storage refused the range: none begins at the very end of an object.
func (b *Bucket) openAtEnd(ctx context.Context, object *storage.ObjectHandle, key, version string, offset int64) (*bucket.Body, error) {
	ctx, call := withCall(ctx)
	attrs, err := object.Attrs(ctx)
	if err != nil {
		return nil, b.explainRead(ctx, nil, key, version, err)
	}
	got := objectOf(attrs)
	if got.Size != offset {
		return nil, fmt.Errorf("%s/%s: offset %d is beyond its %d bytes", b, key, offset, got.Size)
	}
	return &bucket.Body{ReadCloser: http.NoBody, Object: got, Now: call.now()}, nil
}

func (b *Bucket) explainRead(ctx context.Context, tries *atomic.Int32, key, version string, err error) error {
	err = b.explain(ctx, tries, "read", "storage.objects.get", key, err)
	if version != "" && errors.Is(err, bucket.ErrNotExist) {
		err = fmt.Errorf("%w (%w)", bucket.ErrChanged, err)
	}
	return err
}

// Put implements bucket.Bucket.
func (b *Bucket) Put(ctx context.Context, key string, body io.Reader, when bucket.Condition) (string, error) {
	if err := checkKey(key); err != nil {
		return "", fmt.Errorf("cannot write %s/%s: %w: %w", b, network.OneLine(key), bucket.ErrBadKey, err)
	}
	if when == bucket.Always {
		return b.write(ctx, key, body, when, chunkSize)
	}
	content, err := io.ReadAll(io.LimitReader(body, conditionalLimit+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("cannot write %s/%s: %w", b, key, err)
	case len(content) > conditionalLimit:
		return "", fmt.Errorf("cannot write %s/%s: a conditional write takes at most %d bytes", b, key, conditionalLimit)
	case !when.Absent() && generation(when.Version()) == 0:
		return "", fmt.Errorf("cannot write %s/%s: %w", b, key, bucket.ErrChanged)
	}
	return again(ctx, b, func() (string, error) {
		// One byte more than there are, so that they are sent as one request.
		return b.write(ctx, key, bytes.NewReader(content), when, len(content)+1)
	})
}

// write sends body as one request if it is smaller than chunk, else as a resumable upload.
func (b *Bucket) write(ctx context.Context, key string, body io.Reader, when bucket.Condition, chunk int) (string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	h, tries := b.handle()
	w := conditioned(h.Object(key), when).NewWriter(ctx)
	w.ChunkSize, w.ChunkTransferTimeout = chunk, chunkTimeout
	w.ContentType, w.CacheControl = bucket.ContentType(key)
	w.ProgressFunc = func(int64) { tries.Store(0) }
	from := &bucket.Source{Reader: body}
	_, err := io.Copy(w, from)
	if err == nil && ctx.Err() == nil {
		err = w.Close()
	} else {
		// Closing would publish what has come so far. A session of an upload that is left ends by itself within a week, unseen and unpaid.
		cancel()
	}
	switch {
	case from.Err != nil:
		return "", fmt.Errorf("cannot write %s/%s: %w", b, key, from.Err)
	case err != nil || ctx.Err() != nil:
		return "", b.explain(ctx, tries, "write", "storage.objects.create, and to overwrite storage.objects.delete,", key, network.WithCause(ctx, err))
	case w.Attrs() == nil || w.Attrs().Generation <= 0:
		return "", fmt.Errorf("cannot write %s/%s: the answer names no generation, so it is not known whether it was stored: %s", b, key, network.NoProxy)
	}
	return versionOf(w.Attrs().Generation, false), nil
}

// Delete implements bucket.Bucket.
func (b *Bucket) Delete(ctx context.Context, key, version string) error {
	if version != "" && generation(version) == 0 {
		return fmt.Errorf("cannot delete %s/%s: %w: %q is no generation", b, key, bucket.ErrChanged, version)
	}
	_, err := again(ctx, b, func() (struct{}, error) { return struct{}{}, b.delete(ctx, key, version) })
	return err
}

func (b *Bucket) delete(ctx context.Context, key, version string) error {
	ctx, _ = withCall(ctx)
	h, tries := b.handle()
	object := h.Object(key)
	if version != "" {
		object = object.If(storage.Conditions{GenerationMatch: generation(version)})
	}
	err := object.Delete(ctx)
	if err == nil {
		return nil
	}
	err = b.explain(ctx, tries, "delete", "storage.objects.delete", key, err)
	if errors.Is(err, bucket.ErrNotExist) {
		if version == "" {
			return nil
		}
		return fmt.Errorf("%w (%w)", bucket.ErrChanged, err)
	}
	return err
}

// again repeats a call once in the name of a project that pays, if the bucket asks for one. Others must not be named one: that takes a
// right of its own.
func again[T any](ctx context.Context, b *Bucket, call func() (T, error)) (T, error) {
	result, err := call()
	if err == nil || b.payer.Load() != nil || !asksForPayer(err) {
		return result, err
	}
	payer, cause := b.client.payer(ctx)
	if cause != nil {
		return result, fmt.Errorf("%w (%w)", err, cause)
	}
	b.payer.Store(&payer)
	return call()
}

// status is the HTTP status of an answer that is an error, else 0.
func status(err error) int {
	var answer *googleapi.Error
	if errors.As(err, &answer) {
		return answer.Code
	}
	return 0
}

// chunkTimeout lets a chunk be sent again where its answer does not come.
const chunkTimeout = 60 * time.Second
