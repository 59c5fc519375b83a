package gcsbucket

import (
	"context"
	"errors"
	"fmt"

	"cloud.google.com/go/storage"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/network"
)

// Copy implements bucket.Copier for buckets of one client. Where the source bucket keeps old generations, it copies those too.
func (b *Bucket) Copy(ctx context.Context, from bucket.Reader, key, version, toKey string, when bucket.Condition) (string, error) {
	source, ok := from.(*Bucket)
	if !ok || source.client != b.client {
		return "", fmt.Errorf("cannot copy %s/%s to %s/%s: %w", from, key, b, toKey, bucket.ErrCannotCopy)
	}
	if err := checkKey(toKey); err != nil {
		return "", fmt.Errorf("cannot copy to %s/%s: %w: %w", b, network.OneLine(toKey), bucket.ErrBadKey, err)
	}
	if generation(version) == 0 || when != bucket.Always && !when.Absent() && generation(when.Version()) == 0 {
		return "", fmt.Errorf("cannot copy to %s/%s: %w", b, toKey, bucket.ErrChanged)
	}
	return again(ctx, b, func() (string, error) { return b.copy(ctx, source, key, generation(version), toKey, when) })
}

func (b *Bucket) copy(ctx context.Context, source *Bucket, key string, generation int64, toKey string, when bucket.Condition) (string, error) {
	h, tries := b.handle()
	from, _ := source.handle()
	attrs, err := conditioned(h.Object(toKey), when).CopierFrom(from.Object(key).Generation(generation)).Run(ctx)
	if err != nil {
		err = b.explain(ctx, tries, "copy to", "storage.objects.create, to overwrite storage.objects.delete, and on what is copied storage.objects.get,", toKey, err)
		if errors.Is(err, bucket.ErrNotExist) { // the source
			err = fmt.Errorf("%w (%w)", bucket.ErrChanged, err)
		}
		return "", err
	}
	copied := objectOf(attrs)
	if copied.Version == "" {
		return "", fmt.Errorf("cannot copy to %s/%s: the answer names no generation, so it is not known whether it was stored: %s", b, toKey, network.NoProxy)
	}
	return copied.Version, nil
}

// conditioned is an object under the condition of a write.
func conditioned(o *storage.ObjectHandle, when bucket.Condition) *storage.ObjectHandle {
	switch {
	case when.Absent():
		return o.If(storage.Conditions{DoesNotExist: true})
	case when != bucket.Always:
		return o.If(storage.Conditions{GenerationMatch: generation(when.Version())})
	}
	return o
}
