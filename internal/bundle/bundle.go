// Package bundle writes and reads DAG bundles: reproducible tar.gz archives of a Deployment's DAG files.
//
// The same paths, contents and times give the same bytes, however the content arrives: regular files only, in
// ascending order of path, mode 0644, owner 0, times cut to the second, a gzip header without time or name.
package bundle

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
)

// Level is the gzip level of every bundle. It is part of what makes a bundle reproducible.
const Level = gzip.DefaultCompression

// Entry is one file of a bundle.
type Entry struct {
	Path     string // in the archive, such as "dags/team/etl.py"
	Size     int64  // bytes
	Modified time.Time
}

// Writer writes one bundle. It is not safe for concurrent use.
type Writer struct {
	gz     *gzip.Writer
	tar    *tar.Writer
	last   string
	digest hash.Hash
	buffer []byte
}

// NewWriter returns a Writer that streams the bundle to w; it holds no more than the compressor's window.
func NewWriter(w io.Writer) *Writer {
	gz, err := gzip.NewWriterLevel(w, Level)
	if err != nil {
		panic(err) // Level is a constant
	}
	gz.ModTime = time.Unix(0, 0) // "no time"; the library writes a zero time.Time as some date
	return &Writer{gz: gz, tar: tar.NewWriter(gz), digest: sha256.New(), buffer: make([]byte, 64<<10)}
}

// Add appends a file and returns the SHA-256 of its content in hexadecimal. Paths must ascend; content that is longer
// or shorter than e.Size is an error, and the bundle is void then.
func (w *Writer) Add(e Entry, content io.Reader) (sum string, err error) {
	if e.Path <= w.last {
		return "", fmt.Errorf("bundle: %q does not come after %q", e.Path, w.last)
	}
	w.last = e.Path
	err = w.tar.WriteHeader(&tar.Header{
		Typeflag: tar.TypeReg, Name: e.Path, Size: e.Size, Mode: 0o644, ModTime: e.Modified.UTC().Truncate(time.Second),
	})
	if err != nil {
		return "", fmt.Errorf("bundle: %q: %w", e.Path, err)
	}
	sha := sha256.New()
	n, err := io.CopyBuffer(io.MultiWriter(w.tar, sha), onlyReader{content}, w.buffer)
	if err != nil && !errors.Is(err, tar.ErrWriteTooLong) {
		return "", err
	}
	if err != nil || n != e.Size {
		return "", fmt.Errorf("bundle: %q: its content is not the %d bytes that were announced", e.Path, e.Size)
	}
	sum = hex.EncodeToString(sha.Sum(nil))
	addToDigest(w.digest, e.Path, sum)
	return sum, nil
}

// onlyReader hides WriteTo, which would bypass the shared buffer.
type onlyReader struct{ io.Reader }

// Close ends the bundle. It does not close the underlying writer.
func (w *Writer) Close() error {
	if err := w.tar.Close(); err != nil {
		return fmt.Errorf("bundle: %w", err)
	}
	if err := w.gz.Close(); err != nil {
		return fmt.Errorf("bundle: %w", err)
	}
	return nil
}

// Digest identifies the contents of the files added so far: see Digest, the function.
func (w *Writer) Digest() string { return hex.EncodeToString(w.digest.Sum(nil)) }

// Digest is the SHA-256, in hexadecimal, over one line "<content SHA-256>  <path>\n" for each file, in order of path.
// It does not depend on times, nor on how a bundle is packed.
func Digest(files func(yield func(path, sum string) bool)) string {
	h := sha256.New()
	for path, sum := range files {
		addToDigest(h, path, sum)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func addToDigest(h hash.Hash, path, sum string) {
	_, _ = io.WriteString(h, sum+"  "+path+"\n")
}

var errNotRegular = errors.New("is not a regular file")

// A file that is sparse by these extended headers can be far larger than its archive.
const (
	sparseMap   = "GNU.sparse.map"
	sparseMajor = "GNU.sparse.major"
)

// Reader reads a bundle back, member by member in order of path.
type Reader struct {
	gz  *gzip.Reader
	tar *tar.Reader
}

// NewReader begins to read a bundle.
func NewReader(r io.Reader) (*Reader, error) {
	gz, err := gzip.NewReader(r)
	if err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	return &Reader{gz: gz, tar: tar.NewReader(gz)}, nil
}

// Next moves on to the next member; io.EOF after the last. What was not read of the one before is skipped.
func (r *Reader) Next() (Entry, error) {
	h, err := r.tar.Next()
	if err == io.EOF {
		if _, err := io.Copy(io.Discard, r.gz); err != nil { // only the end of the gzip stream checks its sum
			return Entry{}, fmt.Errorf("bundle: %w", err)
		}
		return Entry{}, io.EOF
	}
	if err != nil {
		return Entry{}, fmt.Errorf("bundle: %w", err)
	}
	if h.Typeflag != tar.TypeReg || h.PAXRecords[sparseMap] != "" || h.PAXRecords[sparseMajor] != "" {
		return Entry{}, fmt.Errorf("bundle: %q %w", h.Name, errNotRegular)
	}
	return Entry{Path: h.Name, Size: h.Size, Modified: h.ModTime.UTC()}, nil
}

// Seek moves on to the member called path, which must lie ahead; io.ErrUnexpectedEOF if there is none.
func (r *Reader) Seek(path string) (Entry, error) {
	for {
		e, err := r.Next()
		if err == io.EOF || err == nil && e.Path > path {
			return Entry{}, fmt.Errorf("bundle: it does not hold %q: %w", path, io.ErrUnexpectedEOF)
		}
		if err != nil || e.Path == path {
			return e, err
		}
	}
}

// Read reads the current member.
func (r *Reader) Read(p []byte) (int, error) { return r.tar.Read(p) }

// Damaged reports whether err says that the archive itself is not what was written: cut short, or changed.
func Damaged(err error) bool {
	var corrupt flate.CorruptInputError
	var internal flate.InternalError // some corrupt input is told as this
	if errors.As(err, &corrupt) || errors.As(err, &internal) {
		return true
	}
	for _, sign := range []error{gzip.ErrHeader, gzip.ErrChecksum, tar.ErrHeader, tar.ErrFieldTooLong, errNotRegular, io.ErrUnexpectedEOF, io.EOF} {
		if errors.Is(err, sign) {
			return true
		}
	}
	return false
}
