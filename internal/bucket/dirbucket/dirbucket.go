// Package dirbucket is the storage contract over a local directory, for file:// URLs.
//
// A key is the path of a regular file below the directory. A symbolic link to a file inside it reads as that file; links that lead
// outside, dangling ones and linked directories hold no objects. A version is made of a file's modification time, size and
// inode, so programs that write beside this one are noticed as far as their writes change one of these; writes through this
// package always do. All programs that write through it to one directory must run on one machine, where its lock holds.
package dirbucket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/dagbucket/dagbucket/internal/bucket"
)

const (
	// lockName is the file in the directory whose lock each writer holds; it is no object and no key.
	lockName = ".dagbucket.lock"
	// A file being written has a name of this form beside its final one; such files are no objects either.
	tempPrefix, tempSuffix = ".dagbucket-", ".tmp"
)

// Bucket is one directory as a bucket.
type Bucket struct {
	dir     string
	writing chan struct{} // holds one token: one writer of this process at a time
}

// New returns the bucket of this directory, an absolute path. The directory is not looked at: when it is missing, every call
// fails with bucket.ErrNoBucket.
func New(dir string) (*Bucket, error) {
	if !filepath.IsAbs(dir) {
		return nil, fmt.Errorf("%q is not an absolute path of a directory", dir)
	}
	b := &Bucket{dir: filepath.Clean(dir), writing: make(chan struct{}, 1)}
	b.writing <- struct{}{}
	return b, nil
}

// String is the bucket's URL.
func (b *Bucket) String() string {
	return "file://" + strings.TrimSuffix(filepath.ToSlash(b.dir), "/")
}

// root opens the directory: what is reached through it cannot leave it.
func (b *Bucket) root(ctx context.Context) (*os.Root, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", b, err)
	}
	root, err := os.OpenRoot(b.dir)
	switch {
	case err == nil:
		return root, nil
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%s: %w: let this user read the directory", b, bucket.ErrDenied)
	case errors.Is(err, fs.ErrNotExist) || isNoDirectory(err) || !isDirectory(b.dir):
		return nil, fmt.Errorf("%s: %w: create the directory", b, bucket.ErrNoBucket)
	}
	return nil, fmt.Errorf("%s: %w", b, err)
}

// isDirectory is asked only to explain why a directory could not be opened.
func isDirectory(dir string) bool {
	info, err := os.Stat(dir)
	return err == nil && info.IsDir()
}

// List implements bucket.Bucket.
func (b *Bucket) List(ctx context.Context, prefix string) (bucket.Listing, error) {
	bucket.RequestsOf(ctx).List.Add(1)
	listing := bucket.Listing{Time: time.Now().UTC()}
	root, err := b.root(ctx)
	if err != nil {
		return bucket.Listing{}, err
	}
	defer root.Close()
	if listing.Objects, err = b.walk(ctx, root, ".", prefix, nil); err != nil {
		return bucket.Listing{}, err
	}
	// Directory by directory is not key by key: "a-b" comes before "a/b".
	slices.SortFunc(listing.Objects, func(x, y bucket.Object) int { return strings.Compare(x.Key, y.Key) })
	return listing, nil
}

// walk appends the objects below dir that begin with prefix.
func (b *Bucket) walk(ctx context.Context, root *os.Root, dir, prefix string, objects []bucket.Object) ([]bucket.Object, error) {
	entries, err := readDir(root, dir)
	if err != nil && dir != "." && errors.Is(err, fs.ErrNotExist) {
		return objects, nil // removed meanwhile
	}
	if err != nil {
		return nil, b.explain(dir, err)
	}
	for _, entry := range entries {
		if err := ctx.Err(); err != nil {
			return nil, b.explain(prefix, err)
		}
		key := entry.Name()
		if dir != "." {
			key = dir + "/" + key
		}
		if entry.IsDir() {
			if below := key + "/"; strings.HasPrefix(below, prefix) || strings.HasPrefix(prefix, below) {
				if objects, err = b.walk(ctx, root, key, prefix, objects); err != nil {
					return nil, err
				}
			}
			continue
		}
		if !strings.HasPrefix(key, prefix) || reserved(key) {
			continue
		}
		info, err := root.Stat(key)
		switch {
		case err == nil && info.Mode().IsRegular():
			objects = append(objects, objectOf(key, info))
		case err == nil, errors.Is(err, fs.ErrNotExist), entry.Type()&fs.ModeSymlink != 0:
			// no object: a device or socket, removed meanwhile, or a link that leads nowhere or outside
		default:
			return nil, b.explain(key, err)
		}
	}
	return objects, nil
}

func readDir(root *os.Root, dir string) ([]fs.DirEntry, error) {
	f, err := root.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.ReadDir(-1)
}

// Open implements bucket.Bucket. A file that is changed in place while it is read fails with bucket.ErrChanged, whether or not a
// version was asked for.
func (b *Bucket) Open(ctx context.Context, key, version string, offset int64) (*bucket.Body, error) {
	bucket.RequestsOf(ctx).Get.Add(1)
	root, err := b.rootFor(ctx, key)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	missing := bucket.ErrNotExist
	if version != "" {
		missing = bucket.ErrChanged
	}
	// Opening what is no regular file may wait for ever, so look first.
	info, err := root.Stat(key)
	if isAbsent(err) || err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s/%s: %w", b, key, missing)
	}
	if err != nil {
		return nil, b.explain(key, err)
	}
	f, err := root.Open(key)
	if isAbsent(err) {
		return nil, fmt.Errorf("%s/%s: %w", b, key, missing)
	}
	if err != nil {
		return nil, b.explain(key, err)
	}
	body, err := b.newBody(ctx, f, key, version, offset)
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return body, nil
}

func (b *Bucket) newBody(ctx context.Context, f *os.File, key, version string, offset int64) (*bucket.Body, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, b.explain(key, err)
	}
	object := objectOf(key, info)
	if version != "" && object.Version != version {
		return nil, fmt.Errorf("%s/%s: %w", b, key, bucket.ErrChanged)
	}
	if offset > object.Size {
		return nil, fmt.Errorf("%s/%s: offset %d is beyond its %d bytes", b, key, offset, object.Size)
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return nil, b.explain(key, err)
	}
	reader := &body{ctx: ctx, file: f, object: object, where: b.String() + "/" + key}
	return &bucket.Body{ReadCloser: reader, Object: object, Now: time.Now().UTC()}, nil
}

// body reads a file, and notices when it is written to meanwhile.
type body struct {
	ctx    context.Context
	file   *os.File
	object bucket.Object
	where  string
}

func (r *body) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, fmt.Errorf("%s: %w", r.where, err)
	}
	n, err := r.file.Read(p)
	info, statErr := r.file.Stat()
	if statErr != nil {
		return 0, fmt.Errorf("%s: %w", r.where, statErr)
	}
	if versionOf(info) != r.object.Version {
		return 0, fmt.Errorf("%s: %w: it was written to while it was read", r.where, bucket.ErrChanged)
	}
	return n, err
}

func (r *body) Close() error { return r.file.Close() }

// rootFor is root for a call that names a key.
func (b *Bucket) rootFor(ctx context.Context, key string) (*os.Root, error) {
	if !holds(key) {
		return nil, fmt.Errorf("%s/%s: %w: it is no path of a file", b, key, bucket.ErrBadKey)
	}
	return b.root(ctx)
}

// holds reports whether a file can have this key.
func holds(key string) bool {
	for segment := range strings.SplitSeq(key, "/") {
		if segment == "" || segment == "." || segment == ".." {
			return false
		}
	}
	return !strings.ContainsRune(key, 0) && filepath.IsLocal(filepath.FromSlash(key)) && !reserved(key)
}

// reserved reports whether key is the name of a file that is no object.
func reserved(key string) bool {
	name := key[strings.LastIndexByte(key, '/')+1:]
	return key == lockName || strings.HasPrefix(name, tempPrefix) && strings.HasSuffix(name, tempSuffix)
}

func objectOf(key string, info fs.FileInfo) bucket.Object {
	return bucket.Object{Key: key, Size: info.Size(), Version: versionOf(info), Modified: info.ModTime().UTC()}
}

func versionOf(info fs.FileInfo) string {
	return fmt.Sprintf("%x-%x-%x", info.ModTime().UnixNano(), info.Size(), inode(info))
}

// isAbsent reports whether err says that there is no file of this name; one of its directories may be a file.
func isAbsent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || isNoDirectory(err) || errors.Is(err, syscall.ENAMETOOLONG)
}

func isNoDirectory(err error) bool { return errors.Is(err, syscall.ENOTDIR) }

// explain names the file of an error of the file system, and the repair where one is known.
func (b *Bucket) explain(key string, err error) error {
	// The paths in the system's errors are relative to the directory, or temporary names.
	var onPath *fs.PathError
	var onLink *os.LinkError
	if errors.As(err, &onPath) {
		err = onPath.Err
	} else if errors.As(err, &onLink) {
		err = onLink.Err
	}
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%s/%s: %w: check its owner and mode", b, key, bucket.ErrDenied)
	}
	return fmt.Errorf("%s/%s: %w", b, key, err)
}
