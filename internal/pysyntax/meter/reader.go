package meter

import "encoding/binary"

// reader reads the binary format; what it cannot read is a panic with an error.
type reader struct{ rest []byte }

func (r *reader) byte() byte { return r.take(1)[0] }

func (r *reader) take(n uint32) []byte {
	if uint64(n) > uint64(len(r.rest)) {
		fail("the module ends too early")
	}
	taken := r.rest[:n]
	r.rest = r.rest[n:]
	return taken
}

func (r *reader) u32() uint32 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 || v > 1<<32-1 {
		fail("a broken number")
	}
	r.rest = r.rest[n:]
	return uint32(v)
}

// signed passes over a signed number of any width.
func (r *reader) signed() {
	for r.byte()&0x80 != 0 {
	}
}

// constant passes over a constant expression.
func (r *reader) constant() {
	const end = 0x0B
	for len(r.rest) > 0 && r.rest[0] != end {
		r.instruction()
	}
	r.byte()
}

// instruction passes over one instruction, https://webassembly.github.io/spec/core/binary/instructions.html.
func (r *reader) instruction() (isLoop bool, function uint32, refers bool) {
	switch op := r.byte(); {
	case op == 0x02, op == 0x03, op == 0x04: // block, loop, if
		r.signed()
		return op == 0x03, 0, false
	case op == 0x10, op == 0xD2: // call, ref.func
		return false, r.u32(), true
	case op <= 0x01, op == 0x05, op == 0x0B, op == 0x0F, op == 0x1A, op == 0x1B, op >= 0x45 && op <= 0xC4, op == 0xD1:
		// no immediate
	case op == 0x0C, op == 0x0D, op >= 0x20 && op <= 0x26, op == 0xD0: // br, br_if, variables, tables, ref.null
		r.u32()
	case op == 0x0E: // br_table
		for range r.u32() {
			r.u32()
		}
		r.u32()
	case op == 0x11, op >= 0x28 && op <= 0x3E: // call_indirect, loads and stores
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
	return false, 0, false
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
