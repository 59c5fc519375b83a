package deployer

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"io"

	"golang.org/x/sync/errgroup"

	"github.com/dagbucket/dagbucket/internal/bundle"
	"github.com/dagbucket/dagbucket/internal/state"
)

// errSameContents stops a bundle on its way into the state: what it holds is live already.
var errSameContents = errors.New("the contents are live already")

// packed is the outcome of packing.
type packed struct {
	digest string
	size   int64 // of the bundle, bytes
	files  []state.File
	same   bool  // the contents are the live ones
	stored bool  // the state holds the bundle and its manifest
	bundle small // a small bundle, so that it need not be read again to be uploaded
}

// pack is steps 6 to 8: it streams the plan's files through the packer into the state bucket. Nothing grows with the bundle: at
// most one window of heads, the compressor's blocks, the storage's upload buffers and a small bundle are held.
func (x *run) pack(ctx context.Context) error {
	if err := x.reserveMemory(ctx, x.memoryNeed()); err != nil {
		return err
	}
	x.id = x.NewRun()
	x.leftovers = true // from here on there may be something of this run in the state
	x.limitChecks(ctx)
	x.packed = &packed{bundle: small{limit: cmp.Or(x.SmallBundle, DefaultSmallBundle)}}
	return x.step("pack", func() error {
		var failed error // the writer's own: the same error comes back from the storage, wrapped
		g, ctx := errgroup.WithContext(ctx)
		pr, pw := io.Pipe()
		g.Go(func() error {
			err := x.Store.PutBundle(ctx, x.id, pr)
			_ = pr.CloseWithError(err)
			if errors.Is(err, errSameContents) {
				return nil
			}
			return err
			// A crash here leaves a bundle that nothing refers to; a later run prunes it.
		})
		g.Go(func() error {
			err := x.writeBundle(ctx, pw)
			_ = pw.CloseWithError(err)
			if errors.Is(err, errSameContents) {
				x.leftovers = false
				return nil
			}
			if err != nil {
				failed = err
				return err
			}
			x.packed.stored = true
			return x.Store.PutManifest(ctx, x.id, x.packed.files)
			// A crash here leaves a manifest, perhaps with its bundle; a later run prunes them.
		})
		if err := g.Wait(); failed == nil || errors.Is(failed, context.Canceled) {
			return err
		}
		return failed
	})
}

// writeBundle writes the bundle to w. errSameContents says that it need not be stored.
func (x *run) writeBundle(ctx context.Context, w io.Writer) error {
	count := &countingWriter{w: io.MultiWriter(w, &x.packed.bundle)}
	buffered := bufio.NewWriterSize(count, 256<<10)
	out := bundle.NewWriter(buffered)
	live := x.liveBundle()
	defer live.close()
	if b := x.rollback; b != nil {
		b.bundle = newStoredBundle(x.Store, b.run, b.size, b.lines)
		defer b.bundle.close()
	}
	objects, stop := x.fetch(ctx, x.plan.items)
	defer stop()
	items := x.plan.items
	for i := 0; i < len(items); {
		n, err := x.copyChunk(ctx, out, items[i:], live)
		if err == nil && n == 0 {
			n, err = 1, x.packItem(ctx, out, &items[i], objects, live)
		}
		if err != nil {
			return err
		}
		i += n
		x.progress(Progress{Step: "pack", Done: i, Total: len(items), Bytes: count.n})
	}
	if err := x.finishChecks(); err != nil {
		return err
	}
	x.packed.digest = out.Digest()
	if done, err := x.compareContents(); done || err != nil {
		x.plan.keepChunks()
		x.packed.files = x.plan.lines()
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	x.plan.noteChunks(out.Chunks())
	x.packed.files = x.plan.lines()
	err := buffered.Flush()
	x.packed.size = count.n
	return err
}

// compareContents decides, now that all contents are known, whether there is anything to store.
func (x *run) compareContents() (done bool, err error) {
	live := x.record.Live
	x.packed.same = live != nil && live.Digest == x.packed.digest && !x.redeploy
	switch {
	case x.packed.same && x.liveKnown && !x.bundleGone:
		return true, errSameContents
	case !x.packed.same && !x.liveKnown && !x.mayReplace():
		return true, held("the state is lost, and the bucket no longer holds what is live: files that are live could be removed unseen",
			"restore the state bucket, or deploy what the bucket holds with dagbucket approve or replace_existing: true")
	}
	return false, nil
}

// packItem adds one file, from the fetch or from the live bundle.
func (x *run) packItem(ctx context.Context, out *bundle.Writer, it *item, objects <-chan *fetched, live *storedBundle) error {
	if it.from != nil {
		it.line.Run = x.id
		return it.from.bundleError(it.from.bundle.copy(ctx, out, it))
	}
	if it.object == nil {
		return live.copy(ctx, out, it)
	}
	var f *fetched
	select {
	case f = <-objects:
	case <-ctx.Done():
		return ctx.Err()
	}
	if f == nil {
		return ctx.Err() // the fetch ends early only with the context
	}
	<-f.ready
	if f.err != nil {
		return f.err
	}
	defer f.close()
	if f.verdict != nil {
		fate, err := x.refuse(ctx, it, f)
		switch {
		case err != nil || fate == leaveOut:
			return err
		case fate == keep:
			return x.copyKept(ctx, out, it, live)
		}
	}
	if err := x.setSize(it, f.size); err != nil {
		return err
	}
	if it.live != nil && f.sum == it.live.SHA256 {
		it.line.SHA256, it.line.Modified, it.line.Run = f.sum, it.live.Modified, it.live.Run // the same content under a new version keeps its time
		x.warnAgain(it)
		if f.isLive {
			return live.copy(ctx, out, it)
		}
	}
	sum, err := out.Add(bundle.Entry{Path: it.path, Size: f.size, Modified: it.line.Modified}, f.content())
	it.line.SHA256, it.line.Run = sum, x.id
	if it.live != nil && it.live.SHA256 == sum {
		it.line.Run = it.live.Run
	}
	return err
}

// copyKept packs the last good content of a file that was turned down.
func (x *run) copyKept(ctx context.Context, out *bundle.Writer, it *item, live *storedBundle) error {
	if x.bundleGone {
		return x.keptIsGone(it)
	}
	return live.copy(ctx, out, it)
}

// setSize notes the size of a content, which is not that of its object if that is stored compressed.
func (x *run) setSize(it *item, size int64) error {
	x.plan.bytes += size - it.line.Size
	it.line.Size = size
	if x.MaxBytes > 0 && x.plan.bytes > x.MaxBytes {
		return x.tooManyBytes(x.plan.bytes)
	}
	return nil
}

// DefaultSmallBundle is in bytes: what a run may hold beside its window, to spare the upload a read of the state.
const DefaultSmallBundle = 8 << 20

// small keeps what is written to it, unless that becomes more than limit.
type small struct {
	limit int
	data  []byte
	over  bool
}

func (s *small) Write(p []byte) (int, error) {
	if s.over = s.over || len(s.data)+len(p) > s.limit; s.over {
		s.data = nil
	} else {
		s.data = append(s.data, p...)
	}
	return len(p), nil
}

type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	if err != nil {
		err = &sinkError{err}
	}
	return n, err
}

// sinkError is of the bundle that is written: it says nothing of one that is read meanwhile.
type sinkError struct{ error }

func (e *sinkError) Unwrap() error { return e.error }
