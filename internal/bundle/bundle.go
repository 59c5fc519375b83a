// Package bundle writes and reads DAG bundles: reproducible tar.gz archives of a Deployment's DAG files.
//
// The same paths, contents and times give the same bytes, however the content arrives: regular files only, in
// ascending order of path, mode 0644, owner 0, times cut to the second, a gzip header without time or name.
//
// A bundle is one ordinary gzip stream, but its compressor forgets everything at the end of each chunk, which is a run of files. So chunks are
// compressed side by side, and an unchanged one is copied from an earlier bundle as it is.
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
)

// Entry is one file of a bundle.
type Entry struct {
	Path     string // in the archive, such as "dags/team/etl.py"
	Size     int64  // bytes
	Modified time.Time
}

// Writer writes one bundle. It is not safe for concurrent use.
type Writer struct {
	packed *compressor
	tar    *tar.Writer
	last   string
	digest hash.Hash
	buffer []byte
}

// NewWriter returns a Writer that streams the bundle to w. It compresses on up to 4 processors, and holds about 4 MB for each.
func NewWriter(w io.Writer) *Writer { return newWriter(w, Level) }

func newWriter(w io.Writer, level int) *Writer {
	packed := newCompressor(w, level)
	return &Writer{packed: packed, tar: tar.NewWriter(packed), digest: sha256.New(), buffer: make([]byte, 64<<10)}
}

// Add appends a file and returns the SHA-256 of its content in hexadecimal. Paths must ascend; content that is longer
// or shorter than e.Size is an error, and the bundle is void then.
func (w *Writer) Add(e Entry, content io.Reader) (sum string, err error) {
	if err := w.advance(e.Path); err != nil {
		return "", err
	}
	if w.AtChunk() {
		w.packed.begin(e.Path)
	}
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
	if err := w.tar.Flush(); err != nil { // the padding belongs to its chunk
		return "", err
	}
	sum = hex.EncodeToString(sha.Sum(nil))
	addToDigest(w.digest, e.Path, sum)
	addToDigest(w.packed.opened.files, e.Path, sum)
	if ends(w.packed.size, e.Path) {
		return sum, w.packed.endChunk()
	}
	return sum, nil
}

func (w *Writer) advance(path string) error {
	if path <= w.last {
		return fmt.Errorf("bundle: %q does not come after %q", path, w.last)
	}
	w.last = path
	return nil
}

// AtChunk reports whether the next file begins a chunk.
func (w *Writer) AtChunk() bool { return w.packed.size == 0 }

// Copy appends a chunk of another bundle as it is, which takes no compressing. packed gives its bytes, and files yields the path of each of its
// files with the SHA-256 of the content. It must not be called within a chunk, and only for one that Add would make of the same files: see AtChunk,
// Chunk.Ends and Format. It is ErrChecksum if bytes or files are not those that c was made of, and io.ErrUnexpectedEOF if there are fewer bytes; then
// this bundle is void.
func (w *Writer) Copy(c Chunk, packed io.Reader, files func(yield func(path, sum string) bool)) error {
	if !w.AtChunk() {
		return errors.New("bundle: a chunk is copied into another")
	}
	first, named := "", sha256.New()
	for path, sum := range files {
		if err := w.advance(path); err != nil {
			return err
		}
		if first == "" {
			first = path
		}
		addToDigest(w.digest, path, sum)
		addToDigest(named, path, sum)
	}
	if err := w.packed.take(Placed{first, c}, named, packed, w.buffer); err != nil {
		return fmt.Errorf("bundle: copying from %q on: %w", first, err)
	}
	return nil
}

// onlyReader hides WriteTo, which would bypass the shared buffer.
type onlyReader struct{ io.Reader }

// Close ends the bundle. It does not close the underlying writer.
func (w *Writer) Close() error {
	if err := w.packed.endChunk(); err != nil {
		return fmt.Errorf("bundle: %w", err)
	}
	if err := w.tar.Close(); err != nil {
		return fmt.Errorf("bundle: %w", err)
	}
	if err := w.packed.close(); err != nil {
		return fmt.Errorf("bundle: %w", err)
	}
	return nil
}

// Chunks are those of a bundle that was closed, in order.
func (w *Writer) Chunks() []Placed { return w.packed.chunks }

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
