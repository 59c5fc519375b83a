package state

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/dagbucket/dagbucket/internal/bucket"
)

// Store is one route's part of the state bucket. It may be used concurrently.
type Store struct {
	bucket bucket.Bucket
	prefix string

	mu    sync.Mutex
	wrote seenLease // the last lease that was written from here
}

// NewStore returns the state of route below prefix ("" or ending in "/").
func NewStore(b bucket.Bucket, prefix, route string) *Store {
	return &Store{bucket: b, prefix: prefix + route + "/"}
}

// String is where the state lies.
func (s *Store) String() string { return s.bucket.String() + "/" + s.prefix }

// The states of a File.
const (
	Live    = "live"    // shipped as the bucket holds it
	Kept    = "kept"    // shipped with its last good content
	LeftOut = "leftOut" // not shipped
)

// The largest manifest that is written or read; 100,000 files take about 10 MB compressed and 40 MB otherwise.
const (
	manifestLimit    = 64 << 20  // bytes, compressed
	manifestUnpacked = 256 << 20 // bytes
	manifestLines    = 1_000_000
)

// ErrDamaged says that a manifest is there but cannot be read, as good as missing.
var ErrDamaged = errors.New("it is damaged")

// File is one line of a manifest.
type File struct {
	Path     string    `json:"path"`              // in the archive
	Source   string    `json:"source"`            // its source's URL
	Key      string    `json:"key"`               // not valid UTF-8 is replaced by U+FFFD
	Version  string    `json:"version,omitempty"` // of the content that is shipped
	Size     int64     `json:"size"`
	Modified time.Time `json:"time,omitzero"` // of the object version that brought the content
	SHA256   string    `json:"sha256,omitempty"`
	State    string    `json:"state"`
	Reason   string    `json:"reason,omitempty"`
	Message  string    `json:"message,omitempty"`
	Line     int       `json:"line,omitempty"` // that the message is about; with Column, from 1
	Column   int       `json:"column,omitempty"`
	Excerpt  string    `json:"excerpt,omitempty"` // the line, and below it a caret
	Refused  *Refused  `json:"refused,omitempty"` // set if a syntax error keeps the object at this path from being shipped
	Run      string    `json:"run,omitempty"`     // that first deployed this content at this path
	Pinned   *Pinned   `json:"pinned,omitempty"`  // set if a rollback keeps the object at this path from being shipped
	Chunk    *Chunk    `json:"chunk,omitempty"`   // set if a chunk of the bundle begins with this file
}

// Chunk is a part of a bundle that can be read, and copied, alone: from the file whose line has it to the one before the next that has one.
type Chunk struct {
	Format int    `json:"format"` // of the way to make chunks
	Packed int64  `json:"packed"` // bytes in the bundle; the first begins after its header
	Size   int64  `json:"size"`   // bytes, unpacked
	CRC32  uint32 `json:"crc32"`  // of those
	SHA256 string `json:"sha256"` // of the bytes in the bundle, of these numbers, and of the files
}

// Pinned is what the sources showed at a path when it was rolled back. The path stays as it is until they show something else.
type Pinned struct {
	Source  string `json:"source,omitempty"`
	Key     string `json:"key,omitempty"`
	Version string `json:"version,omitempty"` // "": nothing was there
	To      string `json:"to"`                // the run that the path was rolled back to
	Removal bool   `json:"removal,omitempty"` // its removal waited for a person, and still does
}

// Refused is the object version with the syntax error, so that it need not be read again.
type Refused struct {
	Source  string `json:"source"`
	Key     string `json:"key"`
	Version string `json:"version"`
	SHA256  string `json:"sha256"`
	By      string `json:"by"` // names the checker and the Python version that it checked for
}

func (s *Store) manifestKey(run string) string { return s.prefix + "manifests/" + run + ".jsonl.gz" }
func (s *Store) bundleKey(run string) string   { return s.prefix + "bundles/" + run + ".tar.gz" }

// PutManifest stores the manifest of a run. One that could not be read again is bucket.ErrTooLarge.
func (s *Store) PutManifest(ctx context.Context, run string, files []File) error {
	data, err := encodeManifest(files)
	if err != nil {
		return err
	}
	if _, err := s.bucket.Put(ctx, s.manifestKey(run), bytes.NewReader(data), bucket.Always); err != nil {
		return fmt.Errorf("storing the manifest: %w", err)
	}
	return nil
}

func encodeManifest(files []File) ([]byte, error) {
	var buf bytes.Buffer
	gz, _ := gzip.NewWriterLevel(&buf, gzip.BestSpeed) // it is read once for each deploy
	plain := countingWriter{w: gz}
	if err := writeLines(&plain, files, ""); err != nil {
		return nil, err
	}
	if err := gz.Close(); err != nil {
		return nil, err
	}
	if len(files) > manifestLines || plain.n > manifestUnpacked || buf.Len() > manifestLimit {
		return nil, fmt.Errorf("the manifest: %w: %d files and %d bytes are more than %d or %d: keep less below the sources",
			bucket.ErrTooLarge, len(files), plain.n, manifestLines, manifestUnpacked)
	}
	return buf.Bytes(), nil
}

type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// ReadManifest returns the lines of a run's manifest. A missing one is bucket.ErrNotExist, one that cannot be read ErrDamaged.
func (s *Store) ReadManifest(ctx context.Context, run string) ([]File, error) {
	key := s.manifestKey(run)
	data, _, err := bucket.Read(ctx, s.bucket, key, "", manifestLimit)
	if errors.Is(err, bucket.ErrTooLarge) {
		return nil, fmt.Errorf("reading the manifest: %w: %w", ErrDamaged, err)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the manifest: %w", err)
	}
	files, err := decodeManifest(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("reading the manifest %s/%s: %w: %s", s.bucket, key, ErrDamaged, brief(err))
	}
	return files, nil
}

func decodeManifest(r io.Reader) ([]File, error) {
	gz, err := gzip.NewReader(r)
	if err != nil {
		return nil, err
	}
	var files []File
	rest := &io.LimitedReader{R: gz, N: manifestUnpacked + 1}
	known := words{}
	err = readLines(rest, manifestLines, func(values []File) {
		for i := range values {
			known.share(&values[i])
		}
		files = append(files, values...)
	})
	if rest.N == 0 {
		return nil, fmt.Errorf("it has more than %d bytes", manifestUnpacked)
	}
	return files, err
}

// words are texts that many lines have, each held once.
type words map[string]string

func (w words) share(f *File) {
	for _, text := range []*string{&f.Source, &f.State, &f.Run, &f.Reason, &f.Message} {
		known, ok := w[*text]
		if !ok {
			known = strings.Clone(*text)
			w[known] = known
		}
		*text = known
	}
	switch { // most paths are the key, or its end
	case strings.HasSuffix(f.Path, f.Key):
		f.Key = f.Path[len(f.Path)-len(f.Key):]
	case strings.HasSuffix(f.Key, f.Path):
		f.Path = f.Key[len(f.Key)-len(f.Path):]
	}
}

// PutBundle streams a bundle into the state. If r fails, nothing is stored and that error is returned.
func (s *Store) PutBundle(ctx context.Context, run string, r io.Reader) error {
	if _, err := s.bucket.Put(ctx, s.bundleKey(run), r, bucket.Always); err != nil {
		return fmt.Errorf("storing the bundle: %w", err)
	}
	return nil
}

// OpenBundle reads a bundle of size bytes back; a connection that breaks is taken up again where it broke. A missing bundle is bucket.ErrNotExist.
func (s *Store) OpenBundle(ctx context.Context, run string, size int64) (io.ReadCloser, error) {
	return bucket.NewReader(ctx, s.bucket, bucket.Object{Key: s.bundleKey(run), Size: size}), nil
}

// Discard removes what a run stored.
func (s *Store) Discard(ctx context.Context, run string) error {
	if err := s.bucket.Delete(ctx, s.bundleKey(run), ""); err != nil {
		return err
	}
	return s.bucket.Delete(ctx, s.manifestKey(run), "")
}

// Stored is a run that has a bundle or a manifest in the state.
type Stored struct {
	Run string
	Age time.Duration // of the younger of both, by the storage's clock
}

// Stored returns the runs that have a bundle or a manifest in the state, oldest first.
func (s *Store) Stored(ctx context.Context) ([]Stored, error) {
	listing, err := s.bucket.List(ctx, s.prefix)
	if err != nil {
		return nil, err
	}
	ages := map[string]time.Duration{}
	for _, o := range listing.Objects {
		run := s.runOf(o.Key)
		if run == "" {
			continue
		}
		age := listing.Time.Sub(o.Modified)
		if known, ok := ages[run]; !ok || age < known {
			ages[run] = age
		}
	}
	stored := make([]Stored, 0, len(ages))
	for run, age := range ages {
		stored = append(stored, Stored{run, age})
	}
	slices.SortFunc(stored, func(a, b Stored) int {
		return cmp.Or(cmp.Compare(b.Age, a.Age), cmp.Compare(a.Run, b.Run))
	})
	return stored, nil
}

// Bundles returns the runs that have both a bundle and a manifest in the state.
func (s *Store) Bundles(ctx context.Context) (map[string]bool, error) {
	listing, err := s.bucket.List(ctx, s.prefix)
	if err != nil {
		return nil, err
	}
	parts, both := map[string]int{}, map[string]bool{}
	for _, o := range listing.Objects {
		if run := s.runOf(o.Key); run != "" {
			parts[run]++
			both[run] = parts[run] == 2
		}
	}
	return both, nil
}

// runOf is the run that a bundle or a manifest is named for, by its key; "" if it is neither.
func (s *Store) runOf(key string) string {
	dir, name, below := strings.Cut(strings.TrimPrefix(key, s.prefix), "/")
	run, _, ok := strings.Cut(name, ".")
	if !below || !ok || dir != "bundles" && dir != "manifests" {
		return ""
	}
	return run
}

// CleanUp removes what writers that died longer than age ago left in the state unseen.
func (s *Store) CleanUp(ctx context.Context, age time.Duration) error {
	if c, ok := s.bucket.(bucket.Cleaner); ok {
		return c.CleanUp(ctx, s.prefix, age)
	}
	return nil
}

// BundleSize returns the size of a stored bundle in bytes. A missing one is bucket.ErrNotExist.
func (s *Store) BundleSize(ctx context.Context, run string) (int64, error) {
	body, err := s.bucket.Open(ctx, s.bundleKey(run), "", 0)
	if err != nil {
		return 0, fmt.Errorf("looking for the bundle: %w", err)
	}
	return body.Object.Size, body.Close()
}
