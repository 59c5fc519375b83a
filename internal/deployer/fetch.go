package deployer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/dagbucket/dagbucket/internal/bucket"
)

const (
	// DefaultWindow is how many objects are fetched at once, ahead of the packer. First bytes of S3 take 100 to 200 ms, so
	// small files are fast only side by side.
	DefaultWindow = 64
	// headSize is how much of each object is held while it waits for its turn. It times headSize bounds the memory of
	// a run; what is larger streams through when its turn has come.
	headSize = 256 << 10
)

// movedError says that an object (or the live bundle) is not what the plan was made from.
type movedError struct {
	id, key string
	bundle  bool
	err     error
}

func (e *movedError) Error() string {
	if e.bundle {
		return fmt.Sprintf("a stored bundle: %v", e.err)
	}
	return fmt.Sprintf("%s changed while it was read", e.key)
}

// fetched is one object on its way to the packer.
type fetched struct {
	ready   chan struct{} // closed when the fields below are set
	err     error
	size    int64         // of the content
	sum     string        // SHA-256 of the content; "" if it is larger than headSize and was not read ahead
	isLive  bool          // the live bundle holds the content, and it is not here
	decoded bool          // the object is stored compressed, and this is what it holds
	verdict *verdict      // of the syntax check; nil: valid, or nobody looked
	head    []byte        // its beginning
	rest    io.ReadCloser // nil if head is all of it
}

// content reads the whole object.
func (f *fetched) content() io.Reader {
	if f.rest == nil {
		return bytes.NewReader(f.head)
	}
	return io.MultiReader(bytes.NewReader(f.head), f.rest)
}

func (f *fetched) close() {
	if f.rest != nil {
		_ = f.rest.Close()
	}
}

// fetch reads the objects of items side by side and hands them out in order. The channel's capacity is the window: an object is
// begun when the one that many places before it was taken. stop ends what is under way; it must be called.
func (x *run) fetch(ctx context.Context, items []item) (objects <-chan *fetched, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	out := make(chan *fetched, x.window()-1)
	go func() {
		defer close(out)
		ctx := x.account.ofSources(ctx)
		for i := range items {
			if items[i].object == nil {
				continue
			}
			f := &fetched{ready: make(chan struct{})}
			select {
			case out <- f:
			case <-ctx.Done():
				return
			}
			go func() {
				defer close(f.ready)
				if f.err = x.fetchOne(ctx, &items[i], f); f.err == nil {
					f.err = x.checkFetched(ctx, &items[i], f) // step 7
				}
			}()
		}
	}()
	return out, func() {
		cancel()
		for f := range out {
			<-f.ready
			f.close()
		}
	}
}

func (r *Route) window() int {
	if r.Window < 1 {
		return DefaultWindow
	}
	return r.Window
}

// fetchError tells what became of an object that cannot be read as it was listed.
func (x *run) fetchError(it *item, err error) error {
	s := x.Sources[it.source]
	if errors.Is(err, bucket.ErrChanged) || errors.Is(err, bucket.ErrNotExist) {
		return &movedError{id: objectID(s.URL, it.object.Key), key: it.object.Key, err: err}
	}
	return fmt.Errorf("fetching %s/%s: %w", s.Bucket, it.object.Key, err)
}

func (x *run) fetchOne(ctx context.Context, it *item, f *fetched) error {
	s := x.Sources[it.source]
	moved := func(err error) error { return x.fetchError(it, err) }
	if it.object.Gzip {
		if done, err := x.fetchDecoded(ctx, it, f); err != nil {
			return moved(err)
		} else if done {
			if f.rest != nil {
				f.rest = &movedReader{f.rest, moved}
			}
			return nil
		}
	}
	f.size = it.object.Size
	if it.object.Size > headSize && it.live != nil && it.live.Size == it.object.Size {
		sum, err := x.sumOf(ctx, it)
		if err != nil {
			return moved(err)
		}
		if f.sum, f.isLive = sum, sum == it.live.SHA256 && !x.bundleGone; f.isLive {
			return nil
		}
	}
	body := bucket.NewReader(ctx, s.Bucket, *it.object)
	f.head = make([]byte, min(it.object.Size, headSize))
	if _, err := io.ReadFull(body, f.head); err != nil {
		_ = body.Close()
		return moved(err)
	}
	if it.object.Size > headSize {
		f.rest = &movedReader{body, moved}
		return nil
	}
	f.sum = hexSum(f.head)
	// Reading on to the end is what finds a body that is longer than listed.
	if _, err := io.Copy(io.Discard, body); err != nil {
		_ = body.Close()
		return moved(err)
	}
	return body.Close()
}

func hexSum(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// sumOf reads a large object just to see whether its content is the live one, so that an equal file keeps its time.
func (x *run) sumOf(ctx context.Context, it *item) (string, error) {
	body := bucket.NewReader(ctx, x.Sources[it.source].Bucket, *it.object)
	defer body.Close()
	h := sha256.New()
	if _, err := io.Copy(h, body); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// movedReader tells the errors of a late body as fetchOne tells those of an early one.
type movedReader struct {
	io.ReadCloser
	moved func(error) error
}

func (r *movedReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = r.moved(err)
	}
	return n, err
}
