// Package bucket is the storage contract: what dagbucket needs of an object store, and nothing more.
//
// Its implementations (s3bucket, gcsbucket, dirbucket, membucket) each pass the suite in buckettest; what they must agree on is
// written here.
package bucket

import (
	"context"
	"errors"
	"io"
	"time"
)

// Object is one object as the storage listed or served it.
type Object struct {
	Key  string // decoded, not necessarily valid UTF-8
	Size int64  // bytes
	// Version names these bytes under this key: the ETag on S3, the generation on Google Cloud Storage. Opaque, never
	// empty, and only comparable with versions of the same key.
	Version  string
	Modified time.Time // by the storage's clock, UTC
	// Archived objects are listed but cannot be read until somebody restores them.
	Archived bool
	// Gzip says that the bytes are compressed, and that whoever downloads them gets them decompressed: that is what their author has.
	// Size and Open are of the bytes as they are stored. Only Google Cloud Storage does that.
	Gzip bool
}

// Listing is every object below a prefix.
type Listing struct {
	Objects []Object // strictly ascending by Key, compared as bytes
	// Time is the storage's clock when the listing began, in UTC, possibly truncated to the second. Objects written
	// after it may or may not be shown.
	Time time.Time
}

// Body is an object being read.
type Body struct {
	io.ReadCloser
	Object Object
	Now    time.Time // the storage's clock when it answered, UTC; Now minus Object.Modified is the object's age
}

// Reader is the part of a Bucket that changes nothing: all that a run has of a source.
type Reader interface {
	// String is the bucket's URL without a prefix, such as "s3://acme-dags".
	String() string

	// List returns every object whose key begins with prefix, byte for byte, or an error: never a part of them. The
	// storage may be written to meanwhile; then the listing need not be a snapshot. No object at all is no error.
	// An answer that is not surely the storage's is an error, and never an empty listing.
	List(ctx context.Context, prefix string) (Listing, error)

	// Open reads an object from offset (in bytes, at most its size) to its end. With a version it reads exactly
	// that version or fails with ErrChanged; with "" it reads what is there. A missing object is ErrNotExist, or
	// ErrChanged when a version was asked for. The body must be closed. A body cut short fails with an error other than io.EOF.
	Open(ctx context.Context, key, version string, offset int64) (*Body, error)
}

// Bucket is one bucket (or directory). All methods may be called concurrently, end soon after ctx does, and name the
// bucket and the key in their errors. An implementation retries what may pass where a repeat is safe, so an error is
// final for this run.
type Bucket interface {
	Reader

	// Put stores body under key and returns the new version. Nothing is visible before all of it is stored, and
	// nothing at all if body fails: then Put returns that error. A body under Always is streamed, whatever
	// its size; conditional ones are small (at most 16 MiB) and may be held in memory. A condition that does not hold is
	// ErrChanged. After any other error the object may or may not have been stored.
	Put(ctx context.Context, key string, body io.Reader, when Condition) (version string, err error)

	// Delete removes key; deleting what is not there is no error. With a version it removes exactly that one, else ErrChanged.
	Delete(ctx context.Context, key, version string) error
}

// Copier is a Bucket that can take what another bucket of the same storage holds without its bytes passing through here. It may lack
// this: callers ask for it with a type assertion.
type Copier interface {
	// Copy stores under toKey what from holds under key in exactly that version, as Put would under the same condition, with what the
	// storage knows of it besides, such as that it is compressed; it returns the new version. Where from is not of that version, or the
	// condition does not hold, it is ErrChanged. ErrCannotCopy says that nothing was done, and that the caller has to read and to put.
	Copy(ctx context.Context, from Reader, key, version, toKey string, when Condition) (newVersion string, err error)
}

// Cleaner is a Bucket in which a writer that is killed leaves something behind that no listing shows.
type Cleaner interface {
	// CleanUp removes, below prefix, what such writers began longer than age ago by the storage's clock.
	CleanUp(ctx context.Context, prefix string, age time.Duration) error
}

// Condition says when a Put may take effect.
type Condition struct {
	conditional bool // tells IfVersion("") from Always
	absent      bool
	version     string
}

// Always puts no condition.
var Always = Condition{}

// IfAbsent lets a Put take effect only where there is no object: of many writers at once, one wins.
func IfAbsent() Condition { return Condition{conditional: true, absent: true} }

// IfVersion lets a Put take effect only in place of this version. An empty version is never matched.
func IfVersion(version string) Condition { return Condition{conditional: true, version: version} }

// Absent reports whether c asks for there to be no object.
func (c Condition) Absent() bool { return c.absent }

// Version is the version that c asks for, or "".
func (c Condition) Version() string { return c.version }

// The errors that callers decide on; match them with errors.Is. Every other error may pass by itself.
var (
	ErrNotExist   = errors.New("no such object")
	ErrCannotCopy = errors.New("the storage cannot copy it by itself")
	ErrChanged    = errors.New("the object is not the version that was expected")
	ErrArchived   = errors.New("the object is archived and must be restored before it can be read")
	ErrDenied     = errors.New("access denied")
	ErrNoBucket   = errors.New("no such bucket")
	ErrBadKey     = errors.New("the storage cannot hold this key")
	ErrTooLarge   = errors.New("the object is too large for what it should be")
	ErrScheme     = errors.New("no client for")
)

// Permanent reports whether err will not pass by itself: somebody has to change rights, names or configuration.
func Permanent(err error) bool {
	return errors.Is(err, ErrTooLarge) || errors.Is(err, ErrDenied) || errors.Is(err, ErrNoBucket) || errors.Is(err, ErrBadKey) ||
		errors.Is(err, ErrScheme)
}
