package bundle

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"hash/crc32"
	"io"
	"runtime"

	"github.com/klauspost/compress/flate"
)

// Level is the compression level of every bundle. It is part of what makes a bundle reproducible. Level 6 takes nearly twice the time of level 2 on one
// processor and half as much again on two, for a bundle that is an eighth smaller (BenchmarkLevels); a function has a third of a processor at 512 MB, and sends
// some 50 MB a second.
const Level = 2

const (
	blockSize  = 1 << 20 // bytes that are compressed at once, of one chunk
	maxWorkers = 4       // more would only add to the memory
)

// header is a gzip header (RFC 1952) without a time, a name or flags, of an unknown system.
var header = []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff}

// HeaderSize is where in a bundle its first chunk begins, in bytes.
const HeaderSize = 10

// block is a part of a chunk on its way through the compressor.
type block struct {
	data   []byte
	packed bytes.Buffer
	crc    uint32
	done   chan struct{} // closed when packed and crc are set

	begins *opened // the chunk that it begins, or nil
	end    bool    // it ends the bundle
}

// opened is a chunk that files are still added to.
type opened struct {
	first string    // path
	files hash.Hash // as Digest writes them
}

// compressor is a gzip writer that compresses blocks side by side. What it writes does not depend on how many.
type compressor struct {
	w       io.Writer
	begun   bool
	filling *block
	queue   []*block // in order
	free    []*block // to be used again
	level   int
	writers chan *flate.Writer
	size    int64 // of the chunk so far, bytes

	chunks  []Placed
	opened  *opened   // that files are added to
	writing *opened   // that is the last of chunks; nil: it is complete
	sum     hash.Hash // of what was written of it
	crc     uint32    // of the chunks that are complete
	total   int64     // their bytes
}

func newCompressor(w io.Writer, level int) *compressor {
	c := &compressor{w: w, level: level, writers: make(chan *flate.Writer, min(runtime.GOMAXPROCS(0), maxWorkers))}
	for range cap(c.writers) {
		c.writers <- nil // is made when it is needed
	}
	return c
}

// begin says that a chunk begins, with the file at path.
func (c *compressor) begin(path string) {
	c.opened = &opened{path, sha256.New()}
	c.filling = c.newBlock()
	c.filling.begins = c.opened
}

func (c *compressor) newBlock() *block {
	n := len(c.free)
	if n == 0 {
		return &block{data: make([]byte, 0, blockSize)}
	}
	b := c.free[n-1]
	c.free = c.free[:n-1]
	b.data, b.begins = b.data[:0], nil
	b.packed.Reset()
	return b
}

// Write adds to the chunk.
func (c *compressor) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		if c.filling == nil {
			c.filling = c.newBlock()
		}
		part := p[:min(len(p), blockSize-len(c.filling.data))]
		c.filling.data = append(c.filling.data, part...)
		n, p, c.size = n+len(part), p[len(part):], c.size+int64(len(part))
		if len(c.filling.data) == blockSize {
			if err := c.submit(); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// endChunk lets the next byte begin anew.
func (c *compressor) endChunk() error {
	c.size = 0
	return c.submit()
}

// submit has a block compressed, once there is room for it.
func (c *compressor) submit() error {
	b := c.filling
	if c.filling = nil; b == nil {
		return nil
	}
	if len(c.queue) > cap(c.writers) {
		if err := c.writeOldest(); err != nil {
			return err
		}
	}
	b.done = make(chan struct{})
	c.queue = append(c.queue, b)
	go func() {
		defer close(b.done)
		w := <-c.writers
		c.writers <- b.compress(w, c.level)
	}()
	return nil
}

// compress compresses a block without knowing any other. It gives the writer back.
func (b *block) compress(w *flate.Writer, level int) *flate.Writer {
	if w == nil {
		w, _ = flate.NewWriter(&b.packed, level) // the level is valid
	} else {
		w.Reset(&b.packed)
	}
	b.crc = crc32.ChecksumIEEE(b.data)
	_, _ = w.Write(b.data) // a buffer takes everything
	if b.end {
		_ = w.Close()
	} else {
		_ = w.Flush() // ends at a byte
	}
	return w
}

// drain writes all that was submitted.
func (c *compressor) drain() error {
	for len(c.queue) > 0 {
		if err := c.writeOldest(); err != nil {
			return err
		}
	}
	return nil
}

func (c *compressor) writeOldest() error {
	b := c.queue[0]
	c.queue = c.queue[1:]
	<-b.done
	if b.begins != nil {
		c.closeChunk()
		c.chunks, c.writing, c.sum = append(c.chunks, Placed{First: b.begins.first, Chunk: Chunk{Format: Format}}), b.begins, sha256.New()
	}
	if !b.end {
		last := &c.chunks[len(c.chunks)-1]
		last.Packed, last.Size = last.Packed+int64(b.packed.Len()), last.Size+int64(len(b.data))
		last.CRC32 = combineCRC32(last.CRC32, b.crc, int64(len(b.data)))
		_, _ = c.sum.Write(b.packed.Bytes())
	} else {
		c.add(b.crc, int64(len(b.data)))
	}
	c.free = append(c.free, b)
	return c.write(b.packed.Bytes())
}

// closeChunk completes the account of the last chunk, whose files are all there.
func (c *compressor) closeChunk() {
	if c.writing == nil {
		return
	}
	last := &c.chunks[len(c.chunks)-1]
	last.SHA256 = last.seal(c.sum, c.writing.files)
	c.add(last.CRC32, last.Size)
	c.writing = nil
}

// add adds bytes to the sums of the whole.
func (c *compressor) add(crc uint32, size int64) {
	c.crc, c.total = combineCRC32(c.crc, crc, size), c.total+size
}

func (c *compressor) write(p []byte) error {
	if !c.begun {
		c.begun = true
		if _, err := c.w.Write(header); err != nil {
			return err
		}
	}
	_, err := c.w.Write(p)
	return err
}

// take adds a chunk that is compressed already.
func (c *compressor) take(p Placed, files hash.Hash, packed io.Reader, buffer []byte) error {
	if err := c.drain(); err != nil {
		return err
	}
	if err := c.write(nil); err != nil {
		return err
	}
	sum := sha256.New()
	n, err := io.CopyBuffer(io.MultiWriter(c.w, sum), onlyReader{io.LimitReader(packed, p.Packed)}, buffer)
	switch {
	case err != nil:
		return err
	case n < p.Packed:
		return io.ErrUnexpectedEOF
	case p.seal(sum, files) != p.SHA256:
		return ErrChecksum
	}
	c.closeChunk()
	c.chunks = append(c.chunks, p)
	c.add(p.CRC32, p.Size)
	return nil
}

// close ends the archive, whose end was written last.
func (c *compressor) close() error {
	c.filling.end = true
	if err := c.submit(); err != nil {
		return err
	}
	for len(c.queue) > 1 {
		if err := c.writeOldest(); err != nil {
			return err
		}
	}
	c.closeChunk()
	if err := c.writeOldest(); err != nil {
		return err
	}
	trailer := binary.LittleEndian.AppendUint32(nil, c.crc)
	return c.write(binary.LittleEndian.AppendUint32(trailer, uint32(c.total)))
}
