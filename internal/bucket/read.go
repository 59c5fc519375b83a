package bucket

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"
)

// Read returns a whole object of at most limit bytes, decompressed if it is stored compressed, and what it is; its errors are Open's, or ErrTooLarge. A connection that
// breaks is made again where it broke.
func Read(ctx context.Context, b Reader, key, version string, limit int64) ([]byte, Object, error) {
	content, object, _, err := ReadDated(ctx, b, key, version, limit)
	return content, object, err
}

// ReadDated is Read, and the storage's clock when it answered.
func ReadDated(ctx context.Context, b Reader, key, version string, limit int64) ([]byte, Object, time.Time, error) {
	body, err := b.Open(ctx, key, version, 0)
	if err != nil {
		return nil, Object{}, time.Time{}, err
	}
	object, now := body.Object, body.Now
	reader := &resumingReader{ctx: ctx, bucket: b, object: object, body: body}
	defer reader.Close()
	if object.Size > limit {
		return nil, object, now, fmt.Errorf("%s/%s: %w: it has %d bytes, and at most %d are allowed there", b, key, ErrTooLarge, object.Size, limit)
	}
	content, err := io.ReadAll(reader)
	if err == nil && object.Gzip {
		content, err = decompress(content, limit)
	}
	if err != nil {
		return nil, object, now, fmt.Errorf("%s/%s: %w", b, key, err)
	}
	return content, object, now, nil
}

// decompress returns what a small object that is stored compressed holds. What is not compressed at all stays as it is.
func decompress(content []byte, limit int64) ([]byte, error) {
	zr, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		return content, nil
	}
	plain, err := io.ReadAll(io.LimitReader(zr, limit+1))
	switch {
	case int64(len(plain)) > limit:
		return nil, fmt.Errorf("%w: decompressed it has more than the %d bytes that are allowed there", ErrTooLarge, limit)
	case err != nil:
		return content, nil
	}
	return plain, nil
}

const (
	resumes    = 5 // how often one body is taken up again; a body that moves on in between may break as often again
	firstPause = 100 * time.Millisecond
)

// NewReader reads an object as it was listed: obj.Key, obj.Size, and obj.Version; "" is the version that is there at the first Read,
// which also makes the connection. One that breaks is made again where it broke. Another size or version is ErrChanged.
func NewReader(ctx context.Context, b Reader, obj Object) io.ReadCloser {
	return &resumingReader{ctx: ctx, bucket: b, object: obj}
}

type resumingReader struct {
	ctx    context.Context
	bucket Reader
	object Object
	body   *Body
	offset int64
	tries  int // since the last byte that came
	err    error
}

func (r *resumingReader) Read(p []byte) (int, error) {
	for {
		if r.err != nil {
			return 0, r.err
		}
		if r.body == nil {
			if r.err = r.open(); r.err != nil {
				continue
			}
			if r.body == nil {
				continue // broken once more; open has paused
			}
		}
		n, err := r.body.Read(p)
		r.offset += int64(n)
		if n > 0 {
			r.tries = 0
		}
		if r.offset > r.object.Size {
			err = fmt.Errorf("%w: it has more than %d bytes", ErrChanged, r.object.Size)
		}
		if err != nil {
			r.err = r.interrupted(err)
		}
		if n > 0 || len(p) == 0 {
			return n, nil
		}
	}
}

// open begins to read at the offset. It returns nil without a body where another try makes sense.
func (r *resumingReader) open() error {
	body, err := r.bucket.Open(r.ctx, r.object.Key, r.object.Version, r.offset)
	if err != nil {
		if r.tries == 0 && r.offset == 0 {
			return err // an implementation has tried for itself
		}
		return r.interrupted(err)
	}
	if body.Object.Size != r.object.Size {
		_ = body.Close()
		return fmt.Errorf("%s/%s: %w: it has %d bytes, not %d", r.bucket, r.object.Key, ErrChanged, body.Object.Size, r.object.Size)
	}
	r.body = body
	if r.object.Version == "" {
		r.object.Version = body.Object.Version // the rest has to be of the same
	}
	return nil
}

// interrupted decides what follows an error: nil is another try, after a pause.
func (r *resumingReader) interrupted(err error) error {
	if r.body != nil {
		_ = r.body.Close()
		r.body = nil
	}
	if err == io.EOF {
		if r.offset == r.object.Size {
			return io.EOF
		}
		err = io.ErrUnexpectedEOF
	}
	if cause := r.ctx.Err(); cause != nil {
		if !errors.Is(err, cause) {
			err = fmt.Errorf("%w, %w", err, cause)
		}
		err = fmt.Errorf("no complete answer by then (%w)", err)
	}
	// An error instead of the end, after the last byte, is a checksum that does not match: going on there would hide it.
	if r.offset >= r.object.Size && r.object.Size > 0 || r.ctx.Err() != nil || r.tries >= resumes || final(err) {
		return fmt.Errorf("%s/%s at byte %d: %w", r.bucket, r.object.Key, r.offset, err)
	}
	pause := firstPause << r.tries
	r.tries++
	timer := time.NewTimer(pause/2 + rand.N(pause))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-r.ctx.Done():
		return fmt.Errorf("%s/%s at byte %d: %w", r.bucket, r.object.Key, r.offset, r.ctx.Err())
	}
}

// final reports whether another try at the same bytes would fail in the same way.
func final(err error) bool {
	return Permanent(err) || errors.Is(err, ErrChanged) || errors.Is(err, ErrNotExist) || errors.Is(err, ErrArchived)
}

func (r *resumingReader) Close() error {
	if r.err == nil {
		r.err = errors.New("read after close")
	}
	if r.body == nil {
		return nil
	}
	body := r.body
	r.body = nil
	return body.Close()
}

// Source is the body of a Put that remembers how it failed: that is not the storage's error, even where it speaks of another object of it.
type Source struct {
	Reader io.Reader
	Err    error
}

func (s *Source) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if err != nil && err != io.EOF {
		s.Err = err
	}
	return n, err
}
