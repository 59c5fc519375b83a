package dirbucket

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	"github.com/dagbucket/dagbucket/internal/bucket"
)

// Put implements bucket.Bucket: it writes a temporary file and renames it. A process that is killed meanwhile may leave that file,
// which is never listed. Conditional writes are on disk when Put returns; others when the system writes them out.
func (b *Bucket) Put(ctx context.Context, key string, body io.Reader, when bucket.Condition) (string, error) {
	bucket.RequestsOf(ctx).Put.Add(1)
	root, err := b.rootFor(ctx, key)
	if err != nil {
		return "", err
	}
	defer root.Close()
	temp, err := b.createTemp(root, key)
	if err != nil {
		return "", err
	}
	version, err := b.putThrough(ctx, root, temp, key, body, when)
	if err != nil {
		_ = temp.file.Close()
		_ = root.Remove(temp.name)
		removeEmptyParents(root, key)
		return "", err
	}
	return version, nil
}

// Copy implements bucket.Copier: any two directories are of one storage.
func (b *Bucket) Copy(ctx context.Context, from bucket.Reader, key, version, toKey string, when bucket.Condition) (string, error) {
	source, ok := from.(*Bucket)
	if !ok {
		return "", fmt.Errorf("%s/%s: %w", from, key, bucket.ErrCannotCopy)
	}
	if version == "" {
		return "", fmt.Errorf("%s/%s: %w", from, key, bucket.ErrChanged)
	}
	body, err := source.Open(ctx, key, version, 0)
	if err != nil {
		return "", err
	}
	defer body.Close()
	return b.Put(ctx, toKey, body, when)
}

type tempFile struct {
	file *os.File
	name string // relative to the root
}

// createTemp creates a file beside key, and the directories above it.
func (b *Bucket) createTemp(root *os.Root, key string) (tempFile, error) {
	dir := path.Dir(key)
	name := path.Join(dir, tempPrefix+rand.Text()+tempSuffix)
	for try := 0; ; try++ {
		err := root.MkdirAll(dir, 0o755)
		if err == nil {
			var f *os.File
			if f, err = root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644); err == nil {
				return tempFile{f, name}, nil
			}
		}
		// A Delete at the same time may have removed the directory, as empty, before the file was in it.
		if try == 10 || !errors.Is(err, fs.ErrNotExist) {
			removeEmptyParents(root, key)
			return tempFile{}, b.explainKey(key, err)
		}
	}
}

// putThrough fills the temporary file and renames it to key if the condition holds.
func (b *Bucket) putThrough(ctx context.Context, root *os.Root, temp tempFile, key string, body io.Reader, when bucket.Condition) (string, error) {
	if _, err := io.Copy(temp.file, contextReader{ctx, body}); err != nil {
		return "", fmt.Errorf("%s/%s: %w", b, key, err) // the body's own error, most likely
	}
	if when != bucket.Always {
		if err := temp.file.Sync(); err != nil {
			return "", b.explain(key, err)
		}
	}
	if err := temp.file.Close(); err != nil {
		return "", b.explain(key, err)
	}
	unlock, err := b.lock(ctx, root)
	if err != nil {
		return "", b.explain(key, err)
	}
	defer unlock()
	old, err := statObject(root, key)
	if err != nil {
		return "", b.explainKey(key, err)
	}
	if when.Absent() && old.Version != "" || !when.Absent() && when != bucket.Always && (old.Version == "" || old.Version != when.Version()) {
		return "", fmt.Errorf("%s/%s: %w", b, key, bucket.ErrChanged)
	}
	// The time of a file moves in ticks of some milliseconds: two writes within one, of the same size, would look the same.
	modified := time.Now()
	if !modified.After(old.Modified) {
		modified = old.Modified.Add(time.Microsecond)
	}
	if err := root.Chtimes(temp.name, modified, modified); err != nil {
		return "", b.explain(key, err)
	}
	info, err := root.Stat(temp.name)
	if err != nil {
		return "", b.explain(key, err)
	}
	if err := root.Rename(temp.name, key); err != nil {
		return "", b.explainKey(key, err)
	}
	return versionOf(info), nil
}

// Delete implements bucket.Bucket. Directories that become empty are removed too.
func (b *Bucket) Delete(ctx context.Context, key, version string) error {
	bucket.RequestsOf(ctx).Delete.Add(1)
	root, err := b.rootFor(ctx, key)
	if err != nil {
		return err
	}
	defer root.Close()
	unlock, err := b.lock(ctx, root)
	if err != nil {
		return b.explain(key, err)
	}
	defer unlock()
	old, err := statObject(root, key)
	if err != nil && !errors.Is(err, errIsDirectory) {
		return b.explain(key, err)
	}
	if version != "" && old.Version != version {
		return fmt.Errorf("%s/%s: %w", b, key, bucket.ErrChanged)
	}
	if old.Version == "" {
		return nil
	}
	if err := root.Remove(key); err != nil && !isAbsent(err) {
		return b.explain(key, err)
	}
	removeEmptyParents(root, key)
	return nil
}

var errIsDirectory = errors.New("there is a directory of this name")

// statObject returns the object of this key, or the zero Object if there is none.
func statObject(root *os.Root, key string) (bucket.Object, error) {
	info, err := root.Stat(key)
	switch {
	case isAbsent(err):
		return bucket.Object{}, nil
	case err != nil:
		return bucket.Object{}, err
	case info.IsDir():
		return bucket.Object{}, errIsDirectory
	case !info.Mode().IsRegular():
		return bucket.Object{}, fmt.Errorf("it is no regular file but %s", info.Mode().Type())
	}
	return objectOf(key, info), nil
}

// removeEmptyParents removes the directories above key, as far as they are empty.
func removeEmptyParents(root *os.Root, key string) {
	for dir := path.Dir(key); dir != "."; dir = path.Dir(dir) {
		info, err := root.Lstat(dir)
		if isAbsent(err) {
			continue
		}
		// A linked directory is left alone: removing it would remove the link.
		if err != nil || !info.IsDir() || root.Remove(dir) != nil {
			return
		}
	}
}

// explainKey is explain for errors that say whether a file can have this name.
func (b *Bucket) explainKey(key string, err error) error {
	switch {
	case errors.Is(err, syscall.ENAMETOOLONG):
		return fmt.Errorf("%s/%s: %w: a part of it is too long for the file system", b, key, bucket.ErrBadKey)
	case isNoDirectory(err), errors.Is(err, fs.ErrExist), errors.Is(err, syscall.EISDIR), errors.Is(err, errIsDirectory):
		return fmt.Errorf("%s/%s: %w: a file and a directory cannot share a name", b, key, bucket.ErrBadKey)
	case errors.Is(err, syscall.EILSEQ), errors.Is(err, syscall.EINVAL):
		return fmt.Errorf("%s/%s: %w: the file system refuses the name", b, key, bucket.ErrBadKey)
	}
	return b.explain(key, err)
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

// CleanUp implements bucket.Cleaner: it removes the temporary files of writers that were killed.
func (b *Bucket) CleanUp(ctx context.Context, prefix string, age time.Duration) error {
	root, err := b.root(ctx)
	if err != nil {
		return err
	}
	defer root.Close()
	return fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // gone meanwhile
		}
		if err != nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		base := path.Base(name)
		if !strings.HasPrefix(name, prefix) || !strings.HasPrefix(base, tempPrefix) || !strings.HasSuffix(base, tempSuffix) {
			return nil
		}
		if info, err := entry.Info(); err == nil && time.Since(info.ModTime()) >= age {
			if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return b.explain(name, err)
			}
		}
		return nil
	})
}
