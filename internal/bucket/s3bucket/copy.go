package s3bucket

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/dagbucket/dagbucket/internal/bucket"
)

// Copy implements bucket.Copier for buckets of one client. S3 checks both conditions at the copy itself; of what else speaks its protocol,
// some look at neither or at the source's only, and then what was written over the target since it was listed is lost.
func (b *Bucket) Copy(ctx context.Context, from bucket.Reader, key, version, toKey string, when bucket.Condition) (string, error) {
	source, ok := from.(*Bucket)
	if !ok || source.client != b.client {
		return "", fmt.Errorf("cannot copy %s/%s to s3://%s/%s: %w", from, key, b.name, toKey, bucket.ErrCannotCopy)
	}
	in := &s3.CopyObjectInput{Bucket: &b.name, Key: &toKey, CopySource: aws.String(copySource(source.name, key)), CopySourceIfMatch: &version}
	switch {
	case version == "" || when != bucket.Always && !when.Absent() && when.Version() == "":
		return "", fmt.Errorf("s3://%s/%s: %w", b.name, toKey, bucket.ErrChanged)
	case when.Absent():
		in.IfNoneMatch = aws.String("*")
	case when != bucket.Always:
		in.IfMatch = aws.String(when.Version())
	}
	out, err := b.client.CopyObject(ctx, in)
	if err != nil {
		return "", b.explainCopy(ctx, toKey, err)
	}
	if out.CopyObjectResult == nil {
		return b.stored(toKey, nil)
	}
	return b.stored(toKey, out.CopyObjectResult.ETag)
}

func (b *Bucket) explainCopy(ctx context.Context, toKey string, err error) error {
	status, code, _, _ := answerOf(err)
	if code == "InvalidRequest" || code == "EntityTooLarge" || status == http.StatusNotImplemented { // such as more than 5 GiB
		return fmt.Errorf("cannot copy to s3://%s/%s: %w (%s)", b.name, toKey, bucket.ErrCannotCopy, code)
	}
	err = b.explain(ctx, "copy to", "s3:PutObject, and s3:GetObject on what is copied,", toKey, err)
	if errors.Is(err, bucket.ErrNotExist) { // the source, or what the condition asks for
		err = fmt.Errorf("%w (%w)", bucket.ErrChanged, err)
	}
	return err
}

// copySource names an object as the header wants it: encoded, but for the slashes. Some servers take "+" for a space.
func copySource(name, key string) string {
	segments := strings.Split(key, "/")
	for i := range segments {
		segments[i] = strings.ReplaceAll(url.QueryEscape(segments[i]), "+", "%20")
	}
	return name + "/" + strings.Join(segments, "/")
}
