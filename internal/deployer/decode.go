package deployer

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"math"

	"github.com/dagbucket/dagbucket/internal/bucket"
)

// decoded is what an object that is stored compressed holds for its author.
type decoded struct {
	size int64
	sum  string // SHA-256
	head []byte // all of it if it is at most headSize
}

// fetchDecoded fetches an object that is stored compressed, decompressed. It is read twice if it is large, since the archive wants the size
// first. done is false where its bytes are not what their encoding says: then they are shipped as they are.
func (x *run) fetchDecoded(ctx context.Context, it *item, f *fetched) (done bool, err error) {
	open := func() io.ReadCloser { return bucket.NewReader(ctx, x.Sources[it.source].Bucket, *it.object) }
	limit := int64(math.MaxInt64 - 1)
	if x.MaxBytes > 0 {
		limit = x.MaxBytes
	}
	d, err := measure(open, limit)
	if d == nil || err != nil {
		return false, err
	}
	if d.size > limit {
		return false, x.tooManyBytes(d.size)
	}
	f.size, f.sum, f.decoded = d.size, d.sum, true
	switch {
	case d.size <= headSize:
		f.head = d.head
	case it.live != nil && d.sum == it.live.SHA256 && !x.bundleGone:
		f.isLive = true
	default:
		f.rest = &gunzip{from: open()}
	}
	return true, nil
}

// measure decompresses what open opens, and stops at one byte over limit. It is nil for what is not gzip.
func measure(open func() io.ReadCloser, limit int64) (*decoded, error) {
	from := open()
	defer from.Close()
	source := &bucket.Source{Reader: from}
	h, head := sha256.New(), new(bytes.Buffer)
	content := io.LimitReader(&gunzip{from: io.NopCloser(source)}, limit+1)
	n, err := io.Copy(io.MultiWriter(head, h), io.LimitReader(content, headSize))
	if err == nil && n == headSize {
		var more int64
		more, err = io.Copy(h, content)
		n += more
	}
	switch {
	case source.Err != nil:
		return nil, source.Err
	case err != nil:
		return nil, nil
	}
	return &decoded{size: n, sum: hex.EncodeToString(h.Sum(nil)), head: head.Bytes()}, nil
}

// gunzip decompresses; it reads nothing before it is read.
type gunzip struct {
	from io.ReadCloser
	zr   *gzip.Reader
}

func (g *gunzip) Read(p []byte) (int, error) {
	if g.zr == nil {
		zr, err := gzip.NewReader(g.from)
		if err != nil {
			return 0, err
		}
		g.zr = zr
	}
	return g.zr.Read(p)
}

func (g *gunzip) Close() error { return g.from.Close() }
