// Package membucket is a bucket in memory, with a clock that can be set and faults on request. Tests and simulations use it.
package membucket

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dagbucket/dagbucket/internal/bucket"
)

// Op is a kind of call.
type Op string

// The calls that faults can strike.
const (
	List   Op = "list"
	Open   Op = "open"
	Put    Op = "put"
	Copy   Op = "copy" // into the bucket; the key is the new one
	Delete Op = "delete"
)

// Fault is asked before and after each call takes effect; an error it returns is the call's. After a Put, Copy or Delete that is
// the answer that was lost. For List the key is the prefix.
type Fault func(op Op, key string, after bool) error

// Bucket is a bucket.Bucket in memory. The zero value is not usable; make one with New. Set its exported fields before it is used.
type Bucket struct {
	// Now is the storage's clock; nil is time.Now.
	Now func() time.Time
	// Fault, if not nil, strikes calls.
	Fault Fault
	// ETags makes versions of contents, as on S3: equal bytes have equal versions, whenever they were written.
	ETags bool
	// PageSize is how many keys of a listing are read at once, 0 for all. Each page is a call that Fault strikes, and shows what there is at
	// that moment: such a listing is no snapshot.
	PageSize int
	// Cut, if not nil, says after how many bytes of a body the connection breaks; -1 for never.
	Cut func(key string, offset int64) int64

	name    string
	mu      sync.Mutex
	objects map[string]object
	last    int
}

type object struct {
	bucket.Object
	content []byte
}

// New returns an empty bucket; its String is "mem://name".
func New(name string) *Bucket {
	return &Bucket{name: name, objects: map[string]object{}}
}

// String is the bucket's URL.
func (b *Bucket) String() string { return "mem://" + b.name }

func (b *Bucket) now() time.Time {
	if b.Now != nil {
		return b.Now().UTC()
	}
	return time.Now().UTC()
}

func (b *Bucket) fault(ctx context.Context, op Op, key string, after bool) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %s %s: %w", b, op, key, err)
	}
	if b.Fault == nil {
		return nil
	}
	if err := b.Fault(op, key, after); err != nil {
		return fmt.Errorf("%s: %s %s: %w", b, op, key, err)
	}
	return nil
}

// List implements bucket.Bucket.
func (b *Bucket) List(ctx context.Context, prefix string) (bucket.Listing, error) {
	bucket.RequestsOf(ctx).List.Add(1)
	if err := b.fault(ctx, List, prefix, false); err != nil {
		return bucket.Listing{}, err
	}
	listing := bucket.Listing{Time: b.now()}
	for last := ""; ; {
		page := b.page(prefix, last)
		listing.Objects = append(listing.Objects, page...)
		if err := b.fault(ctx, List, prefix, true); err != nil {
			return bucket.Listing{}, err
		}
		if len(page) < b.PageSize || b.PageSize == 0 {
			return listing, nil
		}
		last = page[len(page)-1].Key
		bucket.RequestsOf(ctx).List.Add(1)
		if err := b.fault(ctx, List, prefix, false); err != nil {
			return bucket.Listing{}, err
		}
	}
}

// page returns the objects below prefix with keys after last, at most a page of them.
func (b *Bucket) page(prefix, last string) []bucket.Object {
	page := slices.DeleteFunc(b.Snapshot(prefix), func(o bucket.Object) bool { return o.Key <= last && last != "" })
	if b.PageSize > 0 {
		page = page[:min(len(page), b.PageSize)]
	}
	return page
}

// Snapshot is a listing at one instant, which no fault strikes.
func (b *Bucket) Snapshot(prefix string) []bucket.Object {
	b.mu.Lock()
	defer b.mu.Unlock()
	var objects []bucket.Object
	for key, o := range b.objects {
		if strings.HasPrefix(key, prefix) {
			objects = append(objects, o.Object)
		}
	}
	slices.SortFunc(objects, func(x, y bucket.Object) int { return strings.Compare(x.Key, y.Key) })
	return objects
}

// Open implements bucket.Bucket.
func (b *Bucket) Open(ctx context.Context, key, version string, offset int64) (*bucket.Body, error) {
	bucket.RequestsOf(ctx).Get.Add(1)
	if err := b.fault(ctx, Open, key, false); err != nil {
		return nil, err
	}
	b.mu.Lock()
	o, ok := b.objects[key]
	now := b.now()
	b.mu.Unlock()
	switch {
	case version != "" && (!ok || o.Version != version):
		return nil, fmt.Errorf("%s/%s: %w", b, key, bucket.ErrChanged)
	case !ok:
		return nil, fmt.Errorf("%s/%s: %w", b, key, bucket.ErrNotExist)
	case o.Archived:
		return nil, fmt.Errorf("%s/%s: %w", b, key, bucket.ErrArchived)
	case offset > o.Size:
		return nil, fmt.Errorf("%s/%s: offset %d is beyond its %d bytes", b, key, offset, o.Size)
	}
	if err := b.fault(ctx, Open, key, true); err != nil {
		return nil, err
	}
	body := &body{ctx: ctx, rest: o.content[offset:], cut: -1}
	if b.Cut != nil {
		body.cut = b.Cut(key, offset)
	}
	return &bucket.Body{ReadCloser: body, Object: o.Object, Now: now}, nil
}

// body reads from memory until it is cut.
type body struct {
	ctx  context.Context
	rest []byte
	cut  int64 // bytes until the connection breaks; negative: never
}

func (r *body) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	if len(r.rest) == 0 {
		return 0, io.EOF
	}
	if r.cut == 0 {
		return 0, fmt.Errorf("the connection was cut: %w", io.ErrUnexpectedEOF)
	}
	if r.cut > 0 {
		p = p[:min(int64(len(p)), r.cut)]
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	if r.cut > 0 {
		r.cut -= int64(n)
	}
	return n, nil
}

func (r *body) Close() error { return nil }

// Put implements bucket.Bucket.
func (b *Bucket) Put(ctx context.Context, key string, body io.Reader, when bucket.Condition) (string, error) {
	bucket.RequestsOf(ctx).Put.Add(1)
	if err := b.fault(ctx, Put, key, false); err != nil {
		return "", err
	}
	var content bytes.Buffer
	if _, err := io.Copy(&content, contextReader{ctx, body}); err != nil {
		return "", fmt.Errorf("%s/%s: %w", b, key, err)
	}
	version, err := b.store(key, content.Bytes(), false, when)
	if err == nil {
		err = b.fault(ctx, Put, key, true)
	}
	if err != nil {
		return "", err
	}
	return version, nil
}

// store keeps content under key if the condition holds.
func (b *Bucket) store(key string, content []byte, gzip bool, when bucket.Condition) (version string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	old, ok := b.objects[key]
	if when.Absent() && ok || when != bucket.Always && !when.Absent() && (!ok || old.Version != when.Version()) {
		return "", fmt.Errorf("%s/%s: %w", b, key, bucket.ErrChanged)
	}
	b.last++
	version = strconv.Itoa(b.last)
	if b.ETags {
		version = fmt.Sprintf("%x", sha256.Sum256(content))[:32]
	}
	b.objects[key] = object{bucket.Object{Key: key, Size: int64(len(content)), Version: version, Modified: b.now(), Gzip: gzip}, content}
	return version, nil
}

// Copy implements bucket.Copier: all buckets in memory are of one storage.
func (b *Bucket) Copy(ctx context.Context, from bucket.Reader, key, version, toKey string, when bucket.Condition) (string, error) {
	source, ok := from.(*Bucket)
	if !ok {
		return "", fmt.Errorf("%s/%s: %w", from, key, bucket.ErrCannotCopy)
	}
	bucket.RequestsOf(ctx).Put.Add(1)
	if err := b.fault(ctx, Copy, toKey, false); err != nil {
		return "", err
	}
	source.mu.Lock()
	o, ok := source.objects[key]
	source.mu.Unlock()
	switch {
	case !ok || o.Version != version:
		return "", fmt.Errorf("%s/%s: %w", source, key, bucket.ErrChanged)
	case o.Archived:
		return "", fmt.Errorf("%s/%s: %w", source, key, bucket.ErrArchived)
	}
	stored, err := b.store(toKey, o.content, o.Gzip, when)
	if err == nil {
		err = b.fault(ctx, Copy, toKey, true)
	}
	if err != nil {
		return "", err
	}
	return stored, nil
}

type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// Delete implements bucket.Bucket.
func (b *Bucket) Delete(ctx context.Context, key, version string) error {
	bucket.RequestsOf(ctx).Delete.Add(1)
	if err := b.fault(ctx, Delete, key, false); err != nil {
		return err
	}
	b.mu.Lock()
	o, ok := b.objects[key]
	if version != "" && (!ok || o.Version != version) {
		b.mu.Unlock()
		return fmt.Errorf("%s/%s: %w", b, key, bucket.ErrChanged)
	}
	delete(b.objects, key)
	b.mu.Unlock()
	return b.fault(ctx, Delete, key, true)
}

// Change edits what a listing says of an object, such as its time or storage class. It does nothing if there is none.
func (b *Bucket) Change(key string, edit func(*bucket.Object)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if o, ok := b.objects[key]; ok {
		edit(&o.Object)
		b.objects[key] = o
	}
}
