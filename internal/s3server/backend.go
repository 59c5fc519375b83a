package s3server

import (
	"encoding/hex"

	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

// backend is the store, with the questions that this package asks of it.
type backend struct{ *s3mem.Backend }

// object is what the server knows of an object.
type object struct {
	exists bool
	size   int64  // bytes
	etag   string // quoted
}

func (b backend) head(bucket, key string) object {
	o, err := b.HeadObject(bucket, key)
	if err != nil {
		return object{}
	}
	return object{exists: true, size: o.Size, etag: `"` + hex.EncodeToString(o.Hash) + `"`}
}

func (b backend) has(bucket string) bool {
	ok, err := b.BucketExists(bucket)
	return ok && err == nil
}
