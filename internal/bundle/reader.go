package bundle

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
)

var errNotRegular = errors.New("is not a regular file")

// A file that is sparse by these extended headers can be far larger than its archive.
const (
	sparseMap   = "GNU.sparse.map"
	sparseMajor = "GNU.sparse.major"
)

// Reader reads a bundle back, member by member in order of path.
type Reader struct {
	unpacked io.Reader
	tar      *tar.Reader
}

// NewReader begins to read a bundle.
func NewReader(r io.Reader) (*Reader, error) {
	gz, err := gzip.NewReader(r)
	if err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	return &Reader{gz, tar.NewReader(gz)}, nil
}

// NewChunkReader begins to read one chunk, of which packed gives the compressed bytes and no more.
func NewChunkReader(packed io.Reader) *Reader {
	unpacked := flate.NewReader(io.MultiReader(packed, bytes.NewReader(lastBlock)))
	return &Reader{unpacked, tar.NewReader(unpacked)}
}

// lastBlock ends a compressed stream (RFC 1951, 3.2.4): a last block that is stored, and empty.
var lastBlock = []byte{1, 0, 0, 0xff, 0xff}

// Next moves on to the next member; io.EOF after the last. What was not read of the one before is skipped.
func (r *Reader) Next() (Entry, error) {
	h, err := r.tar.Next()
	if err == io.EOF {
		if _, err := io.Copy(io.Discard, r.unpacked); err != nil { // only the end of the gzip stream checks its sum
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
	for _, sign := range []error{ErrChecksum, gzip.ErrHeader, gzip.ErrChecksum, tar.ErrHeader, tar.ErrFieldTooLong, errNotRegular, io.ErrUnexpectedEOF, io.EOF} {
		if errors.Is(err, sign) {
			return true
		}
	}
	return false
}
