package meter

import (
	"encoding/binary"
	"math"
)

// reader reads the binary format; what it cannot read is a failure.
type reader struct{ rest []byte }

func (r *reader) byte() byte { return r.take(1)[0] }

func (r *reader) take(n uint32) []byte {
	if uint64(n) > uint64(len(r.rest)) {
		fail("the module ends too early")
	}
	taken := r.rest[:n:n]
	r.rest = r.rest[n:]
	return taken
}

func (r *reader) u32() uint32 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 || v > math.MaxUint32 {
		fail("a broken number")
	}
	r.rest = r.rest[n:]
	return uint32(v)
}

// count is how many things follow, of which each has a byte at least.
func (r *reader) count() uint32 {
	n := r.u32()
	if uint64(n) > uint64(len(r.rest)) {
		fail("the module ends too early")
	}
	return n
}

// end fails if there is more.
func (r *reader) end() {
	if len(r.rest) > 0 {
		fail("%d bytes too many in a section", len(r.rest))
	}
}

// signed passes over a signed number of any width.
func (r *reader) signed() {
	for r.byte()&0x80 != 0 {
	}
}

// The instructions that make work without end.
const (
	loop         = 0x03
	call         = 0x10
	callIndirect = 0x11
)

// instruction passes over one instruction, https://webassembly.github.io/spec/core/binary/instructions.html, and returns its opcode.
func (r *reader) instruction() (op byte) {
	switch op = r.byte(); {
	case op == 0x02, op == loop, op == 0x04: // block, loop, if
		r.signed()
	case op <= 0x01, op == 0x05, op == 0x0B, op == 0x0F, op == 0x1A, op == 0x1B, op >= 0x45 && op <= 0xC4, op == 0xD1:
		// no immediate
	case op == 0x0C, op == 0x0D, op == call, op >= 0x20 && op <= 0x26, op == 0xD0, op == 0xD2: // br, br_if, call, variables, tables, ref.null, ref.func
		r.u32()
	case op == 0x0E: // br_table
		for range r.count() {
			r.u32()
		}
		r.u32()
	case op == callIndirect, op >= 0x28 && op <= 0x3E: // call_indirect, loads and stores
		r.u32()
		r.u32()
	case op == 0x1C: // select with types
		r.take(r.u32())
	case op == 0x3F, op == 0x40: // memory.size, memory.grow
		r.byte()
	case op == 0x41, op == 0x42: // i32.const, i64.const
		r.signed()
	case op == 0x43: // f32.const
		r.take(4)
	case op == 0x44: // f64.const
		r.take(8)
	case op == 0xFC:
		r.bulk()
	default:
		fail("instruction 0x%02x is not known", op)
	}
	return op
}

// bulk passes over the rest of an instruction with the prefix 0xFC.
func (r *reader) bulk() {
	switch op := r.u32(); {
	case op <= 7: // saturating conversions
	case op == 9, op == 11, op == 13, op >= 15 && op <= 17: // one index
		r.u32()
	case op == 8, op == 10, op == 12, op == 14: // two
		r.u32()
		r.u32()
	default:
		fail("instruction 0xfc %d is not known", op)
	}
}
