package bucket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"
)

// Read returns a whole object of at most limit bytes, as Open does, and what it is.
func Read(ctx context.Context, b Bucket, key, version string, limit int64) ([]byte, Object, error) {
	body, err := b.Open(ctx, key, version, 0)
	if err != nil {
		return nil, Object{}, err
	}
	defer body.Close()
	content, err := io.ReadAll(io.LimitReader(body, limit+1))
	if err != nil {
		return nil, Object{}, fmt.Errorf("%s/%s: %w", b, key, err)
	}
	if int64(len(content)) > limit {
		return nil, Object{}, fmt.Errorf("%s/%s is larger than the %d bytes that are allowed there", b, key, limit)
	}
	return content, body.Object, nil
}

const (
	resumes    = 5 // how often one body is taken up again; a body that moves on in between may break as often again
	firstPause = 100 * time.Millisecond
)

// NewReader reads an object as it was listed: obj.Key, obj.Size, and obj.Version unless that is "". The connection is made at the
// first Read; one that breaks is made again where it broke. Another size than obj.Size is an error.
func NewReader(ctx context.Context, b Bucket, obj Object) io.ReadCloser {
	return &resumingReader{ctx: ctx, bucket: b, object: obj}
}

type resumingReader struct {
	ctx    context.Context
	bucket Bucket
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
	if r.ctx.Err() != nil || Permanent(err) || errors.Is(err, ErrChanged) || errors.Is(err, ErrNotExist) || errors.Is(err, ErrArchived) || r.tries >= resumes {
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
