package s3bucket

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/network"
)

// emptyPages is how many pages without an object may follow each other: S3 may give some behind many delete markers.
const emptyPages = 10

// List implements bucket.Bucket. It asks for a thousand keys at a time.
func (b *Bucket) List(ctx context.Context, prefix string) (bucket.Listing, error) {
	pages := pager{client: b.client, in: s3.ListObjectsV2Input{
		Bucket: &b.name, Prefix: &prefix, MaxKeys: b.pageSize, EncodingType: types.EncodingTypeUrl, // XML cannot hold every key
		OptionalObjectAttributes: []types.OptionalObjectAttributes{types.OptionalObjectAttributesRestoreStatus},
	}}
	defer pages.close()
	listed := lister{prefix: prefix}
	began := time.Now()
	for {
		page, err := pages.get(ctx, listed.token)
		if err != nil {
			return bucket.Listing{}, b.explain(ctx, "list", "s3:ListBucket", prefix, err)
		}
		if listed.Time.IsZero() {
			// The answer may be dated long after what it shows; of whole seconds Date knows nothing anyway.
			listed.Time = serverTime(page.ResultMetadata).Add(-time.Since(began).Truncate(time.Second))
		}
		if err := listed.add(page); err != nil {
			return bucket.Listing{}, fmt.Errorf("cannot list s3://%s/%s: %w", b.name, prefix, err)
		}
		if !aws.ToBool(page.IsTruncated) {
			return listed.Listing, nil
		}
	}
}

// lister puts pages together. It doubts each of them: an object that a listing lacks is removed from the Deployment.
type lister struct {
	bucket.Listing
	prefix string
	last   string // key
	token  string // of the page that comes next
	empty  int    // pages without an object since the last one with any
}

func (l *lister) add(page *s3.ListObjectsV2Output) error {
	// The SDK reads any document, and none at all, as a page; what is not S3's has no bucket in it.
	if aws.ToString(page.Name) == "" {
		return errors.New("the answer is not a listing of this bucket: " + network.NoProxy)
	}
	if page.KeyCount != nil && int(*page.KeyCount) != len(page.Contents) {
		return fmt.Errorf("a page of the listing counts %d keys and shows %d", *page.KeyCount, len(page.Contents))
	}
	for _, o := range page.Contents {
		object, err := l.object(page, o)
		if err != nil {
			return err
		}
		l.last = object.Key
		l.Objects = append(l.Objects, object)
	}
	return l.moves(page)
}

// moves checks that the listing gets on to its end.
func (l *lister) moves(page *s3.ListObjectsV2Output) error {
	if !aws.ToBool(page.IsTruncated) {
		return nil
	}
	token := aws.ToString(page.NextContinuationToken)
	switch {
	case token == "":
		return errors.New("the listing goes on, and the storage does not say where (no NextContinuationToken)")
	case token == l.token:
		return errors.New("the listing does not get on: its next page is the same again")
	}
	l.token = token
	if l.empty++; len(page.Contents) > 0 {
		l.empty = 0
	}
	if l.empty > emptyPages {
		return fmt.Errorf("the listing does not get on: %d pages in a row are empty", l.empty)
	}
	return nil
}

func (l *lister) object(page *s3.ListObjectsV2Output, o types.Object) (bucket.Object, error) {
	key, err := keyOf(page, o)
	switch {
	case err != nil || key <= l.last && l.last != "":
		return bucket.Object{}, fmt.Errorf("the storage does not list keys in order, or badly encoded: %q after %q", key, l.last)
	case !strings.HasPrefix(key, l.prefix):
		return bucket.Object{}, fmt.Errorf("the storage lists %q, which was not asked for", key)
	case aws.ToString(o.ETag) == "":
		return bucket.Object{}, fmt.Errorf("the storage lists %q without an ETag", key)
	case o.Size == nil || *o.Size < 0:
		return bucket.Object{}, fmt.Errorf("the storage lists %q without a size", key)
	}
	return bucket.Object{Key: key, Size: *o.Size, Version: *o.ETag, Modified: aws.ToTime(o.LastModified).UTC(), Archived: archived(o)}, nil
}

// keyOf decodes a listed key; some servers that speak the protocol ignore what was asked for, and say so.
func keyOf(page *s3.ListObjectsV2Output, o types.Object) (string, error) {
	if page.EncodingType != types.EncodingTypeUrl {
		return aws.ToString(o.Key), nil
	}
	return url.QueryUnescape(aws.ToString(o.Key))
}

// archived reports whether an object cannot be read at once. One that was restored still lists its old class. The archive
// tiers of Intelligent-Tiering are not listed: there Open says it.
func archived(o types.Object) bool {
	switch o.StorageClass {
	case types.ObjectStorageClassGlacier, types.ObjectStorageClassDeepArchive:
		return o.RestoreStatus == nil || o.RestoreStatus.RestoreExpiryDate == nil
	}
	return false
}
