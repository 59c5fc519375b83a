package deployer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/bundle"
	"github.com/dagbucket/dagbucket/internal/state"
)

// storedBundle reads a stored bundle, usually the live one, from its beginning to its end. It is opened when the first part is wanted.
type storedBundle struct {
	store  *state.Store
	run    string        // whose bundle it is
	size   int64         // bytes
	chunks []storedChunk // ascending; nil: its manifest does not tell of them

	body   io.ReadCloser
	next   int              // the first chunk that was not begun
	chunk  io.LimitedReader // what is left of the one before
	reader *bundle.Reader   // of the chunk that was opened last, or of the whole bundle; nil: none is open
}

// storedChunk is a chunk, and the lines of its files.
type storedChunk struct {
	bundle.Chunk
	files []*state.File
}

func (c *storedChunk) first() string { return c.files[0].Path }

func newStoredBundle(store *state.Store, run string, size int64, lines []state.File) *storedBundle {
	return &storedBundle{store: store, run: run, size: size, chunks: chunksOf(lines)}
}

// liveBundle is the bundle of what is live; without one nothing is read from it.
func (x *run) liveBundle() *storedBundle {
	if x.record.Live == nil {
		return &storedBundle{store: x.Store}
	}
	return newStoredBundle(x.Store, x.record.Live.Run, x.record.Live.BundleSize, x.live)
}

// chunksOf are the chunks that a manifest tells of.
func chunksOf(lines []state.File) []storedChunk {
	var chunks []storedChunk
	for i := range lines {
		f := &lines[i]
		switch {
		case f.State == state.LeftOut:
			continue
		case f.Chunk != nil && f.Chunk.Format != bundle.Format:
			return nil // copied, it would not be what is packed today
		case f.Chunk != nil:
			chunks = append(chunks, storedChunk{Chunk: bundle.Chunk(*f.Chunk)})
		case chunks == nil:
			return nil
		}
		last := &chunks[len(chunks)-1]
		last.files = append(last.files, f)
	}
	return chunks
}

// startingWith is the index of the chunk whose first line is f, or -1.
func (l *storedBundle) startingWith(f *state.File) int {
	at, found := slices.BinarySearchFunc(l.chunks, f.Path, func(c storedChunk, path string) int { return cmp.Compare(c.first(), path) })
	if !found || l.chunks[at].files[0] != f {
		return -1
	}
	return at
}

// copyChunk packs the first n items together if an earlier bundle holds just them in a chunk; else n is 0.
func (x *run) copyChunk(ctx context.Context, out *bundle.Writer, items []item, live *storedBundle) (n int, err error) {
	from := items[0].from
	if !out.AtChunk() || items[0].object != nil {
		return 0, nil
	}
	stored := live
	if from != nil {
		stored = from.bundle
	}
	at := stored.startingWith(items[0].live)
	if at < 0 || !stored.chunks[at].holds(items) {
		return 0, nil
	}
	err = stored.copyChunk(ctx, out, at)
	if from == nil {
		return len(stored.chunks[at].files), err
	}
	for i := range stored.chunks[at].files {
		items[i].line.Run = x.id
	}
	return len(stored.chunks[at].files), from.bundleError(err)
}

// holds reports whether the first items are the chunk's files, and would be packed into one like it.
func (c *storedChunk) holds(items []item) bool {
	n := len(c.files)
	if n > len(items) || n < len(items) && !c.Ends(c.files[n-1].Path) {
		return false
	}
	for i, f := range c.files {
		if items[i].object != nil || items[i].live != f { // so each is of the same manifest
			return false
		}
	}
	return true
}

// copyChunk adds a chunk to out as it is. One that is not what the manifest says is a *movedError.
func (l *storedBundle) copyChunk(ctx context.Context, out *bundle.Writer, at int) error {
	if err := l.skipTo(ctx, at); err != nil {
		return err
	}
	c := &l.chunks[at]
	err := out.Copy(c.Chunk, l.begin(), func(yield func(path, sum string) bool) {
		for _, f := range c.files {
			if !yield(f.Path, f.SHA256) {
				return
			}
		}
	})
	if err != nil {
		return bundleError(ctx, err)
	}
	return nil
}

// copy adds a member of the bundle to out. One that is not what the manifest says is a *movedError.
func (l *storedBundle) copy(ctx context.Context, out *bundle.Writer, it *item) error {
	e, err := l.seek(ctx, it.path)
	if err != nil {
		return err
	}
	if e.Size != it.live.Size {
		return &movedError{bundle: true, err: fmt.Errorf("%s is not the file that the manifest names", it.path)}
	}
	sum, err := out.Add(bundle.Entry{Path: it.path, Size: it.live.Size, Modified: it.live.Modified}, l.reader)
	if err != nil {
		return bundleError(ctx, err)
	}
	if sum != it.live.SHA256 {
		return &movedError{bundle: true, err: fmt.Errorf("%s is not the content that the manifest names", it.path)}
	}
	return nil
}

// read returns at most limit bytes of a member, which must lie ahead.
func (l *storedBundle) read(ctx context.Context, path string, limit int64) ([]byte, error) {
	if _, err := l.seek(ctx, path); err != nil {
		return nil, err
	}
	content, err := io.ReadAll(io.LimitReader(l.reader, limit))
	if err != nil {
		return nil, bundleError(ctx, err)
	}
	return content, nil
}

// seek goes on to a member.
func (l *storedBundle) seek(ctx context.Context, path string) (bundle.Entry, error) {
	if err := l.openFor(ctx, path); err != nil {
		return bundle.Entry{}, err
	}
	e, err := l.reader.Seek(path)
	if err != nil {
		return bundle.Entry{}, bundleError(ctx, err)
	}
	return e, nil
}

// openFor makes reader that of the chunk that holds path.
func (l *storedBundle) openFor(ctx context.Context, path string) error {
	if l.chunks == nil {
		return l.openWhole(ctx)
	}
	at, found := slices.BinarySearchFunc(l.chunks, path, func(c storedChunk, path string) int { return cmp.Compare(c.first(), path) })
	if !found {
		at--
	}
	if l.reader != nil && at == l.next-1 {
		return nil
	}
	if err := l.skipTo(ctx, at); err != nil {
		return err
	}
	l.reader = bundle.NewChunkReader(l.begin())
	return nil
}

func (l *storedBundle) openWhole(ctx context.Context) error {
	if l.reader != nil {
		return nil
	}
	err := l.open(ctx)
	if err == nil {
		l.reader, err = bundle.NewReader(l.body)
	}
	if err != nil {
		return bundleError(ctx, err)
	}
	return nil
}

func (l *storedBundle) open(ctx context.Context) (err error) {
	l.body, err = l.store.OpenBundle(ctx, l.run, l.size)
	return err
}

// skipTo reads up to a chunk that was not begun.
func (l *storedBundle) skipTo(ctx context.Context, at int) error {
	if at < l.next {
		return &movedError{bundle: true, err: errors.New("its manifest is out of order")}
	}
	skip := l.chunk.N
	if l.body == nil {
		if err := l.open(ctx); err != nil {
			return bundleError(ctx, err)
		}
		skip = bundle.HeaderSize
	}
	for _, c := range l.chunks[l.next:at] {
		skip += c.Packed
	}
	l.next, l.reader, l.chunk.N = at, nil, 0
	if _, err := io.CopyN(io.Discard, l.body, skip); err != nil {
		return bundleError(ctx, err)
	}
	return nil
}

// begin returns the bytes of the next chunk.
func (l *storedBundle) begin() io.Reader {
	l.chunk = io.LimitedReader{R: l.body, N: l.chunks[l.next].Packed}
	l.next++
	return &l.chunk
}

// bundleError tells a live bundle that is not what it should be from one that could not be read.
func bundleError(ctx context.Context, err error) error {
	var sink *sinkError
	if errors.As(err, &sink) {
		return sink.error
	}
	if ctx.Err() != nil || !damaged(err) {
		return fmt.Errorf("reading the live bundle: %w", err)
	}
	return &movedError{bundle: true, err: err}
}

func (l *storedBundle) close() {
	if l.body != nil {
		_ = l.body.Close()
	}
}

// damaged reports whether err tells of the bundle itself rather than of the way to it.
func damaged(err error) bool {
	return errors.Is(err, bucket.ErrNotExist) || errors.Is(err, bucket.ErrChanged) || bundle.Damaged(err)
}

// bundleError says of the bundle to go back to that it cannot be.
func (b *rollback) bundleError(err error) error {
	var moved *movedError
	if errors.As(err, &moved) {
		return pastError("the bundle of run %s cannot be read back (%v): nothing was deployed; go back to another run (see dagbucket history)", b.run, moved.err)
	}
	return err
}

// noteChunks notes in the lines which chunks the plan's bundle has.
func (p *plan) noteChunks(chunks []bundle.Placed) {
	for i := range p.items {
		it := &p.items[i]
		var chunk *state.Chunk
		if len(chunks) > 0 && chunks[0].First == it.path {
			chunk = (*state.Chunk)(&chunks[0].Chunk)
			chunks = chunks[1:]
		}
		it.noteChunk(chunk)
	}
}

// keepChunks notes in the lines those of what is live, whose bundle stays.
func (p *plan) keepChunks() {
	for i := range p.items {
		it := &p.items[i]
		if it.live != nil {
			it.noteChunk(it.live.Chunk)
		}
	}
}

func (it *item) noteChunk(chunk *state.Chunk) {
	have := it.line.Chunk
	if have == chunk || have != nil && chunk != nil && *have == *chunk {
		return
	}
	it.edit().Chunk = chunk
}
