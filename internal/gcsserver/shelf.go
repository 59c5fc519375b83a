package gcsserver

import (
	"bytes"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/fsouza/fake-gcs-server/fakestorage"
)

// shelf holds the objects, while the fake holds those of the request at hand and no others: they are put back into it before
// and taken out of it afterwards.
//
// That is because the fake looks at every object it has, and formats its name anew, several times in each request: with
// 10,000 objects a write takes it tens of milliseconds. Here a look-up takes the same time however many there are, and a reader keeps
// the very object it found, whatever is written meanwhile.
type shelf struct {
	fake    *fakestorage.Server
	buckets map[string]*contents // those that held an object
}

// contents is what a bucket holds.
type contents struct {
	objects map[string]*object
	sorted  []string // the keys, or nil if they changed since
}

// object is an object as it was stored; it never changes.
type object struct {
	name
	generation     int64
	metageneration int64
	created        time.Time
	updated        time.Time

	contentType, contentEncoding, contentDisposition, contentLanguage, cacheControl, storageClass string
	crc32c, md5                                                                                   string // in base64
	metadata                                                                                      map[string]string
	content                                                                                       []byte

	putBack func() // into the fake
}

func (s *shelf) has(bucket string) bool {
	_, err := s.fake.Backend().GetBucket(bucket)
	return err == nil
}

func (s *shelf) contents(bucket string) *contents {
	if c := s.buckets[bucket]; c != nil {
		return c
	}
	return &contents{}
}

// get returns the object, or nil if there is none.
func (s *shelf) get(n name) *object { return s.contents(n.bucket).objects[n.key] }

func (s *shelf) set(n name, o *object) {
	c := s.buckets[n.bucket]
	if c == nil {
		c = &contents{objects: map[string]*object{}}
		s.buckets[n.bucket] = c
	}
	if (o == nil) != (c.objects[n.key] == nil) {
		c.sorted = nil
	}
	if c.objects[n.key] = o; o == nil {
		delete(c.objects, n.key)
	}
}

// keys returns the bucket's keys in the order of their bytes; the caller must not change them.
func (s *shelf) keys(bucket string) []string {
	c := s.contents(bucket)
	if c.sorted == nil {
		c.sorted = slices.Sorted(maps.Keys(c.objects))
	}
	return c.sorted
}

const storedTime = "2006-01-02T15:04:05.999999Z07:00"

// take takes an object out of the fake, or returns nil if it has none of that name.
func (s *shelf) take(n name) *object {
	backend := s.fake.Backend()
	stored, err := backend.GetObject(n.bucket, n.key)
	if err != nil {
		return nil
	}
	content := make([]byte, stored.Size)
	// The fake keeps it in memory, and its size is that of the content.
	_, _ = io.ReadFull(stored.Content, content)
	_ = backend.DeleteObjectWithGeneration(n.bucket, n.key, stored.Generation)
	created, _ := time.Parse(storedTime, stored.Created)
	return &object{
		name: n, generation: stored.Generation, metageneration: 1, created: created.UTC(), updated: created.UTC(),
		contentType: stored.ContentType, contentEncoding: stored.ContentEncoding, contentDisposition: stored.ContentDisposition,
		contentLanguage: stored.ContentLanguage, cacheControl: stored.CacheControl, storageClass: stored.StorageClass,
		crc32c: stored.Crc32c, md5: stored.Md5Hash, content: content,
		metadata: maps.Clone(stored.Metadata), // the fake patches its own
		putBack: func() {
			again := stored
			again.Metadata = maps.Clone(stored.Metadata)
			again.Content = reader{bytes.NewReader(content)}
			_, _ = backend.CreateObject(again, always{})
		},
	}
}

// reader is content as the fake wants it.
type reader struct{ *bytes.Reader }

func (reader) Close() error { return nil }

// always is the fake's condition that always holds.
type always struct{}

func (always) ConditionsMet(int64) bool { return true }
