package bundle

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash"
	"hash/crc32"
)

// Chunk is a run of files of a bundle that was compressed on its own.
type Chunk struct {
	Format int    // Format, when it was compressed
	Packed int64  // bytes, compressed
	Size   int64  // bytes of the tar archive
	CRC32  uint32 // of those
	SHA256 string // of the compressed bytes and of all that is told of them: see seal
}

// Format names how this package makes chunks of files. Raise it when that changes (where chunks end, the level, the compressor's output), or
// chunks of both ways would end up in one bundle. A test pins it.
const Format = 1

// Placed is a chunk and where it is.
type Placed struct {
	First string // path of its first file
	Chunk
}

// seal completes the SHA-256 of a chunk, in hexadecimal. After its compressed bytes it is over their account and over its files, as Digest writes
// them: so what a chunk is copied for is what is in it.
func (c Chunk) seal(packed, files hash.Hash) string {
	account := binary.BigEndian.AppendUint64(nil, uint64(c.Size))
	account = binary.BigEndian.AppendUint32(account, c.CRC32)
	_, _ = packed.Write(files.Sum(account))
	return hex.EncodeToString(packed.Sum(nil))
}

// ErrChecksum says that a chunk is not what its SHA-256 is of.
var ErrChecksum = errors.New("a chunk has another SHA-256 than it should")

const (
	// A chunk ends with a file whose name says so, once it holds minChunk, and at the latest with the file that fills maxChunk. So its end stays
	// where it is when files before it come and go. Chunks hold some 160 small files each; smaller ones would compress worse.
	minChunk = 256 << 10 // bytes of the tar archive
	maxChunk = 1 << 20
	endNames = 64 // one of that many names ends a chunk
)

// ends reports whether a chunk of size bytes ends with the file at path. It is part of what makes bundles reproducible.
func ends(size int64, path string) bool {
	return size >= maxChunk || size >= minChunk && crc32.ChecksumIEEE([]byte(path))%endNames == 0
}

// Ends reports whether a chunk whose last file is at path ends there whatever comes behind it.
func (c Chunk) Ends(path string) bool { return ends(c.Size, path) }

// combineCRC32 is the CRC-32 of two texts behind each other, of which the second has size bytes. Appending a zero bit to a text maps its CRC
// linearly over GF(2); the map for size bytes is a product of squares of that one. The initial and final inversions cancel each other.
func combineCRC32(first, second uint32, size int64) uint32 {
	var byBits matrix // for one zero bit
	byBits[0] = crc32.IEEE
	for i := 1; i < 32; i++ {
		byBits[i] = 1 << (i - 1)
	}
	for range 3 { // for 8 zero bits
		byBits = byBits.square()
	}
	for ; size > 0; size >>= 1 {
		if size&1 == 1 {
			first = byBits.times(first)
		}
		byBits = byBits.square()
	}
	return first ^ second
}

// matrix is a linear map of 32 bits: what it makes of each of them.
type matrix [32]uint32

func (m *matrix) times(v uint32) (sum uint32) {
	for i := 0; v != 0; i, v = i+1, v>>1 {
		if v&1 == 1 {
			sum ^= m[i]
		}
	}
	return sum
}

func (m *matrix) square() (s matrix) {
	for i, v := range m {
		s[i] = m.times(v)
	}
	return s
}
