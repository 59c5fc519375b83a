package gcsserver

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/url"
	"strconv"
	"time"
)

const googleAPIs = "https://www.googleapis.com"

// resource is an object's metadata as the JSON API shows it.
type resource struct {
	Kind                    string            `json:"kind"`
	ID                      string            `json:"id"`
	SelfLink                string            `json:"selfLink"`
	MediaLink               string            `json:"mediaLink"`
	Name                    string            `json:"name"`
	Bucket                  string            `json:"bucket"`
	Generation              string            `json:"generation"`
	Metageneration          string            `json:"metageneration"`
	ContentType             string            `json:"contentType,omitempty"`
	ContentEncoding         string            `json:"contentEncoding,omitempty"`
	ContentDisposition      string            `json:"contentDisposition,omitempty"`
	ContentLanguage         string            `json:"contentLanguage,omitempty"`
	CacheControl            string            `json:"cacheControl,omitempty"`
	StorageClass            string            `json:"storageClass"`
	Size                    string            `json:"size"`
	MD5Hash                 string            `json:"md5Hash"`
	CRC32C                  string            `json:"crc32c"`
	ETag                    string            `json:"etag"`
	TimeCreated             string            `json:"timeCreated"`
	Updated                 string            `json:"updated"`
	TimeStorageClassUpdated string            `json:"timeStorageClassUpdated"`
	Metadata                map[string]string `json:"metadata,omitempty"`
}

func (o *object) resource() resource {
	generation := strconv.FormatInt(o.generation, 10)
	return resource{
		Kind: "storage#object", ID: fmt.Sprintf("%s/%s/%s", o.bucket, o.key, generation),
		SelfLink: googleAPIs + o.path(),
		MediaLink: fmt.Sprintf("https://storage.googleapis.com/download/storage/v1/b/%s/o/%s?generation=%s&alt=media",
			url.PathEscape(o.bucket), url.PathEscape(o.key), generation),
		Name: o.key, Bucket: o.bucket, Generation: generation, Metageneration: strconv.FormatInt(o.metageneration, 10),
		ContentType: o.contentType, ContentEncoding: o.contentEncoding, ContentDisposition: o.contentDisposition,
		ContentLanguage: o.contentLanguage, CacheControl: o.cacheControl, StorageClass: o.storageClass,
		Size: strconv.Itoa(len(o.content)), MD5Hash: o.md5, CRC32C: o.crc32c, ETag: o.etag(), Metadata: o.metadata,
		TimeCreated: timestamp(o.created), Updated: timestamp(o.updated), TimeStorageClassUpdated: timestamp(o.created),
	}
}

// etag is made of the generation and the metageneration, as Google's (a protocol buffer of both).
func (o *object) etag() string {
	b := binary.AppendUvarint([]byte{1 << 3}, uint64(o.generation))
	b = binary.AppendUvarint(append(b, 2<<3), uint64(o.metageneration))
	return base64.StdEncoding.EncodeToString(b)
}

func timestamp(t time.Time) string { return t.Format("2006-01-02T15:04:05.000Z") }
