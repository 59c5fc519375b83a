// Package s3bucket is the storage contract over Amazon S3 and what speaks its protocol.
//
// A version is an ETag. Two writes of equal bytes may have the same one, so what must be told apart needs a nonce inside.
package s3bucket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	smithymiddleware "github.com/aws/smithy-go/middleware"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/network"
)

const (
	// A streamed Put holds its first part and a pool of partsAtOnce+1: 24 MiB, beside at most another part of garbage.
	partSize    = 8 << 20
	partsAtOnce = 1               // while the next one is filled
	abortTime   = 2 * time.Second // for taking back the parts of an upload that failed
	// conditionalLimit is the largest body of a conditional Put in bytes.
	conditionalLimit = 16 << 20
)

// Bucket is one S3 bucket.
type Bucket struct {
	client   *s3.Client
	transfer *transfermanager.Client
	name     string
	pageSize *int32 // keys a page; nil is the storage's own, 1,000
}

// New returns the bucket called name; it makes no request.
func New(client *s3.Client, name string) *Bucket {
	transfer := transfermanager.New(client, func(o *transfermanager.Options) {
		o.PartSizeBytes, o.MultipartUploadThreshold = partSize, partSize
		o.Concurrency, o.FailTimeout = partsAtOnce, abortTime
	})
	return &Bucket{client: client, transfer: transfer, name: name}
}

// WithPageSize returns the bucket with listings of that many keys a page, at most 1,000.
func (b *Bucket) WithPageSize(keys int32) *Bucket {
	c := *b
	c.pageSize = &keys
	return &c
}

// String is the bucket's URL.
func (b *Bucket) String() string { return "s3://" + b.name }

func serverTime(m smithymiddleware.Metadata) time.Time {
	if t, ok := middleware.GetServerTime(m); ok {
		return t.UTC()
	}
	return time.Now().UTC() // no Date in the answer: no S3 does that
}

// Open implements bucket.Bucket.
func (b *Bucket) Open(ctx context.Context, key, version string, offset int64) (*bucket.Body, error) {
	in := &s3.GetObjectInput{Bucket: &b.name, Key: &key}
	if version != "" {
		in.IfMatch = &version
	}
	if offset > 0 {
		in.Range = aws.String(fmt.Sprintf("bytes=%d-", offset))
	}
	out, err := b.client.GetObject(ctx, in)
	if invalidRange(err) {
		return b.openAtEnd(ctx, in, offset)
	}
	if err != nil {
		return nil, b.explainRead(ctx, in, err)
	}
	etag, err := b.served(in, out.ETag)
	if err != nil {
		_ = out.Body.Close()
		return nil, err
	}
	size := aws.ToInt64(out.ContentLength)
	if offset > 0 {
		size += offset
		if begins := fmt.Sprintf("bytes %d-", offset); !strings.HasPrefix(aws.ToString(out.ContentRange), begins) {
			_ = out.Body.Close()
			return nil, fmt.Errorf("s3://%s/%s: the storage was asked for bytes from %d on and sent others", b.name, key, offset)
		}
	}
	object := bucket.Object{Key: key, Size: size, Version: etag, Modified: aws.ToTime(out.LastModified).UTC()}
	return &bucket.Body{ReadCloser: out.Body, Object: object, Now: serverTime(out.ResultMetadata)}, nil
}

// openAtEnd opens an object whose storage refused the range: none begins at the very end of an object.
func (b *Bucket) openAtEnd(ctx context.Context, in *s3.GetObjectInput, offset int64) (*bucket.Body, error) {
	out, err := b.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: in.Bucket, Key: in.Key, IfMatch: in.IfMatch})
	if err != nil {
		return nil, b.explainRead(ctx, in, err)
	}
	etag, err := b.served(in, out.ETag)
	if err != nil {
		return nil, err
	}
	object := bucket.Object{Key: *in.Key, Size: aws.ToInt64(out.ContentLength), Version: etag, Modified: aws.ToTime(out.LastModified).UTC()}
	if object.Size != offset {
		return nil, fmt.Errorf("s3://%s/%s: offset %d is beyond its %d bytes", b.name, *in.Key, offset, object.Size)
	}
	return &bucket.Body{ReadCloser: http.NoBody, Object: object, Now: serverTime(out.ResultMetadata)}, nil
}

// served is the version of an answer to a read. One without any is not the storage's, and could not be pinned.
func (b *Bucket) served(in *s3.GetObjectInput, etag *string) (string, error) {
	got, asked := aws.ToString(etag), aws.ToString(in.IfMatch)
	switch {
	case got == "":
		return "", fmt.Errorf("cannot read s3://%s/%s: the answer is not an object (it has no ETag): %s", b.name, *in.Key, network.NoProxy)
	case asked != "" && strings.Trim(got, `"`) != strings.Trim(asked, `"`):
		return "", fmt.Errorf("cannot read s3://%s/%s: %w", b.name, *in.Key, bucket.ErrChanged)
	}
	return got, nil
}

func (b *Bucket) explainRead(ctx context.Context, in *s3.GetObjectInput, err error) error {
	err = b.explain(ctx, "read", "s3:GetObject", *in.Key, err)
	if in.IfMatch != nil && errors.Is(err, bucket.ErrNotExist) {
		err = fmt.Errorf("%w (%w)", bucket.ErrChanged, err)
	}
	return err
}

// Put implements bucket.Bucket.
func (b *Bucket) Put(ctx context.Context, key string, body io.Reader, when bucket.Condition) (string, error) {
	if when == bucket.Always {
		return b.stream(ctx, key, body)
	}
	content, err := io.ReadAll(io.LimitReader(body, conditionalLimit+1))
	if err != nil {
		return "", fmt.Errorf("s3://%s/%s: %w", b.name, key, err)
	}
	if len(content) > conditionalLimit {
		return "", fmt.Errorf("s3://%s/%s: a conditional write takes at most %d bytes", b.name, key, conditionalLimit)
	}
	in := &s3.PutObjectInput{Bucket: &b.name, Key: &key, Body: bytes.NewReader(content), IfMatch: aws.String(when.Version())}
	if when.Absent() {
		in.IfMatch, in.IfNoneMatch = nil, aws.String("*")
	} else if when.Version() == "" {
		return "", fmt.Errorf("s3://%s/%s: %w", b.name, key, bucket.ErrChanged)
	}
	in.ContentType, in.CacheControl = headers(key)
	out, err := b.client.PutObject(ctx, in)
	if err != nil {
		err = b.explain(ctx, "write", "s3:PutObject", key, err)
		if errors.Is(err, bucket.ErrNotExist) { // nothing there to match
			err = fmt.Errorf("%w (%w)", bucket.ErrChanged, err)
		}
		return "", err
	}
	return b.stored(key, out.ETag)
}

// stored is the version of an answer to a write.
func (b *Bucket) stored(key string, etag *string) (string, error) {
	if aws.ToString(etag) == "" {
		return "", fmt.Errorf("cannot write s3://%s/%s: the answer names no version (it has no ETag), so it is not known whether it was stored: %s", b.name, key, network.NoProxy)
	}
	return *etag, nil
}

func (b *Bucket) stream(ctx context.Context, key string, from io.Reader) (string, error) {
	body := &bucket.Source{Reader: from} // cannot seek: what the uploader does not seek it buffers, and so can send again
	in := &transfermanager.UploadObjectInput{Bucket: &b.name, Key: &key, Body: body}
	in.ContentType, in.CacheControl = headers(key)
	out, err := b.transfer.UploadObject(ctx, in)
	if err == nil {
		return b.stored(key, out.ETag)
	}
	if body.Err != nil { // not the storage's, even where it speaks of another object of it
		return "", fmt.Errorf("cannot write s3://%s/%s: %w", b.name, key, body.Err)
	}
	return "", b.explain(ctx, "write", "s3:PutObject", key, err)
}

// headers are those of an object for browsers.
func headers(key string) (contentType, cacheControl *string) {
	kind, cache := bucket.ContentType(key)
	if cache != "" {
		cacheControl = &cache
	}
	return &kind, cacheControl
}

// Delete implements bucket.Bucket.
func (b *Bucket) Delete(ctx context.Context, key, version string) error {
	in := &s3.DeleteObjectInput{Bucket: &b.name, Key: &key}
	if version != "" {
		in.IfMatch = &version
	}
	_, err := b.client.DeleteObject(ctx, in)
	if err == nil {
		return nil
	}
	err = b.explain(ctx, "delete", "s3:DeleteObject", key, err)
	if errors.Is(err, bucket.ErrNotExist) {
		if version == "" {
			return nil
		}
		return fmt.Errorf("%w (%w)", bucket.ErrChanged, err)
	}
	return err
}

// CleanUp implements bucket.Cleaner: it aborts unfinished multipart uploads, whose parts cost money and are never listed.
func (b *Bucket) CleanUp(ctx context.Context, prefix string, age time.Duration) error {
	pages := s3.NewListMultipartUploadsPaginator(b.client, &s3.ListMultipartUploadsInput{Bucket: &b.name, Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if noSuchUpload(err) { // some servers say so where there is none at all
			return nil
		}
		if err != nil {
			return b.explain(ctx, "list the unfinished uploads", "s3:ListBucketMultipartUploads", prefix, err)
		}
		now := serverTime(page.ResultMetadata)
		for _, u := range page.Uploads {
			if now.Sub(aws.ToTime(u.Initiated)) < age {
				continue
			}
			in := &s3.AbortMultipartUploadInput{Bucket: &b.name, Key: u.Key, UploadId: u.UploadId}
			if _, err := b.client.AbortMultipartUpload(ctx, in); err != nil && !noSuchUpload(err) { // it may have ended by itself meanwhile
				return b.explain(ctx, "abort the unfinished upload", "s3:AbortMultipartUpload", aws.ToString(u.Key), err)
			}
		}
	}
	return nil
}

// countRequests counts each attempt on the wire into the context's counter.
func countRequests(stack *smithymiddleware.Stack) error {
	return stack.Finalize.Insert(smithymiddleware.FinalizeMiddlewareFunc("CountRequests",
		func(ctx context.Context, in smithymiddleware.FinalizeInput, next smithymiddleware.FinalizeHandler) (
			smithymiddleware.FinalizeOutput, smithymiddleware.Metadata, error,
		) {
			requests := bucket.RequestsOf(ctx)
			switch name := middleware.GetOperationName(ctx); {
			case strings.HasPrefix(name, "List"):
				requests.List.Add(1)
			case strings.HasPrefix(name, "Get"), strings.HasPrefix(name, "Head"):
				requests.Get.Add(1)
			case strings.HasPrefix(name, "Delete"):
				requests.Delete.Add(1)
			default:
				requests.Put.Add(1)
			}
			return next.HandleFinalize(ctx, in)
		}), "Retry", smithymiddleware.After)
}
